r"""Noise parts that vanish, in the flow of neurons with hidden units: undecorated.

For degree 1 the loss near w~_h = 0 is to first order a function H(u) |w~_h| of the direction u = w~_h/|w~_h|, a cone: what
drives w~_h is -grad H, finite and different on every side, and its direction turns at a rate 1/|w~_h|. Where H > 0 all
round, w~_h reaches 0 in finite time and stays there, as a signal does at its kink. So a noise part that shrinks below `GONE`
of its unit is held at 0, exactly, until a direction is found in which H < 0: the flow of directions, u <- -grad H(u)/|grad
H(u)|, finds the one in which the part would grow.
"""

from math import sqrt

from dynlab.population.hidden.measures import unit_square
from dynlab.population.hidden.rates import rates

GONE = 1e-6
TURNS = 4  # of the search for a direction


def hold_vanished(system, y, velocity):
    """Set noise parts that vanish to 0, in place; whether there was one. velocity: dy/dt."""
    _, _, units, features, _, _, _ = system
    found = False
    for h in range(units):
        at = units * features + h * units
        square = 0.0
        radial = 0.0
        for i in range(at, at + units):
            square += y[i] * y[i]
            radial += y[i] * velocity[i]
        if square > 0.0 and radial < 0.0 and square < GONE * GONE * unit_square(units, features, y, h):
            found = True
            for i in range(at, at + units):
                y[i] = 0.0
    return found


def let_grow(system, y, side, scratch, velocity):
    """Give a noise part that is held at 0 the direction in which it grows, where there is one; whether any was tried.

    velocity (n,): scratch. What was tried leaves its moments in `scratch`.
    """
    _, _, units, features, _, _, _ = system
    tried = False
    for h in range(units):
        at = units * features + h * units
        square = 0.0
        for i in range(at, at + units):
            square += y[i] * y[i]
        size = sqrt(unit_square(units, features, y, h))
        if square > 0.0 or not size > 0.0:
            continue
        tried = True
        for i in range(units):
            y[at + i] = GONE * size / sqrt(1.0 * units)
        outward = 0.0
        for _ in range(TURNS):
            rates(system, y, side, scratch, velocity)
            length = 0.0
            outward = 0.0
            for i in range(at, at + units):
                length += velocity[i] * velocity[i]
                outward += velocity[i] * y[i]
            if not length > 0.0:
                break
            factor = GONE * size / sqrt(length)
            for i in range(at, at + units):
                y[i] = velocity[i] * factor
        if not outward > 0.0:
            for i in range(at, at + units):
                y[i] = 0.0
    return tried

"""Kinks of relu within the flow: signals that reach 0 in finite time, and stay there or pass. Undecorated.

Inside a step each signal keeps the formula of its side; when it changes sign the step is cut at the zero, and if the
velocities of both sides point at the kink the signal is held there (sliding, side = 0) until one of them points away.
"""

from dynlab.formulas.activations import RELU
from dynlab.formulas.rectified_flow_rates import rectified_kink
from dynlab.population.pair.solver import flow_rates, interpolate


def kink_velocities(system, z, side, i, rectified, other, scratch, rates):
    """Velocities of the signal at index i, which is 0, if it were on the upper and on the lower side of its kink.

    rectified, other: those of `solver.flow_rates`; None where nothing has kinks.
    """
    if rectified is not None:
        return rectified_kink(system[3], z, side, i, rates)
    if other is not None:
        return velocity(system, z, side, i, 1, scratch, rates), velocity(system, z, side, i, -1, scratch, rates)
    return 0.0, 0.0


def velocity(system, z, side, i, trial, scratch, rates):
    """Velocity of the signal at index i if it were on side `trial` (+1 or -1) of its kink."""
    kept = side[i]
    side[i] = trial
    flow_rates(system, z, side, scratch, rates)
    side[i] = kept
    return rates[i]


def settle_kink(system, z, side, i, scratch, rates):
    """Choose the side of a signal that sits at 0: away from the kink if a velocity points away, else 0 (sliding)."""
    up, down = kink_velocities(system, z, side, i, scratch[1], scratch[2], scratch, rates)
    side[i] = side_of(up, down, 0.0)


def side_of(up, down, idle):
    """The side of a kink that a signal leaves to; 0 (sliding) where no velocity points away from it faster than `idle`.

    up, down: the velocities there by the formulas of the upper and of the lower side.
    """
    if up > idle and up >= -down:
        return 1
    return -1 if down < -idle else 0


def released(system, z, side, i, scratch, rates):
    """Whether the force lets go of signal i, held at its kink."""
    settle_kink(system, z, side, i, scratch, rates)
    let_go = side[i] != 0
    side[i] = 0
    return let_go


def crossing(system, table, z, new, stages, side, scratch, point, rates):
    """First theta at which a relu signal reaches its kink or is let go of within the step, and its index; else (1, -1)."""
    kind, m, features, _ = system
    first = 1.0
    which = -1
    if kind != RELU:
        return first, which
    for i in range(m * features):
        if side[i] != 0 and (new[i] * side[i] > 0.0 or z[i] * side[i] <= 0.0):
            continue
        low = 0.0
        high = first
        interpolate(table, high, z, new, stages, point)
        if not (released(system, point, side, i, scratch, rates) if side[i] == 0 else point[i] * side[i] <= 0.0):
            continue
        for _ in range(55):
            middle = 0.5 * (low + high)
            interpolate(table, middle, z, new, stages, point)
            if released(system, point, side, i, scratch, rates) if side[i] == 0 else point[i] * side[i] <= 0.0:
                high = middle
            else:
                low = middle
        first = high
        which = i
    return first, which

"""Kinks of relu in the flow under any training: signals that reach 0 in finite time, stay there or pass.

As in `dynlab.population.pair.kinks`: within a step every signal keeps the formula of its side; at its zero the step is
cut, and if the velocities of both sides point at the kink it is held there (side 0) until one points away. The signals of a
target that is a moving average pass.
"""

from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.pair.kinks import side_of
from dynlab.population.pair.solver import interpolate

# Velocities at a kink that move a signal by less than this times its scale in the time passed so far do not count.
IDLE = 1e-12


def velocity(system, z, side, i, trial, scratch, rates):
    """Velocity of the signal i if it were on side `trial` of its kink."""
    kept = side[i]
    side[i] = trial
    switched_rates(system, z, side, scratch, rates)
    side[i] = kept
    return rates[i]


def settle(system, size, z, side, i, scratch, rates):
    """Choose the side of a signal at 0: away from the kink if a velocity points away, else 0, held. size: of signals."""
    up = velocity(system, z, side, i, 1, scratch, rates)
    down = velocity(system, z, side, i, -1, scratch, rates)
    side[i] = side_of(up, down, IDLE * size * rates[len(z) - 1])


def leaves(system, size, table, theta, z, new, stages, side, i, place, scratch, point, rates):
    """Whether at theta signal i (coordinate `place`) has passed its kink or, if it is held there, is let go of."""
    interpolate(table, theta, z, new, stages, point)
    if place != i:  # the target's signals pass their kink, they are never held
        return point[place] * side[i] < 0.0
    if side[i] != 0:
        return point[place] * side[i] <= 0.0
    point[place] = 0.0
    settle(system, size, point, side, i, scratch, rates)
    let_go = side[i] != 0
    side[i] = 0
    return let_go


def first_kink(system, size, table, z, new, stages, side, scratch, point, rates):
    """First theta at which a signal passes its kink or is let go of, and its number; (1, -1) if none does."""
    m, features, choice = system[1], system[2], system[4]
    first = 1.0
    which = -1
    for i in range(len(side)):
        place = i if i < m * features else head_start(m, features, choice) // 2 + i - m * features
        if (side[i] != 0 or place != i) and new[place] * side[i] > 0.0:
            continue
        if not leaves(system, size, table, first, z, new, stages, side, i, place, scratch, point, rates):
            continue
        low = 0.0
        high = first
        for _ in range(55):
            middle = 0.5 * (low + high)
            if leaves(system, size, table, middle, z, new, stages, side, i, place, scratch, point, rates):
                high = middle
            else:
                low = middle
        first = high
        which = i
    return first, which


def after_kink(system, size, z, side, which, scratch, rates):
    """Put the signal that reached its kink there and choose its side; look again at all that are held."""
    m, features, choice = system[1], system[2], system[4]
    if which >= 0:
        place = which if which < m * features else head_start(m, features, choice) // 2 + which - m * features
        z[place] = 0.0
        if which >= m * features:
            side[which] = -side[which]
        else:
            settle(system, size, z, side, which, scratch, rates)
    for i in range(m * features):
        if side[i] == 0:
            settle(system, size, z, side, i, scratch, rates)

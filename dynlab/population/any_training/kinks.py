"""Kinks in the flow under any training: surfaces on which the formula changes, where the flow passes, turns, or slides.

A signal of relu at 0: `dynlab.population.pair` has the same. Its velocities on both sides may point at the kink; it is then
held there (side 0) until one of them points away. The signals of a target that is a moving average pass.

An output of VICReg at the corner sd = 1 of its hinge: held there it moves along the corner (`dynlab.formulas.sliding`) until
the slope that the hinge would need is none that it has.

Within a step every kink keeps the formula of its side; at the first that is reached, or lets go, the step is cut. The array
`side` holds the sides of the signals (m K), then those of the target's signals (m K) or, of VICReg, of the outputs (m): -1
below 1, 1 above, 0 held.
"""

from math import log

from dynlab.formulas.activations import RELU, degree_of, is_steep
from dynlab.formulas.second_moments import VICREG
from dynlab.formulas.switched import OBJECTIVE
from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.pair.kinks import side_of
from dynlab.population.pair.solver import interpolate

# Velocities at a kink that move a signal by less than this times its scale in the time passed so far do not count.
IDLE = 1e-12
# By how much the hinge's slope may miss [0, 1] before it lets go: at rest it can be 0 or 1, rounded to either side.
PLAY = 1e-12
HALVINGS = 55


def has_kinks(system):
    """Whether the flow of the system has any."""
    return system.kind == RELU or system.choice[OBJECTIVE] == VICREG


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


def settle_output(system, z, side, j, scratch, rates):
    """Choose the side of output j at the corner of its hinge: below if it would need more than the hinge's slope to stay,
    above if less than none, else 0, held."""
    i = system.m * system.features + j
    side[i] = 0
    switched_rates(system, z, side, scratch, rates)
    share = scratch.corner[1][j]
    if share > 1.0 + PLAY:
        side[i] = -1
    elif share < -PLAY:
        side[i] = 1


def place_of(system, i):
    """The coordinate of the signal with side number i."""
    signals = system.m * system.features
    return i if i < signals else head_start(system.m, system.features, system.choice) // 2 + i - signals


def is_output(system, i):
    """Whether side number i is of an output at the hinge of VICReg."""
    return system.choice[OBJECTIVE] == VICREG and i >= system.m * system.features


def leaves(system, size, z, side, i, scratch, rates):
    """Whether at z, overwritten, kink i has been passed or, if it is held there, is let go of."""
    if is_output(system, i):
        switched_rates(system, z, side, scratch, rates)
        j = i - system.m * system.features
        share, deviation = scratch.corner[1][j], scratch.corner[2][j]
        if side[i] == 0:
            return share > 1.0 + PLAY or share < -PLAY
        return (deviation - 1.0) * side[i] < 0.0
    place = place_of(system, i)
    if place != i:  # the target's signals pass their kink, they are never held
        return z[place] * side[i] < 0.0
    if side[i] != 0:
        return z[place] * side[i] <= 0.0
    z[place] = 0.0
    settle(system, size, z, side, i, scratch, rates)
    let_go = side[i] != 0
    side[i] = 0
    return let_go


def first_kink(system, size, table, z, side, buffers):
    """First theta at which a step passes a kink or is let go of by one, and its number; (1, -1) if none does."""
    scratch, point, rates = buffers.scratch, buffers.point, buffers.last
    new, stages = buffers.new, buffers.stages
    first = 1.0
    which = -1
    for i in range(len(side)):
        if not is_output(system, i):
            place = place_of(system, i)
            if system.kind != RELU or ((side[i] != 0 or place != i) and new[place] * side[i] > 0.0):
                continue
        interpolate(table, first, z, new, stages, point)
        if not leaves(system, size, point, side, i, scratch, rates):
            continue
        low = 0.0
        high = first
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            interpolate(table, middle, z, new, stages, point)
            if leaves(system, size, point, side, i, scratch, rates):
                high = middle
            else:
                low = middle
        first = high
        which = i
    return first, which


def to_corner(system, z, j, deviation):
    """Scale neuron j's weights such that its output, of standard deviation `deviation`, has 1."""
    shift = log(deviation) / degree_of(system.kind)
    features = system.features
    for i in range(j * features, (j + 1) * features):
        z[i] = z[i] - shift if is_steep(system.kind) else z[i] / deviation
    z[system.m * features + j] -= shift


def after_kink(system, size, z, side, which, scratch, rates):
    """Put what reached kink `which` there and choose its side; look again at all that are held, and keep them there."""
    signals = system.m * system.features
    outputs = system.m if system.choice[OBJECTIVE] == VICREG else 0
    if outputs > 0:
        switched_rates(system, z, side, scratch, rates)
        for j in range(outputs):
            if side[signals + j] == 0 or which == signals + j:
                to_corner(system, z, j, scratch.corner[2][j])
    if which >= 0 and not is_output(system, which):
        z[place_of(system, which)] = 0.0
        if which >= signals:
            side[which] = -side[which]
        else:
            settle(system, size, z, side, which, scratch, rates)
    if system.kind == RELU:
        for i in range(signals):
            if side[i] == 0:
                settle(system, size, z, side, i, scratch, rates)
    for j in range(outputs):
        if side[signals + j] == 0 or which == signals + j:
            settle_output(system, z, side, j, scratch, rates)


def holds(side):
    """Whether anything is held at a kink."""
    for i in range(len(side)):
        if side[i] == 0:
            return True
    return False

r"""What would move for ever in the flow of a rectified pair, held: `dynlab.population.pair.solver.held` without branches.

Noise parts of relu that fall, and angles that grow (atanh c, where two noise parts align), are slowed smoothly near
`DISTANCE`; the way back sets off smoothly, too. `held` says why and how. Here the same is written for numbers of any kind,
vectors of `dynlab.machine.lanes` included, with its derivatives: where no coordinate is far out only the first factor,
1/(1 + (z/DISTANCE)^16), is computed.
"""

from dynlab.formulas.activations import RELU
from dynlab.formulas.cubic_flow_rates import exponential
from dynlab.formulas.lanewise import anywhere, where

# What is held: from half of this distance on; beyond three times as much it does not move at all.
DISTANCE = 40.0
# Force, over the speed of signals and head, below which what is held begins to move back slowly.
SLOW_RETURN = 1e-3


def hold(kind, z, rates, jac):
    """Hold what would move for ever (`population.pair.solver.held`): noise parts of relu that fall, angles that grow.

    Changes rates, and jac unless None, in place.
    """
    square = rates[7] * rates[7] + rates[8] * rates[8]
    for i in range(4):
        square = square + rates[i] * rates[i]
    if kind == RELU:
        hold_one(4, -1.0, square, z, rates, jac)
        hold_one(5, -1.0, square, z, rates, jac)
    hold_one(6, where(z[6] > 0.0, 1.0, -1.0), square, z, rates, jac)


def hold_one(i, outward, square, z, rates, jac):
    """Hold coordinate i, `outward` being the sign that leads away; square: of the speed of signals and head."""
    rate = rates[i]
    share = z[i] / DISTANCE
    s2 = share * share
    s4 = s2 * s2
    s8 = s4 * s4
    slowed = 1.0 / (1.0 + s8 * s8)
    value = rate * slowed
    by_rate = slowed + 0.0 * value
    by_place = -16.0 / DISTANCE * (s8 * s4 * s2 * share) * slowed * value
    by_square = 0.0 * value
    distance = outward * z[i]
    far = (distance >= 0.5 * DISTANCE) & (rate != 0.0)
    if anywhere(far):
        back = far & (rate * outward <= 0.0)
        force = value * exponential(-distance, 0.0)
        force = force * force
        rise = exponential(8.0 * (DISTANCE + 2.0 - distance), 0.0)
        brake = SLOW_RETURN * SLOW_RETURN / (1.0 + rise)
        part = force / (force + brake * square)
        fall = exponential(4.0 * (distance - DISTANCE), 0.0)
        free = where(distance > 3.0 * DISTANCE, 0.0, 1.0 / (1.0 + fall))
        steep = part * part * (1.0 - part) * value
        slope = where(back, part * part * (5.0 - 4.0 * part), where(far, free, 1.0))
        along = where(far, -4.0 * value * (fall * free) * free, 0.0)
        along = where(back, -4.0 * steep - 16.0 * steep * (rise / (1.0 + rise)), along)
        by_rate = by_rate * slope
        by_place = by_place * slope + outward * along
        by_square = where(back, -2.0 * value * part * (part * (brake / (force + brake * square))), 0.0)
        value = where(back, value * part * part, where(far, value * free, value))
    rates[i] = value
    if jac is not None:
        hold_row(i, by_rate, by_place, by_square, rates, jac)


def hold_row(i, by_rate, by_place, by_square, rates, jac):
    """Row i of the Jacobian, from what the held rate is by the free one, the coordinate and the square of the speed."""
    moved = anywhere(by_square != 0.0)
    for k in range(9):
        value = by_rate * jac[i, k]
        if moved:
            change = rates[7] * jac[7, k] + rates[8] * jac[8, k]
            for j in range(4):
                change = change + rates[j] * jac[j, k]
            value = value + 2.0 * by_square * change
        jac[i, k] = value
    jac[i, i] += by_place

"""Kinks of relu in the flow of neurons with hidden units, as `dynlab.population.hidden.solver` says; undecorated."""

from dynlab.formulas.components import STRENGTHS
from dynlab.formulas.dopri5 import STAGES
from dynlab.population.hidden.measures import largest_of_feature

# A signal leaves its kink if, in as long as has passed, it would move by more than this part of its feature's largest.
LEAVES = 1e-6
SOONEST = 10.0  # the least time that counts as passed, in units of |w|^2


def kink_speeds(system, i, found):
    """Velocity of signal number i on the upper and on the lower side of its kink, from the last evaluation of `rates`."""
    features, par = system[3], system[4]
    h = i // features
    f = i - h * features
    alpha = par[STRENGTHS + f]
    d_response = found[0]
    return -alpha * d_response[h, 2 * f], alpha * d_response[h, 2 * f + 1]


def chosen_side(up, down, slack):
    """The side that a signal at its kink goes to; 0 (held) where neither velocity points away by more than slack."""
    if up > slack and up >= -down:
        return 1
    return -1 if down < -slack else 0


def least_speed(system, y, f, t, unit):
    """The speed at which a signal of feature f leaves its kink at time t. unit: |w|^2 at the start.

    Slower ones would not move for as long as has passed; of the size of rounding they would come and go with each step.
    """
    return LEAVES * largest_of_feature(system, y, f) / max(t, SOONEST * unit)


def hermite(theta, h, begin, end, begin_slope, end_slope, bump):
    """At theta in [0, 1] of a step of length h: Hermite's cubic, and h theta^2 (1 - theta)^2 times a bump."""
    rest = 1.0 - theta
    value = rest * rest * (1.0 + 2.0 * theta) * begin + theta * theta * (3.0 - 2.0 * theta) * end
    return value + theta * rest * h * (rest * begin_slope - theta * end_slope + theta * rest * bump)


def state_within(dense, theta, h, y, new, stages, out):
    """The state at theta in [0, 1] of the step from y to new."""
    for i in range(len(y)):
        bump = 0.0
        for j in range(STAGES):
            bump += dense[j] * stages[j, i]
        out[i] = hermite(theta, h, y[i], new[i], stages[0, i], stages[STAGES - 1, i], bump)


def first_crossing(system, dense, h, y, new, stages, side, point):
    """First theta at which a signal that is not held reaches its kink, and its number; (1, -1) if none does."""
    first = 1.0
    which = -1
    for i in range(system[2] * system[3]):
        if side[i] == 0 or new[i] * side[i] > 0.0:
            continue
        low = 0.0
        high = first
        state_within(dense, high, h, y, new, stages, point)
        if point[i] * side[i] > 0.0:
            continue
        for _ in range(50):
            middle = 0.5 * (low + high)
            state_within(dense, middle, h, y, new, stages, point)
            if point[i] * side[i] <= 0.0:
                high = middle
            else:
                low = middle
        first = high
        which = i
    return first, which


def first_release(system, y, t, unit, margins, found, side, theta):
    """Earlier than theta, if a held signal's velocity away from its kink came to be enough within the step: by the secant.

    margins (M K,): how much more it was than enough at the step's start; `found` is of the step's end, at t. Fills nothing.
    """
    first = theta
    which = -1
    features = system[3]
    for i in range(system[2] * features):
        if side[i] == 0:
            up, down = kink_speeds(system, i, found)
            after = max(up, -down) - least_speed(system, y, i % features, t, unit)
            if after > 0.0:
                at = -margins[i] / (after - margins[i])
                if at < first:
                    first = max(at, 1e-3 * theta)
                    which = i
    return first, which


def settle_sides(system, y, t, unit, found, side, margins):
    """Choose the sides of all signals at their kinks anew; whether any left. margins: see `first_release`."""
    turned = False
    features = system[3]
    for i in range(system[2] * features):
        if side[i] == 0:
            up, down = kink_speeds(system, i, found)
            slack = least_speed(system, y, i % features, t, unit)
            margins[i] = max(up, -down) - slack
            side[i] = chosen_side(up, down, slack)
            turned = turned or side[i] != 0
    return turned

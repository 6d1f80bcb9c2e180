"""Kinks of relu in the flow of neurons with hidden units, as `dynlab.population.hidden.solver` says; undecorated."""

from dynlab.formulas.components import STRENGTHS
from dynlab.formulas.dopri5 import STAGES


def kink_speeds(system, i, found):
    """Velocity of signal number i on the upper and on the lower side of its kink, from the last evaluation of `rates`."""
    features, par = system[3], system[4]
    h = i // features
    f = i - h * features
    alpha = par[STRENGTHS + f]
    d_response = found[0]
    return -alpha * d_response[h, 2 * f], alpha * d_response[h, 2 * f + 1]


def chosen_side(up, down):
    """The side that a signal at its kink goes to; 0 (held) where neither velocity points away."""
    if up > 0.0 and up >= -down:
        return 1
    return -1 if down < 0.0 else 0


def state_within(dense, theta, h, y, new, stages, out):
    """The state at theta in [0, 1] of the step from y to new."""
    rest = 1.0 - theta
    for i in range(len(y)):
        bump = 0.0
        for j in range(STAGES):
            bump += dense[j] * stages[j, i]
        value = rest * rest * (1.0 + 2.0 * theta) * y[i] + theta * theta * (3.0 - 2.0 * theta) * new[i]
        slope = rest * stages[0, i] - theta * stages[STAGES - 1, i]
        out[i] = value + theta * rest * h * (slope + theta * rest * bump)


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


def first_release(system, margins, found, side, theta):
    """Earlier than theta, if a held signal's velocity away from the kink turned positive within the step: by the secant.

    margins (M K,): that velocity at the step's start; `found` is of the step's end. Fills nothing.
    """
    first = theta
    which = -1
    for i in range(system[2] * system[3]):
        if side[i] == 0:
            up, down = kink_speeds(system, i, found)
            after = max(up, -down)
            if after > 0.0:
                at = -margins[i] / (after - margins[i])
                if at < first:
                    first = max(at, 1e-3 * theta)
                    which = i
    return first, which


def settle_sides(system, found, side, margins):
    """Choose the sides of all signals at their kinks anew; whether any left. margins: see `first_release`."""
    turned = False
    for i in range(system[2] * system[3]):
        if side[i] == 0:
            up, down = kink_speeds(system, i, found)
            margins[i] = max(up, -down)
            side[i] = chosen_side(up, down)
            turned = turned or side[i] != 0
    return turned

"""Time along a step of the flow: s = |W dz/dt| between its ends, and the integral of 1/s. Undecorated.

Why time is an integral and not the variable: the head of `dynlab.population.pair.solver`.
"""

from math import exp, log

from dynlab.population.pair.solver import flow_rates

# What d log s / d tau may be beyond the bound of `plausible_slope`, in units of 1/h: a blow-up turns within one step.
PLAY = 4.0
# 5-point Gauss-Legendre on [0, 1].
NODES = (0.046910077030668, 0.23076534494715845, 0.5, 0.7692346550528415, 0.953089922969332)
WEIGHTS = (0.11846344252809454, 0.23931433524968324, 0.28444444444444444, 0.23931433524968324, 0.11846344252809454)


def add_time(clock, step):
    """Compensated sum: clock = (time, its rounding error)."""
    step = step + clock[1]
    total = clock[0] + step
    clock[1] = step - (total - clock[0])
    clock[0] = total


def plausible_slope(h, slope, change):
    """d log s / d tau, limited to what fits the change of log s over the step (Fritsch & Carlson's bound, with play).

    The slope is a difference of large numbers where a stiff direction has relaxed to rounding; the change is not.
    """
    high = max(0.0, 3.0 * change) + PLAY
    low = min(0.0, 3.0 * change) - PLAY
    return min(max(slope, low / h), high / h)


def log_speed(theta, pace):
    """log s at theta: the quartic through the values and slopes at both ends of the step and the value in its middle.

    pace: (length h of the step, log s and its slope by arc length at the start, the same at the end, bump).
    """
    h, log0, slope0, log1, slope1, bump = pace
    rest = 1.0 - theta
    value = rest * rest * ((1.0 + 2.0 * theta) * log0 + theta * h * slope0)
    value += theta * theta * ((3.0 - 2.0 * theta) * log1 - rest * h * slope1)
    return value + bump * theta * theta * rest * rest


def elapsed(theta, pace):
    """Time from the step's start to theta: h times the integral of 1/s."""
    total = 0.0
    for i in range(5):
        total += WEIGHTS[i] * exp(-log_speed(theta * NODES[i], pace))
    return pace[0] * theta * total


def theta_at(time, pace):
    """The theta at which `elapsed` equals `time`, by bisection and secant steps (monotone)."""
    low = 0.0
    high = 1.0
    f_low = -time
    f_high = elapsed(1.0, pace) - time
    for turn in range(80):
        middle = low - f_low * (high - low) / (f_high - f_low) if turn % 3 else 0.5 * (low + high)
        value = elapsed(middle, pace) - time
        if value <= 0.0:
            low = middle
            f_low = value
        else:
            high = middle
            f_high = value
        if high - low <= 1e-15 or value == 0.0:
            break
    return low if -f_low < f_high else high


def square_speed(system, arc, side, scratch, state, rates):
    """s^2 at a state."""
    flow_rates(system, state, side, scratch, rates)
    total = 0.0
    for i in range(len(state)):
        weighed = arc[i] * rates[i]
        total += weighed * weighed
    return total


def gap_by(total, pace):
    """How far log s at the middle of the step, where s^2 is `total`, is above the cubic through the ends (at most 1/2)."""
    if not total > 0.0:
        return 0.0
    return min(max(0.5 * log(total) - log_speed(0.5, pace), -0.5), 0.5)


def bent(pace, gap):
    """The pace with log s at the middle so far above the cubic, and the time of the step."""
    pace = (pace[0], pace[1], pace[2], pace[3], pace[4], 16.0 * gap)
    return pace, elapsed(1.0, pace)

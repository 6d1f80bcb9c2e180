"""What is decided for each step of the flow by itself: its length, whether it and its time are good. Undecorated.

Numbers of one trajectory: its clock (time, its rounding error) and its control, the entries named below.
"""

from math import log

from dynlab.formulas.activations import is_steep
from dynlab.formulas.lanewise import where
from dynlab.population.pair.clock import elapsed, plausible_slope
from dynlab.population.pair.solver import LOG_SPEED_STEP
from dynlab.population.status import NOT_FINITE, UNDERFLOW
from dynlab.population.stepping import GROW, SAFETY, SHRINK

MOST_REJECTED = 100
# What is not a status: the trajectory goes on.
RUNNING = -1
# Entries of control: what one step leaves to the next, beside arrays.
STEP_LENGTH, LAST_LENGTH, LAST_ERROR, FASTEST, SPEED, SLOPE, IN_TIME = range(7)
FRESH, HELD_BACK, IN_A_ROW, OUTPUT, SINCE, FALLING = range(7, 13)
CONTROLS = 13
# Values of control[IN_TIME]: a step in arc length; in time, for this step; in time, as long as it goes well.
IN_ARC, ONCE, TIMED = 0.0, 1.0, 2.0
FIXED_POINT = 1e-14
# What counts of the fastest motion for a fixed point: noise parts that reach 0 do it at any speed.
USUAL_SPEED = 100.0
# Steps taken in time err by all that they may, and to the same side: they may by this share of the tolerance.
TIMED_SHARE = 0.1
# Largest difference of log s from its cubic in the middle of a step, weighed by the step's share of time, over rtol.
CLOCK = 1000.0
# A step that takes less than this share of the time before it need not be timed so well.
SHORT = 1e-4
# A stiff motion is followed in time until log s changes by more within a step that has more than this error.
CALM = 0.1
# An online output vanishes if so many looks in a row say so, one each time that its variance falls by a factor of TICK: if
# it is below the square root of VANISHING, relative to its parts, and will have lost FOLDS_DOWN more e-folds before the end;
# or below the square root of 1e4 times as much, and will be 0 within this part of the time passed.
TICK, LOOKS, VANISHING, FOLDS_DOWN, AT_ONCE = 0.8, 3.0, 1e-10, 30.0, 1e-4
# A step in arc length that is shorter, and stiff, is better taken in time.
SHORT_ARC = 0.03


def set_out(control, first):
    """Control of the first step. first: what `arc_system` returns at the start."""
    speed, slope, in_time = first
    control[STEP_LENGTH] = 0.01
    control[LAST_LENGTH] = 0.01
    control[LAST_ERROR] = 1.0
    control[FASTEST] = 0.0
    control[SPEED] = speed
    control[SLOPE] = slope
    control[IN_TIME] = ONCE if in_time else IN_ARC
    control[FRESH] = 1.0
    control[HELD_BACK] = 0.0
    control[IN_A_ROW] = 0.0
    control[OUTPUT] = 1.0
    control[SINCE] = 0.0
    control[FALLING] = 0.0


def hold_back(error, factor, control):
    """After a step that was not good: one of its length times `factor`, unless too many in a row were not good."""
    control[STEP_LENGTH] = control[STEP_LENGTH] * factor
    control[HELD_BACK] = 1.0
    control[IN_A_ROW] += 1.0
    if control[IN_A_ROW] > MOST_REJECTED:
        return UNDERFLOW if error < 1e30 else NOT_FINITE
    return RUNNING


def fixed(kind, control):
    """Look at the speed of a new state: whether it is that of a fixed point."""
    speed = control[SPEED]
    control[FRESH] = 0.0
    control[FASTEST] = max(control[FASTEST], speed)
    slow = not is_steep(kind) and speed < FIXED_POINT * min(control[FASTEST], USUAL_SPEED)
    return speed == 0.0 or slow


def factor_by(error):
    """The next length's factor by the error alone."""
    if error < 1e30:
        return max(SHRINK, min(GROW, SAFETY / max(error, 1e-10) ** 0.2))
    return SHRINK


def pace_by_ends(top, speed1, slope1, control):
    """(Change of log s over the step, its pace as far as the ends tell, its time)."""
    length, log0 = control[STEP_LENGTH] * top, log(control[SPEED])
    log1 = log(speed1) if speed1 > 0.0 else log0 - 1.0
    pace = (length, log0, 0.0, log0, 0.0, 0.0)
    if not control[IN_TIME] > 0.0:
        start = plausible_slope(length, control[SLOPE], log1 - log0)
        end = plausible_slope(length, slope1, log1 - log0)
        pace = (length, log0, start, log1, end, 0.0)
    return abs(log1 - log0), pace, elapsed(1.0, pace)


def needs_middle(step_time, clock, control):
    """Whether the speed in the middle of the step is looked at."""
    return not control[IN_TIME] > 0.0 and step_time > SHORT * clock[0]


def well_timed(change, speed1, gap, step_time, rtol, factor, steep, clock, control):
    """(Whether the time of the step is known well enough, the next length's factor)."""
    accepted = True
    if change > LOG_SPEED_STEP and not control[IN_TIME] > 0.0 and (steep or speed1 > FIXED_POINT * control[FASTEST]):
        accepted = False
        factor = max(SHRINK, min(factor, 0.8 * LOG_SPEED_STEP / change))
    time_error = abs(gap) * step_time / ((clock[0] + step_time) * CLOCK * rtol)
    if time_error > 1.0:
        accepted = False
        factor = max(SHRINK, min(factor, SAFETY / time_error**0.25))
    return accepted, factor


def turn_page(speed1, slope1, in_time1, control):
    """What the next step begins with is what `arc_system` returned at the end of this one."""
    if control[IN_TIME] > 0.0:
        # What has been learnt about the step is a length of time.
        control[STEP_LENGTH] = control[STEP_LENGTH] * speed1 / control[SPEED]
        control[LAST_LENGTH] = control[LAST_LENGTH] * speed1 / control[SPEED]
    control[SPEED] = speed1
    control[SLOPE] = slope1
    if control[IN_TIME] != TIMED:
        control[IN_TIME] = ONCE if in_time1 else IN_ARC
    control[FRESH] = 1.0


def predicted_factor(error, factor, control):
    """The next length's factor by the trend of the error, not by its last value alone: predictive control (Gustafsson, ACM
    TOMS 20, 1994). factor: from the error alone. The step is the last one from now on.
    """
    h, last_h, last_error = control[STEP_LENGTH], control[LAST_LENGTH], control[LAST_ERROR]
    error = max(error, 1e-4)
    trend = SAFETY * (h / last_h) * (last_error / (error * error)) ** 0.2
    control[LAST_LENGTH] = h
    control[LAST_ERROR] = error
    return min(factor, max(trend, SHRINK))


def choose_length(error, factor, control):
    """The next step's length. factor: from the error alone."""
    h = control[STEP_LENGTH]
    factor = predicted_factor(error, factor, control)
    control[STEP_LENGTH] = h * (min(factor, 1.0) if control[HELD_BACK] > 0.0 else factor)
    control[HELD_BACK] = 0.0


def share_of(rtol, control):
    """The tolerance of the next step."""
    return where(control[IN_TIME] == TIMED, TIMED_SHARE * rtol, rtol)


def falls(now, step_time, until, clock, control):
    """Whether an online output loses all its variance before the end, at this pace.

    now: `at_rest.smallest_output`; step_time: since the last look. Looks each time that the output has fallen by `TICK`;
    single steps may err by more than they take away.
    """
    control[SINCE] += step_time
    before = control[OUTPUT]
    if TICK * before < now < before / TICK:
        return False
    falling = now == 0.0
    if 0.0 < now < min(before, 1e4 * VANISHING):
        folds = 0.5 * log(before / now)
        falling = folds * AT_ONCE * clock[0] > control[SINCE]
        if now < VANISHING:
            falling = falling or folds * (until - clock[0]) > FOLDS_DOWN * control[SINCE]
    control[OUTPUT] = now
    control[SINCE] = 0.0
    control[FALLING] = control[FALLING] + 1.0 if falling else 0.0
    return control[FALLING] >= LOOKS


def calm_down(error, speed1, control):
    """A step in time that was not calm is the last one in time."""
    change = abs(log(speed1 / control[SPEED])) if speed1 > 0.0 else 1.0
    if control[IN_TIME] == TIMED and change > CALM and error > CALM:
        control[IN_TIME] = ONCE

"""One trajectory of the flow from start to end, with its events: undecorated, compiled by `dynlab.population.pair.flow`.

Events are located on the solver's interpolant, not on a grid: a feature is learnt when the largest squared cosine of
any neuron with it first passes 1/2; the head's peak is the largest |E_jr| (j != r) over the whole trajectory.
"""

from math import log

from dynlab.formulas.activations import RELU, is_odd, is_steep
from dynlab.population.pair.solver import (
    LOG_SPEED_STEP,
    arc_system,
    best_cosine,
    crossing,
    elapsed,
    flow_jacobian,
    head_size,
    interpolate,
    invariants,
    middle_gap,
    plausible_slope,
    rosenbrock_step,
    settle_kink,
    settled,
    size,
    slaved_floors,
    step_error,
    theta_at,
)
from dynlab.population.status import AT_REST, NOT_FINITE, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, UNTIL
from dynlab.population.stepping import DOMINANT, FIRST, GROW, PEAK, SAFETY, SECOND, SHRINK

# Entries of tally and counts.
PEAK_VALUE, DRIFT, END = 0, 1, 2
STEPS, REJECTED, TRACED, NEXT_TIME = 0, 1, 2, 3
MOST_REJECTED = 100
# What is not a status: the trajectory goes on.
RUNNING = -1
# Entries of control: what one step leaves to the next, beside arrays.
LENGTH, LAST_LENGTH, LAST_ERROR, FASTEST, SPEED, SLOPE, IN_TIME, FRESH, HELD_BACK, IN_A_ROW = range(10)
FIXED_POINT = 1e-14
# Largest difference of log s from its cubic in the middle of a step, weighed by the step's share of time, over rtol.
CLOCK = 1000.0
# A step that takes less than this share of the time before it need not be timed so well.
SHORT = 1e-4


def add_time(clock, step):
    """Compensated sum: clock = (time, its rounding error)."""
    step = step + clock[1]
    total = clock[0] + step
    clock[1] = step - (total - clock[0])
    clock[0] = total


def locate_learnt(system, table, z, new, stages, side, feature, top, point):
    """Theta in (0, top] at which `feature` becomes learnt (known to be so at top), by bisection."""
    kind, m, features, _ = system
    low = 0.0
    high = top
    for _ in range(50):
        middle = 0.5 * (low + high)
        interpolate(table, middle, z, new, stages, point)
        if best_cosine(kind, m, features, point, side, feature) > DOMINANT:
            high = middle
        else:
            low = middle
    interpolate(table, high, z, new, stages, point)
    return high


def locate_peak(system, table, z, new, stages, top, point):
    """Theta of the largest head entry inside the step, by golden-section search (one maximum a step)."""
    m = system[1]
    n = len(z)
    ratio = 0.6180339887498949
    low = 0.0
    high = top
    x1 = high - ratio * (high - low)
    x2 = low + ratio * (high - low)
    interpolate(table, x1, z, new, stages, point)
    y1 = head_size(n, m, point)
    interpolate(table, x2, z, new, stages, point)
    y2 = head_size(n, m, point)
    for _ in range(40):
        if y1 > y2:
            high = x2
            x2 = x1
            y2 = y1
            x1 = high - ratio * (high - low)
            interpolate(table, x1, z, new, stages, point)
            y1 = head_size(n, m, point)
        else:
            low = x1
            x1 = x2
            y1 = y2
            x2 = low + ratio * (high - low)
            interpolate(table, x2, z, new, stages, point)
            y2 = head_size(n, m, point)
    interpolate(table, 0.5 * (low + high), z, new, stages, point)
    return 0.5 * (low + high)


def mark(row, time, state, marks, snapshots):
    """Keep the time and the state of an event."""
    marks[row] = time
    for i in range(len(state)):
        snapshots[row, i] = state[i]


def note_learnt(system, table, z, new, stages, side, last, top, clock, timing, learnt, marks, snapshots, point):
    """Record the features learnt within the step; last: the state at theta = top."""
    kind, m, features, _ = system
    pace, span = timing
    for f in range(features):
        if learnt[f] >= 0.0 or best_cosine(kind, m, features, last, side, f) <= DOMINANT:
            continue
        theta = locate_learnt(system, table, z, new, stages, side, f, top, point)
        learnt[f] = clock[0] + elapsed(theta / span, pace)
        if marks[FIRST] < 0.0:
            mark(FIRST, learnt[f], point, marks, snapshots)
        elif learnt[f] < marks[FIRST]:
            for i in range(len(point)):
                snapshots[SECOND, i] = snapshots[FIRST, i]
            marks[SECOND] = marks[FIRST]
            mark(FIRST, learnt[f], point, marks, snapshots)
        elif marks[SECOND] < 0.0:
            mark(SECOND, learnt[f], point, marks, snapshots)


def note_peak(system, table, z, new, stages, old_rates, new_rates, last, top, clock, timing, tally, marks, snapshots, point):
    """Record the head's largest entry so far: at the step's end, or inside the step where an entry turned."""
    m = system[1]
    n = len(z)
    pace, span = timing
    turned = False
    for i in range(n - m * (m - 1), n):
        if old_rates[i] * new_rates[i] < 0.0 and abs(z[i]) + abs(last[i]) > 0.5 * tally[PEAK_VALUE]:
            turned = True
    if turned:
        theta = locate_peak(system, table, z, new, stages, top, point)
        value = head_size(n, m, point)
        if value > tally[PEAK_VALUE]:
            tally[PEAK_VALUE] = value
            mark(PEAK, clock[0] + elapsed(theta / span, pace), point, marks, snapshots)
    value = head_size(n, m, last)
    if value > tally[PEAK_VALUE]:
        tally[PEAK_VALUE] = value
        mark(PEAK, clock[0] + elapsed(top / span, pace), last, marks, snapshots)


def not_all_learnt(features, learnt):
    """Whether a feature is still to be learnt."""
    for f in range(features):
        if learnt[f] < 0.0:
            return True
    return False


def head_moved(n, m, old_rates, new_rates, last, tally):
    """Whether the largest head entry grew over the step, or an entry turned within it."""
    for i in range(n - m * (m - 1), n):
        if abs(last[i]) > tally[PEAK_VALUE] or old_rates[i] * new_rates[i] < 0.0:
            return True
    return False


def record(table, z, new, stages, top, clock, timing, times, at_times, trace_time, trace, per_step, counts, point):
    """Record the step at the chosen times and, for a trace, at `per_step` points of its interpolant."""
    pace, span = timing
    end = clock[0] + elapsed(top / span, pace)
    while counts[NEXT_TIME] < len(times) and times[counts[NEXT_TIME]] <= end:
        theta = span * theta_at(times[counts[NEXT_TIME]] - clock[0], pace)
        interpolate(table, min(theta, top), z, new, stages, point)
        for i in range(len(z)):
            at_times[counts[NEXT_TIME], i] = point[i]
        counts[NEXT_TIME] += 1
    for k in range(per_step):
        if counts[TRACED] < len(trace_time):
            theta = top * (k + 1.0) / per_step
            interpolate(table, theta, z, new, stages, point)
            trace_time[counts[TRACED]] = clock[0] + elapsed(theta / span, pace)
            for i in range(len(z)):
                trace[counts[TRACED], i] = point[i]
            counts[TRACED] += 1


def all_finite(n, rates, jac):
    """Whether the rates and the Jacobian are finite numbers."""
    for i in range(n):
        if not abs(rates[i]) < 1e300:
            return False
        for k in range(n):
            if not abs(jac[i, k]) < 1e300:
                return False
    return True


def at_rounding(n, z, jac):
    """Whether what rounding z does to the rates is as large as the rates: a fixed point, as far as float64 can tell.

    jac: Jacobian in arc length, so that the rates have norm 1. The cubic pair is left out: its rates stay exact there.
    """
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += abs(jac[i, k]) * max(abs(z[k]), 1.0)
        if total > 1e15:
            return True
    return False


def begin(system, axes, z, side, weights, learnt, marks, snapshots, tally, scratch, complex_scratch, buffers):
    """Prepare `advance`, whose arguments these are. Returns RUNNING, or NOT_FINITE."""
    kind, m, features, par = system
    arc, caps = weights
    rates, jac = buffers[0], buffers[1]
    normal, clock, charge0, _, floors, control = buffers[10:]
    n = size(axes, z)
    for i in range(n):
        floors[i] = caps[i]
    clock[0] = 0.0
    clock[1] = 0.0
    invariants(kind, m, features, par[7], z, charge0)
    for f in range(features):
        learnt[f] = 0.0 if best_cosine(kind, m, features, z, side, f) > DOMINANT else -1.0
        if learnt[f] == 0.0:
            mark(FIRST if marks[FIRST] < 0.0 else SECOND, 0.0, z, marks, snapshots)
    tally[PEAK_VALUE] = head_size(n, m, z)
    if tally[PEAK_VALUE] > 0.0:
        mark(PEAK, 0.0, z, marks, snapshots)
    flow_jacobian(system, z, side, scratch, complex_scratch, rates, jac)
    if not all_finite(n, rates, jac):
        return NOT_FINITE
    speed, slope, in_time = arc_system(axes, arc, rates, jac, normal)
    control[LENGTH] = 0.01
    control[LAST_LENGTH] = 0.01
    control[LAST_ERROR] = 1.0
    control[FASTEST] = 0.0
    control[SPEED] = speed
    control[SLOPE] = slope
    control[IN_TIME] = 1.0 if in_time else 0.0
    control[FRESH] = 1.0
    control[HELD_BACK] = 0.0
    control[IN_A_ROW] = 0.0
    return RUNNING


def advance(
    system,
    axes,
    table,
    z,
    side,
    weights,
    limits,
    stop_at,
    times,
    at_times,
    trace_time,
    trace,
    per_step,
    learnt,
    marks,
    snapshots,
    tally,
    counts,
    scratch,
    complex_scratch,
    buffers,
):
    """Follow the flow from z (overwritten) to its end, or until `stop_at` steps were tried since the start, whichever is
    first; return the status, or RUNNING.

    What is interrupted goes on as if it had not been: all that one step leaves to the next is in the arrays.

    system: (kind, m, K, par). axes: see `solver.size`. table: (A, C, H, gamma) of the method. side: see `solver`.
    weights: (arc (n,), floors (n,)). limits: (until, rtol, stop when settled, largest number of steps).
    times, at_times: when to record and where to; trace_time, trace, per_step: the trace.
    learnt (K,), marks (3,), snapshots (3, n): events (-1: never).
    tally: largest head entry, largest relative drift of the conserved quantities, end time. counts: steps, rejected,
    trace points, times recorded. buffers: scratch of the solver.
    """
    kind, m, features, par = system
    arc, caps = weights
    until, rtol, stop_when_settled, max_steps = limits
    rates, jac, new_rates, new_jac, matrix, order, stages, point, new, last = buffers[:10]
    normal, clock, charge0, charge1, floors, control = buffers[10:]
    n = size(axes, z)
    h = control[LENGTH]
    last_h = control[LAST_LENGTH]
    last_error = control[LAST_ERROR]
    fastest = control[FASTEST]
    speed = control[SPEED]
    slope = control[SLOPE]
    in_time = control[IN_TIME] > 0.0
    fresh = control[FRESH] > 0.0
    held_back = control[HELD_BACK] > 0.0
    in_a_row = int(control[IN_A_ROW])
    trouble = RUNNING
    while counts[STEPS] + counts[REJECTED] < stop_at:
        if fresh:
            slaved_floors(kind, n, m, features, jac, caps, floors)
            fresh = False
            fastest = max(fastest, speed)
            remaining = until - clock[0]
            resting = not is_steep(kind) and speed < FIXED_POINT * fastest
            if speed == 0.0 or resting or (not is_odd(kind) and is_steep(kind) and at_rounding(n, z, jac)):
                return finish(n, z, times, at_times, counts, tally, until, AT_REST)
            if stop_when_settled and settled(kind, m, features, z, side, rates, speed, remaining):
                return finish(n, z, times, at_times, counts, tally, clock[0], STATIONARY)
        fixed = speed if in_time else 0.0
        rosenbrock_step(system, axes, table, h, fixed, z, side, arc, jac, scratch, matrix, order, stages, point, new)
        error = step_error(kind, m, features, rtol, floors, z, new, stages)
        factor = SHRINK
        accepted = error <= 1.0
        if error < 1e30:
            factor = max(SHRINK, min(GROW, SAFETY / max(error, 1e-10) ** 0.2))
        top = 1.0
        kink = -1
        gap = 0.0
        step_time = 0.0
        start = 0.0
        end = 0.0
        pace = (h, 0.0, 0.0, 0.0, 0.0, 0.0)
        speed1 = speed
        slope1 = slope
        in_time1 = in_time
        if accepted:
            if kind == RELU:
                top, kink = crossing(system, table, z, new, stages, side, scratch, point, last)
            if top < 1.0:
                interpolate(table, top, z, new, stages, last)
            else:
                for i in range(n):
                    last[i] = new[i]
            flow_jacobian(system, last, side, scratch, complex_scratch, new_rates, new_jac)
            accepted = all_finite(n, new_rates, new_jac)
        if accepted:
            # The time integral wants the speed and its slope at both ends, from the same side of a kink.
            speed1, slope1, in_time1 = arc_system(axes, arc, new_rates, new_jac, normal)
            log1 = log(speed1) if speed1 > 0.0 else log(speed) - 1.0
            log0 = log(speed)
            change = abs(log1 - log0)
            if in_time:
                pace = (h * top, log0, 0.0, log0, 0.0, 0.0)
            else:
                start = plausible_slope(h * top, slope, log1 - log0)
                end = plausible_slope(h * top, slope1, log1 - log0)
                pace = (h * top, log0, start, log1, end, 0.0)
            step_time = elapsed(1.0, pace)
            if not in_time and step_time > SHORT * clock[0]:
                interpolate(table, 0.5 * top, z, new, stages, point)
                gap = middle_gap(system, arc, side, scratch, pace, point, normal)
                pace = (h * top, log0, start, log1, end, 16.0 * gap)
                step_time = elapsed(1.0, pace)
            if change > LOG_SPEED_STEP and not in_time and (is_steep(kind) or speed1 > FIXED_POINT * fastest):
                accepted = False
                factor = max(SHRINK, min(factor, 0.8 * LOG_SPEED_STEP / change))
            time_error = abs(gap) * step_time / ((clock[0] + step_time) * CLOCK * rtol)
            if time_error > 1.0:
                accepted = False
                factor = max(SHRINK, min(factor, SAFETY / time_error**0.25))
        if not accepted:
            counts[REJECTED] += 1
            h = h * min(factor, 0.9)
            held_back = True
            in_a_row += 1
            if in_a_row > MOST_REJECTED:
                trouble = UNDERFLOW if error < 1e30 else NOT_FINITE
                break
            continue
        in_a_row = 0
        counts[STEPS] += 1
        timing = (pace, top)
        stop = clock[0] + step_time >= until
        cut = top
        if stop:
            cut = top * theta_at(until - clock[0] - clock[1], pace)
            interpolate(table, cut, z, new, stages, last)
        # Calls with this many arrays cost as much as a stage of the method: only where there is something to note.
        if not_all_learnt(features, learnt):
            note_learnt(system, table, z, new, stages, side, last, cut, clock, timing, learnt, marks, snapshots, point)
        if head_moved(n, m, rates, new_rates, last, tally):
            note_peak(
                system, table, z, new, stages, rates, new_rates, last, cut, clock, timing, tally, marks, snapshots, point
            )
        if len(times) > 0 or per_step > 0:
            record(table, z, new, stages, cut, clock, timing, times, at_times, trace_time, trace, per_step, counts, point)
        for i in range(n):
            z[i] = last[i]
        invariants(kind, m, features, par[7], z, charge1)
        for j in range(m):
            tally[DRIFT] = max(tally[DRIFT], abs(charge1[j] - charge0[j]) / charge0[j])
        if stop:
            return finish(n, z, times, at_times, counts, tally, until, UNTIL)
        add_time(clock, step_time)
        if kind == RELU:
            turned = kink >= 0
            if turned:
                z[kink] = 0.0
                settle_kink(system, z, side, kink, scratch, point)
            for i in range(m * features):
                if side[i] == 0:
                    settle_kink(system, z, side, i, scratch, point)
                    turned = turned or side[i] != 0
            if turned:
                flow_jacobian(system, z, side, scratch, complex_scratch, new_rates, new_jac)
                speed1, slope1, in_time1 = arc_system(axes, arc, new_rates, new_jac, normal)
        if in_time:
            # What has been learnt about the step is a length of time.
            h = h * speed1 / speed
            last_h = last_h * speed1 / speed
        speed = speed1
        slope = slope1
        in_time = in_time1
        for i in range(n):
            rates[i] = new_rates[i]
            for k in range(n):
                jac[i, k] = new_jac[i, k]
        fresh = True
        # Predictive control (Gustafsson, ACM TOMS 20, 1994): the trend of the error counts, not its last value alone.
        error = max(error, 1e-4)
        trend = SAFETY * (h / last_h) * (last_error / (error * error)) ** 0.2
        last_h = h
        last_error = error
        factor = min(factor, max(trend, SHRINK))
        h = h * (min(factor, 1.0) if held_back else factor)
        held_back = False
    tally[END] = clock[0]
    if trouble != RUNNING:
        return trouble
    if counts[STEPS] + counts[REJECTED] >= max_steps:
        return TOO_MANY_STEPS
    control[LENGTH] = h
    control[LAST_LENGTH] = last_h
    control[LAST_ERROR] = last_error
    control[FASTEST] = fastest
    control[SPEED] = speed
    control[SLOPE] = slope
    control[IN_TIME] = 1.0 if in_time else 0.0
    control[FRESH] = 1.0 if fresh else 0.0
    control[HELD_BACK] = 1.0 if held_back else 0.0
    control[IN_A_ROW] = in_a_row
    return RUNNING


def finish(n, z, times, at_times, counts, tally, time, status):
    """End at `time`: times still to be recorded see the end state (nothing changes any more, or none are left)."""
    while counts[NEXT_TIME] < len(times):
        for i in range(n):
            at_times[counts[NEXT_TIME], i] = z[i]
        counts[NEXT_TIME] += 1
    tally[END] = time
    return status

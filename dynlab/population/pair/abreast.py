"""Trajectories of the cubic pair, eight abreast: one in each lane of the vectors of `dynlab.machine.lanes`. Undecorated.

What costs time is done for all lanes at once: the stages of a step, the Jacobian and its factors, the error, the speed in
the middle. What is decided is decided for each lane by itself, by the code that follows single trajectories
(`dynlab.population.pair.integrate`), on its lane of the arrays: whether a step is good, how long the next one is, what
happened in it, whether it was the last. Each trajectory has its own time and step; a lane whose trajectory has ended takes
the next start. Lanes do not know of each other: results are bit by bit those of `integrate.advance`, whoever is abreast.

    problem    (system, axes, table, limits): as in `integrate`, without weights
    queue      (z, sides, arcs, floors): the starts, z overwritten by the ends
    records    (times, states there, trace times, trace, points a step), with an axis of starts in the second
    results    (learnt, marks, snapshots, tally, counts, status), each with an axis of starts
    lanes      (which, cursor, fields): the start in each lane (-1: none); (next start, starts that have ended); arrays with
               lanes as their last axis: z, side, arc, caps, ends, buffers as in `integrate`
"""

from dynlab.formulas.lanewise import where
from dynlab.machine.lanes import LANE_COUNT, in_lanes
from dynlab.population.pair.at_rest import settled
from dynlab.population.pair.clock import bent, gap_by, square_speed
from dynlab.population.pair.events import END, REJECTED, STEPS
from dynlab.population.pair.integrate import all_finite, close_records, note_start, take
from dynlab.population.pair.solver import (
    arc_system,
    flow_jacobian,
    interpolate,
    rosenbrock_step,
    size,
    slaved_floors,
    step_error,
)
from dynlab.population.pair.step_control import (
    FRESH,
    IN_A_ROW,
    IN_TIME,
    RUNNING,
    SPEED,
    STEP_LENGTH,
    choose_length,
    factor_by,
    fixed,
    hold_back,
    needs_middle,
    pace_by_ends,
    set_out,
    turn_page,
    well_timed,
)
from dynlab.population.status import AT_REST, NOT_FINITE, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, UNTIL

# Rows of ends, what is known of a step: its error, whether the end is finite, what `arc_system` says of it, the square of
# the speed in its middle, whether it is good so far; then its change of log s, its time, its pace.
ERROR, FINITE, SPEED_THERE, SLOPE_THERE, IN_TIME_THERE, SQUARE, GOOD, CHANGE, TIME, PACE = range(10)
ENDS = PACE + 6
CLOSED, TWINS = (True, None), (True, None, None)  # as `solver.flow_rates` and `solver.flow_jacobian` take them
FAILED = (TOO_MANY_STEPS, UNDERFLOW, NOT_FINITE)


def advance_abreast(problem, queue, records, results, lanes, burst):
    """Go on with all starts for about `burst` steps; how many have ended."""
    which, cursor, _ = lanes
    left = burst
    while cursor[1] < len(queue[0]) and left > 0:
        fill(problem, queue, results, lanes)
        if look_at_lanes(problem, queue, records, results, lanes) and cursor[0] < len(queue[0]):
            continue
        try_steps(problem, lanes)
        time_steps(problem, lanes)
        for lane in range(LANE_COUNT):
            if which[lane] >= 0:
                left -= 1
                judge(problem, queue, records, results, lanes, lane)
        keep(problem, lanes)
    return cursor[1]


def events_of(results, i):
    """What is noted of start i, as `integrate` takes it."""
    learnt, marks, snapshots, tally, counts, _ = results
    return learnt[i], marks[i], snapshots[i], tally[i], counts[i]


def records_of_start(records, i, count):
    """Where the states of start i are recorded; the trace is that of the last."""
    times, at_times, trace_time, trace, per_step = records
    return times, at_times[i], trace_time, trace, per_step if i == count - 1 else 0


def buffers_of(fields, lane):
    """The buffers of one lane, as `integrate` takes them."""
    rates, jac, new_rates, new_jac, matrix, order, stages, point, new, last, normal, clock, start, now, floors, control = (
        fields[5:]
    )
    return (
        rates[:, lane], jac[:, :, lane], new_rates[:, lane], new_jac[:, :, lane], matrix[:, :, lane], order[:, lane],
        stages[:, :, lane], point[:, lane], new[:, lane], last[:, lane], normal[:, lane], clock[:, lane], start[:, lane],
        now[:, lane], floors[:, lane], control[:, lane],
    )  # fmt: skip


def fill(problem, queue, results, lanes):
    """Give the lanes that have no trajectory the next starts."""
    system, axes, _, _ = problem
    which, cursor, fields = lanes
    z, side, arc, caps, ends = fields[:5]
    rates, jac, new_rates, new_jac, normal, floors = fields[5], fields[6], fields[7], fields[8], fields[15], fields[19]
    filled = False
    for lane in range(LANE_COUNT):
        ends[GOOD, lane] = 0.0
        if which[lane] >= 0 or cursor[0] >= len(queue[0]):
            continue
        i = cursor[0]
        cursor[0] += 1
        which[lane] = i
        for k in range(size(axes, z)):
            z[k, lane] = queue[0][i, k]
            arc[k, lane] = queue[2][i, k]
            caps[k, lane] = queue[3][i, k]
            floors[k, lane] = queue[3][i, k]
        for k in range(len(side)):
            side[k, lane] = queue[1][i, k]
        ends[GOOD, lane] = 1.0
        filled = True
    if not filled:
        return
    points, sides, weights, slopes, columns, across, told = in_lanes((z, side, arc, new_rates, new_jac, normal, ends))
    linearise_lanes(system, axes, points, sides, weights, slopes, columns, across, told)
    for lane in range(LANE_COUNT):
        if ends[GOOD, lane] > 0.0:
            begin_lane(system, queue, results, lanes, lane)
    adopt(size(axes, z), told[GOOD] > 0.0, in_lanes(rates), in_lanes(jac), slopes, columns)


def linearise_lanes(system, axes, z, side, arc, rates, jac, normal, ends):
    """Rates and Jacobian at a point of each lane, in arc length, and what there is to be known of them."""
    flow_jacobian(system, z, side, CLOSED, TWINS, rates, jac)
    ends[FINITE] = where(all_finite(size(axes, z), rates, jac), 1.0, 0.0)
    speed, slope, in_time = arc_system(axes, arc, rates, jac, normal, False)
    ends[SPEED_THERE] = speed
    ends[SLOPE_THERE] = slope
    ends[IN_TIME_THERE] = where(in_time, 1.0, 0.0)


def begin_lane(system, queue, results, lanes, lane):
    """What `integrate.begin` does for a start, its Jacobian known."""
    which, cursor, fields = lanes
    z, ends = fields[0], fields[4]
    clock, start, control = fields[16], fields[17], fields[20]
    i = which[lane]
    note_start(system, z[:, lane], queue[1][i], clock[:, lane], start[:, lane], events_of(results, i))
    if not ends[FINITE, lane] > 0.0:
        results[5][i] = NOT_FINITE
        leave(which, cursor, lane)
        return
    set_out(control[:, lane], (ends[SPEED_THERE, lane], ends[SLOPE_THERE, lane], ends[IN_TIME_THERE, lane] > 0.0))


def leave(which, cursor, lane):
    """A trajectory has ended."""
    which[lane] = -1
    cursor[1] += 1


def adopt(n, chosen, rates, jac, slopes, columns):
    """In the lanes chosen the rates and the Jacobian are from now on these."""
    for i in range(n):
        rates[i] = where(chosen, slopes[i], rates[i])
        for k in range(n):
            jac[i, k] = where(chosen, columns[i, k], jac[i, k])


def look_at_lanes(problem, queue, records, results, lanes):
    """Look at the states that are new, as `integrate.resting` does, and at the number of steps; whether a lane is free."""
    system, axes, _, (until, rtol, stop_when_settled, max_steps) = problem
    kind, m, features, _ = system
    which, cursor, fields = lanes
    z, caps = fields[0], fields[3]
    rates, jac, clock, floors, control = fields[5], fields[6], fields[16], fields[19], fields[20]
    n = size(axes, z)
    slaved_floors(kind, n, m, features, rtol, in_lanes(jac), in_lanes(caps), in_lanes(floors))
    free = False
    for lane in range(LANE_COUNT):
        i = which[lane]
        if i < 0:
            free = True
            continue
        counts = results[4][i]
        own, time, state = control[:, lane], clock[:, lane], RUNNING
        if counts[STEPS] + counts[REJECTED] >= max_steps:
            state = TOO_MANY_STEPS
        elif own[FRESH] > 0.0:
            left = until - time[0]
            if fixed(kind, own):
                state = AT_REST
            elif stop_when_settled and settled(kind, m, features, z[:, lane], queue[1][i], rates[:, lane], own[SPEED], left):
                state = STATIONARY
        if state != RUNNING:
            end_lane(queue, records, results, lanes, lane, state, until if state == AT_REST else time[0])
            free = True
    return free


def end_lane(queue, records, results, lanes, lane, state, end):
    """The trajectory of a lane has ended, at the time `end`."""
    which, cursor, fields = lanes
    i, z = which[lane], fields[0][:, lane]
    tally, counts = results[3][i], results[4][i]
    if state in FAILED:
        tally[END] = end
    else:
        close_records(len(z), z, records_of_start(records, i, len(queue[0])), counts, tally, end, state)
    for k in range(len(z)):
        queue[0][i, k] = z[k]
    results[5][i] = state
    leave(which, cursor, lane)


def try_steps(problem, lanes):
    """A step in each lane, to `new` and `last`, its error, and what `arc_system` says of its end."""
    system, axes, table, (_, rtol, _, _) = problem
    z, side, arc, _, ends = in_lanes(lanes[2][:5])
    _, jac, new_rates, new_jac, matrix, order, stages, point, new, last, normal, _, _, _, floors, control = in_lanes(
        lanes[2][5:]
    )
    n = size(axes, z)
    fixed_speed = where(control[IN_TIME] > 0.0, control[SPEED], 0.0)
    work = (matrix, order, stages, point, new)
    rosenbrock_step(system, axes, table, control[STEP_LENGTH], fixed_speed, z, side, arc, jac, CLOSED, work)
    ends[ERROR] = step_error(system[0], system[1], system[2], rtol, floors, z, new, stages)
    for i in range(n):
        last[i] = new[i]
    linearise_lanes(system, axes, new, side, arc, new_rates, new_jac, normal, ends)


def time_steps(problem, lanes):
    """The time of each step by its ends, and the speed in its middle."""
    which, _, fields = lanes
    ends, clock, control = fields[4], fields[16], fields[20]
    wanted = False
    for lane in range(LANE_COUNT):
        ends[GOOD, lane] = 0.0
        if which[lane] >= 0 and ends[ERROR, lane] <= 1.0 and ends[FINITE, lane] > 0.0:
            ends[GOOD, lane] = 1.0
            change, pace, step_time = pace_by_ends(1.0, ends[SPEED_THERE, lane], ends[SLOPE_THERE, lane], control[:, lane])
            ends[CHANGE, lane] = change
            ends[TIME, lane] = step_time
            for k in range(6):
                ends[PACE + k, lane] = pace[k]
            wanted = wanted or needs_middle(step_time, clock[:, lane], control[:, lane])
    if wanted:
        z, side, arc, _, told = in_lanes(fields[:5])
        stages, point, new, normal = in_lanes((fields[11], fields[12], fields[13], fields[15]))
        interpolate(problem[2], 0.5, z, new, stages, point)
        told[SQUARE] = square_speed(problem[0], arc, side, CLOSED, point, normal)


def judge(problem, queue, records, results, lanes, lane):
    """Whether the step of a lane is good, as `integrate.advance` decides; if it is, what happened in it."""
    system, axes, table, limits = problem
    until, rtol, _, _ = limits
    which, cursor, fields = lanes
    ends = fields[4]
    i = which[lane]
    buffers = buffers_of(fields, lane)
    clock, control = buffers[11], buffers[15]
    counts, z = results[4][i], fields[0][:, lane]
    error = ends[ERROR, lane]
    factor = factor_by(error)
    step_time = ends[TIME, lane]
    pace = (
        ends[PACE, lane], ends[PACE + 1, lane], ends[PACE + 2, lane], ends[PACE + 3, lane], ends[PACE + 4, lane],
        ends[PACE + 5, lane],
    )  # fmt: skip
    accepted = ends[GOOD, lane] > 0.0
    if accepted:
        gap = 0.0
        if needs_middle(step_time, clock, control):
            gap = gap_by(ends[SQUARE, lane], pace)
            pace, step_time = bent(pace, gap)
        accepted, factor = well_timed(
            ends[CHANGE, lane], ends[SPEED_THERE, lane], gap, step_time, rtol, factor, True, clock, control
        )
    if not accepted:
        ends[GOOD, lane] = 0.0
        counts[REJECTED] += 1
        state = hold_back(error, min(factor, 0.9), control)
        if state != RUNNING:
            end_lane(queue, records, results, lanes, lane, state, clock[0])
        return
    control[IN_A_ROW] = 0.0
    counts[STEPS] += 1
    one = (system, axes, table, (fields[2][:, lane], fields[3][:, lane]), limits)
    spare = (CLOSED, TWINS, buffers)
    own = records_of_start(records, i, len(queue[0]))
    if take(one, z, queue[1][i], 1.0, pace, step_time, own, events_of(results, i), spare):
        end_lane(queue, records, results, lanes, lane, UNTIL, until)
        return
    turn_page(ends[SPEED_THERE, lane], ends[SLOPE_THERE, lane], ends[IN_TIME_THERE, lane] > 0.0, control)
    choose_length(error, factor, control)


def keep(problem, lanes):
    """The ends of good steps are where the next ones begin."""
    n = size(problem[1], lanes[2][0])
    ends, rates, jac, slopes, columns = in_lanes((lanes[2][4], *lanes[2][5:9]))
    adopt(n, ends[GOOD] > 0.0, rates, jac, slopes, columns)

"""Trajectories of the pair of cubic, relu or relu3, eight abreast: one in each lane of the vectors of `machine.lanes`.

What costs time is done for all lanes at once: the stages of a step, the Jacobian and its factors, the error, the speed in
the middle (`dynlab.population.pair.lane_steps`). What is decided is decided for each lane by itself, by the code that
follows single trajectories (`dynlab.population.pair.integrate`), on its lane of the arrays: whether a step is good, how long
the next one is, where it meets a kink, what happened in it, whether it was the last. Each trajectory has its own time and
step; a lane whose trajectory has ended takes the next start. Lanes do not know of each other: results are bit by bit those
of `integrate.advance`, whoever is abreast. Undecorated, compiled by `dynlab.population.pair.flow`.

    problem    (system, axes, table, limits, forms): as in `integrate`, without weights; CUBIC_FORMS or RECTIFIED_FORMS
    queue      (z, sides, arcs, floors): the starts, z and sides overwritten by the ends
    records    (times, states there, trace times, trace, points a step), with an axis of starts in the second
    results    (learnt, marks, snapshots, tally, counts, status), each with an axis of starts
    lanes      (which, cursor, fields, rest): the start in each lane (-1: none); (next start, starts that have ended); arrays
               with lanes as their last axis: z, side, arc, caps, ends, buffers as in `integrate`; scratch of `at_rest.still`
"""

from dynlab.formulas.activations import is_steep
from dynlab.machine.lanes import LANE_COUNT, in_lanes
from dynlab.population.pair.at_rest import settled, still
from dynlab.population.pair.clock import bent, gap_by
from dynlab.population.pair.events import END, REJECTED, STEPS
from dynlab.population.pair.integrate import close_records, note_start, take
from dynlab.population.pair.kinks import settle_kink
from dynlab.population.pair.lane_steps import (
    ACCEPTED,
    CHANGE,
    FACTOR,
    FINITE,
    IN_TIME_THERE,
    KINK,
    PACE,
    SHARE,
    SLOPE_THERE,
    SPEED_THERE,
    SQUARE,
    STEP_ERROR,
    STEP_TIME,
    THETA,
    TO_TIME,
    TURNED,
    adopt,
    linearise_lanes,
    linearised_again,
    meet_kinks,
    see_ends,
    set_floors,
    time_steps,
    try_steps,
)
from dynlab.population.pair.solver import is_stiff, size
from dynlab.population.pair.step_control import (
    FRESH,
    IN_A_ROW,
    IN_ARC,
    IN_TIME,
    RUNNING,
    SHORT_ARC,
    SPEED,
    STEP_LENGTH,
    TIMED,
    calm_down,
    choose_length,
    factor_by,
    falls,
    fixed,
    hold_back,
    needs_middle,
    set_out,
    turn_page,
    well_timed,
)
from dynlab.population.status import AT_REST, NOT_FINITE, SINGULAR, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, UNTIL

CUBIC_FORMS, RECTIFIED_FORMS = ((True, None, None),) * 2, ((None, True, None),) * 2  # scratch and twins of `solver`
FAILED = (TOO_MANY_STEPS, UNDERFLOW, NOT_FINITE, SINGULAR)


def advance_abreast(problem, queue, records, results, lanes, burst):
    """Go on with all starts for about `burst` steps; how many have ended."""
    which, cursor, _, _ = lanes
    rectified = problem[4][0][1]
    left = burst
    while cursor[1] < len(queue[0]) and left > 0:
        fill(problem, queue, results, lanes)
        if look_at_lanes(problem, queue, records, results, lanes, rectified) and cursor[0] < len(queue[0]):
            continue
        try_steps(problem, lanes)
        meet_kinks(problem, queue, lanes, rectified)
        see_ends(problem, lanes, rectified)
        time_steps(problem, lanes)
        for lane in range(LANE_COUNT):
            if which[lane] >= 0:
                left -= 1
                judge(problem, queue, records, results, lanes, lane, rectified)
        keep(problem, lanes)
        go_on_lanes(problem, lanes, rectified)
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
    system, axes, _, _, _ = problem
    which, cursor, fields, _ = lanes
    z, side, arc, caps, ends = fields[:5]
    rates, jac, new_rates, new_jac, floors = fields[5], fields[6], fields[7], fields[8], fields[19]
    filled = False
    for lane in range(LANE_COUNT):
        ends[ACCEPTED, lane] = 0.0
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
        ends[ACCEPTED, lane] = 1.0
        filled = True
    if not filled:
        return
    told = in_lanes(ends)
    linearise_lanes(problem, in_lanes(z), told[ACCEPTED] < 0.0, in_lanes(fields))
    for lane in range(LANE_COUNT):
        if ends[ACCEPTED, lane] > 0.0:
            begin_lane(system, queue, results, lanes, lane)
    adopt(size(axes, z), told[ACCEPTED] > 0.0, in_lanes(rates), in_lanes(jac), in_lanes(new_rates), in_lanes(new_jac))


def begin_lane(system, queue, results, lanes, lane):
    """What `integrate.begin` does for a start, its Jacobian known."""
    which, cursor, fields, _ = lanes
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


def look_at_lanes(problem, queue, records, results, lanes, rectified):
    """Look at the states that are new, as `integrate.resting` does, and at the number of steps; whether a lane is free."""
    system, axes, _, (until, rtol, stop_when_settled, max_steps), _ = problem
    kind, m, features, _ = system
    which, cursor, fields, _ = lanes
    z, rates, clock, control = fields[0], fields[5], fields[16], fields[20]
    set_floors(kind, m, features, rtol, size(axes, z), in_lanes(fields))
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
            if fixed(kind, own) or still_there(system, until, lanes, lane, rectified):
                state = AT_REST
            elif stop_when_settled and settled(kind, m, features, z[:, lane], queue[1][i], rates[:, lane], own[SPEED], left):
                state = STATIONARY
        if state != RUNNING:
            end_lane(queue, records, results, lanes, lane, state, until if state == AT_REST else time[0])
            free = True
    return free


def still_there(system, until, lanes, lane, rectified):
    """`at_rest.still`, of a state that is looked at in time."""
    if rectified is not None:
        fields, (matrix, order) = lanes[2], lanes[3]
        control = fields[20]
        if control[IN_TIME, lane] != IN_ARC:
            z, arc, rates, jac = fields[0][:, lane], fields[2][:, lane], fields[5][:, lane], fields[6][:, :, lane]
            left = (until - fields[16][0, lane]) * control[SPEED, lane]
            return still(system, arc, z, rates, jac, (left, matrix, order))
    return False


def end_lane(queue, records, results, lanes, lane, state, end):
    """The trajectory of a lane has ended, at the time `end`."""
    which, cursor, fields, _ = lanes
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


def judge(problem, queue, records, results, lanes, lane, rectified):
    """Whether the step of a lane is good, as `integrate.advance` decides; if it is, what happened in it."""
    system, axes, table, limits, (scratch, twins) = problem
    until, rtol, _, _ = limits
    which, cursor, fields, _ = lanes
    ends = fields[4]
    i = which[lane]
    buffers = buffers_of(fields, lane)
    clock, control = buffers[11], buffers[15]
    counts, z = results[4][i], fields[0][:, lane]
    error, step_time = ends[STEP_ERROR, lane], ends[STEP_TIME, lane]
    factor = factor_by(error)
    pace = (
        ends[PACE, lane], ends[PACE + 1, lane], ends[PACE + 2, lane], ends[PACE + 3, lane], ends[PACE + 4, lane],
        ends[PACE + 5, lane],
    )  # fmt: skip
    accepted = ends[ACCEPTED, lane] > 0.0
    if accepted:
        gap = 0.0
        if needs_middle(step_time, clock, control):
            gap = gap_by(ends[SQUARE, lane], pace)
            pace, step_time = bent(pace, gap)
        accepted, factor = well_timed(
            ends[CHANGE, lane], ends[SPEED_THERE, lane], gap, step_time, rtol, factor, is_steep(system[0]), clock, control
        )
    if not accepted:
        ends[ACCEPTED, lane] = 0.0
        counts[REJECTED] += 1
        ask_for_time(size(axes, z), lanes, lane, rectified)
        state = hold_back(error, 1.0 if ends[TO_TIME, lane] > 0.0 else min(factor, 0.9), control)
        if state != RUNNING:
            end_lane(queue, records, results, lanes, lane, state, clock[0])
        return
    control[IN_A_ROW] = 0.0
    counts[STEPS] += 1
    one = (system, axes, table, (fields[2][:, lane], fields[3][:, lane]), limits)
    spare = (scratch, twins, buffers)
    own = records_of_start(records, i, len(queue[0]))
    if take(one, z, queue[1][i], ends[THETA, lane], pace, step_time, own, events_of(results, i), spare):
        end_lane(queue, records, results, lanes, lane, UNTIL, until)
        return
    ends[FACTOR, lane] = factor
    if rectified is not None:
        if falls(ends[SHARE, lane], step_time, until, clock, control):
            end_lane(queue, records, results, lanes, lane, SINGULAR, clock[0])
            return
        calm_down(error, ends[SPEED_THERE, lane], control)
        turn_at_kink(problem, queue, lanes, lane)
        if ends[TURNED, lane] > 0.0:
            return
    begin_next(ends, control, lane)
    if rectified is not None and control[STEP_LENGTH] < SHORT_ARC:
        ends[TO_TIME, lane] = 2.0


def begin_next(ends, control, lane):
    """The next step begins with what `arc_system` returned at the end of this one."""
    turn_page(ends[SPEED_THERE, lane], ends[SLOPE_THERE, lane], ends[IN_TIME_THERE, lane] > 0.0, control)
    choose_length(ends[STEP_ERROR, lane], ends[FACTOR, lane], control)


def turn_at_kink(problem, queue, lanes, lane):
    """A signal that reached its kink, or was held at one, takes its side, as in `integrate.go_on`."""
    system, _, _, _, (scratch, _) = problem
    which, _, fields, _ = lanes
    ends, sides, z, point = fields[4], fields[1], fields[0][:, lane], fields[12][:, lane]
    if not ends[KINK, lane] >= 0.0:
        return
    side, kink = queue[1][which[lane]], int(ends[KINK, lane])
    z[kink] = 0.0
    settle_kink(system, z, side, kink, scratch, point)
    for i in range(len(side)):
        if side[i] == 0:
            settle_kink(system, z, side, i, scratch, point)
    for i in range(len(side)):
        sides[i, lane] = side[i]
    ends[TURNED, lane] = 1.0


def ask_for_time(n, lanes, lane, rectified):
    """Whether the next step is to be taken in time, as in `integrate.turn_to_time`."""
    fields = lanes[2]
    ends, control = fields[4], fields[20]
    ends[TO_TIME, lane] = 0.0
    if rectified is not None:
        if control[IN_TIME, lane] == IN_ARC and is_stiff(n, control[STEP_LENGTH, lane], fields[6][:, :, lane]):
            ends[TO_TIME, lane] = 1.0


def go_on_lanes(problem, lanes, rectified):
    """Linearise again where a signal took a side, and where the next step is taken in time."""
    if rectified is None:
        return
    which, _, fields, _ = lanes
    z, ends, control = fields[0], fields[4], fields[20]
    n = size(problem[1], z)
    if linearised_again(problem, lanes, TURNED):
        for lane in range(LANE_COUNT):
            if ends[TURNED, lane] > 0.0:
                ends[TURNED, lane] = 0.0
                begin_next(ends, control[:, lane], lane)
                if control[STEP_LENGTH, lane] < SHORT_ARC:
                    ends[TO_TIME, lane] = 2.0
    for lane in range(LANE_COUNT):
        if ends[TO_TIME, lane] > 1.0:
            ask_for_time(n, lanes, lane, rectified)
    if linearised_again(problem, lanes, TO_TIME):
        for lane in range(LANE_COUNT):
            if ends[TO_TIME, lane] > 0.0:
                ends[TO_TIME, lane] = 0.0
                control[IN_TIME, lane] = TIMED


def keep(problem, lanes):
    """The ends of good steps are where the next ones begin."""
    n = size(problem[1], lanes[2][0])
    ends, rates, jac, slopes, columns = in_lanes((lanes[2][4], *lanes[2][5:9]))
    adopt(n, ends[ACCEPTED] > 0.0, rates, jac, slopes, columns)

"""One trajectory of the flow from start to end: undecorated, compiled by `dynlab.population.pair.flow`.

What belongs together is handed on together, as tuples:

    problem    (system, axes, table, weights, limits): system (kind, m, K, par); axes: see `solver.size`; table (A, C, H,
               gamma) of the method; weights (arc (n,), floors (n,)); limits (until, rtol, stop when settled, largest number
               of steps)
    records    (times, states there, trace times, trace, points a step): when to record and where to
    events     (learnt (K,), marks (3,), snapshots (3, n), tally, counts): events (-1: never); largest head entry, largest
               relative drift of the conserved quantities, end time; steps, rejected, trace points, times recorded
    spare      (scratch, twins, buffers): scratch of the rates, of the Jacobian, of the solver
"""

from dynlab.formulas.activations import RELU, is_steep
from dynlab.formulas.components import HEAD_RATE
from dynlab.formulas.rectified_flow_rates import smallest_share
from dynlab.population.pair.at_rest import invariants, settled, smallest_output, still
from dynlab.population.pair.clock import add_time, bent, gap_by, square_speed, theta_at
from dynlab.population.pair.events import (
    DRIFT,
    END,
    NEXT_TIME,
    PEAK_VALUE,
    REJECTED,
    STEPS,
    best_cosine,
    head_moved,
    head_size,
    mark,
    not_all_learnt,
    note_learnt,
    note_peak,
    record,
)
from dynlab.population.pair.kinks import crossing, settle_kink
from dynlab.population.pair.solver import (
    arc_system,
    flow_jacobian,
    interpolate,
    is_stiff,
    rosenbrock_step,
    size,
    slaved_floors,
    step_error,
)
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
    pace_by_ends,
    set_out,
    share_of,
    turn_page,
    well_timed,
)
from dynlab.population.status import AT_REST, NOT_FINITE, SINGULAR, STATIONARY, TOO_MANY_STEPS, UNTIL
from dynlab.population.stepping import DOMINANT, FIRST, PEAK, SECOND


def all_finite(n, rates, jac):
    """Whether the rates and the Jacobian are finite numbers."""
    good = abs(rates[0]) < 1e300
    for i in range(n):
        good = good & (abs(rates[i]) < 1e300)
        for k in range(n):
            good = good & (abs(jac[i, k]) < 1e300)
    return good


def begin(problem, z, side, events, spare):
    """Prepare `advance`, whose arguments these are. Returns RUNNING, or NOT_FINITE."""
    system, axes, _, (arc, caps), _ = problem
    scratch, twins, buffers = spare
    rates, jac = buffers[0], buffers[1]
    normal, clock, charge0, _, floors, control = buffers[10:]
    n = size(axes, z)
    for i in range(n):
        floors[i] = caps[i]
    note_start(system, z, side, clock, charge0, events)
    flow_jacobian(system, z, side, scratch, twins, rates, jac)
    if not all_finite(n, rates, jac):
        return NOT_FINITE
    set_out(control, arc_system(axes, arc, rates, jac, normal, False))
    return RUNNING


def note_start(system, z, side, clock, charge0, events):
    """What is to be noted at time 0."""
    kind, m, features, par = system
    learnt, marks, snapshots, tally, _ = events
    clock[0] = 0.0
    clock[1] = 0.0
    invariants(kind, m, features, par[HEAD_RATE], z, charge0)
    for f in range(features):
        learnt[f] = 0.0 if best_cosine(kind, m, features, z, side, f) > DOMINANT else -1.0
        if learnt[f] == 0.0:
            mark(FIRST if marks[FIRST] < 0.0 else SECOND, 0.0, z, marks, snapshots)
    tally[PEAK_VALUE] = head_size(len(z), m, z)
    if tally[PEAK_VALUE] > 0.0:
        mark(PEAK, 0.0, z, marks, snapshots)


def advance(problem, z, side, stop_at, records, events, spare):
    """Follow the flow from z (overwritten) to its end, or until `stop_at` steps were tried since the start, whichever is
    first; return the status, or RUNNING. side: see `kinks`.

    What is interrupted goes on as if it had not been: all that one step leaves to the next is in the arrays.
    """
    _, _, _, _, (until, _, _, max_steps) = problem
    tally, counts = events[3], events[4]
    clock, control = spare[2][11], spare[2][15]
    n = size(problem[1], z)
    while counts[STEPS] + counts[REJECTED] < stop_at:
        if control[FRESH] > 0.0:
            state = resting(problem, z, side, spare)
            if state != RUNNING:
                return close_records(n, z, records, counts, tally, until if state == AT_REST else clock[0], state)
        error, factor, accepted = attempt(problem, z, side, spare)
        top, kink, pace, step_time, after = 1.0, -1, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, (0.0, 0.0, False)
        if accepted:
            accepted, top, kink = reach(problem, z, side, spare)
        if accepted:
            accepted, factor, pace, step_time, after = timed(problem, z, side, top, factor, spare)
        if not accepted:
            counts[REJECTED] += 1
            state = hold_back(error, 1.0 if turn_to_time(problem, z, side, spare) else min(factor, 0.9), control)
            if state != RUNNING:
                tally[END] = clock[0]
                return state
            continue
        control[IN_A_ROW] = 0.0
        counts[STEPS] += 1
        if take(problem, z, side, top, pace, step_time, records, events, spare):
            return close_records(n, z, records, counts, tally, until, UNTIL)
        if vanishes(problem, z, side, step_time, spare):
            tally[END] = clock[0]
            return SINGULAR
        calm_down(error, after[0], control)
        go_on(problem, z, side, kink, after, spare)
        choose_length(error, factor, control)
        if control[STEP_LENGTH] < SHORT_ARC:
            turn_to_time(problem, z, side, spare)
    tally[END] = clock[0]
    return TOO_MANY_STEPS if counts[STEPS] + counts[REJECTED] >= max_steps else RUNNING


def vanishes(problem, z, side, step_time, spare):
    """Whether an online output loses all its variance before the end, at this pace; step_time: of the last step."""
    if spare[0][0] is not None:
        return False
    now = share_of_output(problem[0], z, side, spare[0][1], spare[2][7])
    return falls(now, step_time, problem[4][0], spare[2][11], spare[2][15])


def share_of_output(system, z, side, rectified, point):
    """`smallest_output`, of the pair of relu or relu3 in its own form. point: scratch (n,)."""
    if rectified is not None:
        return smallest_share(system[0], system[3], z, side, point)
    return smallest_output(system, z, side)


def turn_to_time(problem, z, side, spare):
    """Take the next step, which is as long as it is, in time if a coordinate follows the others; returns whether so."""
    system, axes, _, (arc, _), _ = problem
    scratch, twins, buffers = spare
    rates, jac, normal, control = buffers[0], buffers[1], buffers[10], buffers[15]
    if scratch[0] is not None or control[IN_TIME] != IN_ARC or not is_stiff(size(axes, z), control[STEP_LENGTH], jac):
        return False
    flow_jacobian(system, z, side, scratch, twins, rates, jac)
    arc_system(axes, arc, rates, jac, normal, True)
    control[IN_TIME] = TIMED
    return True


def resting(problem, z, side, spare):
    """Look at a new state: AT_REST where nothing moves any more, STATIONARY where nothing can change before the end,
    else RUNNING. Sets the error floors."""
    system, axes, _, (arc, caps), (until, rtol, stop_when_settled, _) = problem
    kind, m, features, _ = system
    rates, jac, clock, floors, control = spare[2][0], spare[2][1], spare[2][11], spare[2][14], spare[2][15]
    speed = control[SPEED]
    slaved_floors(kind, size(axes, z), m, features, share_of(rtol, control), jac, caps, floors)
    if fixed(kind, control):
        return AT_REST
    if spare[0][0] is None and control[IN_TIME] != IN_ARC:
        if still(system, arc, z, rates, jac, ((until - clock[0]) * speed, spare[2][4], spare[2][5])):
            return AT_REST
    if stop_when_settled and settled(kind, m, features, z, side, rates, speed, until - clock[0]):
        return STATIONARY
    return RUNNING


def attempt(problem, z, side, spare):
    """A step from z into `new`: (its error in units of the tolerance, the next length's factor, whether it is good)."""
    system, axes, table, (arc, _), (_, rtol, _, _) = problem
    scratch, _, buffers = spare
    jac, stages, new, floors, control = buffers[1], buffers[6], buffers[8], buffers[14], buffers[15]
    fixed_speed = control[SPEED] if control[IN_TIME] > 0.0 else 0.0
    work = (buffers[4], buffers[5], stages, buffers[7], new)
    rosenbrock_step(system, axes, table, control[STEP_LENGTH], fixed_speed, z, side, arc, jac, scratch, work)
    error = step_error(system[0], system[1], system[2], share_of(rtol, control), floors, z, new, stages)
    return error, factor_by(error), error <= 1.0


def reach(problem, z, side, spare):
    """Where the step ends, at a kink or at its own end: the state `last` there, with its rates and Jacobian.

    Returns (whether these are finite, theta of the end, the signal at its kink or -1).
    """
    system, axes, table, _, _ = problem
    scratch, twins, buffers = spare
    new_rates, new_jac, stages, point, new, last = buffers[2], buffers[3], buffers[6], buffers[7], buffers[8], buffers[9]
    n = size(axes, z)
    top = 1.0
    kink = -1
    if system[0] == RELU:
        top, kink = crossing(system, table, z, new, stages, side, scratch, point, last)
    if top < 1.0:
        interpolate(table, top, z, new, stages, last)
    else:
        for i in range(n):
            last[i] = new[i]
    flow_jacobian(system, last, side, scratch, twins, new_rates, new_jac)
    return all_finite(n, new_rates, new_jac), top, kink


def timed(problem, z, side, top, factor, spare):
    """The time of the step to theta = top, and whether it is known well enough.

    Turns the rates and the Jacobian at its end into those by arc length. Returns (accepted, factor, the step's pace and
    time, (speed, slope, whether in time) at its end, from the same side of a kink).
    """
    system, axes, table, (arc, _), (_, rtol, _, _) = problem
    scratch, _, buffers = spare
    new_rates, new_jac, stages, point, new = buffers[2], buffers[3], buffers[6], buffers[7], buffers[8]
    normal, clock, control = buffers[10], buffers[11], buffers[15]
    speed1, slope1, in_time1 = arc_system(axes, arc, new_rates, new_jac, normal, control[IN_TIME] == TIMED)
    change, pace, step_time = pace_by_ends(top, speed1, slope1, control)
    gap = 0.0
    if needs_middle(step_time, clock, control):
        interpolate(table, 0.5 * top, z, new, stages, point)
        gap = gap_by(square_speed(system, arc, side, scratch, point, normal), pace)
        pace, step_time = bent(pace, gap)
    accepted, factor = well_timed(change, speed1, gap, step_time, rtol, factor, is_steep(system[0]), clock, control)
    return accepted, factor, pace, step_time, (speed1, slope1, in_time1)


def take(problem, z, side, top, pace, step_time, records, events, spare):
    """Move to the end of the step, or to `until` inside it, and note what happened. Returns whether that is the end."""
    system, axes, table, _, (until, _, _, _) = problem
    kind, m, features, par = system
    learnt, tally, counts = events[0], events[3], events[4]
    rates, _, new_rates, _, _, _, stages, point, new, last, _, clock, charge0, charge1, _, _ = spare[2]
    n = size(axes, z)
    step, timing = (z, new, stages), (pace, top)
    stop = clock[0] + step_time >= until
    cut = top
    if stop:
        cut = top * theta_at(until - clock[0] - clock[1], pace)
        interpolate(table, cut, z, new, stages, last)
    # Calls with this many arrays cost as much as a stage of the method: only where there is something to note.
    if not_all_learnt(features, learnt):
        note_learnt(system, table, step, side, last, cut, clock, timing, events, point)
    if head_moved(n, m, rates, new_rates, last, tally):
        note_peak(system, table, step, (rates, new_rates), last, cut, clock, timing, events, point)
    if len(records[0]) > 0 or records[4] > 0:
        record(table, step, cut, clock, timing, records, counts, point)
    for i in range(n):
        z[i] = last[i]
    invariants(kind, m, features, par[HEAD_RATE], z, charge1)
    for j in range(m):
        tally[DRIFT] = max(tally[DRIFT], abs(charge1[j] - charge0[j]) / charge0[j])
    if not stop:
        add_time(clock, step_time)
    return stop


def go_on(problem, z, side, kink, after, spare):
    """Make the end of the step the start of the next; a signal that reached its kink, or was held at one, takes its side.

    after: (speed, slope, whether in time) at the end.
    """
    system, axes, _, (arc, _), _ = problem
    scratch, twins, buffers = spare
    rates, jac, new_rates, new_jac, point, normal = buffers[0], buffers[1], buffers[2], buffers[3], buffers[7], buffers[10]
    control = buffers[15]
    n = size(axes, z)
    speed1, slope1, in_time1 = after
    if system[0] == RELU:
        turned = kink >= 0
        if turned:
            z[kink] = 0.0
            # Signals held at their kinks were asked there by `crossing`, but not with this one at its kink.
            settle_kink(system, z, side, kink, scratch, point)
            for i in range(system[1] * system[2]):
                if side[i] == 0:
                    settle_kink(system, z, side, i, scratch, point)
            flow_jacobian(system, z, side, scratch, twins, new_rates, new_jac)
            timed = control[IN_TIME] == TIMED
            speed1, slope1, in_time1 = arc_system(axes, arc, new_rates, new_jac, normal, timed)
    turn_page(speed1, slope1, in_time1, control)
    for i in range(n):
        rates[i] = new_rates[i]
        for k in range(n):
            jac[i, k] = new_jac[i, k]


def close_records(n, z, records, counts, tally, time, status):
    """End at `time`: times still to be recorded see the end state (nothing changes any more, or none are left)."""
    times, at_times = records[0], records[1]
    while counts[NEXT_TIME] < len(times):
        for i in range(n):
            at_times[counts[NEXT_TIME], i] = z[i]
        counts[NEXT_TIME] += 1
    tally[END] = time
    return status

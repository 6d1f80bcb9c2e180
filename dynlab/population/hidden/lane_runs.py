"""Trajectories of relu with hidden units, eight abreast: undecorated, compiled by `dynlab.population.hidden.flow`.

What takes the time is dy/dt, and it takes little more for eight states in the lanes of vectors (`dynlab.machine.lanes`)
than for one. So eight trajectories go on side by side, each with its own time, step and method: all ask for the velocity at
some place, all get it at once, and each does with it what `solver.follow` does between two evaluations. A lane whose
trajectory has ended takes the next start. What is rare, the start and what follows a kink, is evaluated lane by lane. Lanes
do not know of each other: results are bit by bit those of `solver.follow`, whoever is abreast.

    problem    (system, table, limits): as in `solver.follow`, limits without |w|^2
    starts     (states, sides, floors, |w|^2); records (times, states there); results (learnt, tally, counts, status): each
               with an axis of starts
    lanes      (which, cursor, places, fields, vectors): the start in each lane (-1: none); (next start, starts that have
               ended); what is asked for, see below; buffers of `solver.follow`, each with an axis of lanes in front, control
               behind them; (y, side, velocity, scratch) in lanes
"""

from math import sqrt

from dynlab.formulas.dopri5 import STAGES
from dynlab.machine.lanes import LANE_COUNT, in_lanes
from dynlab.population.hidden.rates import rates, rates_of_relu
from dynlab.population.hidden.solver import (
    AGE,
    LOOK,
    RADIUS,
    STABILISED,
    STEP_TO_TRY,
    UNDER_WAY,
    after_step,
    before_step,
    begin_flow,
    explicit_error,
    explicit_point,
    stages_of_step,
)
from dynlab.population.hidden.solver import EVALUATED as EVALUATIONS
from dynlab.population.hidden.stabilised import (
    POWER_TURNS,
    RADIUS_MARGIN,
    begin_chebyshev,
    begin_power,
    chebyshev_error,
    chebyshev_stage,
    is_known,
    point_along,
    turn_direction,
)

# What a lane asks for: a stage of Dormand & Prince's, an iteration for the spectral radius, a stage of the stabilised
# method, its velocity at the end.
EXPLICIT, POWER, CHEBYSHEV, AT_END = range(4)
# Columns of places: what is asked for, which stage or iteration it is, of how many.
ASKED, TURN, OUT_OF = range(3)
# Behind the control's entries: length of the direction squared and estimate of the power iteration.
ALONG, ESTIMATE = 9, 10
CONTROLS = 11
FEW_LANES = 2  # that have a trajectory: evaluated one by one


def buffers_in(fields, lane):
    """The buffers of a lane, as `solver.follow` takes them."""
    stages, point, new, scale, margins, carried, charge0, charge1, sizes, lengths, track, rec, _ = fields
    numbers, origin, toward, old, old_velocity, place, other = track
    rounds = (
        numbers[lane], origin[lane], toward[lane], old[lane], old_velocity[lane], place[lane], other[lane],
    )  # fmt: skip
    return (
        stages[lane], point[lane], new[lane], scale[lane], margins[lane], carried[lane], charge0[lane], charge1[lane],
        sizes[lane], lengths[lane], rounds, rec[lane],
    )  # fmt: skip


def found_of(results, control, k):
    """What is found of start k, as `solver.follow` takes it."""
    learnt, tally, counts, _ = results
    return learnt[k], tally[k], counts[k], control


def place_of(asked, turn, stages, point, new):
    """The place at which a lane asks for the velocity."""
    place = point
    if asked == POWER:
        place = stages[2]
    elif asked == CHEBYSHEV:
        place = stages[3]
    elif asked == AT_END or turn == STAGES - 1:
        place = new
    return place


def row_of(asked, turn):
    """The row of the stages where the velocity belongs to."""
    return turn if asked == EXPLICIT else (3 if asked == POWER else 6)


def to_lane(values, lane, rows):
    """Fill rows[:, lane] with values."""
    for i in range(len(values)):
        rows[i, lane] = values[i]


def ask_for_step(problem, starts, results, lanes, lane):
    """Begin a step: ask for its first velocity."""
    system, table, _ = problem
    which, _, places, fields, _ = lanes
    y = starts[0][which[lane]]
    stages, point, _, scale, _, _, _, _, _, _, _, rec = buffers_in(fields, lane)
    control = fields[12][lane]
    places[lane, TURN] = 1
    if control[STABILISED] == 0.0:
        results[2][which[lane], EVALUATIONS] += STAGES - 1
        places[lane, ASKED] = EXPLICIT
        explicit_point(table[0], control[STEP_TO_TRY], y, 1, stages, point)
    elif control[AGE] >= LOOK:
        places[lane, ASKED] = POWER
        control[ESTIMATE] = 0.0
        control[ALONG] = begin_power(system, y, scale, stages[1])
        point_along(y, stages[1], control[ALONG], stages[2])
    else:
        ask_for_stages(y, results[2][which[lane]], places, lane, control, stages, rec)


def ask_for_stages(y, counts, places, lane, control, stages, rec):
    """Begin a step of the stabilised method."""
    places[lane, ASKED] = CHEBYSHEV
    places[lane, TURN] = 2
    places[lane, OUT_OF] = stages_of_step(control, counts)
    begin_chebyshev(control[STEP_TO_TRY], places[lane, OUT_OF], y, stages[0], stages[2:4], rec)


def take_answer(problem, starts, results, lanes, lane):
    """Go on with a velocity that is there; the error of the step if it was the last of it, else -1."""
    _, table, (_, rtol, _, _) = problem
    which, _, places, fields, _ = lanes
    k = which[lane]
    y = starts[0][k]
    stages, point, new, scale, _, _, _, _, _, _, _, rec = buffers_in(fields, lane)
    control = fields[12][lane]
    asked, turn = places[lane, ASKED], places[lane, TURN]
    places[lane, TURN] = turn + 1
    if asked == EXPLICIT:
        if turn == STAGES - 1:
            return explicit_error(table[1], control[STEP_TO_TRY], rtol, scale, stages)
        if turn == STAGES - 2:
            explicit_point(table[0], control[STEP_TO_TRY], y, turn + 1, stages, new)
        else:
            explicit_point(table[0], control[STEP_TO_TRY], y, turn + 1, stages, point)
    elif asked == POWER:
        before = control[ESTIMATE]
        control[ALONG] = turn_direction(stages[0], stages[3], scale, stages[1])
        control[ESTIMATE] = sqrt(control[ALONG])
        if turn == POWER_TURNS or is_known(control[ESTIMATE], before):
            control[RADIUS] = RADIUS_MARGIN * control[ESTIMATE]
            control[AGE] = 0.0
            ask_for_stages(y, results[2][k], places, lane, control, stages, rec)
        else:
            point_along(y, stages[1], control[ALONG], stages[2])
    elif asked == CHEBYSHEV:
        chebyshev_stage(control[STEP_TO_TRY], y, stages[0], stages[6], stages[2:4], rec)
        if turn == places[lane, OUT_OF]:
            places[lane, ASKED] = AT_END
            for i in range(len(y)):
                new[i] = stages[3, i]
    else:
        return chebyshev_error(control[STEP_TO_TRY], rtol, scale, y, new, stages[0], stages[6])
    return -1.0


def evaluate_lanes(problem, starts, lanes):
    """The velocities that lanes ask for."""
    which, _, places, fields, vectors = lanes
    at, sides, out, scratch, loss = vectors
    for lane in range(LANE_COUNT):
        k = max(which[lane], 0)
        asked, turn = places[lane, ASKED], places[lane, TURN]
        to_lane(place_of(asked, turn, fields[0][lane], fields[1][lane], fields[2][lane]), lane, at)
        to_lane(starts[1][k], lane, sides)
    losses = in_lanes(loss)
    losses[0] = rates_of_relu(problem[0], in_lanes(at), in_lanes(sides), in_lanes(scratch), in_lanes(out))
    for lane in range(LANE_COUNT):
        if which[lane] >= 0:
            row = row_of(places[lane, ASKED], places[lane, TURN])
            for i in range(len(out)):
                fields[0][lane, row, i] = out[i, lane]


def evaluate_alone(problem, starts, lanes, lane, own):
    """The velocity that a lane asks for, without the others."""
    which, _, places, fields, vectors = lanes
    stages = fields[0][lane]
    asked, turn = places[lane, ASKED], places[lane, TURN]
    place = place_of(asked, turn, stages, fields[1][lane], fields[2][lane])
    vectors[4][0, lane] = rates(problem[0], place, starts[1][which[lane]], own, stages[row_of(asked, turn)])


def see_lane(system, scratch, lane, own):
    """What `solver.after_step` reads of the last evaluation, from the lanes' scratch to that of one trajectory."""
    _, m, units, features, _, _, _ = system
    parts, _, _, work, found = scratch
    parts_own, _, _, work_own, found_own = own
    for h in range(units):
        for i in range(2 * features):
            found_own[0][h, i] = found[0][h, i, lane]
        work_own[4][h] = work[4][h, lane]
        work_own[6][h, h] = work[6][h, h, lane]
        for j in range(m):
            parts_own[3][j, h] = parts[3][j, h, lane]
    for j in range(m):
        for i in range(2 * features + 1):
            work_own[8][j, i] = work[8][j, i, lane]
        work_own[9][j] = work[9][j, lane]
        work_own[10][j] = work[10][j, lane]
        for r in range(m):
            work_own[14][j, r] = work[14][j, r, lane]
            parts_own[4][j, r] = parts[4][j, r, lane]


def bring_on(problem, starts, records, results, lanes, lane, own, trace):
    """Bring a lane to where it asks for a velocity: a step of its trajectory or of the next start."""
    system, _, limits = problem
    which, cursor, _, fields, _ = lanes
    states, sides, floors, squares = starts
    control = fields[12][lane]
    buffers = buffers_in(fields, lane)
    while True:
        k = which[lane]
        if k < 0:
            if cursor[0] >= len(states):
                return
            k = cursor[0]
            cursor[0] += 1
            which[lane] = k
            learnt, tally, counts, _ = results
            begin_flow(system, states[k], sides[k], (*limits, squares[k]), own, learnt[k], tally[k], control, buffers)
        wanted = records[0][k], records[1][k], trace
        ended = before_step(
            system, states[k], (floors[k, 0], floors[k, 1]), (*limits, squares[k]), wanted, found_of(results, control, k),
            buffers,
        )  # fmt: skip
        if ended == UNDER_WAY:
            ask_for_step(problem, starts, results, lanes, lane)
            return
        end_run(results, lanes, lane, ended)


def end_run(results, lanes, lane, ended):
    """The trajectory of a lane has ended."""
    which, cursor, _, _, _ = lanes
    results[3][which[lane]] = ended
    cursor[1] += 1
    which[lane] = -1


def judge_step(problem, starts, records, results, lanes, lane, error, own, trace):
    """A lane's step, of whose last evaluation `own` is, is done: take it or refuse it."""
    system, table, limits = problem
    which, _, _, fields, vectors = lanes
    states, sides, floors, squares = starts
    k = which[lane]
    wanted = records[0][k], records[1][k], trace
    ended = after_step(
        system, table, states[k], sides[k], (floors[k, 0], floors[k, 1]), (*limits, squares[k]), wanted,
        found_of(results, fields[12][lane], k), (error, vectors[4][0, lane]), own, buffers_in(fields, lane),
    )  # fmt: skip
    if ended != UNDER_WAY:
        end_run(results, lanes, lane, ended)


def follow_abreast(problem, starts, records, results, lanes, own, trace, burst):
    """Go on with all starts for about `burst` evaluations; how many have ended. own: scratch of `rates`; trace: none."""
    which, cursor, _, _, vectors = lanes
    left = burst
    if cursor[0] == 0:
        for lane in range(LANE_COUNT):
            bring_on(problem, starts, records, results, lanes, lane, own, trace)
    while cursor[1] < len(starts[0]) and left > 0:
        few = cursor[0] - cursor[1] <= FEW_LANES
        if not few:
            evaluate_lanes(problem, starts, lanes)
        for lane in range(LANE_COUNT):
            if which[lane] >= 0:
                left -= 1
                if few:
                    evaluate_alone(problem, starts, lanes, lane, own)
                error = take_answer(problem, starts, results, lanes, lane)
                if not error == -1.0:
                    if not few:
                        see_lane(problem[0], vectors[3], lane, own)
                    judge_step(problem, starts, records, results, lanes, lane, error, own, trace)
                    bring_on(problem, starts, records, results, lanes, lane, own, trace)
    return cursor[1]

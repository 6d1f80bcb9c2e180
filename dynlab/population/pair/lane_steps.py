"""A step in each lane, for all lanes at once: what `dynlab.population.pair.abreast` decides upon. Undecorated.

Arguments are those of `abreast`. `fields` are its arrays shown in lanes; z, side, arc, caps, ends are the first five, those
of `integrate` follow: rates, jac, new rates, new jac, matrix, order, stages, point, new, last, normal, clock, what is
conserved at the start and now, floors, control.
"""

from dynlab.formulas.activations import RELU
from dynlab.formulas.lanewise import anywhere, where
from dynlab.formulas.rectified_flow_rates import meets_kink, smallest_share
from dynlab.machine.lanes import LANE_COUNT, in_lanes
from dynlab.population.pair.clock import square_speed
from dynlab.population.pair.integrate import all_finite
from dynlab.population.pair.kinks import crossing
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
    IN_TIME,
    SPEED,
    STEP_LENGTH,
    TIMED,
    needs_middle,
    pace_by_ends,
    share_of,
)

# Rows of ends, what is known of a step: its error, whether the end is finite, what `arc_system` says of it, the square of
# the speed in its middle, whether it is good so far, its change of log s, its time; where it ends (theta), the signal that
# is at its kink there (-1: none), `smallest_share` there, the next length's factor; whether a lane is to be linearised
# again, as a signal took a side of its kink, or to step in time; whether a step meets a kink; then its pace.
STEP_ERROR, FINITE, SPEED_THERE, SLOPE_THERE, IN_TIME_THERE, SQUARE, ACCEPTED, CHANGE, STEP_TIME = range(9)
THETA, KINK, SHARE, FACTOR, TURNED, TO_TIME, MEETS, PACE = range(9, 17)
ENDS = PACE + 6


def set_floors(kind, m, features, rtol, n, fields):
    """The error floors of lanes whose states are new."""
    jac, caps, wanted, floors, control = fields[6], fields[3], fields[14], fields[19], fields[20]
    fresh = control[FRESH] > 0.0
    for k in range(n):
        wanted[k] = floors[k]
    slaved_floors(kind, n, m, features, share_of(rtol, control), jac, caps, wanted)
    for k in range(n):
        floors[k] = where(fresh, wanted[k], floors[k])


def try_steps(problem, lanes):
    """A step in each lane, to `new` and `last`, and its error."""
    system, axes, table, (_, rtol, _, _), (scratch, _) = problem
    z, side, arc, _, ends = in_lanes(lanes[2][:5])
    _, jac, _, _, matrix, order, stages, point, new, last, _, _, _, _, floors, control = in_lanes(lanes[2][5:])
    fixed_speed = where(control[IN_TIME] > 0.0, control[SPEED], 0.0)
    work = (matrix, order, stages, point, new)
    rosenbrock_step(system, axes, table, control[STEP_LENGTH], fixed_speed, z, side, arc, jac, scratch, work)
    ends[STEP_ERROR] = step_error(system[0], system[1], system[2], share_of(rtol, control), floors, z, new, stages)
    for i in range(size(axes, z)):
        last[i] = new[i]


def meet_kinks(problem, queue, lanes, rectified):
    """Where steps of relu meet a kink, `last` is moved there, as `integrate.reach` does."""
    which, _, fields, _ = lanes
    ends = fields[4]
    stages, point, new, last, normal = fields[11:16]
    ends[THETA] = 1.0
    ends[KINK] = -1.0
    if rectified is None:
        return
    system, _, table, _, (scratch, _) = problem
    if system[0] != RELU:
        return
    z, side, _, _, told = in_lanes(fields[:5])
    there, rates = in_lanes((new, normal))
    told[MEETS] = where(meets_kink(system[3], z, there, side, rates), 1.0, 0.0)
    for lane in range(LANE_COUNT):
        if which[lane] >= 0 and ends[STEP_ERROR, lane] <= 1.0 and ends[MEETS, lane] > 0.0:
            start, end, own, at = fields[0][:, lane], new[:, lane], stages[:, :, lane], queue[1][which[lane]]
            top, kink = crossing(system, table, start, end, own, at, scratch, point[:, lane], normal[:, lane])
            if top < 1.0:
                interpolate(table, top, start, end, own, last[:, lane])
                ends[THETA, lane] = top
                ends[KINK, lane] = kink


def see_ends(problem, lanes, rectified):
    """What there is to be known of the ends of the steps."""
    fields = in_lanes(lanes[2])
    last, control = fields[14], fields[20]
    linearise_lanes(problem, last, control[IN_TIME] == TIMED, fields)
    if rectified is not None:
        system = problem[0]
        fields[4][SHARE] = smallest_share(system[0], system[3], last, fields[1], fields[12])


def time_steps(problem, lanes):
    """The time of each step by its ends, and the speed in its middle."""
    which, _, fields, _ = lanes
    ends, clock, control = fields[4], fields[16], fields[20]
    wanted = False
    for lane in range(LANE_COUNT):
        ends[ACCEPTED, lane] = 0.0
        if which[lane] >= 0 and ends[STEP_ERROR, lane] <= 1.0 and ends[FINITE, lane] > 0.0:
            ends[ACCEPTED, lane] = 1.0
            change, pace, step_time = pace_by_ends(
                ends[THETA, lane], ends[SPEED_THERE, lane], ends[SLOPE_THERE, lane], control[:, lane]
            )
            ends[CHANGE, lane] = change
            ends[STEP_TIME, lane] = step_time
            for k in range(6):
                ends[PACE + k, lane] = pace[k]
            wanted = wanted or needs_middle(step_time, clock[:, lane], control[:, lane])
    if wanted:
        z, side, arc, _, told = in_lanes(fields[:5])
        stages, point, new, normal = in_lanes((fields[11], fields[12], fields[13], fields[15]))
        interpolate(problem[2], 0.5 * told[THETA], z, new, stages, point)
        told[SQUARE] = square_speed(problem[0], arc, side, problem[4][0], point, normal)


def linearise_lanes(problem, z, timed, fields):
    """Rates and Jacobian at a point z of each lane, in arc length or in time, and what there is to be known of them."""
    system, axes, _, _, (scratch, twins) = problem
    side, arc, ends, rates, jac, normal = fields[1], fields[2], fields[4], fields[7], fields[8], fields[15]
    flow_jacobian(system, z, side, scratch, twins, rates, jac)
    ends[FINITE] = where(all_finite(size(axes, z), rates, jac), 1.0, 0.0)
    speed, slope, in_time = arc_system(axes, arc, rates, jac, normal, timed)
    ends[SPEED_THERE] = speed
    ends[SLOPE_THERE] = slope
    ends[IN_TIME_THERE] = where(in_time, 1.0, 0.0)


def linearised_again(problem, lanes, why):
    """Linearise where the row `why` of ends says so, in time for `TO_TIME`; whether there is any such lane."""
    fields = in_lanes(lanes[2])
    ends, control = fields[4], fields[20]
    chosen = ends[why] > 0.0
    if not anywhere(chosen):
        return False
    linearise_lanes(problem, fields[0], chosen if why == TO_TIME else control[IN_TIME] == TIMED, fields)
    adopt(size(problem[1], fields[0]), chosen, fields[5], fields[6], fields[7], fields[8])
    return True


def adopt(n, chosen, rates, jac, slopes, columns):
    """In the lanes chosen the rates and the Jacobian are from now on these."""
    for i in range(n):
        rates[i] = where(chosen, slopes[i], rates[i])
        for k in range(n):
            jac[i, k] = where(chosen, columns[i, k], jac[i, k])

r"""One trajectory of the gradient flow of neurons with hidden units: undecorated, compiled by `population.hidden.flow`.

    dw_h/dt = -dL/dw_h,     da/dt = -r_a dL/da,     dE/dt = -r dL/dE

State y: signals A (M K), the units' noise parts as M vectors in their own span (M M), readout a (m M), head E (m m; the
diagonal stays 1). The error of a step is measured relative to each signal (floor: a thousandth of the smallest at the
start), noise part, readout and head entry.

**Two methods.** What happens, happens at speeds of one order: there Dormand & Prince's explicit pair
(`dynlab.formulas.dopri5`). The way to rest is long and slow, and stability, not accuracy, would hold its steps short: where
a step's own estimate of the fastest decay says so (Hairer & Wanner, Solving ordinary differential equations II, IV.2), the
stabilised method of `dynlab.population.hidden.stabilised` takes over, until accuracy is what counts again.

**Kinks of relu** (signals that reach 0). Inside a step each signal keeps the formula of its side. When it changes sign the
step is cut there. At A_hl = 0 the force on both half-lines is known from one evaluation: the response is 0 on either side,
so the loss and dL/dX_h are the same, and dA/dt = -alpha dL/dX_h(l, +) above, +alpha dL/dX_h(l, -) below. If both point at
the kink the signal is held there, until one of them points away by more than `kinks.least_speed`; that moment, too, cuts the
step.

**Rest.** The run ends where nothing moves any more: no coordinate changes by more than `REST` of its scale in as long a time
as has passed. What grows is measured by itself, however small it is, so that a signal on its way out of noise is never at
rest; what shrinks by the size of its unit. **Limit cycles**: `dynlab.population.hidden.cycles`; the run goes on for one more
period, at whose parts states are recorded.

**Noise parts that vanish**: `dynlab.population.hidden.vanishing`. **A readout that vanishes.** While E_jr grows from
borrowing, sum_h a_jh^2 falls (`conserved_of`). Where it reaches 0, in finite time, output j has lent all it had and
vanishes; only its direction, the target's, is left, and turns ever faster. The run ends there (`FADED`), with the status
that says so.

**Units that cancel.** Two units of an output may become parallel with readouts of opposite signs: f_j = sum_h a_jh phi_h
-> 0, while none of them vanishes. Let x be the displacement from the states with f_j = 0, f_j = J x + O(x^2). dL/df_j goes
as 1/|f_j|, so the direction of x turns at a rate 1/|x|^2 to where J^T dL/df_j = 0; but as the loss does not change with an
output's length, <f_j, dL/df_j> = 0 except for what outputs that borrow f_j make of it, which is O(|x|), as is what J x
leaves out. So

    d|x|^2/dt = -2 <J x, dL/df_j> = O(|x|):     |x| falls, or grows, at a steady pace of order 1.

Where it falls it reaches 0 in finite time: the output is the same for all inputs, the loss divides by its variance, and
behind that there is no flow. The run ends there (`CANCELLED`), as *singular*; and so it does where outputs cancel in an
online output, F_j = sum_r E_jr f_r.
"""

from math import sqrt

from dynlab.formulas.activations import RELU
from dynlab.formulas.dopri5 import STAGES
from dynlab.population.hidden.cycles import last_period, look_for_round
from dynlab.population.hidden.kinks import first_crossing, first_release, settle_sides, state_within
from dynlab.population.hidden.measures import (
    DRIFTED,
    ENDED,
    LOSS,
    PERIOD,
    conserved_of,
    drift_of,
    error_scales,
    fastest_change,
    note,
    online_left,
    output_left,
    readout_left,
    readout_lengths,
)
from dynlab.population.hidden.rates import rates
from dynlab.population.hidden.stabilised import chebyshev_error, chebyshev_step, spectral_radius, stages_for
from dynlab.population.hidden.vanishing import hold_vanished, let_grow
from dynlab.population.status import CYCLE, NOT_FINITE, SINGULAR, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, UNTIL, VANISHED
from dynlab.population.stepping import SAFETY

SHRINK, GROW = 0.2, 5.0
MOST_REJECTED = 60
MOST_EVALUATED = 20_000_000  # more would be an hour of many units; those that end well take up to 8 million
REST = 1e-3
FIRST_STEP = 1e-3
EARLIEST = 10.0  # time before which nothing counts as rest, in units of |w|^2
FADED = 1e-3  # what is left of the length of an output's readout when it counts as vanished
CANCELLED = 1e-6  # variance of an output beside that of its units: below that they count as cancelled
STIFF, STEADY = 3.0, 8  # h times the fastest decay where Dormand & Prince's stability ends; steps there before it is left
MOST_CHEBYSHEV = 200  # stages of a step
FEW = 2  # stages at which the stabilised method is left: with three it goes as far as the other one in half the evaluations
LOOK = 20  # steps between estimates of the fastest decay
# Entries of control: time, length of the next step, last error, whether the stabilised method is used, spectral radius,
# steps since it was estimated, steps in a row for which the other method would do, rejections in a row, the end.
TIME, STEP_TO_TRY, LAST_ERROR, STABILISED, RADIUS, AGE, AT_LIMIT, IN_A_ROW, UPTO = range(9)
# Entries of counts: steps, rejected, times recorded, trace points, evaluations.
TAKEN, REFUSED, RECORDED, TRACED, EVALUATED = range(5)
UNDER_WAY = -1  # a run that goes on in the next burst


def explicit_point(table, h, y, stage, stages, target):
    """Fill target (n,) with the place of a stage of the step of length h from y, of which the stages before are there."""
    for i in range(len(y)):
        total = 0.0
        for j in range(stage):
            total += table[stage, j] * stages[j, i]
        target[i] = y[i] + h * total


def explicit_step(system, table, h, y, side, scratch, stages, point, new):
    """One step of length h from y, whose velocity is stages[0]: fills the other stages (7, n), point and new (n,).

    point: where the sixth velocity belongs to. Returns the loss at new.
    """
    loss = 0.0
    for stage in range(1, STAGES):
        target = new if stage == STAGES - 1 else point
        explicit_point(table, h, y, stage, stages, target)
        loss = rates(system, target, side, scratch, stages[stage])
    return loss


def explicit_error(weights, h, rtol, scale, stages):
    """The largest error of the step in units of the tolerance; nan if anything is not finite."""
    worst = 0.0
    for i in range(len(scale)):
        total = 0.0
        for j in range(STAGES):
            total += weights[j] * stages[j, i]
        ratio = abs(h * total) / (rtol * scale[i])
        # A nan compares as false: it must stay.
        if not ratio <= worst:
            worst = ratio
    return worst


def fastest_decay(scale, stages, point, new):
    """Estimate of the fastest decay from the last two stages, |k_7 - k_6|/|y_7 - y_6|."""
    above = 0.0
    below = 0.0
    for i in range(len(scale)):
        above += ((stages[6, i] - stages[5, i]) / scale[i]) ** 2
        below += ((new[i] - point[i]) / scale[i]) ** 2
    return sqrt(above / below) if below > 0.0 else 0.0


def attempt(system, table, rtol, y, side, scale, scratch, control, counts, buffers):
    """Try a step: fills stages[0], stages[6], new; returns (error in units of the tolerance, loss there)."""
    stages, point, new = buffers[:3]
    h = control[STEP_TO_TRY]
    if control[STABILISED] == 0.0:
        counts[EVALUATED] += STAGES - 1
        loss = explicit_step(system, table[0], h, y, side, scratch, stages, point, new)
        return explicit_error(table[1], h, rtol, scale, stages), loss
    if control[AGE] >= LOOK:
        control[RADIUS] = spectral_radius(system, y, side, scratch, stages[0], scale, stages[1], stages[2:4])
        control[AGE] = 0.0
    count = stages_of_step(control, counts)
    h = control[STEP_TO_TRY]
    loss = chebyshev_step(system, h, count, y, side, scratch, stages[0], stages[2:4], buffers[11], new, stages[6])
    return chebyshev_error(h, rtol, scale, y, new, stages[0], stages[6]), loss


def stages_of_step(control, counts):
    """How many stages the next step takes by the stabilised method, which is no longer than the most allow."""
    if stages_for(control[STEP_TO_TRY], control[RADIUS]) > MOST_CHEBYSHEV:
        control[STEP_TO_TRY] = (MOST_CHEBYSHEV**2 - 2.0) / (1.54 * control[RADIUS])
    count = stages_for(control[STEP_TO_TRY], control[RADIUS])
    counts[EVALUATED] += count
    return count


def choose_method(decay, control, stages):
    """After a step that was accepted: whether the other method is the better one for the next. decay: `fastest_decay`."""
    control[AGE] += 1.0
    if control[STABILISED] == 0.0:
        limited = control[STEP_TO_TRY] * decay > STIFF
        control[AT_LIMIT] = control[AT_LIMIT] + 1.0 if limited else max(control[AT_LIMIT] - 0.5, 0.0)
        if control[AT_LIMIT] >= STEADY:
            control[STABILISED] = 1.0
            control[AGE] = LOOK
            control[LAST_ERROR] = 1.0
            for i in range(stages.shape[1]):
                stages[1, i] = stages[6, i] - stages[5, i]
            control[AT_LIMIT] = 0.0
        return
    few = stages_for(control[STEP_TO_TRY], control[RADIUS]) <= FEW
    control[AT_LIMIT] = control[AT_LIMIT] + 1.0 if few else 0.0
    if control[AT_LIMIT] >= STEADY:
        control[STABILISED] = 0.0
        control[AT_LIMIT] = 0.0
        control[LAST_ERROR] = 1.0


def next_length(error, control):
    """The next step's length after one that was accepted: proportional-integral control (Hairer & Wanner II, IV.2)."""
    error = max(error, 1e-4)
    if control[STABILISED] == 0.0:
        change = SAFETY * error**-0.17 * control[LAST_ERROR] ** 0.04
    else:
        change = SAFETY * error**-0.28 * control[LAST_ERROR] ** 0.08
    control[LAST_ERROR] = error
    return control[STEP_TO_TRY] * max(SHRINK, min(change, GROW))


def rejected(error, control, counts):
    """Shorten the step after one that failed."""
    counts[REFUSED] += 1
    control[IN_A_ROW] += 1.0
    control[AGE] = LOOK
    order = 0.2 if control[STABILISED] == 0.0 else 1.0 / 3.0
    control[STEP_TO_TRY] *= max(SHRINK, SAFETY / error**order) if error < 1e300 else SHRINK


def begin_flow(system, y, side, limits, scratch, events, tally, control, buffers):
    """Velocity, sides and conserved quantities at the start."""
    stages, _, _, _, margins, carried, charge0, _, sizes, lengths, track, _ = buffers
    until, _, _, _, unit = limits
    for k in range(len(control)):
        control[k] = 0.0
    track[0][1] = -1.0  # no round is begun (`cycles`)
    control[UPTO] = until
    control[STEP_TO_TRY] = min(FIRST_STEP * unit, until)
    control[LAST_ERROR] = 1.0
    conserved_of(system, y, charge0, sizes)
    readout_lengths(system, y, lengths)
    tally[LOSS] = rates(system, y, side, scratch, stages[0])
    if system[0] == RELU and settle_sides(system, y, 0.0, unit, scratch[4], side, margins):
        tally[LOSS] = rates(system, y, side, scratch, stages[0])
    note(system, 0.0, y, scratch, carried, events, tally)


def arrive(system, table, y, side, unit, records, loss, scratch, numbers, buffers):
    """Move y to the step's end, or to the kink before it; record what was passed. Returns whether the step was cut.

    records: (times, at_times, trace) of `follow`. numbers: its (tally, counts, control).
    """
    times, at_times, trace = records
    tally, counts, control = numbers
    stages, point, new, _, margins = buffers[:5]
    found = scratch[4]
    h = control[STEP_TO_TRY]
    dense = table[2] if control[STABILISED] == 0.0 else table[3]
    theta = 1.0
    crossed = -1
    t = control[TIME]
    if system[0] == RELU:
        theta, crossed = first_crossing(system, dense, h, y, new, stages, side, point)
        earlier, freed = first_release(system, y, t + h, unit, margins, found, side, theta)
        if freed >= 0:
            theta = earlier
            crossed = -1
    while counts[RECORDED] < len(times) and times[counts[RECORDED]] <= t + theta * h:
        state_within(dense, (times[counts[RECORDED]] - t) / h, h, y, new, stages, at_times[counts[RECORDED]])
        counts[RECORDED] += 1
    cut = theta < 1.0
    if cut:
        state_within(dense, theta, h, y, new, stages, point)
    for i in range(len(y)):
        y[i] = point[i] if cut else new[i]
        stages[0, i] = stages[6, i]
    control[TIME] = t + theta * h
    tally[LOSS] = loss
    if cut:
        if crossed >= 0:
            y[crossed] = 0.0
            side[crossed] = 0
        tally[LOSS] = rates(system, y, side, scratch, stages[0])
    if system[0] == RELU and settle_sides(system, y, control[TIME], unit, found, side, margins):
        tally[LOSS] = rates(system, y, side, scratch, stages[0])
    again = hold_vanished(system, y, stages[0])
    if counts[TAKEN] % LOOK == 0:
        again = let_grow(system, y, side, scratch, point) or again
    if again:
        tally[LOSS] = rates(system, y, side, scratch, stages[0])
    if counts[TRACED] < len(trace):
        trace[counts[TRACED], 0] = control[TIME]
        for i in range(len(y)):
            trace[counts[TRACED], 1 + i] = y[i]
        counts[TRACED] += 1
    return cut


def follow(system, table, y, side, caps, limits, burst, status, records, found, scratch, buffers):
    """Follow the flow from y, overwritten by the end state, to its rest or its end; return the status.

    system: (kind, m, M, K, par, used (m, M), (r_a, r)). table: of `flow`. side (M K,): signs of the signals. caps: floors of
    signals and head entries. limits: (until, rtol, stop at rest or on a limit cycle, largest number of steps, |w|^2 at the
    start). burst: number of evaluations after which it returns `UNDER_WAY`, to go on when it is called again with that
    status. records: times, at_times (T, n), when to record and where to, on a limit cycle parts of one more period, in place
    of what was asked for; trace (P, 1 + n), time and state after each step, as far as there is room. found: events (K,),
    time at which a feature is first learnt, -1 for never; tally, counts, control: see above.
    """
    events, tally, counts, control = found
    _, rtol, _, _, _ = limits
    if status != UNDER_WAY:
        begin_flow(system, y, side, limits, scratch, events, tally, control, buffers)
    upto = counts[EVALUATED] + burst
    ended = UNDER_WAY
    while ended == UNDER_WAY and counts[EVALUATED] < upto:
        ended = before_step(system, y, caps, limits, records, found, buffers)
        if ended == UNDER_WAY:
            error, loss = attempt(system, table, rtol, y, side, buffers[3], scratch, control, counts, buffers)
            ended = after_step(system, table, y, side, caps, limits, records, found, (error, loss), scratch, buffers)
    return ended


def before_step(system, y, caps, limits, records, found, buffers):
    """Scales of the errors and the step's length; the status of a run that ends here, else UNDER_WAY. As in `follow`."""
    times, at_times, _ = records
    _, tally, counts, control = found
    _, _, stops, most, unit = limits
    stages, scale = buffers[0], buffers[3]
    if counts[TAKEN] + counts[REFUSED] >= most or counts[EVALUATED] >= MOST_EVALUATED:
        return finish(y, times, at_times, counts, tally, control, TOO_MANY_STEPS)
    t = control[TIME]
    error_scales(system, y, caps, scale)
    if stops and t > EARLIEST * unit and fastest_change(system, y, stages[0], scale, caps[0]) * t < REST:
        return finish(y, times, at_times, counts, tally, control, STATIONARY)
    control[STEP_TO_TRY] = min(control[STEP_TO_TRY], control[UPTO] - t)
    return UNDER_WAY


def after_step(system, table, y, side, caps, limits, records, found, tried, scratch, buffers):
    """Take what was tried, (error, loss), or refuse it; the status of a run that ends here, or UNDER_WAY."""
    times, at_times, _ = records
    events, tally, counts, control = found
    _, _, stops, _, unit = limits
    error, loss = tried
    stages, point, new, scale, _, carried, charge0, charge1, sizes, lengths, track, _ = buffers
    if not error <= 1.0:
        rejected(error, control, counts)
        if control[IN_A_ROW] > MOST_REJECTED:
            return finish(y, times, at_times, counts, tally, control, UNDERFLOW if error < 1e300 else NOT_FINITE)
        return UNDER_WAY
    control[IN_A_ROW] = 0.0
    counts[TAKEN] += 1
    method, until = control[STABILISED], control[UPTO]
    decay = fastest_decay(scale, stages, point, new) if method == 0.0 else 0.0
    last = control[STEP_TO_TRY] >= until - control[TIME]
    cut = arrive(system, table, y, side, unit, records, loss, scratch, (tally, counts, control), buffers)
    note(system, control[TIME], y, scratch, carried, events, tally)
    conserved_of(system, y, charge1, sizes)
    tally[DRIFTED] = max(tally[DRIFTED], drift_of(charge0, charge1, sizes))
    if last and not cut:
        control[TIME] = until
        ended = CYCLE if tally[PERIOD] > 0.0 else UNTIL
        if stops and ended == UNTIL:
            tally[PERIOD] = last_period(track[0])
        return finish(y, times, at_times, counts, tally, control, ended)
    lost = lost_output(system, y, lengths, scratch)
    if lost != UNDER_WAY:
        return finish(y, times, at_times, counts, tally, control, lost)
    if stops and tally[PERIOD] == 0.0 and control[TIME] > EARLIEST * unit:
        tally[PERIOD] = look_for_round(system, control[TIME], y, stages[0], caps[1], track)
        if tally[PERIOD] > 0.0:
            go_round(control, counts, tally, times)
    if not cut:
        choose_method(decay, control, stages)
    if control[STABILISED] == method:
        control[STEP_TO_TRY] = next_length(error, control)
    return UNDER_WAY


def lost_output(system, y, lengths, scratch):
    """The status of a run that ends as an output has lost its readout, or all its variance; else UNDER_WAY."""
    if readout_left(system, y, lengths) < FADED:
        return VANISHED
    if output_left(system, scratch) < CANCELLED or online_left(system, scratch) < CANCELLED:
        return SINGULAR
    return UNDER_WAY


def go_round(control, counts, tally, times):
    """The state is on a limit cycle: go on for one more period and record its parts."""
    t = control[TIME]
    control[UPTO] = t + tally[PERIOD]
    counts[RECORDED] = 0
    for k in range(len(times)):
        times[k] = t + tally[PERIOD] * (k + 1.0) / len(times)


def finish(y, times, at_times, counts, tally, control, status):
    """End here; times still to be recorded, the last by rounding or those after a state of rest, see the end state."""
    while status in (STATIONARY, UNTIL, CYCLE) and counts[RECORDED] < len(times):
        for i in range(len(y)):
            at_times[counts[RECORDED], i] = y[i]
        counts[RECORDED] += 1
    tally[ENDED] = control[TIME]
    return status

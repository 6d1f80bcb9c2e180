r"""One trajectory of `dynlab.formulas.switched_flow_rates` from start to end: undecorated, compiled by `any_training.flow`.

Rodas5P (`formulas.rodas5p`) with an exact Jacobian (numbers with tangents) in the arc length of the orbit, log time being
one of its coordinates. With g = (f, exp(-clock)), s = |W g| and v = J^T W^2 g/s, the system is dz/dtau = g/s with Jacobian
(J - (g/s) v^T)/s. Where a stiff direction has relaxed, s says more about the last error than about the orbit; there a step
is taken in log time instead, dz/dlog t = f exp(clock), at a fixed ratio kappa to the arc length. A trajectory that creeps
goes on by implicit steps (`dynlab.population.any_training.implicit`). Errors are measured
relative to 1 for logarithms, unit vectors and the clock, relative to the value with a floor for signals of degree 1 and head
entries. A step whose error is not a finite number is rejected. What reaches a kink ends the step there
(`dynlab.population.any_training.kinks`).
"""

from math import sqrt

from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.any_training.equations import factor, substitute
from dynlab.population.any_training.events import note_events, note_start, record, smallest_neuron, theta_of, trace
from dynlab.population.any_training.implicit import begin_implicit, go_on, implicit_step, is_implicit, slope_at_rest
from dynlab.population.any_training.kinks import after_kink, first_kink, has_kinks, holds
from dynlab.population.any_training.linearised import entry_floors, in_tolerances, linearise, rounding_motion
from dynlab.population.any_training.records import IN_A_ROW, KAPPA, LOOKED
from dynlab.population.any_training.singular import comes_to_nothing
from dynlab.population.pair.solver import interpolate
from dynlab.population.pair.step_control import (
    LAST_ERROR,
    LAST_LENGTH,
    RUNNING,
    STEP_LENGTH,
    factor_by,
    predicted_factor,
)
from dynlab.population.status import NOT_FINITE, SINGULAR, TOO_MANY_STEPS, UNDERFLOW, UNTIL, VANISHED

MOST_REJECTED = 60
STEPS, REJECTED = 0, 1  # of counts
FIRST_LENGTH = 0.01
# A neuron whose weights' logarithms are all below this has vanished. Where the loss does not depend on its length, forces
# grow like the inverse square of that, and further down their rounding is motion; without normalisation all that is left is
# to fall.
SHORTEST = -8.0
# Where an error changes log s by more than this times the error, the arc length is a bad variable and log time is taken.
STEEPEST = 30.0
# Where it changes log s by more than STEEPEST/SLAVED, in a direction that relaxes faster than STEEPEST in the arc, likewise.
SLAVED = 100.0
# Attempted steps after which a trajectory goes on by implicit steps (`any_training.implicit`), after as many of these by the
# others again, and so on: each creeps in places of its own.
PATIENCE = 1000
LONGEST = 5.0  # arc of one step: five units of a logarithm


def to_arc(arc, relative, z, rates, columns, normal):
    """Turn dz/dt and its Jacobian into dz/dtau and its Jacobian, in place.

    Returns kappa: 0 for arc length, or what turns log time into tau for a step in log time.
    """
    n = len(rates)
    total = 0.0
    for i in range(n):
        total += (arc[i] * rates[i]) ** 2
    speed = sqrt(total)
    inverse = 1.0 / speed
    steepest = 0.0
    for i in range(n):
        rates[i] = rates[i] * inverse
    for k in range(n):
        normal[k] = 0.0
        for i in range(n):
            normal[k] += arc[i] * arc[i] * rates[i] * columns[k, i]
        slope = abs(normal[k]) * (abs(z[k]) if relative[k] > 0 else 1.0)
        # A slaved coordinate follows its target within each step: no error, but a deviation all the same.
        steepest = max(steepest, slope * SLAVED if -columns[k, k] > STEEPEST * speed else slope)
    in_log_time = steepest > STEEPEST * speed
    if in_log_time:
        for i in range(n):
            columns[n - 1, i] += rates[i] * speed  # d/d clock of f exp(clock - clock_n)
            normal[i] = 0.0
    for k in range(n):
        for i in range(n):
            columns[k, i] = (columns[k, i] - rates[i] * normal[k]) * inverse
    return rates[n - 1] if in_log_time else 0.0


def take_step(system, table, z, side, arc, buffers):
    """One step of the control's length: fills stages (8, n) and new (n,)."""
    a, c, _, gamma = table
    jac, matrix, order, stages = buffers.jac, buffers.matrix, buffers.order, buffers.stages
    point, new = buffers.point, buffers.new
    h, kappa = buffers.control[STEP_LENGTH], buffers.control[KAPPA]
    n = len(z)
    for k in range(n):
        for i in range(n):
            matrix[k, i] = -jac[k, i]
        matrix[k, k] += 1.0 / (h * gamma)
    factor(matrix, order)
    for stage in range(8):
        for i in range(n):
            point[i] = z[i]
        for j in range(stage):
            for i in range(n):
                point[i] += a[stage, j] * stages[j, i]
        switched_rates(system, point, side, buffers.scratch, new)
        if kappa > 0.0:
            inverse = kappa / new[n - 1]
        else:
            total = 0.0
            for i in range(n):
                total += (arc[i] * new[i]) ** 2
            inverse = 1.0 / sqrt(total)
        for i in range(n):
            new[i] = new[i] * inverse
        for j in range(stage):
            for i in range(n):
                new[i] += c[stage, j] / h * stages[j, i]
        substitute(matrix, order, new, stages[stage])
    for i in range(n):
        new[i] = point[i] + stages[7, i]


def start_from(z, weights, buffers):
    """Take rates_at and jac_at, which are of z, for the next step."""
    for i in range(len(z)):
        buffers.rates[i] = buffers.rates_at[i]
        for k in range(len(z)):
            buffers.jac[i, k] = buffers.jac_at[i, k]
    buffers.control[KAPPA] = to_arc(weights.arc, weights.relative, z, buffers.rates, buffers.jac, buffers.normal)


def begin(system, z, side, weights, events, buffers):
    """Make ready to follow the flow from z: `RUNNING`, or a status of `dynlab.population.status`."""
    note_start(system, z, events)
    for i in range(len(z)):
        buffers.floors[i] = weights.caps[i]
    buffers.control[LOOKED] = z[len(z) - 1]
    return set_off(system, z, side, weights, buffers)


def set_off(system, z, side, weights, buffers):
    """Make ready for steps in arc length from z: `RUNNING`, or a status of `dynlab.population.status`."""
    if not linearise(system, z, side, buffers):
        return NOT_FINITE
    start_from(z, weights, buffers)
    control = buffers.control
    control[STEP_LENGTH] = control[LAST_LENGTH] = FIRST_LENGTH
    control[LAST_ERROR] = 1.0
    control[IN_A_ROW] = 0.0
    return RUNNING


def attempt(system, table, z, side, weights, rtol, buffers):
    """A step from z: its error; fills stages and new."""
    n, control = len(z), buffers.control
    if control[IN_A_ROW] == 0.0:
        first = head_start(system.m, system.features, system.choice)
        entry_floors(first, n, weights.caps, buffers.jac, buffers.floors)
        rounding_motion(weights.relative, z, buffers.jac, buffers.noise)
    h = control[STEP_LENGTH]
    take_step(system, table, z, side, weights.arc, buffers)
    tolerances = weights.relative, buffers.floors, buffers.noise
    return in_tolerances(tolerances, h, rtol, z, buffers.new, buffers.stages[7])


def arrive(system, table, z, side, weights, buffers):
    """Where the step ends: at theta = top, at kink `which` if that is not -1. Fills last, rates_at and jac_at; (top, which,
    whether all of it is finite)."""
    top = 1.0
    which = -1
    if has_kinks(system):
        top, which = first_kink(system, 1.0 / weights.arc[0], table, z, side, buffers)
    interpolate(table, top, z, buffers.new, buffers.stages, buffers.last)
    return top, which, linearise(system, buffers.last, side, buffers)


def turn_back(counts, error, control):
    """After a step that is rejected: `RUNNING`, or the status with which to give up."""
    counts[REJECTED] += 1
    control[STEP_LENGTH] = control[STEP_LENGTH] * min(factor_by(error), 0.9)
    control[IN_A_ROW] += 1.0
    if control[IN_A_ROW] > MOST_REJECTED:
        return UNDERFLOW if error < 1e30 else NOT_FINITE
    return RUNNING


def next_length(error, control):
    """Set the length of the next step after one of this error."""
    h = control[STEP_LENGTH]
    change = predicted_factor(error, factor_by(error), control)
    control[STEP_LENGTH] = min(h * (min(change, 1.0) if control[IN_A_ROW] > 0.0 else change), LONGEST)
    control[IN_A_ROW] = 0.0


def keep(system, table, z, side, weights, limits, top, which, asked, events, counts, buffers):
    """Go to the end of the step, noting what it passes: `RUNNING`, or the status with which the trajectory ends."""
    n, last = len(z), buffers.last
    counts[STEPS] += 1
    done = last[n - 1] >= limits.clock
    if done:
        top = theta_of(limits.clock, table, z, buffers.new, buffers.stages, top, last)
    note_events(system, table, z, top, events, buffers)
    record(table, z, top, asked, counts, buffers)
    for i in range(n):
        z[i] = last[i]
    trace(z, asked, counts)
    if done:
        return UNTIL
    if smallest_neuron(system.kind, system.m, system.features, z) < SHORTEST:
        return VANISHED
    if has_kinks(system) and (which >= 0 or holds(side)):
        after_kink(system, 1.0 / weights.arc[0], z, side, which, buffers.scratch, buffers.point)
        linearise(system, z, side, buffers)
    return RUNNING


def advance(system, table, z, side, weights, limits, asked, events, counts, most, buffers):
    """Follow the flow from z, overwritten, until counts of steps say `most`: the status, `RUNNING` if it is under way.

    counts (4,): steps, rejected, times recorded, trace points.
    """
    control, n = buffers.control, len(z)
    while counts[STEPS] + counts[REJECTED] < most:
        creeps = (counts[STEPS] + counts[REJECTED]) // PATIENCE % 2 == 1
        if creeps != is_implicit(control):
            switched_rates(system, z, side, buffers.scratch, buffers.rates_at)
            if comes_to_nothing(system, buffers.scratch, z[n - 1] - control[LOOKED]):
                return SINGULAR
            control[LOOKED] = z[n - 1]
            if creeps:
                begin_implicit(system, z, side, buffers)
            else:
                set_off(system, z, side, weights, buffers)
        if creeps:
            error = implicit_step(system, z, side, weights, limits.rtol, buffers)
        else:
            error = attempt(system, table, z, side, weights, limits.rtol, buffers)
        accepted = error <= 1.0 and buffers.new[n - 1] >= z[n - 1]
        top = 1.0
        which = -1
        if accepted:
            top, which, accepted = arrive(system, table, z, side, weights, buffers)
        if accepted:
            status = keep(system, table, z, side, weights, limits, top, which, asked, events, counts, buffers)
        else:
            status = turn_back(counts, error, control)
        if status != RUNNING:
            return status
        if accepted and creeps:
            go_on(error, buffers)
            if has_kinks(system) and (which >= 0 or holds(side)):
                slope_at_rest(system, z, side, buffers)
        elif accepted:
            start_from(z, weights, buffers)
            next_length(error, control)
    return TOO_MANY_STEPS if most >= limits.most else RUNNING

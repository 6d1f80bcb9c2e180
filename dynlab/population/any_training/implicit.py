r"""Implicit steps in log time, for trajectories on which the Rosenbrock method of `any_training.solver` creeps. Undecorated.

**When.** Where neurons have shared a feature for long, some entries of the head have relaxed at rates lambda that are 10^15
times the pace at which the rest still moves, and what they do to a signal y is as large:

    dE/dt = -lambda (E - E*(y)),      dy/dt = slow + lambda c(y) (E - E*(y)).

A step of the Rosenbrock method solves equations that are linear in the state at its beginning. A stage is off E* by
E*'' dy^2/2, and of what that does to y all but the part along c(y) at the step's beginning is left: lambda c' E*'' dy^3,
which no step of useful length keeps small. The motion itself is tame.

**What.** SDIRK4 (`formulas.sdirk4`) for dz/dlog t = f exp(clock). Its stages are solved by Newton's method with the exact
Jacobian at every iterate, in units of what the step may err by (`linearised.in_tolerances`). Before an iteration the fast
entries of the head are solved for alone, the rest being fixed: then nothing of size lambda is left in the equations of the
rest. Rounding of fast entries moves them alone, and back within the step: unlike the other method's, these steps need no
allowance for it. The interpolant is Hermite's cubic, written as the `stages` that `pair.solver.interpolate` takes, so that
what a step passes is noted as in every other.

**Where not.** A moving average that lags far behind is followed in fewer steps in arc length, so the two take turns. A step
that ends at a kink is cut short, as every other is.
"""

from math import exp

from dynlab.formulas.rodas5p import H
from dynlab.formulas.sdirk4 import DIAGONAL, DIFFERENCES, UNDER_DIAGONAL
from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.any_training.equations import factor, substitute
from dynlab.population.any_training.linearised import entry_floors, exact_jacobian, in_tolerances
from dynlab.population.any_training.records import IN_A_ROW, KAPPA
from dynlab.population.pair.integrate import all_finite
from dynlab.population.pair.step_control import STEP_LENGTH
from dynlab.population.stepping import SAFETY, SHRINK

IMPLICIT_STAGES = 5
RIGHT, SCALES, WANTED = 5, 6, 7  # rows of `stages` that those of a step leave free
TAKEN_ROW = 0  # row of `jac`, which is of steps in arc length
FIRST_STEP, LONGEST_STEP, GROWTH = 0.01, 3.0, 2.0  # in log time
FAST = 1e4  # an entry of the head that relaxes so often within a step is fast
RELAXATIONS = 2
ITERATIONS, CLOSE, AWAY = 8, 0.01, 10.0
# Of the tolerance: y' and E' above have a common part, lambda (E - E*), that only E = E* fixes, as in a
# differential-algebraic system of index 2. There the method is of order 2, and its error estimate too small.
SHARE = 0.1
UNSOLVED = 1e10  # an error larger than any: the equations of a stage were not solved


def _inverse(m):
    """Of a 3 x 3 matrix, by its cofactors: the same bits on every processor."""

    def cofactor(i, j):
        up, down, left, right = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
        return m[up][left] * m[down][right] - m[up][right] * m[down][left]

    size = sum(m[0][j] * cofactor(0, j) for j in range(3))
    return tuple(tuple(cofactor(i, j) / size for i in range(3)) for j in range(3))


# The first three stages with which `pair.solver.interpolate` has k_1, k_2, k_3: rows for the stages, columns for the k.
TO_STAGES = _inverse([row[:3] for row in H])


def is_implicit(control):
    """Whether a trajectory goes on by implicit steps."""
    return control[KAPPA] < 0.0


def begin_implicit(system, z, side, buffers):
    """From now on by implicit steps."""
    slope_at_rest(system, z, side, buffers)
    for i in range(len(z)):
        buffers.noise[i] = 0.0
    buffers.control[KAPPA] = -1.0
    buffers.control[STEP_LENGTH] = FIRST_STEP
    buffers.control[IN_A_ROW] = 0.0


def slope_at_rest(system, z, side, buffers):
    """Fill rates with dz/dlog t where the head's entries are taken to be at rest: at the start, and behind a kink."""
    switched_rates(system, z, side, buffers.scratch, buffers.rates)
    n = len(z)
    for i in range(n):
        buffers.rates[i] = buffers.rates[i] * exp(z[n - 1])
    for i in range(head_start(system.m, system.features, system.choice), n - 1):
        buffers.rates[i] = 0.0


def linearise_from(low, system, z, side, buffers):
    """Fill rates_at with dz/dlog t at z and the columns of jac_at from `low` on with its derivatives."""
    n = len(z)
    rates, columns = buffers.rates_at, buffers.jac_at
    switched_rates(system, z, side, buffers.scratch, rates)
    exact_jacobian(system, z, side, buffers.twin, low, columns)
    pace = exp(z[n - 1])
    for i in range(n):
        rates[i] = rates[i] * pace
    for k in range(low, n):
        for i in range(n):
            columns[k, i] = columns[k, i] * pace
    for i in range(n):
        columns[n - 1, i] += rates[i]


def solve(h, buffers):
    """Fill normal with Newton's change of the coordinates that are taken, the others being fixed."""
    n, whole = len(buffers.normal), 1.0 / (h * DIAGONAL)
    matrix, columns, taken = buffers.matrix, buffers.jac_at, buffers.jac[TAKEN_ROW]
    right, scales, wanted = buffers.stages[RIGHT], buffers.stages[SCALES], buffers.stages[WANTED]
    for i in range(n):
        scales[i] = 0.0
        right[i] = taken[i] * (buffers.rates_at[i] + wanted[i])
    for k in range(n):
        for i in range(n):
            matrix[k, i] = -taken[k] * taken[i] * columns[k, i]
        matrix[k, k] += taken[k] * whole + 1.0 - taken[k]
        for i in range(n):
            scales[i] = max(scales[i], abs(matrix[k, i]))
    for i in range(n):  # rows differ by the pace of their coordinates: 10^15
        scales[i] = 1.0 / scales[i]
        right[i] = right[i] * scales[i]
    for k in range(n):
        for i in range(n):
            matrix[k, i] = matrix[k, i] * scales[i]
    factor(matrix, buffers.order)
    substitute(matrix, buffers.order, right, buffers.normal)


def want(h, base, shift, wanted):
    """What is left of the equations of a stage beside the rates: (base - shift)/(h gamma)."""
    for i in range(len(base)):
        wanted[i] = (base[i] - shift[i]) / (h * DIAGONAL)


def relax_head(system, h, z, side, base, shift, buffers):
    """Solve for the fast entries of the head alone, the rest being fixed: changes shift and point.

    The rest must be linearised where nothing is left of their lag: it would stand in the derivatives, too.
    """
    n = len(z)
    first = head_start(system.m, system.features, system.choice)
    taken, point, change = buffers.jac[TAKEN_ROW], buffers.point, buffers.normal
    for _ in range(RELAXATIONS if first < n - 1 else 0):
        linearise_from(first, system, point, side, buffers)
        any_fast = False
        for i in range(n):
            fast = first <= i < n - 1 and abs(buffers.jac_at[i, i]) * h > FAST
            any_fast = any_fast or fast
            taken[i] = 1.0 if fast else 0.0
        if not any_fast:
            break
        want(h, base, shift, buffers.stages[WANTED])
        solve(h, buffers)
        for i in range(first, n - 1):
            shift[i] += taken[i] * change[i]
            point[i] = z[i] + shift[i]
    for i in range(n):
        taken[i] = 1.0


def solve_stage(system, h, z, side, tolerances, rtol, base, shift, buffers):
    """Newton's method for shift = base + h gamma dz/dlog t (z + shift); whether it came close."""
    n = len(z)
    point, change = buffers.point, buffers.normal
    before = UNSOLVED
    for iteration in range(ITERATIONS):
        for i in range(n):
            point[i] = z[i] + shift[i]
        relax_head(system, h, z, side, base, shift, buffers)
        linearise_from(0, system, point, side, buffers)
        if not all_finite(n, buffers.rates_at, buffers.jac_at):
            return False
        want(h, base, shift, buffers.stages[WANTED])
        solve(h, buffers)
        for i in range(n):
            shift[i] += change[i]
        size = in_tolerances(tolerances, h, rtol, z, point, change)
        if size < CLOSE:
            return True
        if not size < UNSOLVED or (iteration > 1 and size > AWAY * before):
            return False
        before = size
    return False


def implicit_step(system, z, side, weights, rtol, buffers):
    """A step of the control's length in log time: its error, in tolerances. Fills new and stages, as
    `pair.solver.interpolate` takes them, and normal with dz/dlog t at its end; rates hold the same at its beginning."""
    n, control, stages = len(z), buffers.control, buffers.stages
    base, shift, change = buffers.new, buffers.last, buffers.normal
    h = control[STEP_LENGTH]
    rtol = SHARE * rtol
    tolerances = weights.relative, buffers.floors, buffers.noise
    if control[IN_A_ROW] == 0.0:
        first = head_start(system.m, system.features, system.choice)
        linearise_from(first, system, z, side, buffers)
        entry_floors(first, n, weights.caps, buffers.jac_at, buffers.floors)
    for stage in range(IMPLICIT_STAGES):
        for i in range(n):
            base[i] = 0.0
            for j in range(stage):
                base[i] += h * UNDER_DIAGONAL[stage][j] * stages[j, i]
            shift[i] = base[i] + h * DIAGONAL * (stages[stage - 1, i] if stage > 0 else buffers.rates[i])
        if not solve_stage(system, h, z, side, tolerances, rtol, base, shift, buffers):
            return UNSOLVED
        for i in range(n):
            stages[stage, i] = (shift[i] - base[i]) / (h * DIAGONAL)
    for i in range(n):
        base[i] = z[i] + shift[i]
        error = 0.0
        for stage in range(IMPLICIT_STAGES):
            error += DIFFERENCES[stage] * stages[stage, i]
        stages[RIGHT, i] = error / DIAGONAL * stages[SCALES, i]
    substitute(buffers.matrix, buffers.order, stages[RIGHT], change)
    error = in_tolerances(tolerances, h, rtol, z, base, change)
    to_interpolant(h, z, base, buffers)
    return error


def to_interpolant(h, z, new, buffers):
    """Leave the slope at the step's end in normal, and in the stages Hermite's cubic
    (1 - theta) z + theta new + theta (1 - theta) (k_1 + theta k_2)."""
    stages, slope = buffers.stages, buffers.normal
    for i in range(len(z)):
        slope[i] = stages[IMPLICIT_STAGES - 1, i]
        k1 = h * buffers.rates[i] - (new[i] - z[i])
        k2 = 2.0 * (new[i] - z[i]) - h * buffers.rates[i] - h * slope[i]
        for stage in range(8):
            stages[stage, i] = TO_STAGES[stage][0] * k1 + TO_STAGES[stage][1] * k2 if stage < 3 else 0.0


def go_on(error, buffers):
    """After a step of this error: the slope at its end is that of the next one's beginning; set that one's length."""
    control = buffers.control
    for i in range(len(buffers.normal)):
        buffers.rates[i] = buffers.normal[i]
    most = 1.0 if control[IN_A_ROW] > 0.0 else GROWTH
    change = min(most, max(SHRINK, SAFETY / max(error, 1e-10) ** 0.25))
    control[STEP_LENGTH] = min(control[STEP_LENGTH] * change, LONGEST_STEP)
    control[IN_A_ROW] = 0.0

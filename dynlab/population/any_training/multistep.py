r"""Steps of many coordinates: one factorisation for many of them. Undecorated, compiled by `any_training.flow`.

A step of the Rosenbrock method linearises the flow and factorises a matrix, which for n coordinates costs some n/9 times as
much as the rates, and n^3/3 operations: with 16 neurons and 8 features (n = 641) 16 milliseconds where the rates take .03
and solving with the factors .06. The numerical differentiation formulas (`dynlab.formulas.ndf`) keep a Jacobian as long as
the simplified Newton iteration converges with it, and a factorisation as long as the step's length and order stay what they
are: twenty times as many steps, each a fiftieth as dear.

Log time is the variable, dz/dlog t = f exp(clock), the clock a coordinate like the others. What one step leaves to the next
is a `records.History`, beside `Buffers`. The interpolant is that of
`any_training.implicit`, so that what a step passes is noted as in every other.

For activations without kinks: at one the history would have to begin anew.
"""

from math import exp

from dynlab.formulas.ndf import ALPHA, HARMONIC, HIGHEST, LOCAL_ERROR
from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.any_training.equations import factor, substitute
from dynlab.population.any_training.events import note_start
from dynlab.population.any_training.implicit import IMPLICIT_STAGES, linearise_from, to_interpolant
from dynlab.population.any_training.linearised import entry_floors, in_tolerances
from dynlab.population.any_training.records import IN_A_ROW, LOOKED
from dynlab.population.any_training.singular import comes_to_nothing
from dynlab.population.any_training.solver import MOST_REJECTED, REJECTED, STEPS, keep
from dynlab.population.pair.integrate import all_finite
from dynlab.population.pair.step_control import RUNNING, STEP_LENGTH
from dynlab.population.status import NOT_FINITE, SINGULAR, TOO_MANY_STEPS, UNDERFLOW

ROWS = HIGHEST + 3
# Entries of `numbers`: the order; steps since length or order changed; c of the factors that are kept (0: of none); whether
# the Jacobian is of this step.
ORDER, ALIKE, FACTORED, CURRENT = range(4)
NUMBERS = 4
NEAR = 2.0  # factors are kept while c is within this factor of theirs
FIRST, LONGEST = 1e-4, 3.0  # in log time
ITERATIONS, CLOSE = 10, 0.01
# Of the tolerance: errors of many steps add up, where one of the others would be enough.
SHARE = 0.1
# A change of length that is worth a factorisation.
LONGER, LARGEST, SMALLEST = 1.6, 10.0, 0.2
LOOK = 1000  # attempts between looks for an end in nothing


def set_off_wide(system, z, side, weights, history, events, buffers):
    """Make ready to follow the flow from z: `RUNNING`, or a status of `dynlab.population.status`."""
    note_start(system, z, events)
    n, control, differences, numbers = len(z), buffers.control, history.differences, history.numbers
    if not linearised_anew(system, z, side, weights, numbers, buffers):
        return NOT_FINITE
    control[LOOKED] = z[n - 1]
    control[STEP_LENGTH] = FIRST
    control[IN_A_ROW] = 0.0
    for i in range(n):
        for row in range(ROWS):
            differences[row, i] = 0.0
        differences[0, i] = z[i]
        differences[1, i] = FIRST * buffers.rates_at[i]
        buffers.rates[i] = buffers.rates_at[i]
        buffers.noise[i] = 0.0
    numbers[ORDER] = 1.0
    numbers[ALIKE] = 0.0
    numbers[FACTORED] = 0.0
    return RUNNING


def linearised_anew(system, z, side, weights, numbers, buffers):
    """Fill rates_at and jac_at with dz/dlog t at z and its derivatives, and the error floors; whether all is finite."""
    n = len(z)
    linearise_from(0, system, z, side, buffers)
    first = head_start(system.m, system.features, system.choice)
    entry_floors(first, n, weights.caps, buffers.jac_at, buffers.floors)
    numbers[CURRENT] = 1.0
    numbers[FACTORED] = 0.0
    return all_finite(n, buffers.rates_at, buffers.jac_at)


def factorise(c, numbers, buffers):
    """Factors of 1 - c J, where those that are kept are not near it."""
    if numbers[FACTORED] < NEAR * c and c < NEAR * numbers[FACTORED]:
        return
    n, matrix = len(buffers.point), buffers.matrix
    for k in range(n):
        for i in range(n):
            matrix[k, i] = -c * buffers.jac_at[k, i]
        matrix[k, k] += 1.0
    factor(matrix, buffers.order)
    numbers[FACTORED] = c


def predict(order, differences, buffers):
    """Fill new with where the differences lead, normal with psi."""
    new, psi = buffers.new, buffers.normal
    for i in range(len(new)):
        new[i] = differences[0, i]
        psi[i] = 0.0
        for j in range(1, order + 1):
            new[i] += differences[j, i]
            psi[i] += HARMONIC[j] * differences[j, i]
        psi[i] = psi[i] / ALPHA[order]


def corrected(system, c, factored, z, side, tolerances, rtol, buffers):
    """The simplified Newton iteration from `new`: fills last with d, new with the end; whether it converged.

    Where the factors are of another c, changes are scaled to be right halfway between what relaxes fast and what does not
    (CVODE does the same).
    """
    n, scale = len(z), 2.0 / (1.0 + c / factored)
    new, psi, d = buffers.new, buffers.normal, buffers.last
    right, change = buffers.stages[0], buffers.stages[1]
    for i in range(n):
        d[i] = 0.0
    close = max(1e-15 / rtol, CLOSE)
    before = 0.0
    for iteration in range(ITERATIONS):
        switched_rates(system, new, side, buffers.scratch, buffers.point)
        pace = c * exp(new[n - 1])
        finite = True
        for i in range(n):
            right[i] = pace * buffers.point[i] - psi[i] - d[i]
            finite = finite and abs(right[i]) < 1e300
        if not finite:
            return False
        substitute(buffers.matrix, buffers.order, right, change)
        for i in range(n):
            change[i] = scale * change[i]
        size = in_tolerances(tolerances, 0.0, rtol, z, new, change)
        rate = size / before if iteration > 0 and before > 0.0 else 0.0
        if not size < 1e30 or rate >= 1.0 or rate ** (ITERATIONS - iteration) * size > (1.0 - rate) * close:
            if iteration > 0 or not size < 1e30:
                return False
        for i in range(n):
            new[i] += change[i]
            d[i] += change[i]
        if size == 0.0 or (iteration > 0 and rate * size < (1.0 - rate) * close) or size < 1e-3 * close:
            return True
        before = size
    return False


def rescale(ratio, order, differences, small):
    """Differences of steps `ratio` times as long. small: scratch (3, HIGHEST + 1, HIGHEST + 1)."""
    for which in range(2):
        length = ratio if which == 0 else 1.0
        for j in range(order + 1):
            small[which, 0, j] = 1.0
            for i in range(1, order + 1):
                share = (i - 1.0 - length * j) / i if j > 0 else 0.0
                small[which, i, j] = small[which, i - 1, j] * share
    for i in range(order + 1):
        for j in range(order + 1):
            small[2, i, j] = 0.0
            for k in range(order + 1):
                small[2, i, j] += small[0, i, k] * small[1, k, j]
    for column in range(differences.shape[1]):
        for j in range(order + 1):
            small[0, 0, j] = 0.0
            for i in range(order + 1):
                small[0, 0, j] += small[2, i, j] * differences[i, column]
        for j in range(order + 1):
            differences[j, column] = small[0, 0, j]


def lengthen(ratio, history, control):
    """From now on steps are `ratio` times as long."""
    rescale(ratio, int(history.numbers[ORDER]), history.differences, history.small)
    control[STEP_LENGTH] = control[STEP_LENGTH] * ratio
    history.numbers[ALIKE] = 0.0


def stretched(size, order):
    """By how much a step of this order may be longer, whose error has this size."""
    return 0.7 * max(size, 1e-10) ** (-1.0 / (order + 1))


def size_of(differences, row, scale, tolerances, rtol, z, new, change):
    """`scale` times a row of the differences, in tolerances. change: scratch (n,)."""
    for i in range(len(z)):
        change[i] = scale * differences[row, i]
    return in_tolerances(tolerances, 0.0, rtol, z, new, change)


def multistep(system, z, side, weights, rtol, history, buffers):
    """A step from z of the control's length: its error, in tolerances; fills new and stages.

    1e10: there is no such step; one with other factors, another Jacobian or shorter has to be tried.
    """
    n, control, h = len(z), buffers.control, buffers.control[STEP_LENGTH]
    numbers = history.numbers
    order = int(numbers[ORDER])
    tolerances = weights.relative, buffers.floors, buffers.noise
    predict(order, history.differences, buffers)
    c = h / ALPHA[order]
    factorise(c, numbers, buffers)
    if not corrected(system, c, numbers[FACTORED], z, side, tolerances, rtol, buffers):
        if numbers[CURRENT] == 0.0 and linearised_anew(system, z, side, weights, numbers, buffers):
            return 1e10
        if numbers[FACTORED] != c:
            numbers[FACTORED] = 0.0
            return 1e10
        lengthen(0.5, history, control)
        return 1e10
    right = buffers.stages[0]
    for i in range(n):
        right[i] = LOCAL_ERROR[order] * buffers.last[i]
    error = in_tolerances(tolerances, 0.0, rtol, z, buffers.new, right)
    if not error <= 1.0:
        lengthen(min(max(stretched(error, order), SMALLEST), 0.9), history, control)
        return 1e10
    slope = buffers.stages[IMPLICIT_STAGES - 1]
    for i in range(n):
        slope[i] = (buffers.normal[i] + buffers.last[i]) / c
    return error


def shift(order, d, differences):
    """Differences of the step's end, whose last is d."""
    for i in range(len(d)):
        differences[order + 2, i] = d[i] - differences[order + 1, i]
        differences[order + 1, i] = d[i]
        for j in range(order, -1, -1):
            differences[j, i] += differences[j + 1, i]


def carry_on(z, rtol, weights, error, history, buffers):
    """After a step that was kept, whose d stands in differences[order + 1]: order and length of the next."""
    differences, numbers, control = history.differences, history.numbers, buffers.control
    order = int(numbers[ORDER])
    numbers[ALIKE] += 1.0
    numbers[CURRENT] = 0.0
    if numbers[ALIKE] < order + 1:
        return
    tolerances = weights.relative, buffers.floors, buffers.noise
    best, ratio = order, stretched(error, order)
    if order > 1:
        size = size_of(differences, order, LOCAL_ERROR[order - 1], tolerances, rtol, z, z, buffers.point)
        if stretched(size, order - 1) > ratio:
            best, ratio = order - 1, stretched(size, order - 1)
    if order < HIGHEST:
        size = size_of(differences, order + 2, LOCAL_ERROR[order + 1], tolerances, rtol, z, z, buffers.point)
        if stretched(size, order + 1) > ratio:
            best, ratio = order + 1, stretched(size, order + 1)
    ratio = min(ratio, LARGEST, LONGEST / control[STEP_LENGTH])
    if ratio > LONGER or (best == order - 1 and ratio >= 1.0):
        numbers[ORDER] = best
        lengthen(ratio, history, control)


def advance_wide(system, table, z, side, weights, limits, asked, events, counts, most, history, buffers):
    """`solver.advance` by these steps."""
    control, n = buffers.control, len(z)
    rtol = SHARE * limits.rtol
    while counts[STEPS] + counts[REJECTED] < most:
        tried = counts[STEPS] + counts[REJECTED]
        if tried % LOOK == LOOK - 1:
            switched_rates(system, z, side, buffers.scratch, buffers.point)
            if comes_to_nothing(system, buffers.scratch, z[n - 1] - control[LOOKED]):
                return SINGULAR
            control[LOOKED] = z[n - 1]
        error = multistep(system, z, side, weights, rtol, history, buffers)
        if error > 1.0:
            counts[REJECTED] += 1
            control[IN_A_ROW] += 1.0
            if control[IN_A_ROW] > MOST_REJECTED:
                return UNDERFLOW
            continue
        control[IN_A_ROW] = 0.0
        shift(int(history.numbers[ORDER]), buffers.last, history.differences)
        to_interpolant(control[STEP_LENGTH], z, buffers.new, buffers)
        for i in range(n):
            buffers.last[i] = buffers.new[i]
            buffers.rates[i] = buffers.normal[i]
        status = keep(system, table, z, side, weights, limits, 1.0, -1, asked, events, counts, buffers)
        if status != RUNNING:
            return status
        carry_on(z, rtol, weights, error, history, buffers)
    return TOO_MANY_STEPS if most >= limits.most else RUNNING

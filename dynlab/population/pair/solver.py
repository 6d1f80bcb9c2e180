r"""The stiff solver of the gradient flow, for one trajectory: undecorated, compiled by `dynlab.population.pair.flow`.

**Arc length, not time.** The flow waits for d^2 units, jumps within less than the spacing of float64 at that time,
and decays algebraically for ever. Its *orbit* is tame: the system is autonomous, so the independent variable is the arc
length tau of the orbit in the coordinates of `formulas.flow`,

    dz/dtau = f(z)/s(z),      s = |W f|,      dt/dtau = 1/s,

under which both t^(-1/4) decay and blow-up are straight lines. The Jacobian changes by a rank one,
(J - f_hat v^T)/s with f_hat = f/s and v = J^T W^2 f_hat. W weighs signals of degree 1 by the size of the weights, head
entries by 0, and logarithms by 1.

**Time** is the integral of 1/s over each step: log s is interpolated by the quartic through its values and derivatives
(v . f_hat / s) at both ends and its value in the middle, and 1/s integrated by 5-point Gauss-Legendre; exact for power
laws. A step over which cubic and quartic differ too much is rejected. Time is summed with compensation, and nothing ever
stops because a step is small beside t.

**Steps** are Rodas5P (`formulas.rodas5p`) with an exact Jacobian. The error is measured relative to each signal and
norm; for head entries relative with a floor of HEAD_FLOOR times their scale. A step whose error is not a finite
number is rejected.

**Kinks of relu** (signals that reach 0 in finite time): `dynlab.population.pair.kinks`.
"""

from math import exp, sqrt

from dynlab.formulas.activations import RELU, is_odd, is_steep
from dynlab.formulas.cubic_flow_rates import cubic_pair_jacobian, cubic_pair_rates
from dynlab.formulas.flow_rates import PAIR_SIZE, general_rates, pair_rates
from dynlab.formulas.held_coordinates import DISTANCE, SLOW_RETURN
from dynlab.formulas.lanewise import anywhere, taken, where
from dynlab.formulas.rectified_flow_rates import rectified_pair_jacobian, rectified_pair_rates
from dynlab.machine.tangents import DIRECTIONS, seed, with_tangents

# Largest change of log s within a step, so that the time integral stays accurate.
LOG_SPEED_STEP = 2.5
# Steepest fall of log s per unit of arc length that is still followed in arc length.
STEEPEST = 30.0
# Relaxations within a step from which on it is better taken in time.
STIFF = 30.0
# What float64 knows of delta where it does not enter the formulas as a factor.
DELTA_ROUNDING = 1e-14


def flow_rates(system, z, side, scratch, rates):
    """dz/dt at z. system = (kind, m, K, par); scratch = (cubic, rectified, other), all but one None: the cubic pair and the
    pair of relu or relu3 have forms of their own; other = (geometry, work) of `general_rates`, both None for the pair."""
    rates_by(system, z, side, scratch[0], scratch[1], scratch[2], rates)


def rates_by(system, z, side, cubic, rectified, other, rates):
    """`flow_rates`; numba drops a branch where its own argument is None, and never another."""
    if cubic is not None:
        cubic_pair_rates(system[3], z, side, rates)
    if rectified is not None:
        rectified_pair_rates(system[0], system[3], z, side, rates)
    if other is not None:
        other_rates(system, z, side, other[0], other[1], rates)


def other_rates(system, z, side, geometry, work, rates):
    """dz/dt by the formulas of every activation, for numbers of any kind."""
    kind, m, features, par = system
    if geometry is None:
        tie_rates(kind, par, z, side, rates)
    else:
        general_rates(kind, m, features, par, z, side, geometry, work, rates)
    hold_faded(kind, m, features, z, rates)


def tie_rates(kind, par, z, side, rates):
    """`pair_rates` with the coordinate delta of `formulas.cubic_flow` in place of log|A_22| (signals as logarithms)."""
    if not is_steep(kind):
        pair_rates(kind, par, z, side, 0.0 * z[3], rates)
        return
    tie = z[3]
    z[3] = tie + z[2] + z[1] - z[0]
    pair_rates(kind, par, z, side, tie, rates)
    z[3] = tie
    rates[3] = rates[3] - rates[2] - rates[1] + rates[0]


def log_signal(kind, m, features, z, i):
    """log|A| of the i-th signal, of degree 2 or more; the pair layout holds the last one as delta."""
    if i == 3 and m == 2 and features == 2:
        return z[3] + z[2] + z[1] - z[0]
    return z[i]


def hold_faded(kind, m, features, z, rates):
    """Slow down, smoothly, what has passed every rounding and would move for ever: noise parts of degree 1, which decay
    exponentially or faster, near e^-DISTANCE, and (pair layout) atanh(c), which grows where two noise parts align, near
    DISTANCE."""
    if is_steep(kind) and not (m == 2 and features == 2):
        return
    square = 0.0 * rates[0]
    for i in range(len(z)):
        if i < m * features or i >= len(z) - m * (m - 1):
            square = square + rates[i] * rates[i]
    if not is_steep(kind):
        for i in range(m * features, m * features + m):
            rates[i] = held(-z[i], -1.0, DISTANCE, rates[i] / (1.0 + sixteenth_power(z[i] / DISTANCE)), square)
    if m == 2 and features == 2:
        rate = rates[6] / (1.0 + sixteenth_power(z[6] / DISTANCE))
        rates[6] = held(z[6], 1.0, DISTANCE, rate, square) if z[6].real > 0.0 else held(-z[6], -1.0, DISTANCE, rate, square)


def held(distance, outward, limit, rate, square):
    """The rate of a coordinate at `distance` from 0, held where that is not far above `limit`; outward: the sign that leads
    away; square: v^2, v the speed of signals and head.

    Where noise parts align and an output vanishes, rates grow with the distance d like e^d; and log|w~| falls so, to be
    -infinity in finite time, where |w~| falls at a constant speed: since mu_j goes with |w~_j|, the loss of a rectified
    activation has a kink at |w~_j| = 0.

    The way back is free but for a beginning. When the force g = rate e^-d turns, what is held would set off at e^d g, from
    one stage of a step to the next: no step over that place has an error that tells of it, and steps came to rest before
    it. So the rate is e^d g (g^2/(g^2 + s^2 v^2))^2 where it is held, s = SLOW_RETURN, and smooth where g = 0. It exceeds v
    from g/v = (s^4 e^-d)^(1/5) on, 2e-7 at d = 50: by no more is what is held late. Nearer than the limit the way is free.
    """
    if distance.real < 0.5 * limit or rate.real == 0.0:
        return rate
    if rate.real * outward <= 0.0:
        force = rate * exp(-distance)
        force = force * force
        share = force / (force + SLOW_RETURN * SLOW_RETURN * square / (1.0 + exp(8.0 * (limit + 2.0 - distance))))
        return rate * share * share
    if distance.real > 3.0 * limit:
        return 0.0 * rate
    return rate / (1.0 + exp(4.0 * (distance - limit)))


def sixteenth_power(x):
    """x^16"""
    x = x * x
    x = x * x
    x = x * x
    return x * x


def flow_jacobian(system, z, side, scratch, twins, rates, jac):
    """dz/dt and its exact Jacobian. twins = (cubic, rectified, rows), all but one None: the first two as in `flow_rates`;
    rows: scratch of `tangent_columns`."""
    jacobian_by(system, z, side, twins[0], twins[1], twins[2], rates, jac)


def jacobian_by(system, z, side, cubic, rectified, rows, rates, jac):
    """`flow_jacobian`."""
    if cubic is not None:
        cubic_pair_jacobian(system[3], z, side, rates, jac)
    if rectified is not None:
        rectified_pair_jacobian(system[0], system[3], z, side, rates, jac)
    if rows is not None:
        tangent_columns(system, z, side, rows, rates, jac)
        hold_signals(system[0], z, side, jac)


def hold_signals(kind, z, side, jac):
    """A signal that is held at its kink does not move within the step."""
    if kind == RELU:
        for k in range(len(side)):
            if side[k] == 0:
                for i in range(len(z)):
                    jac[i, k] = 0.0


def tangent_columns(system, z, side, rows, rates, jac):
    """Rates and Jacobian of `other_rates`, nine columns at a time. rows: (state, rates, geometry, work), arrays of
    `dynlab.machine.tangents`."""
    state, slopes, geometry, _ = rows
    n = PAIR_SIZE if geometry is None else len(z)
    numbers = with_tangents(rows)
    for first in range(0, n, DIRECTIONS):
        seed(z, first, state)
        other_rates(system, numbers[0], side, numbers[2], numbers[3], numbers[1])
        for i in range(n):
            for k in range(min(DIRECTIONS, n - first)):
                jac[i, first + k] = slopes[i, 1 + k]
    for i in range(n):
        rates[i] = slopes[i, 0]


def size(axes, z):
    """Number of coordinates; a constant for the compiler where axes is a tuple of that length (the pair layout)."""
    return len(axes) if len(axes) > 0 else len(z)


def arc_system(axes, arc, rates, jac, normal, timed):
    """Turn dz/dt and its Jacobian into dz/dtau and its Jacobian, in place.

    Returns (s, d log s / d tau, whether the step is to be taken in time). normal: scratch (n,). timed: in time anyway.

    Where s falls by more than e within an arc of 1/STEEPEST, the motion is the last of a relaxation: little arc is left
    of it, and in arc length it would end in a corner. There time (at the fixed speed s) is the better variable, in
    which the relaxation is an ordinary stiff decay: the Jacobian keeps no rank-one term.
    """
    n = size(axes, rates)
    total = 0.0
    for i in range(n):
        weighed = arc[i] * rates[i]
        total += weighed * weighed
        normal[i] = 0.0
    speed = sqrt(total)
    inverse = 1.0 / speed
    for i in range(n):
        rates[i] = rates[i] * inverse
    slope = 0.0
    for k in range(n):
        value = 0.0
        for i in range(n):
            value += arc[i] * arc[i] * rates[i] * jac[i, k]
        normal[k] = value
        slope += value * rates[k]
    slope = slope * inverse
    in_time = (slope < -STEEPEST) | timed
    turn = where(in_time, 0.0, 1.0)
    for i in range(n):
        for k in range(n):
            jac[i, k] = (jac[i, k] - turn * rates[i] * normal[k]) * inverse
    return speed, slope, in_time


def is_stiff(n, h, jac):
    """Whether a coordinate relaxes within a small part of an arc of length h; jac: Jacobian in arc length.

    Where a coordinate follows the others, the direction f/|f| turns within a distance of that slow motion which is the
    slow speed over the fast rate: in arc length that is a corner beside the way, in time it is linear.
    """
    for i in range(n):
        if -jac[i, i] * h > STIFF:
            return True
    return False


def slaved_floors(kind, n, m, features, rtol, jac, caps, floors):
    """Set the error floors of the coordinates that can become slaved: head entries, and delta of the pair layout.

    An error in them counts by its relative size or by what it does to the direction of the rest, whichever is more
    lenient, and never less than `caps` allows. jac: Jacobian in arc length. Late in training the force is as small as
    the noise that is left (1e-20), and a head entry that is wrong by more than that would drive the signals by itself.
    """
    head = n - m * (m - 1)
    for k in range(head, n):
        floors[k] = caps[k] / (1.0 + caps[k] * largest_effect(head, k, jac))
    if is_steep(kind) and m == 2 and features == 2:
        floors[3] = 1.0 / (1.0 + largest_effect(head, 3, jac))
        if not is_odd(kind):
            # delta is only as exact as the logarithms that it is taken from.
            floors[3] = max(floors[3], DELTA_ROUNDING / rtol)


def largest_effect(head, k, jac):
    """Largest effect of coordinate k on the direction of the other coordinates (head entries apart)."""
    worst = 0.0
    for i in range(head):
        if i != k:
            worst = max(worst, abs(jac[i, k]))
    return worst


def factor(axes, matrix, order):
    """LU factorisation with partial pivoting, in place: matrix[order] = L D U, L and U with unit diagonals.

    The diagonal holds the inverse of D. order (n,): which row of the right-hand side comes when.
    """
    n = size(axes, order)
    for k in range(n):
        order[k] = k
    for k in range(n):
        choose_pivot(n, k, matrix, order)
        inverse = 1.0 / matrix[k, k]
        matrix[k, k] = inverse
        for i in range(k + 1, n):
            value = matrix[i, k] * inverse
            matrix[i, k] = value
            for j in range(k + 1, n):
                matrix[i, j] -= value * matrix[k, j]
        # U is only needed divided by its diagonal: one product less in the chain of every substitution.
        for j in range(k + 1, n):
            matrix[k, j] *= inverse


def choose_pivot(n, k, matrix, order):
    """Exchange row k with the one below it that has the largest entry in column k, if that is larger."""
    largest = abs(matrix[k, k])
    best = 0.0 * largest + k
    for i in range(k + 1, n):
        size = abs(matrix[i, k])
        larger = size > largest
        largest = where(larger, size, largest)
        best = where(larger, i, best)
    if not anywhere(best != k):
        return
    for i in range(k + 1, n):
        here = best == i
        if anywhere(here):
            order[k], order[i] = where(here, order[i], order[k]), where(here, order[k], order[i])
            for j in range(n):
                above = matrix[k, j]
                below = matrix[i, j]
                matrix[k, j] = where(here, below, above)
                matrix[i, j] = where(here, above, below)


def substitute(axes, matrix, order, b, out):
    """Solve for out with the factors of `factor`; b: the right-hand side."""
    n = size(axes, b)
    for i in range(n):
        value = taken(b, order[i])
        for j in range(i):
            value -= matrix[i, j] * out[j]
        out[i] = value
    for i in range(n):
        out[i] *= matrix[i, i]
    for i in range(n - 2, -1, -1):
        value = out[i]
        for j in range(n - 1, i, -1):
            value -= matrix[i, j] * out[j]
        out[i] = value


def rosenbrock_step(system, axes, table, h, fixed_speed, z, side, arc, jac, scratch, work):
    """One step of length h in arc length from z: fills stages (8, n) and new (n,).

    fixed_speed: 0, or the speed s that turns the arc length into time for this step. work: (matrix (n, n), order (n,),
    stages, point (n,), new).
    """
    matrix, order, stages, point, new = work
    a, c, _, gamma = table
    n = size(axes, z)
    diagonal = 1.0 / (h * gamma)
    for i in range(n):
        for k in range(n):
            matrix[i, k] = -jac[i, k]
        matrix[i, i] += diagonal
    factor(axes, matrix, order)
    inverse = 1.0 / h
    for stage in range(8):
        for i in range(n):
            value = z[i]
            for j in range(stage):
                value += a[stage, j] * stages[j, i]
            point[i] = value
        flow_rates(system, point, side, scratch, new)
        total = 0.0
        for i in range(n):
            weighed = arc[i] * new[i]
            total += weighed * weighed
        speed = 1.0 / where(fixed_speed > 0.0, fixed_speed, sqrt(total))
        for i in range(n):
            value = new[i] * speed
            for j in range(stage):
                value += c[stage, j] * inverse * stages[j, i]
            new[i] = value
        substitute(axes, matrix, order, new, stages[stage])
    for i in range(n):
        new[i] = point[i] + stages[7, i]


def step_error(kind, m, features, rtol, floors, z, new, stages):
    """Root mean square error of the step in units of the tolerance; not a number if anything is not finite."""
    logs = m * features if is_steep(kind) else 0
    n = len(z)
    head = n - m * (m - 1)
    total = 0.0
    for i in range(n):
        scale = 1.0
        if i >= head or (i >= logs and i < m * features):
            scale = max(abs(z[i]), abs(new[i])) + floors[i]
        elif i == 3:
            scale = where(floors[3] > 0.0, min(1.0, max(abs(z[3]), abs(new[3])) + floors[3]), 1.0)
        share = stages[7, i] / (rtol * scale)
        total += share * share
    return sqrt(total / n)


def interpolate(table, theta, z, new, stages, out):
    """Fourth-order interpolant at theta in [0, 1] of the step from z to new."""
    weights = table[2]
    rest = 1.0 - theta
    for i in range(len(z)):
        out[i] = rest * z[i] + theta * new[i]
    for j in range(8):
        weight = theta * rest * (weights[0, j] + theta * (weights[1, j] + theta * weights[2, j]))
        for i in range(len(z)):
            out[i] += weight * stages[j, i]

r"""One trajectory of `dynlab.formulas.switched_flow_rates` from start to end: undecorated, compiled by `any_training.flow`.

Rodas5P (`formulas.rodas5p`) with an exact Jacobian (complex step) in the arc length of the orbit, log time being one of its
coordinates. With g = (f, exp(-clock)), s = |W g| and v = J^T W^2 g/s, the system is dz/dtau = g/s with Jacobian
(J - (g/s) v^T)/s. Where a stiff direction has relaxed, s says more about the last error than about the orbit; there a step
is taken in log time instead, dz/dlog t = f exp(clock), at a fixed ratio kappa to the arc length. Errors are measured
relative to 1 for logarithms, unit vectors and the clock, relative to the value with a floor for signals of degree 1 and head
entries. A step whose error is not a finite number is rejected. relu signals that reach their kink end the step there, as in
`dynlab.population.pair.solver`.
"""

from math import exp, log, sqrt

from dynlab.formulas.activations import RELU, is_steep
from dynlab.formulas.head_rules import trains
from dynlab.formulas.switched import HEAD_RULE
from dynlab.formulas.switched_flow_rates import head_start, switched_rates
from dynlab.population.any_training.kinks import after_kink, first_kink
from dynlab.population.pair.integrate import all_finite
from dynlab.population.pair.solver import factor, interpolate, substitute
from dynlab.population.status import NOT_FINITE, TOO_MANY_STEPS, UNDERFLOW, UNTIL, VANISHED
from dynlab.population.stepping import DOMINANT, GROW, SAFETY, SHRINK

MOST_REJECTED = 60
PEAK_POINTS = 4
# A neuron whose weights' logarithms are all below this has vanished. Where the loss does not depend on its length, forces
# grow like the inverse square of that, and further down their rounding is motion; without normalisation all that is left is
# to fall.
SHORTEST = -8.0
# Where an error changes log s by more than this times the error, the arc length is a bad variable and log time is taken.
STEEPEST = 30.0
# Where it changes log s by more than STEEPEST/SLAVED, in a direction that relaxes faster than STEEPEST in the arc, likewise.
SLAVED = 100.0
ROUNDING = 1e-15
LONGEST = 5.0  # arc of one step: five units of a logarithm


def exact_jacobian(system, z, side, complex_scratch, zc, rc, jac):
    """Fill jac (n, n) with the derivative of `switched_rates` by complex step (see `dynlab.formulas.flow_rates`)."""
    n = len(z)
    for k in range(n):
        for i in range(n):
            zc[i] = z[i]
        zc[k] = z[k] + 1e-30j
        switched_rates(system, zc, side, complex_scratch, rc)
        for i in range(n):
            jac[i, k] = rc[i].imag * 1e30


def to_arc(arc, relative, z, rates, jac, normal):
    """Turn dz/dt and its Jacobian into dz/dtau and its Jacobian, in place.

    Returns kappa: 0 for arc length, or what turns log time into tau for a step in log time.
    """
    n = len(rates)
    total = 0.0
    for i in range(n):
        total += (arc[i] * rates[i]) ** 2
        normal[i] = 0.0
    speed = sqrt(total)
    for i in range(n):
        weight = arc[i] * arc[i] * rates[i] / speed
        if weight != 0.0:
            for k in range(n):
                normal[k] += weight * jac[i, k]
    steepest = 0.0
    for k in range(n):
        slope = abs(normal[k]) * (abs(z[k]) if relative[k] > 0 else 1.0)
        # A slaved coordinate follows its target within each step: no error, but a deviation all the same.
        steepest = max(steepest, slope * SLAVED if -jac[k, k] > STEEPEST * speed else slope)
    if steepest > STEEPEST * speed:
        clock = rates[n - 1]
        for i in range(n):
            for k in range(n):
                jac[i, k] = jac[i, k] / speed
            # d/d clock of f exp(clock - clock_n)
            jac[i, n - 1] += rates[i] / speed
        for i in range(n):
            rates[i] = rates[i] / speed
        return clock / speed
    for i in range(n):
        rates[i] = rates[i] / speed
    for i in range(n):
        for k in range(n):
            jac[i, k] = (jac[i, k] - rates[i] * normal[k]) / speed
    return 0.0


def take_step(system, table, h, kappa, z, side, arc, jac, scratch, matrix, order, stages, point, new):
    """One step of arc length h: fills stages (8, n) and new (n,). kappa: see `to_arc`."""
    a, c, _, gamma = table
    n = len(z)
    for i in range(n):
        for k in range(n):
            matrix[i, k] = -jac[i, k]
        matrix[i, i] += 1.0 / (h * gamma)
    factor((), matrix, order)
    for stage in range(8):
        for i in range(n):
            point[i] = z[i]
        for j in range(stage):
            for i in range(n):
                point[i] += a[stage, j] * stages[j, i]
        switched_rates(system, point, side, scratch, new)
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
        substitute((), matrix, order, new, stages[stage])
    for i in range(n):
        new[i] = point[i] + stages[7, i]


def error_of(relative, floors, noise, h, rtol, z, new, stages):
    """Root mean square error in units of the tolerance. relative (n,): 1 where errors are relative to the value.

    noise (n,): how fast rounding moves the coordinates, which no step can resolve.
    """
    n = len(z)
    total = 0.0
    for i in range(n):
        scale = 1.0
        if relative[i] > 0:
            scale = max(abs(z[i]), abs(new[i])) + floors[i]
        total += (stages[7, i] / (rtol * scale + h * noise[i])) ** 2
    return sqrt(total / n)


def rounding_motion(relative, z, jac, noise):
    """Fill noise (n,) with what rounding the coordinates does to their rates. jac: Jacobian in arc length."""
    n = len(z)
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += abs(jac[i, k]) * (abs(z[k]) if relative[k] > 0 else max(abs(z[k]), 1.0))
        noise[i] = ROUNDING * total


def entry_floors(first, n, caps, jac, floors):
    """Error floors of the head's entries n - 1 > i >= first: what an error in one does to the direction of the rest."""
    for k in range(first, n - 1):
        worst = 0.0
        for i in range(first):
            worst = max(worst, abs(jac[i, k]))
        floors[k] = caps[k] / (1.0 + caps[k] * worst)


def squared_cosine(kind, m, features, z, j, f):
    """Squared cosine of neuron j's weights with feature f."""
    total = exp(2.0 * z[m * features + j])
    wanted = 0.0
    for k in range(features):
        x = z[j * features + k]
        x = exp(2.0 * x) if is_steep(kind) else x * x
        total += x
        if k == f:
            wanted = x
    return wanted / total if total > 0.0 else 0.0


def smallest_neuron(kind, m, features, z):
    """The least over neurons of log |w_j|, to within a factor sqrt(K + 1)."""
    least = 1e300
    for j in range(m):
        largest = z[m * features + j]
        for i in range(j * features, (j + 1) * features):
            largest = max(largest, z[i] if is_steep(kind) else log(abs(z[i]) + 1e-300))
        least = min(least, largest)
    return least


def best_cosine(kind, m, features, z, f):
    """Largest squared cosine of any neuron with feature f."""
    best = 0.0
    for j in range(m):
        best = max(best, squared_cosine(kind, m, features, z, j, f))
    return best


def off_diagonal(m, features, choice, z):
    """Largest |E_jr|, j != r, among the entries that train."""
    entry = head_start(m, features, choice)
    best = 0.0
    for j in range(m):
        for r in range(m):
            if trains(choice[HEAD_RULE], j, r):
                if j != r:
                    best = max(best, abs(z[entry]))
                entry += 1
    return best


def theta_of(level, table, z, new, stages, top, point):
    """Theta in [0, top] at which the clock reads `level`, by bisection."""
    low = 0.0
    high = top
    last = len(z) - 1
    for _ in range(60):
        middle = 0.5 * (low + high)
        interpolate(table, middle, z, new, stages, point)
        if point[last] >= level:
            high = middle
        else:
            low = middle
    interpolate(table, high, z, new, stages, point)
    point[last] = level
    return high


def note_events(system, table, z, new, stages, last, top, learnt, marks, snapshots, peak, point):
    """Clock readings and states where features are learnt and where the head is largest. Rows of marks: first and second
    feature learnt, the head's peak."""
    kind, m, features = system[0], system[1], system[2]
    n = len(z)
    for f in range(features):
        if learnt[f] > -1e300 or best_cosine(kind, m, features, last, f) <= DOMINANT:
            continue
        low = 0.0
        high = top
        for _ in range(50):
            middle = 0.5 * (low + high)
            interpolate(table, middle, z, new, stages, point)
            if best_cosine(kind, m, features, point, f) > DOMINANT:
                high = middle
            else:
                low = middle
        interpolate(table, high, z, new, stages, point)
        learnt[f] = point[n - 1]
        row = 0
        if marks[0] > -1e300:
            row = 1
            if point[n - 1] < marks[0]:
                marks[1] = marks[0]
                for i in range(n):
                    snapshots[1, i] = snapshots[0, i]
                row = 0
        if row == 0 or not marks[1] > -1e300:
            marks[row] = point[n - 1]
            for i in range(n):
                snapshots[row, i] = point[i]
    for k in range(1, PEAK_POINTS + 1):
        interpolate(table, top * k / PEAK_POINTS, z, new, stages, point)
        size = off_diagonal(m, features, system[4], point)
        if size > peak[0]:
            peak[0] = size
            marks[2] = point[n - 1]
            for i in range(n):
                snapshots[2, i] = point[i]


def follow(system, table, z, side, weights, limits, times, at_times, trace, learnt, marks, snapshots, peak, counts, scratch,
           complex_scratch, buffers):  # fmt: skip
    """Follow the flow from z, overwritten by the end state; return the status of `dynlab.population.pair.solver`.

    weights: arc (n,), caps (n,), relative (n,). limits: (clock at the end, rtol, largest number of steps). times: clock
    readings to record in at_times (T, n). trace (P, n): the state after each step, as far as there is room. learnt (K,),
    marks (3,), snapshots (3, n): events, -inf where none. peak (1,): largest head entry. counts (4,): steps, rejected,
    times recorded, trace points.
    """
    arc, caps, relative = weights
    end, rtol, most = limits
    rates, jac, new_rates, new_jac, matrix, order, stages, point, new, last, normal, floors, noise, zc, rc = buffers
    n = len(z)
    kind, m, features, _, choice, _ = system
    size = 1.0 / arc[0]
    first = head_start(m, features, choice)
    peak[0] = off_diagonal(m, features, choice, z)
    for i in range(n):
        floors[i] = caps[i]
    for f in range(features):
        if best_cosine(kind, m, features, z, f) > DOMINANT:
            learnt[f] = z[n - 1]
    switched_rates(system, z, side, scratch, rates)
    exact_jacobian(system, z, side, complex_scratch, zc, rc, jac)
    if not all_finite(n, rates, jac):
        return NOT_FINITE
    kappa = to_arc(arc, relative, z, rates, jac, normal)
    h = 0.01
    last_h = h
    last_error = 1.0
    held_back = False
    in_a_row = 0
    while counts[0] + counts[1] < most:
        if not held_back:
            entry_floors(first, n, caps, jac, floors)
            rounding_motion(relative, z, jac, noise)
        take_step(system, table, h, kappa, z, side, arc, jac, scratch, matrix, order, stages, point, new)
        error = error_of(relative, floors, noise, h, rtol, z, new, stages)
        accepted = error <= 1.0 and new[n - 1] >= z[n - 1]
        change = SHRINK
        if error < 1e30:
            change = max(SHRINK, min(GROW, SAFETY / max(error, 1e-10) ** 0.2))
        top = 1.0
        which = -1
        if accepted:
            if kind == RELU:
                top, which = first_kink(system, size, table, z, new, stages, side, scratch, point, last)
            interpolate(table, top, z, new, stages, last)
            switched_rates(system, last, side, scratch, new_rates)
            exact_jacobian(system, last, side, complex_scratch, zc, rc, new_jac)
            accepted = all_finite(n, new_rates, new_jac)
        if not accepted:
            counts[1] += 1
            h = h * min(change, 0.9)
            held_back = True
            in_a_row += 1
            if in_a_row > MOST_REJECTED:
                return UNDERFLOW if error < 1e30 else NOT_FINITE
            continue
        in_a_row = 0
        counts[0] += 1
        done = last[n - 1] >= end
        if done:
            top = theta_of(end, table, z, new, stages, top, last)
        note_events(system, table, z, new, stages, last, top, learnt, marks, snapshots, peak, point)
        while counts[2] < len(times) and times[counts[2]] <= last[n - 1]:
            theta_of(times[counts[2]], table, z, new, stages, top, point)
            for i in range(n):
                at_times[counts[2], i] = point[i]
            counts[2] += 1
        for i in range(n):
            z[i] = last[i]
        if counts[3] < len(trace):
            for i in range(n):
                trace[counts[3], i] = z[i]
            counts[3] += 1
        if done:
            return UNTIL
        if smallest_neuron(kind, m, features, z) < SHORTEST:
            return VANISHED
        held = False
        for i in range(len(side)):
            held = held or side[i] == 0
        if kind == RELU and (which >= 0 or held):
            after_kink(system, size, z, side, which, scratch, point)
            switched_rates(system, z, side, scratch, new_rates)
            exact_jacobian(system, z, side, complex_scratch, zc, rc, new_jac)
        kappa = to_arc(arc, relative, z, new_rates, new_jac, normal)
        for i in range(n):
            rates[i] = new_rates[i]
            for k in range(n):
                jac[i, k] = new_jac[i, k]
        # Predictive control (Gustafsson, ACM TOMS 20, 1994).
        error = max(error, 1e-4)
        trend = SAFETY * (h / last_h) * (last_error / (error * error)) ** 0.2
        last_h = h
        last_error = error
        change = min(change, max(trend, SHRINK))
        h = min(h * (min(change, 1.0) if held_back else change), LONGEST)
        held_back = False
    return TOO_MANY_STEPS

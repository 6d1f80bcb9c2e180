"""Events of one trajectory, on the solver's interpolant: features learnt, the head's peak, chosen times. Undecorated.

A feature is learnt when the largest squared cosine of any neuron with it first passes 1/2; the head's peak is the
largest |E_jr| (j != r) over the whole trajectory.
"""

from math import exp

from dynlab.formulas.activations import is_steep
from dynlab.population.pair.clock import elapsed, theta_at
from dynlab.population.pair.solver import interpolate, log_signal
from dynlab.population.stepping import DOMINANT, FIRST, PEAK, SECOND

# Entries of tally and counts.
PEAK_VALUE, DRIFT, END = 0, 1, 2
STEPS, REJECTED, TRACED, NEXT_TIME = 0, 1, 2, 3


def cosine_square(kind, m, features, z, side, j, f):
    """Squared cosine between neuron j's weights and feature f."""
    total = exp(2.0 * z[m * features + j])
    wanted = 0.0
    for k in range(features):
        x = z[j * features + k]
        x = exp(2.0 * log_signal(kind, m, features, z, j * features + k)) if is_steep(kind) else x * x
        total += x
        if k == f:
            wanted = x
    return wanted / total


def best_cosine(kind, m, features, z, side, f):
    """Largest squared cosine of any neuron with feature f."""
    best = 0.0
    for j in range(m):
        best = max(best, cosine_square(kind, m, features, z, side, j, f))
    return best


def head_size(n, m, z):
    """Largest |E_jr|, j != r."""
    best = 0.0
    for i in range(n - m * (m - 1), n):
        best = max(best, abs(z[i]))
    return best


def locate_learnt(system, table, step, side, feature, top, point):
    """Theta in (0, top] at which `feature` becomes learnt (known to be so at top), by bisection."""
    kind, m, features, _ = system
    z, new, stages = step
    low = 0.0
    high = top
    for _ in range(50):
        middle = 0.5 * (low + high)
        interpolate(table, middle, z, new, stages, point)
        if best_cosine(kind, m, features, point, side, feature) > DOMINANT:
            high = middle
        else:
            low = middle
    interpolate(table, high, z, new, stages, point)
    return high


def locate_peak(system, table, step, top, point):
    """Theta of the largest head entry inside the step, by golden-section search (one maximum a step)."""
    m = system[1]
    z, new, stages = step
    n = len(z)
    ratio = 0.6180339887498949
    low = 0.0
    high = top
    x1 = high - ratio * (high - low)
    x2 = low + ratio * (high - low)
    interpolate(table, x1, z, new, stages, point)
    y1 = head_size(n, m, point)
    interpolate(table, x2, z, new, stages, point)
    y2 = head_size(n, m, point)
    for _ in range(40):
        if y1 > y2:
            high = x2
            x2 = x1
            y2 = y1
            x1 = high - ratio * (high - low)
            interpolate(table, x1, z, new, stages, point)
            y1 = head_size(n, m, point)
        else:
            low = x1
            x1 = x2
            y1 = y2
            x2 = low + ratio * (high - low)
            interpolate(table, x2, z, new, stages, point)
            y2 = head_size(n, m, point)
    interpolate(table, 0.5 * (low + high), z, new, stages, point)
    return 0.5 * (low + high)


def mark(row, time, state, marks, snapshots):
    """Keep the time and the state of an event."""
    marks[row] = time
    for i in range(len(state)):
        snapshots[row, i] = state[i]


def note_learnt(system, table, step, side, last, top, clock, timing, events, point):
    """Record the features learnt within the step (z, new, stages); last: the state at theta = top."""
    kind, m, features, _ = system
    learnt, marks, snapshots, _, _ = events
    pace, span = timing
    for f in range(features):
        if learnt[f] >= 0.0 or best_cosine(kind, m, features, last, side, f) <= DOMINANT:
            continue
        theta = locate_learnt(system, table, step, side, f, top, point)
        learnt[f] = clock[0] + elapsed(theta / span, pace)
        if marks[FIRST] < 0.0:
            mark(FIRST, learnt[f], point, marks, snapshots)
        elif learnt[f] < marks[FIRST]:
            for i in range(len(point)):
                snapshots[SECOND, i] = snapshots[FIRST, i]
            marks[SECOND] = marks[FIRST]
            mark(FIRST, learnt[f], point, marks, snapshots)
        elif marks[SECOND] < 0.0:
            mark(SECOND, learnt[f], point, marks, snapshots)


def note_peak(system, table, step, slopes, last, top, clock, timing, events, point):
    """Record the head's largest entry so far: at the step's end, or inside the step where an entry turned.

    slopes: the rates at both ends of the step.
    """
    m = system[1]
    z = step[0]
    n = len(z)
    old_rates, new_rates = slopes
    _, marks, snapshots, tally, _ = events
    pace, span = timing
    turned = False
    for i in range(n - m * (m - 1), n):
        if old_rates[i] * new_rates[i] < 0.0 and abs(z[i]) + abs(last[i]) > 0.5 * tally[PEAK_VALUE]:
            turned = True
    if turned:
        theta = locate_peak(system, table, step, top, point)
        value = head_size(n, m, point)
        if value > tally[PEAK_VALUE]:
            tally[PEAK_VALUE] = value
            mark(PEAK, clock[0] + elapsed(theta / span, pace), point, marks, snapshots)
    value = head_size(n, m, last)
    if value > tally[PEAK_VALUE]:
        tally[PEAK_VALUE] = value
        mark(PEAK, clock[0] + elapsed(top / span, pace), last, marks, snapshots)


def not_all_learnt(features, learnt):
    """Whether a feature is still to be learnt."""
    for f in range(features):
        if learnt[f] < 0.0:
            return True
    return False


def head_moved(n, m, old_rates, new_rates, last, tally):
    """Whether the largest head entry grew over the step, or an entry turned within it."""
    for i in range(n - m * (m - 1), n):
        if abs(last[i]) > tally[PEAK_VALUE] or old_rates[i] * new_rates[i] < 0.0:
            return True
    return False


def record(table, step, top, clock, timing, records, counts, point):
    """Record the step at the chosen times and, for a trace, at `per_step` points of its interpolant."""
    z, new, stages = step
    times, at_times, trace_time, trace, per_step = records
    pace, span = timing
    end = clock[0] + elapsed(top / span, pace)
    while counts[NEXT_TIME] < len(times) and times[counts[NEXT_TIME]] <= end:
        theta = span * theta_at(times[counts[NEXT_TIME]] - clock[0], pace)
        interpolate(table, min(theta, top), z, new, stages, point)
        for i in range(len(z)):
            at_times[counts[NEXT_TIME], i] = point[i]
        counts[NEXT_TIME] += 1
    for k in range(per_step):
        if counts[TRACED] < len(trace_time):
            theta = top * (k + 1.0) / per_step
            interpolate(table, theta, z, new, stages, point)
            trace_time[counts[TRACED]] = clock[0] + elapsed(theta / span, pace)
            for i in range(len(z)):
                trace[counts[TRACED], i] = point[i]
            counts[TRACED] += 1

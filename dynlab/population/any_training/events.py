"""What a trajectory under any training passes on its way: features learnt, the head's peak, times asked for."""

from math import exp, log

from dynlab.formulas.activations import is_steep
from dynlab.formulas.head_rules import trains
from dynlab.formulas.switched import HEAD_RULE
from dynlab.formulas.switched_flow_rates import head_start
from dynlab.population.pair.solver import interpolate
from dynlab.population.stepping import DOMINANT, FIRST, PEAK, SECOND

PEAK_POINTS = 4
NOTED, TRACED = 2, 3  # of counts, behind those of the solver: clock readings passed, points of the trace


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


def note_start(system, z, events):
    """What the start has of features learnt and of a head."""
    events.peak[0] = off_diagonal(system.m, system.features, system.choice, z)
    for f in range(system.features):
        if best_cosine(system.kind, system.m, system.features, z, f) > DOMINANT:
            events.learnt[f] = z[len(z) - 1]


def note_learnt(system, table, z, top, f, events, buffers):
    """Clock reading and state where feature f is learnt, if that is before theta = top of the step."""
    kind, m, features = system.kind, system.m, system.features
    learnt, marks, snapshots = events.learnt, events.marks, events.snapshots
    new, stages, point = buffers.new, buffers.stages, buffers.point
    n = len(z)
    if not (learnt[f] > -1e300 or best_cosine(kind, m, features, buffers.last, f) <= DOMINANT):
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
        row = FIRST
        if marks[FIRST] > -1e300:
            row = SECOND
            if point[n - 1] < marks[FIRST]:
                marks[SECOND] = marks[FIRST]
                for i in range(n):
                    snapshots[SECOND, i] = snapshots[FIRST, i]
                row = FIRST
        if row == FIRST or not marks[SECOND] > -1e300:
            marks[row] = point[n - 1]
            for i in range(n):
                snapshots[row, i] = point[i]


def note_events(system, table, z, top, events, buffers):
    """Clock readings and states where, up to theta = top of the step, features are learnt and the head is largest."""
    point = buffers.point
    n = len(z)
    for f in range(system.features):
        note_learnt(system, table, z, top, f, events, buffers)
    for k in range(1, PEAK_POINTS + 1):
        interpolate(table, top * k / PEAK_POINTS, z, buffers.new, buffers.stages, point)
        size = off_diagonal(system.m, system.features, system.choice, point)
        if size > events.peak[0]:
            events.peak[0] = size
            events.marks[PEAK] = point[n - 1]
            for i in range(n):
                events.snapshots[PEAK, i] = point[i]


def record(table, z, top, asked, counts, buffers):
    """The states at the clock readings asked for that the step passes. counts: see `solver.advance`."""
    new, stages, last, point = buffers.new, buffers.stages, buffers.last, buffers.point
    n = len(z)
    while counts[NOTED] < len(asked.times) and asked.times[counts[NOTED]] <= last[n - 1]:
        theta_of(asked.times[counts[NOTED]], table, z, new, stages, top, point)
        for i in range(n):
            asked.at_times[counts[NOTED], i] = point[i]
        counts[NOTED] += 1


def trace(z, asked, counts):
    """Keep the state after the step, as far as there is room."""
    if counts[TRACED] < len(asked.trace):
        for i in range(len(z)):
            asked.trace[counts[TRACED], i] = z[i]
        counts[TRACED] += 1

"""The gradient flow of neurons with hidden units: compiled kernel and its Python interface.

`run_hidden` takes any number of starts and returns plain arrays; `dynlab.ensembles` makes frames of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.formulas import dopri5, rectified_units
from dynlab.formulas.activations import RELU
from dynlab.machine import jit
from dynlab.machine.lanes import LANE_COUNT, lane_array
from dynlab.population.descent import noise_rows
from dynlab.population.gradient import activation_kind, hidden_found, hidden_workspace, parameter_vector
from dynlab.population.hidden import (
    cycles,
    descending,
    kinks,
    lane_runs,
    measures,
    rates,
    solver,
    stabilised,
    vanishing,
)
from dynlab.population.order_parameters import OrderParameters, own_units
from dynlab.population.pair.flow import stopped
from dynlab.population.stepping import HEAD_FLOOR

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

MAX_STEPS = 2_000_000  # outputs that begin with a short readout go round fast
NO_TIMES = np.zeros(0)
NO_DESCENT = (0.0, 0)  # learning rate, steps
ABREAST = 64  # starts from which on those of relu are followed abreast (`lane_runs`)
BURST = 30_000  # evaluations of the forces of eight units between looks for an interrupt: a tenth of a second
EVENTS = ("head_peak", "time_peak", "time", "drift", "loss", "period", "peak_row")

jit.compile_module(rectified_units)
_modules = rates, measures, kinks, cycles, vanishing, stabilised, solver, descending, lane_runs
_parts = [jit.compile_module(part) for part in _modules]
_steps, _solver, _descending, _lane_runs = _parts[-4:]
# Nothing in these modules allocates, so arrays need no reference counts.
for _part in _parts:
    for _function in vars(_part).values():
        _function.targetoptions["_nrt"] = False
# Called from one place, and inlined before they are compiled: else the forces are optimised again at every level of calls.
for _function in (
    _steps.chebyshev_step, _steps.spectral_radius, _solver.explicit_step, _solver.attempt, _solver.begin_flow,
    _solver.arrive, _solver.before_step, _solver.after_step, _solver.follow, _solver.go_round, _descending.descend,
    _lane_runs.place_of,
):  # fmt: skip
    _function.targetoptions["inline"] = "always"
_follow, _descend, _follow_abreast = _solver.follow, _descending.descend, _lane_runs.follow_abreast
fill_carried = _parts[1].carried_shares  # compiled, for other kernels
UNDER_WAY, TRACED, EVALUATED = solver.UNDER_WAY, solver.TRACED, solver.EVALUATED


@dataclass(frozen=True)
class HiddenResult:
    """Plain arrays for N trajectories.

    ends: signal (N, M, K), noise Gram (N, M, M), readout (N, m, M), head (N, m, m); at_times: the same with an axis of T
    times after the first; learnt (N, K): when a feature was first carried, nan for never; head_peak, time_peak, time, drift,
    loss (N,); period (N,) of a limit cycle, or of the last round of one that goes round at `until`, 0 for none; steps,
    rejected, status (N,), a code of `population.status`; peak_row (N,): of the head's largest entry. trace: time (P,) and
    states of the last trajectory after each step.
    """

    ends: tuple[Array, ...]
    at_times: tuple[Array, ...]
    learnt: Array
    head_peak: Array
    time_peak: Array
    time: Array
    drift: Array
    loss: Array
    period: Array
    peak_row: Array
    steps: Array
    rejected: Array
    status: Array
    trace: tuple[Array, ...]


def hidden_system(model: Model, readout_rate: float, head_rate: float) -> tuple:
    """What formulas take of a model: (kind, m, M, K, numbers, units in use (m, M), (rates of readout and head))."""
    own = float(readout_rate) if model.readout != "fixed" else 0.0
    sizes = model.neurons, model.units, model.features
    return activation_kind(model), *sizes, parameter_vector(model), own_units(model), (own, float(head_rate))


def encode(model: Model, starts: list[OrderParameters]) -> tuple[Array, Array]:
    """State vectors (N, n) of `solver` and sides (N, M K) of the signals."""
    rows = [
        np.concatenate([s.signal.ravel(), noise_rows(s.noise_gram).ravel(), np.ravel(np.asarray(s.readout)), s.head.ravel()])
        for s in starts
    ]
    y = np.array(rows)
    return y, np.sign(y[:, : model.units * model.features]).astype(np.int64)


def decode(model: Model, y: Array) -> tuple[Array, Array, Array, Array]:
    """signal (..., M, K), noise Gram (..., M, M), readout (..., m, M), head (..., m, m) of state vectors (..., n)."""
    m, units, features = model.neurons, model.units, model.features
    cuts = np.cumsum([units * features, units * units, m * units])
    parts = np.split(y, cuts, axis=-1)
    shapes = (units, features), (units, units), (m, units), (m, m)
    signal, rows, readout, head = (part.reshape(*y.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True))
    head = np.array(head)
    head[..., np.arange(m), np.arange(m)] = 1.0
    return signal, rows @ np.swapaxes(rows, -1, -2), readout, head


def _table() -> tuple[Array, ...]:
    """A (7, 7), error weights (7,), the interpolant's (7,), and those of Hermite's cubic: none but the ends' velocities."""
    a = np.zeros((7, 7))
    for i, row in enumerate(dopri5.A):
        a[i, : len(row)] = row
    return a, np.array(dopri5.ERROR), np.array(dopri5.DENSE), np.zeros(7)


def _scratch(model: Model) -> tuple:
    m, units, features = model.neurons, model.units, model.features
    signal = np.zeros((units, features))
    parts = signal, np.zeros((units, features), np.int64), np.zeros((units, units)), np.zeros((m, units)), np.zeros((m, m))
    geometry = np.zeros(units), np.zeros((units, units)), np.zeros((units, units)), np.zeros((units, units))
    return parts, np.zeros((units, units)), geometry, hidden_workspace(model), tuple(hidden_found(model))


@jit.kernel
def _hidden_kernel(problem, starts, records, results, spare, first, burst):
    """Go on with the starts from `first` on, which may be under way, for about `burst` evaluations; which is next.

    problem (system, table, limits, (eta, steps) of descent, 0 for the flow), starts (states, sides, floors, |w|^2), records
    (times, states there, trace), results (learnt, tally, counts, status), spare (control, scratch, buffers): as in
    `solver.follow` and `descending.descend`, with an axis of starts.
    """
    system, table, limits, descent = problem
    states, sides, floors, squares = starts
    times, at_times, trace = records
    learnt, tally, counts, status = results
    control, scratch, buffers = spare
    until, rtol, settle, most = limits
    k = first
    left = burst
    while k < len(states) and left > 0:
        before = counts[k, EVALUATED]
        if descent[0] > 0.0:
            status[k] = _descend(
                system, states[k], sides[k], descent, left, status[k], times[k], at_times[k],
                (learnt[k], tally[k], counts[k]), scratch, buffers,
            )  # fmt: skip
        else:
            status[k] = _follow(
                system, table, states[k], sides[k], (floors[k, 0], floors[k, 1]), (until, rtol, settle, most, squares[k]),
                left, status[k], (times[k], at_times[k], trace), (learnt[k], tally[k], counts[k], control), scratch, buffers,
            )  # fmt: skip
        left -= counts[k, EVALUATED] - before + 1
        if status[k] != UNDER_WAY:
            k += 1
    return k


@jit.kernel
def _hidden_abreast_kernel(problem, starts, records, results, lanes, own, trace, burst):
    """`lane_runs.follow_abreast`."""
    return _follow_abreast(problem, starts, records, results, lanes, own, trace, burst)


_hidden_kernel.targetoptions["_nrt"] = _hidden_abreast_kernel.targetoptions["_nrt"] = False


def _lanes(model: Model, n: int) -> tuple:
    """Lanes as `lane_runs` takes them, without trajectories."""
    places = np.zeros((LANE_COUNT, 3), np.int64)
    fields = *_with_axis(_buffers(model, n)), np.zeros((LANE_COUNT, lane_runs.CONTROLS))
    vectors = lane_array(n), lane_array(model.units * model.features), lane_array(n), _in_vectors(_scratch(model))
    return np.full(LANE_COUNT, -1), np.zeros(2, np.int64), places, fields, (*vectors, lane_array(1))


def _with_axis(arrays: tuple) -> tuple:
    """The same arrays with an axis of lanes in front."""
    return tuple(_with_axis(one) if isinstance(one, tuple) else np.zeros((LANE_COUNT, *one.shape)) for one in arrays)


def _in_vectors(arrays: tuple) -> tuple:
    """The same arrays with an axis of lanes behind."""
    return tuple(_in_vectors(one) if isinstance(one, tuple) else lane_array(*one.shape) for one in arrays)


def _buffers(model: Model, n: int) -> tuple:
    """Scratch of `solver.follow`."""
    m, units, features = model.neurons, model.units, model.features
    vectors = np.zeros((dopri5.STAGES, n)), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(units * features)
    track = np.zeros(cycles.NUMBERS), *(np.zeros(n) for _ in range(6))
    return (
        *vectors,
        np.zeros((m, features)),
        *(np.zeros(units + m) for _ in range(3)),
        np.zeros(m),
        track,
        np.zeros(stabilised.RECURRENCES),
    )


def run_hidden(
    model: Model, starts: list[OrderParameters], *, head_rate: float, readout_rate: float, until: float, rtol: float,
    settle: bool, times: Array = NO_TIMES, traced: bool = False, max_steps: int = MAX_STEPS,
) -> HiddenResult:  # fmt: skip
    """Integrate the flow from each start, on the calling thread without the GIL.

    head_rate, readout_rate: rates of E and a beside that of the weights, 0 for frozen ones. until: end time. settle: stop at
    rest, and on a limit cycle after one more period, at equal parts of which its states are recorded in place of `times`.
    times: increasing, at most until. traced: keep every step of the last start.
    """
    limits = (float(until), float(rtol), bool(settle), int(max_steps))
    return _run(model, starts, (readout_rate, head_rate), limits, NO_DESCENT, times, traced)


def run_hidden_descent(
    model: Model, starts: list[OrderParameters], *, head_rate: float, readout_rate: float, eta: float, steps: int,
    record_at: Array = NO_TIMES,
) -> HiddenResult:  # fmt: skip
    """`steps` steps of exact gradient descent from each start, on the calling thread without the GIL.

    eta: learning rate of the weights. head_rate, readout_rate: those of E and a beside it. record_at: increasing numbers of
    steps, whose states are under `at_times`. Times are steps times eta. For activations of any degree.
    """
    limits = (steps * eta, 1.0, False, steps)
    return _run(model, starts, (readout_rate, head_rate), limits, (float(eta), int(steps)), record_at, False)


def _run(
    model: Model, starts: list[OrderParameters], rates_of: tuple[float, float], limits: tuple, descent: tuple[float, int],
    times: Array, traced: bool,
) -> HiddenResult:  # fmt: skip
    """`run_hidden` or, where descent is not `NO_DESCENT`, `run_hidden_descent`. rates_of: of readout and head."""
    readout_rate, head_rate = rates_of
    m, units, features = model.neurons, model.units, model.features
    y, side = encode(model, starts)
    count, n = y.shape
    cut = units * features
    square = np.array([((s.signal**2).sum(1) + np.diagonal(s.noise_gram)).mean() for s in starts])
    smallest = np.abs(y[:, :cut]).min(1)
    floors = np.stack([np.maximum(1e-3 * smallest, 1e-9 * np.sqrt(square)), np.empty(count)], axis=1)
    floors[:, 1] = HEAD_FLOOR * (np.sqrt(head_rate * square) if head_rate > 0.0 else 1.0)
    asked = np.tile(np.asarray(times, dtype=float), (count, 1))
    at_times = np.full((count, asked.shape[1], n), np.nan)
    trace = np.zeros((0, 1 + n))
    learnt, tally = np.full((count, features), -1.0), np.zeros((count, len(EVENTS)))
    counts, status = np.zeros((count, 5), np.int64), np.zeros(count, np.int64)
    system = hidden_system(model, readout_rate, head_rate)
    spare = np.zeros(9), _scratch(model), _buffers(model, n)
    problem, begun = (system, _table(), limits, descent), (y, side, floors, square)
    together = count >= ABREAST and system[0] == RELU and not traced and descent == NO_DESCENT
    lanes = _lanes(model, n) if together else ()
    burst, first = max(1, BURST * 1024 // (units**2 * (units + 4 * m))), 0
    while first < count:
        if stopped():
            raise KeyboardInterrupt
        if traced:  # a step takes two evaluations or more
            trace = _with_room(trace, int(counts[-1, TRACED]) + burst // 2 + 1)
        results = learnt, tally, counts, status
        if together:
            records = asked, at_times
            first = _hidden_abreast_kernel(problem[:3], begun, records, results, lanes, spare[1], trace, burst)
            continue
        first = _hidden_kernel(problem, begun, (asked, at_times, trace), results, spare, first, burst)
    found: dict[str, Any] = dict(zip(EVENTS, tally.T, strict=True))
    found |= {"steps": counts[:, solver.TAKEN], "rejected": counts[:, solver.REFUSED], "status": status}
    points = trace[: counts[-1, TRACED]]
    return HiddenResult(
        ends=decode(model, y), at_times=decode(model, at_times), learnt=np.where(learnt < 0.0, np.nan, learnt),
        trace=(points[:, 0], *decode(model, points[:, 1:])), **found,
    )  # fmt: skip


def _with_room(trace: Array, rows: int) -> Array:
    """The trace in an array of so many rows, the new ones not yet written."""
    larger = np.empty((rows, trace.shape[1]))
    larger[: len(trace)] = trace
    return larger

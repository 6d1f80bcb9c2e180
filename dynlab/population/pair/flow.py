"""Gradient flow of order parameters: encoding, the compiled ensemble kernel, and its Python interface.

`run_flow` takes any number of starts and returns plain arrays; `dynlab.population.simulate` and `dynlab.ensembles.ensemble`
make `Trajectory` and `Ensemble` of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dynlab.formulas import (
    cubic_flow_rates,
    flow_rates,
    held_coordinates,
    pair,
    rectified_flow_rates,
    rectified_noise,
    rectified_tangents,
)
from dynlab.formulas.activations import CUBIC, RELU, RELU3
from dynlab.machine import jit
from dynlab.machine.lanes import LANE_COUNT, lane_array
from dynlab.machine.tangents import TANGENT_ENTRIES
from dynlab.population import gradient, scaling
from dynlab.population.order_parameters import OrderParameters, check_head
from dynlab.population.pair import abreast, at_rest, clock, events, integrate, kinks, lane_steps, solver, step_control
from dynlab.population.status import AT_REST, UNTIL
from dynlab.population.stepping import HEAD_FLOOR, method_table
from dynlab.settings.activation_records import ACTIVATIONS

jit.compile_module(pair)
_parts = {
    part: jit.compile_module(part)
    for part in (
        flow_rates, cubic_flow_rates, rectified_noise, held_coordinates, rectified_tangents, rectified_flow_rates, solver,
        clock, kinks, events, at_rest, step_control, integrate, lane_steps, abreast,
    )
}  # fmt: skip
# Nothing in these modules allocates, so arrays need no reference counts: counting took a quarter of the time.
for _part in _parts.values():
    for _function in vars(_part).values():
        _function.targetoptions["_nrt"] = False
# Calls with that many arguments cost as much as the work, in the innermost loop or where there is one caller only.
_names = {
    solver: ("flow_rates", "rates_by", "factor", "substitute", "tie_rates"),
    clock: ("log_speed", "elapsed"),
    step_control: ("pace_by_ends", "well_timed", "choose_length", "predicted_factor"),
    integrate: ("begin", "advance", "resting", "vanishes", "attempt", "reach", "timed", "take", "go_on"),
    abreast: ("judge",),
}
_forms = (cubic_flow_rates, rectified_noise, held_coordinates, rectified_tangents, rectified_flow_rates)
_inlined = [getattr(_parts[_part], _name) for _part, _some in _names.items() for _name in _some]
for _function in (*(one for _part in _forms for one in vars(_parts[_part]).values()), *_inlined):
    _function.targetoptions["forceinline"] = True
_solver, _integrate = _parts[solver], _parts[integrate]
_begin, _advance, _advance_abreast = _integrate.begin, _integrate.advance, _parts[abreast].advance_abreast

MAX_STEPS = 200_000
MOST_POINTS = 100_000  # of a trace
RUNNING, STEPS, REJECTED = step_control.RUNNING, events.STEPS, events.REJECTED
# Steps between looks for an interrupt, times the square of the number of coordinates: a tenth of a second.
BURST = 300_000
# Pairs that are followed abreast.
FORMS = {CUBIC: abreast.CUBIC_FORMS, RELU: abreast.RECTIFIED_FORMS, RELU3: abreast.RECTIFIED_FORMS}
# Stand-ins for exact zeros and exactly parallel noise parts in logarithmic coordinates.
TINY_LOG, LARGEST_ATANH = -276.0, 40.0
SLACK = 1e-6  # by which sums of logarithms may miss TINY_LOG


_thread = threading.local()


def heed(stop: threading.Event) -> None:
    """Let what the calling thread integrates end with KeyboardInterrupt, within a burst of steps, once `stop` is set."""
    _thread.stop = stop


def stopped() -> bool:
    """Whether the event that the calling thread heeds is set."""
    stop = getattr(_thread, "stop", None)
    return stop is not None and stop.is_set()


def layout_of(model) -> int:
    """The layout of the state vector that the model's flow uses."""
    return flow_rates.PAIR if model.neurons == 2 and model.features == 2 else flow_rates.GENERAL


def log_size(values):
    """log|x|, with TINY_LOG for zero."""
    return np.log(np.maximum(np.abs(values), np.exp(TINY_LOG)))


def encode(model, state: OrderParameters) -> tuple[np.ndarray, np.ndarray]:
    """State vector (n,) of `dynlab.formulas.flow_rates` and the sides (m K,) of the signals (their signs, as int64)."""
    shape = (model.neurons, model.features)
    if state.signal.shape != shape:
        raise ValueError(f"start: signal of shape {state.signal.shape}, must be {shape} for this model")
    head = check_head(state.head, model.neurons)
    z, side = encode_arrays(model, state.signal[None], state.noise_gram[None], head[None])
    return z[0], side[0]


def encode_arrays(model, signal, gram, head) -> tuple[np.ndarray, np.ndarray]:
    """`encode` for N states: signal (N, m, K), noise Gram matrices (N, m, m), heads (N, m, m) -> (N, n), (N, m K)."""
    m, count = model.neurons, len(signal)
    steep = ACTIVATIONS[model.activation].degree > 1
    signal = signal.reshape(count, -1)
    norm = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    signals = log_size(signal) if steep else np.array(signal)
    if steep and layout_of(model) == flow_rates.PAIR:
        # delta of `formulas.cubic_flow` in place of log|A_22|
        signals[:, 3] += signals[:, 0] - signals[:, 1] - signals[:, 2]
    if layout_of(model) == flow_rates.PAIR:
        # atanh(c) = log((k + dot)/(k - dot))/2, k = |w~_1||w~_2|.
        dot, scale = gram[:, 0, 1], norm[:, 0] * norm[:, 1]
        small, large = np.maximum(scale - np.abs(dot), 0.0), scale + np.abs(dot)
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.minimum(0.5 * np.log(large / small), LARGEST_ATANH)
        angles = np.where(scale > 0.0, np.copysign(angle, dot), 0.0)[:, None]
    else:
        angles = np.array([unit_rows(*pair).ravel() for pair in zip(gram, norm, strict=True)]).reshape(count, -1)
    side = np.sign(signal).astype(np.int64)
    if steep:
        side[side == 0] = 1
    return np.concatenate([signals, log_size(norm), angles, head[:, ~np.eye(m, dtype=bool)]], axis=1), side


def unit_rows(gram, norm):
    """Unit vectors (m, m) with the correlations of a Gram matrix (m, m)."""
    unit = np.where(norm > 0.0, norm, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    rows = vectors * np.sqrt(np.maximum(values, 0.0))
    length = np.linalg.norm(rows, axis=1)
    rows[length == 0.0, 0] = 1.0
    length[length == 0.0] = 1.0
    return rows / length[:, None]


def log_signals(model, z):
    """log|A| (..., m K) of state vectors of degree 2 and more."""
    logs = np.array(z[..., : model.neurons * model.features])
    if layout_of(model) == flow_rates.PAIR:
        logs[..., 3] += logs[..., 2] + logs[..., 1] - logs[..., 0]
    return logs


def decode(model, z: np.ndarray, side: np.ndarray):
    """Arrays (signal (..., m, K), noise_gram (..., m, m), head (..., m, m)) of state vectors (..., n)."""
    m, features = model.neurons, model.features
    steep = ACTIVATIONS[model.activation].degree > 1
    cut = m * features
    signal = log_signals(model, z) if steep else z[..., :cut]
    if steep:
        signal = side * np.where(signal <= TINY_LOG + SLACK, 0.0, np.exp(signal))
    norm = z[..., cut : cut + m]
    norm = np.where(norm <= TINY_LOG + SLACK, 0.0, np.exp(norm))
    first = cut + m
    head_at = z.shape[-1] - m * (m - 1)
    shape = z.shape[:-1]
    if layout_of(model) == flow_rates.PAIR:
        correlation = np.ones((*shape, 2, 2))
        correlation[..., 0, 1] = correlation[..., 1, 0] = np.tanh(z[..., first])
    else:
        rows = z[..., first:head_at].reshape(*shape, m, m)
        rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        correlation = rows @ np.swapaxes(rows, -1, -2)
        correlation[..., np.arange(m), np.arange(m)] = 1.0
    head = np.zeros((*shape, m, m))
    head[..., ~np.eye(m, dtype=bool)] = z[..., head_at:]
    head[..., np.arange(m), np.arange(m)] = 1.0
    gram = correlation * norm[..., :, None] * norm[..., None, :]
    return signal.reshape(*shape, m, features), gram, head


def scales(model, starts: np.ndarray, head_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Per start: arc-length weights (N, n) and error floors (N, n) of `dynlab.population.pair.solver`.

    A head entry's scale is the peak that the conservation law allows, sqrt(r/q) max_j |w_j(0)|.
    """
    m, features = model.neurons, model.features
    degree = ACTIVATIONS[model.activation].degree
    cut = m * features
    size = sizes(model, starts)[:, None]
    arc, floors = np.ones_like(starts), np.zeros_like(starts)
    head_at = starts.shape[1] - m * (m - 1)
    if degree == 1:
        arc[:, :cut] = 1.0 / size
        smallest = np.abs(starts[:, :cut]).min(1, keepdims=True)
        floors[:, :cut] = np.maximum(1e-3 * smallest, 1e-9 * size)
    head_scale = np.sqrt(head_rate / degree) * size if head_rate > 0.0 else np.ones_like(size)
    arc[:, head_at:] = 0.0
    floors[:, head_at:] = HEAD_FLOOR * head_scale
    return arc, floors


def _geometry(m, features, tail=()):
    """Scratch of `flow_rates.general_rates`; tail: what is behind the axes of each array of numbers."""
    shapes = ((m, features), None, (m,), (m, m), (m, m), (m, m), (m, m), (m, features), (m, m), (m, m))
    return tuple(np.zeros(s + tail) if s else np.zeros((m, features), np.int64) for s in shapes)


def _shapes(m, n):
    """Of the solver's scratch; None for integers (n,)."""
    return (n,), (n, n), (n,), (n, n), (n, n), None, (8, n), *[(n,)] * 4, (2,), (m,), (m,), (n,), (step_control.CONTROLS,)


def _buffers(m, n):
    return tuple(np.zeros(s) if s else np.zeros(n, np.int64) for s in _shapes(m, n))


def _lanes(m, n, signals):
    """Lanes as `abreast` takes them, without trajectories."""
    shapes = (n,), (signals,), (n,), (n,), (lane_steps.ENDS,), *(s or (n,) for s in _shapes(m, n))
    fields = tuple(lane_array(*shape) for shape in shapes)
    fields[20][step_control.STEP_LENGTH] = 1.0  # of lanes that never have a trajectory
    return np.full(LANE_COUNT, -1), np.zeros(2, np.int64), fields, (np.zeros((n, n)), np.zeros(n, np.int64))


def _scratch(model, n):
    """Scratch of the solver's `flow_rates` and of `flow_jacobian`."""
    m, features, kind = model.neurons, model.features, ACTIVATIONS[model.activation].kind
    if layout_of(model) == flow_rates.PAIR and kind in FORMS:
        return FORMS[kind]
    state = np.zeros((n, TANGENT_ENTRIES)), np.zeros((n, TANGENT_ENTRIES))
    if layout_of(model) == flow_rates.PAIR:
        return (None, None, (None, None)), (None, None, (*state, None, None))
    real = _geometry(m, features), gradient.new_workspace(m, features)
    rows = _geometry(m, features, (TANGENT_ENTRIES,)), gradient.new_workspace(m, features, tail=(TANGENT_ENTRIES,))
    return (None, None, real), (None, None, (*state, *rows))


@jit.kernel
def _flow_kernel(problem, starts, records, results, spare, first, burst):
    """Go on with the starts from `first` on, which may be under way, for about `burst` steps; which is next.

    As in `integrate`, with an axis of starts: problem (system, axes, table, limits), starts (z, sides, arcs, floors),
    records (times, states there, trace times, trace, points a step), results (learnt, marks, snapshots, tally, counts,
    status).
    """
    system, axes, table, limits = problem
    _, _, _, most = limits
    z, sides, arcs, floors = starts
    times, at_times, trace_time, trace, per_step = records
    learnt, marks, snapshots, tally, counts, status = results
    i = first
    left = burst
    while i < len(z) and left > 0:
        one = (system, axes, table, (arcs[i], floors[i]), limits)
        wanted = (times, at_times[i], trace_time, trace, per_step)
        noted = (learnt[i], marks[i], snapshots[i], tally[i], counts[i])
        before = counts[i, STEPS] + counts[i, REJECTED]
        state = RUNNING
        if status[i] != RUNNING:
            state = _begin(one, z[i], sides[i], noted, spare)
        if state == RUNNING:
            state = _advance(one, z[i], sides[i], min(before + left, most), wanted, noted, spare)
        status[i] = state
        left -= counts[i, STEPS] + counts[i, REJECTED] - before + 1
        if state != RUNNING:
            i += 1
    return i


@jit.kernel
def _abreast_flow_kernel(problem, queue, records, results, lanes, burst):
    """`abreast.advance_abreast`."""
    return _advance_abreast(problem, queue, records, results, lanes, burst)


_flow_kernel.targetoptions["_nrt"] = _abreast_flow_kernel.targetoptions["_nrt"] = False


@dataclass(frozen=True)
class FlowResult:
    """Plain arrays for N trajectories with n coordinates: `end` (N, n), `side` (N, m K), `at_times` (N, T, n),
    `trace_time` (P,), `trace` (P, n) (the last trajectory's), `learnt` (N, K), `marks` (N, 3) times of the first and
    second feature learnt and of the head's peak (nan: never), `snapshots` (N, 3, n) states there, `peak`, `drift`,
    `time` (N,), `steps`, `rejected`, `status` (N,), see `population.status`, `rest` (N,) whether nothing moved any more
    before the end."""

    end: np.ndarray
    side: np.ndarray
    at_times: np.ndarray
    trace_time: np.ndarray
    trace: np.ndarray
    learnt: np.ndarray
    marks: np.ndarray
    snapshots: np.ndarray
    peak: np.ndarray
    drift: np.ndarray
    time: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    status: np.ndarray
    rest: np.ndarray

    def part(self, first: int, stop: int) -> FlowResult:
        """The trajectories first ... stop - 1; the trace stays what it is."""
        kept = {name: value if name.startswith("trace") else value[first:stop] for name, value in vars(self).items()}
        return FlowResult(**kept)


def sizes(model, starts):
    """The largest |w_j| (N,) of encoded starts (N, n)."""
    m, features = model.neurons, model.features
    cut = m * features
    signal = np.exp(log_signals(model, starts)) if ACTIVATIONS[model.activation].degree > 1 else starts[:, :cut]
    square = np.exp(2 * starts[:, cut : cut + m]) + (signal.reshape(-1, m, features) ** 2).sum(-1)
    return np.sqrt(square.max(1))


def in_units(model, z, unit):
    """Encoded states (..., n) with weights divided by `unit`; what stands for zero stays."""
    if unit == 1.0:
        return z
    m, cut = model.neurons, model.neurons * model.features
    z = np.array(z)
    logs = list(range(cut, cut + m))
    if ACTIVATIONS[model.activation].degree > 1:
        # delta of the pair layout, in place of the last signal, does not change
        logs += range(cut - 1 if layout_of(model) == flow_rates.PAIR else cut)
    else:
        z[..., :cut] /= unit
    z[..., logs] = np.where(np.abs(z[..., logs] - TINY_LOG) < SLACK, TINY_LOG, z[..., logs] - np.log(unit))
    return z


def by_units(model, starts, sides, run, *, head_rate, until, times=()) -> FlowResult:
    """A runner's result in units in which weights, strengths and noise are of order one (`dynlab.population.scaling`).

    run(model, starts, sides, head_rate=, until=, times=) -> FlowResult. Ordinary weights and strengths pass as they are.
    """
    starts, times = np.asarray(starts, dtype=np.float64), np.asarray(times, dtype=np.float64)
    sides = np.asarray(sides, dtype=np.int64)
    small = scaling.in_strength_units(model)
    units = scaling.weight_units(sizes(model, starts))
    places, parts = [], []
    for unit in np.unique(units):
        rows = np.flatnonzero(units == unit)
        square = float(unit * unit)
        found = run(
            small, in_units(model, starts[rows], unit), sides[rows], head_rate=head_rate * square, until=until / square,
            times=times / square,
        )  # fmt: skip
        places.append(rows)
        parts.append(_out_of_units(model, found, unit))
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(places))
    names = [name for name in vars(parts[0]) if not name.startswith("trace")]
    joined = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names}
    return FlowResult(**joined, trace_time=parts[-1].trace_time, trace=parts[-1].trace)


def _out_of_units(model, found: FlowResult, unit: float) -> FlowResult:
    """A result in weights of `unit` turned into that in weights of 1."""
    if unit == 1.0:
        return found
    states = {name: in_units(model, getattr(found, name), 1.0 / unit) for name in ("end", "at_times", "trace", "snapshots")}
    clocks = {name: getattr(found, name) * unit * unit for name in ("trace_time", "learnt", "marks", "time")}
    return replace(found, **states, **clocks)


def run_flow(model, starts, sides, *, head_rate, until, rtol, settle, times=(), trace_points=0, max_steps=MAX_STEPS):
    """Integrate the flow from encoded starts (N, n), (N, m K), one after the other on the calling thread (no GIL).

    head_rate: r, 0 for a frozen head. until: end time. settle: stop when nothing can change any more before `until`.
    times: increasing times to record, at most until. trace_points: points recorded of every step (single starts).
    """
    run = partial(_run, rtol=rtol, settle=settle, trace_points=trace_points, max_steps=max_steps)
    return by_units(model, starts, sides, run, head_rate=head_rate, until=until, times=times)


def _run(model, starts, sides, *, head_rate, until, rtol, settle, times, trace_points, max_steps) -> FlowResult:
    """`run_flow` in the units given."""
    m, features = model.neurons, model.features
    z = np.array(starts, dtype=np.float64)
    side = np.array(sides, dtype=np.int64)
    count, n = z.shape
    arcs, floors = scales(model, z, head_rate)
    trace_time, trace = np.empty(0), np.empty((0, n))
    at_times = np.full((count, len(times), n), np.nan)
    learnt, marks = np.full((count, features), -1.0), np.full((count, 3), -1.0)
    snapshots, tally = np.full((count, 3, n), np.nan), np.zeros((count, 3))
    counts, status = np.zeros((count, 4), np.int64), np.zeros(count, np.int64)
    kind = ACTIVATIONS[model.activation].kind
    system = (kind, m, features, gradient.parameter_vector(model, head_rate))
    scratch, twins = _scratch(model, n)
    limits = (float(until), float(rtol), bool(settle), int(max_steps))
    axes = (0,) * n if layout_of(model) == flow_rates.PAIR else ()
    together = scratch[2] is None
    problem = (system, axes, method_table(), limits, *(((scratch, twins),) if together else ()))
    lanes, spare = (_lanes(m, n, side.shape[1]), None) if together else (None, (scratch, twins, _buffers(m, n)))
    results = (learnt, marks, snapshots, tally, counts, status)
    burst, first = BURST // (n * n), 0
    while first < count:
        if stopped():
            raise KeyboardInterrupt
        if trace_points:  # room for what a burst can add: room for all that a trace may hold costs more than to fill it
            room = min(int(counts[-1, events.TRACED]) + int(trace_points) * (burst + 1), MOST_POINTS)
            trace_time, trace = _grown(trace_time, room), _grown(trace, room)
        records = (times, at_times, trace_time, trace, int(trace_points))
        queue = (z, side, arcs, floors)
        if lanes:
            first = _abreast_flow_kernel(problem, queue, records, results, lanes, burst)
        else:
            first = _flow_kernel(problem, queue, records, results, spare, first, burst)
    return result_of(z, side, at_times, trace_time, trace, learnt, marks, snapshots, tally, counts, status)


def _grown(array, room):
    """The array with so many rows, the new ones not yet written."""
    larger = np.empty((room, *array.shape[1:]))
    larger[: len(array)] = array
    return larger


def result_of(z, side, at_times, trace_time, trace, learnt, marks, snapshots, tally, counts, status) -> FlowResult:
    """`FlowResult` of the arrays that kernels fill, in which -1 stands for never."""
    learnt[learnt < 0] = np.nan
    marks[marks < 0] = np.nan
    traced = counts[-1, events.TRACED]
    rest = status == AT_REST
    return FlowResult(
        z, side, at_times, trace_time[:traced], trace[:traced], learnt, marks, snapshots, tally[:, events.PEAK_VALUE],
        tally[:, events.DRIFT], tally[:, events.END], counts[:, events.STEPS], counts[:, events.REJECTED],
        np.where(rest, UNTIL, status), rest,
    )  # fmt: skip

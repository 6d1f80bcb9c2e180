"""Flow under any `Training` for many starts: encoding, the compiled kernel, plain arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.formulas import head_rules, switched, switched_flow_rates
from dynlab.formulas.decorrelation import BY_VALUE
from dynlab.machine import jit
from dynlab.machine.tangents import TANGENT_ENTRIES
from dynlab.population.any_training import (
    compiled,
    equations,
    events,
    gradient,
    implicit,
    kinks,
    linearised,
    multistep,
    singular,
    solver,
)
from dynlab.population.any_training.records import Asked, Buffers, Events, History, Limits, Scratch, System, Weights
from dynlab.population.gradient import parameter_vector
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.population.pair import flow
from dynlab.population.pair.flow import stopped
from dynlab.population.stepping import HEAD_FLOOR, method_table
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.training import Training
from dynlab.tools.checks import require

_parts = [
    jit.compile_module(part)
    for part in (switched_flow_rates, equations, kinks, events, linearised, implicit, singular, solver, multistep)
]
# Called from one place: inlined before they are compiled, which spares compiling what they call once more at every level.
for _name in (
    "output_forces", "similarity", "one_output", "unit_length", "noise_forces", "mix_outputs", "carry_back",
    "correlation_forces",
):  # fmt: skip
    getattr(compiled.compiled_formulas, _name).targetoptions["inline"] = "always"
for _name in ("two_views", "decorrelated", "correlation"):
    getattr(compiled.compiled_helpers[2], _name).targetoptions["inline"] = "always"
for _name in ("weights_rates", "target_rates"):
    getattr(_parts[0], _name).targetoptions["inline"] = "always"
for _name in ("first_kink", "after_kink"):
    getattr(_parts[2], _name).targetoptions["inline"] = "always"
for _name in ("note_events", "note_learnt", "note_start", "record", "trace"):
    getattr(_parts[3], _name).targetoptions["inline"] = "always"
for _name in ("begin", "advance", "attempt", "arrive", "keep", "take_step"):
    getattr(_parts[7], _name).targetoptions["inline"] = "always"
# Nothing in these modules allocates, so arrays need no reference counts, which are most of the code to compile.
for _part in (*_parts, compiled.compiled_formulas, *compiled.compiled_helpers):
    for _function in vars(_part).values():
        _function.targetoptions["_nrt"] = False
for _name in ("set_off_wide", "advance_wide", "multistep", "carry_on", "corrected"):
    getattr(_parts[8], _name).targetoptions["inline"] = "always"
_rates, _begin, _advance = _parts[0].switched_rates, _parts[7].begin, _parts[7].advance
_set_off_wide, _advance_wide = _parts[8].set_off_wide, _parts[8].advance_wide
MAX_STEPS = 20_000
MAX_WIDE_STEPS = 200_000
WIDE = 100  # coordinates from which on `multistep` is faster
# Steps between looks for an interrupt, times the cube of the number of coordinates (or what small systems cost): some tenths
# of a second.
BURST = 300_000_000
UNDER_WAY, TO_BEGIN, RATES_ALONE = solver.RUNNING, -2, -3  # beside the codes of `dynlab.population.status`
TRACE_ROOM = 20_000
MOST_COORDINATES, MOST_WIDE = 1000, 2500  # steps factorise dense matrices of that size
REST = 1e-10  # of the growth at the start: below it nothing grows any more
START_SHARE = 0.01  # t_0 of the clock, in units of the time in which the start changes by e


@dataclass(frozen=True)
class SwitchedResult:
    """Plain arrays for N trajectories: end states `signal` (N, m, K), `gram` (N, m, m), `head` (N, m, m), `starts` the same
    three, `marks` (N, 3) times of the first and second feature learnt and of the head's peak (nan: never), `snapshots` the
    three arrays there with a second axis of 3, `at_times` the same at the T times asked for, `trace` (time, states) of the
    last trajectory, `learnt` (N, K) times, `peak`, `loss`, `steps`, `rejected` (N,), `status` (N,) an index into
    `status.NAMES`, `rest` (N,) whether no signal grows any more."""

    starts: tuple
    ends: tuple
    marks: np.ndarray
    snapshots: tuple
    at_times: tuple
    trace: tuple
    learnt: np.ndarray
    peak: np.ndarray
    loss: np.ndarray
    time: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    status: np.ndarray
    rest: np.ndarray


@jit.kernel
def _kernel(system, table, starts, sides, weights, limits, asked, events, found, buffers, place, history):
    """Go on with the starts from the first on, which may be under way, for about `burst` steps; which is next.

    limits, asked, events: records of all starts. found: (losses (N,), counts (N, 4), status (N,), rates (N, n)). A start of
    status `RATES_ALONE` stays where it is. place: (first, burst). history: None, or `history_for` steps of `multistep`;
    numba drops the branch that is not taken.
    """
    losses, counts, status, speeds = found
    i, left = place
    while i < len(starts) and left > 0:
        z, side = starts[i], sides[i]
        weight = Weights(weights.arc[i], weights.caps[i], weights.relative)
        seen = Events(events.learnt[i], events.marks[i], events.snapshots[i], events.peak[i])
        wanted = Asked(asked.times[i], asked.at_times[i], asked.trace)
        own = Limits(limits.clock[i], limits.rtol, limits.most)
        before = counts[i, solver.STEPS] + counts[i, solver.REJECTED]
        most = min(before + left, limits.most)
        if history is None:
            if status[i] == TO_BEGIN:
                status[i] = _begin(system, z, side, weight, seen, buffers)
            if status[i] == UNDER_WAY:
                status[i] = _advance(system, table, z, side, weight, own, wanted, seen, counts[i], most, buffers)
        else:
            if status[i] == TO_BEGIN:
                status[i] = _set_off_wide(system, z, side, weight, history, seen, buffers)
            if status[i] == UNDER_WAY:
                status[i] = _advance_wide(
                    system, table, z, side, weight, own, wanted, seen, counts[i], most, history, buffers
                )
        left -= counts[i, solver.STEPS] + counts[i, solver.REJECTED] - before + 1
        if status[i] != UNDER_WAY:
            losses[i] = _rates(system, z, side, buffers.scratch, speeds[i])
            i += 1
    return i


_kernel.targetoptions["_nrt"] = False


def coordinates(model, training: Training) -> int:
    """How many coordinates the flow has."""
    return switched_flow_rates.state_size(model.neurons, model.features, gradient.choices(training))


def is_wide(model, training: Training) -> bool:
    """Whether trajectories are followed by steps of `multistep`, which are for many coordinates and know no kinks."""
    smooth = ACTIVATIONS[model.activation].degree > 1 and training.objective != "vicreg"
    return smooth and coordinates(model, training) >= WIDE


def scratch_for(m: int, features: int, tail: tuple = ()) -> Scratch:
    """Scratch of `switched_flow_rates.switched_rates`; head matrices are filled by the caller. tail: axes of one number."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros((*shape, *tail))

    def sides() -> np.ndarray:
        return np.zeros((m, features), np.int64)

    return Scratch(
        signal=zeros(m, features), sides=sides(), norm=zeros(m), dot=zeros(m, m), wedge=zeros(m, m), eps=zeros(m, m),
        goal=zeros(m, features), goal_sides=sides(), goal_norm=zeros(m), head=zeros(m, m), d_signal=zeros(m, features),
        d_noise=zeros(m, m), d_head=zeros(m, m), corner=(gradient.free_corner(m)[0], zeros(m), zeros(m)),
        work=tuple(zeros(*shape) for shape in switched.switched_sizes(m, features)),
    )  # fmt: skip


def buffers_for(model, training: Training, n: int) -> Buffers:
    """What one thread carries trajectories of n coordinates on by."""
    m, features = model.neurons, model.features
    scratch, twin = scratch_for(m, features), scratch_for(m, features, (TANGENT_ENTRIES,))
    scratch.head[...] = gradient.start_head(model, training)
    twin.head[..., 0] = scratch.head
    return Buffers(
        control=np.zeros(6), rates=np.zeros(n), jac=np.zeros((n, n)), rates_at=np.zeros(n), jac_at=np.zeros((n, n)),
        matrix=np.zeros((n, n)), order=np.zeros(n, np.int64), stages=np.zeros((8, n)), point=np.zeros(n), new=np.zeros(n),
        last=np.zeros(n), normal=np.zeros(n), floors=np.zeros(n), noise=np.zeros(n), scratch=scratch,
        twin=(np.zeros((n, TANGENT_ENTRIES)), np.zeros((n, TANGENT_ENTRIES)), twin),
    )  # fmt: skip


def encode(model, training: Training, signal, gram):
    """State vectors (N, n), without the clock's offset, and sides of kinks (N, ...) as in `kinks`, for signals (N, m, K)
    and noise Gram matrices (N, m, m). The head starts where the training says, the target where the online weights are. An
    output's side of VICReg's hinge is what its deviation says (`decorrelation.BY_VALUE`) until `choose_hinges`."""
    count = len(signal)
    steep = ACTIVATIONS[model.activation].degree > 1
    flat = np.asarray(signal, dtype=np.float64).reshape(count, -1)
    norm = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    units = np.array([flow.unit_rows(*pair).ravel() for pair in zip(gram, norm, strict=True)]).reshape(count, -1)
    block = np.concatenate([flow.log_size(flat) if steep else flat, flow.log_size(norm), units], axis=1)
    side = np.sign(flat).astype(np.int64)
    if steep:
        side[side == 0] = 1
    blocks = [block] * (2 if training.target == "average" else 1)
    entries = gradient.start_head(model, training)[trained_mask(model, training)]
    z = np.concatenate([*blocks, np.tile(entries, (count, 1)), np.zeros((count, 1))], axis=1)
    hinges = np.full((count, model.neurons if training.objective == "vicreg" else 0), BY_VALUE)
    return z, np.concatenate([*[side] * len(blocks), hinges], axis=1)


def choose_hinges(model, training: Training, z, side, buffers) -> None:
    """Set the sides of the outputs at VICReg's hinge to what their deviations say; one on the corner itself is held."""
    cut = model.neurons * model.features
    for i in range(len(z) if side.shape[1] > cut else 0):
        rates_at(model, training, z[i : i + 1], side[i : i + 1], buffers)
        side[i, cut:] = np.sign(buffers.scratch.corner[2] - 1.0)


def trained_mask(model, training: Training) -> np.ndarray:
    """Which entries of the head follow a gradient, (m, m) of bool."""
    rule, m = head_rules.rule_number(training.head), model.neurons
    return np.array([[head_rules.trains(rule, j, r) for r in range(m)] for j in range(m)])


def decode(model, training: Training, z, side):
    """Arrays signal (..., m, K), noise_gram (..., m, m), head (..., m, m) of state vectors (..., n)."""
    m, features = model.neurons, model.features
    cut = m * features
    signal, norm = z[..., :cut], z[..., cut : cut + m]
    if ACTIVATIONS[model.activation].degree > 1:
        signal = side[..., :cut] * np.where(signal <= flow.TINY_LOG, 0.0, np.exp(signal))
    norm = np.where(norm <= flow.TINY_LOG, 0.0, np.exp(norm))
    rows = z[..., cut + m : cut + m + m * m].reshape(*z.shape[:-1], m, m)
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    correlation = rows @ np.swapaxes(rows, -1, -2)
    correlation[..., np.arange(m), np.arange(m)] = 1.0
    gram = correlation * norm[..., :, None] * norm[..., None, :]
    signal = signal.reshape(*z.shape[:-1], m, features)
    return signal, gram, _heads(model, training, z, signal, gram)


def _heads(model, training, z, signal, gram):
    """E of every state."""
    if training.head in FROM_CORRELATION:
        return gradient.made_heads(model, training, signal, gram)
    head = np.tile(gradient.start_head(model, training), (*z.shape[:-1], 1, 1))
    mask = trained_mask(model, training)
    if mask.any():
        head[..., mask] = z[..., -1 - mask.sum() : -1]
    return head


def system_of(model, training: Training) -> tuple:
    """The system that kernels take."""
    rate = training.head_rate
    return System(
        ACTIVATIONS[model.activation].kind, model.neurons, model.features, parameter_vector(model, rate),
        gradient.choices(training), gradient.numbers(model, training),
    )  # fmt: skip


def weights_of(model, training: Training, z) -> Weights:
    """Arc-length weights (N, n), error floors (N, n) and which errors count relative to the value (n,)."""
    m, features = model.neurons, model.features
    steep = ACTIVATIONS[model.activation].degree > 1
    cut, block = m * features, switched_flow_rates.block_size(m, features)
    first = switched_flow_rates.head_start(m, features, gradient.choices(training))
    arc, caps = np.ones_like(z), np.zeros_like(z)
    relative = np.zeros(z.shape[1])
    signal = np.exp(z[:, :cut]) if steep else z[:, :cut]
    square = np.exp(2 * z[:, cut : cut + m]) + (signal.reshape(-1, m, features) ** 2).sum(-1)
    size = np.sqrt(square.max(1))[:, None]
    if not steep:
        for start in range(0, first, block):
            arc[:, start : start + cut] = 1.0 / size
            smallest = np.abs(signal).min(1, keepdims=True)
            caps[:, start : start + cut] = np.maximum(1e-3 * smallest, 1e-9 * size)
            relative[start : start + cut] = 1
    degree = ACTIVATIONS[model.activation].degree
    arc[:, first:-1] = 0.0
    caps[:, first:-1] = HEAD_FLOOR * (np.sqrt(training.eta_head / degree) * size if training.eta_head > 0 else 1.0)
    relative[first:-1] = 1
    return Weights(arc, caps, relative)


def run_switched(model, training: Training, signal, gram, *, until, rtol, times=(), trace=False, max_steps=None):
    """Integrate the flow from signals (N, m, K) and noise Gram matrices (N, m, m), one after the other, without the GIL.

    until: end time; times: increasing times to record, at most until; trace: keep every step of the last trajectory.
    max_steps: None for `MAX_STEPS`, or `MAX_WIDE_STEPS` of those that are many and cheap (`is_wide`).
    """
    training.check_model(model)
    m, features = model.neurons, model.features
    wide, size = is_wide(model, training), coordinates(model, training)
    room = MOST_WIDE if wide else MOST_COORDINATES
    allowed = f"few enough, with {features} features, for {room} coordinates of the flow (here {size})"
    require(size <= room, "neurons", m, allowed)
    z, side = encode(model, training, signal, gram)
    count, n = z.shape
    most = max_steps or (MAX_WIDE_STEPS if wide else MAX_STEPS)
    system, table, buffers = system_of(model, training), method_table(), buffers_for(model, training, n)
    if training.objective == "vicreg":
        choose_hinges(model, training, z, side, buffers)
    speeds = rates_at(model, training, z, side, buffers)[1]
    offsets, growth = np.array([clock_offset(speed, until) for speed in speeds]), signal_growth(model, z, speeds)
    z[:, -1] = np.log(offsets)
    starts = decode(model, training, z, side)
    times = np.asarray(times, dtype=np.float64)
    clocks = np.log(times[None] + offsets[:, None])
    asked, seen = noted(clocks, count, n, features, TRACE_ROOM if trace else 0)
    losses, counts, status = np.zeros(count), np.zeros((count, 4), np.int64), np.full(count, TO_BEGIN)
    weights, limits, first = weights_of(model, training, z), Limits(np.log(until + offsets), float(rtol), int(most)), 0
    given = system, table, z, side, weights, limits, asked, seen, (losses, counts, status, speeds), buffers
    history = history_for(n) if wide else None
    burst = BURST // (100 * n * n if wide else n**3 + 30_000) + 1
    while first < count:
        if stopped():
            raise KeyboardInterrupt
        first = _kernel(*given, (first, burst), history)
    rest = signal_growth(model, z, speeds) <= REST * growth
    times_of = lambda clock: np.where(np.isfinite(clock), np.exp(clock) - offsets[:, None], np.nan)  # noqa: E731
    traced = asked.trace[: counts[-1, events.TRACED]]
    return SwitchedResult(
        starts, decode(model, training, z, side), times_of(seen.marks),
        decode(model, training, seen.snapshots, side[:, None]),
        decode(model, training, asked.at_times, side[:, None]),
        (np.exp(traced[:, -1]) - offsets[-1], *decode(model, training, traced, side[-1])),
        times_of(seen.learnt), seen.peak[:, 0], losses, np.exp(z[:, -1]) - offsets,
        counts[:, solver.STEPS], counts[:, solver.REJECTED], status, rest,
    )  # fmt: skip


def history_for(n: int) -> History:
    """What steps of `multistep` of n coordinates leave to the next."""
    width = multistep.HIGHEST + 1
    return History(np.zeros((multistep.ROWS, n)), np.zeros(multistep.NUMBERS), np.zeros((3, width, width)))


def noted(clocks, count: int, n: int, features: int, room: int) -> tuple[Asked, Events]:
    """Where N trajectories of n coordinates note what they are asked for, clocks (N, T), and what happens on their way."""
    asked = Asked(clocks, np.full((count, clocks.shape[1], n), np.nan), np.zeros((room, n)))
    marks, snapshots = np.full((count, 3), -np.inf), np.full((count, 3, n), np.nan)
    return asked, Events(np.full((count, features), -np.inf), marks, snapshots, np.zeros((count, 1)))


def rates_at(model, training: Training, z, side, buffers) -> tuple[np.ndarray, np.ndarray]:
    """Losses (N,) and dz/dt (N, n) at states z (N, n), from the kernel that follows the flow: none is compiled beside it."""
    count, n = z.shape
    asked, seen = noted(np.zeros((count, 0)), count, n, model.features, 0)
    found = np.zeros(count), np.zeros((count, 4), np.int64), np.full(count, RATES_ALONE), np.zeros((count, n))
    limits, weights = Limits(np.zeros(count), 0.0, 0), weights_of(model, training, z)
    given = system_of(model, training), method_table(), z, side, weights, limits, asked, seen, found, buffers
    _kernel(*given, (0, count), history_for(n) if is_wide(model, training) else None)
    return found[0], found[3]


def signal_growth(model, z, rates) -> np.ndarray:
    """How fast the fastest growing signal grows, relative to itself, (N,); 0 where none does."""
    cut = model.neurons * model.features
    pace = rates[:, :cut]
    if ACTIVATIONS[model.activation].degree == 1:
        pace = pace / np.where(z[:, :cut] == 0.0, np.inf, z[:, :cut])
    return pace.max(1, initial=0.0)


def clock_offset(rates, until: float) -> float:
    """t_0: a small part of the time in which the start changes by e, and of the end."""
    speed = np.abs(rates[:-1]).max(initial=0.0)
    return float(min(START_SHARE / speed if speed > 0.0 and np.isfinite(speed) else until, START_SHARE * until))

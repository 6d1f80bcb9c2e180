"""Training on minibatches, recorded as order parameters: `follow`, which is `dynlab.simulate(..., method="sgd")`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import head_rules
from dynlab.machine import rng
from dynlab.machine.device import Device
from dynlab.population.dense.dense_descent import dense_start
from dynlab.population.descent import RECORDS
from dynlab.population.hidden.trajectory import check_hidden_start
from dynlab.population.order_parameters import OrderParameters, signals_of
from dynlab.population.trajectory import Trajectory
from dynlab.samples import progress_lines
from dynlab.samples.gradient import Minibatch, MinibatchResult, Source, check_batch, check_memory
from dynlab.samples.minibatch import minibatch_class, of_samples
from dynlab.samples.optimisers import new_memory, stride
from dynlab.settings.activation_records import definition
from dynlab.settings.optimisation import OPTIMISERS
from dynlab.settings.training import Training
from dynlab.tools import checkpoint
from dynlab.tools.checks import choice, integer, real, require
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

DEFAULT_STEPS = 20_000
EVENTS = ("first", "second", "peak")


def _nothing() -> np.ndarray:
    return np.zeros((0, 0))


@dataclass
class State:
    """What a step changes. correlation: (0, 0) before there is one; target: (0, 0) where it is the online weights; readout
    (m, M), as the target's and what the optimiser keeps of it: (0, 0) where neurons have no hidden units."""

    weights: np.ndarray
    target: np.ndarray
    head: np.ndarray
    correlation: np.ndarray
    weights_memory: np.ndarray
    head_memory: np.ndarray
    marks: np.ndarray  # times of `EVENTS`
    learnt: np.ndarray  # (K,) whether a feature counted already
    peak: np.ndarray  # (1,) largest off-diagonal entry of the head so far
    warned: np.ndarray  # (1,) whether the way to collapse was announced
    readout: np.ndarray = field(default_factory=_nothing)
    target_readout: np.ndarray = field(default_factory=_nothing)
    readout_memory: np.ndarray = field(default_factory=_nothing)


@dataclass
class Records:
    """Recorded steps and what was there: lists of equal length."""

    step: list
    signal: list
    gram: list
    head: list
    loss: list
    readout: list = field(default_factory=list)  # empty where neurons have no hidden units

    def add(self, step: int, model: Model, weights: Array, head: Array, loss: float, readout: Array) -> None:
        noise = weights[:, model.features :]
        self.step.append(step)
        self.signal.append(np.array(signals_of(model, weights)))
        self.gram.append(noise @ noise.T)
        self.head.append(head.copy())
        self.loss.append(loss)
        if model.layered:
            self.readout.append(readout.copy())


def follow(
    model: Model, training: Training, start: OrderParameters, *, eta: float = 0.05, steps: int | None = None,
    times: ArrayLike = (), batch: int = 4096, dim: int = 1000, seed: int = 0, data: int | None = None,
    optimiser: str = "sgd", momentum: float = 0.9, precision: str = "float64", threads: int | None = None,
    device: str | Device = "cpu", checkpoints: str | Path | None = None, every: int = 1000, resume: str | None = None,
    watcher: Callable[[str], None] | None = None, progress: Callable[[int], None] | None = None,
) -> Trajectory:  # fmt: skip
    """Train on minibatches from `start`.

    Parameters
    ----------
    model, training : Model, Training; training.eta_head is, as for every method, in units of eta.
    start : OrderParameters; the weights are drawn to have them (`dense_start`). With hidden units its readout is where the
        readout starts, which follows its gradient at training.readout_rate in units of eta, unless it is "fixed".
    eta, steps : learning rate and number of steps; time is step * eta.
    times : increasing times to record (none: about 400 steps, evenly spaced in log(step), and the first and the last).
    batch : samples a step, >= 2. dim : d >= K + M, M rows of weights. seed : of the samples and of the frame of the start.
    data : None for fresh samples at every step; N: a fixed set of N samples in epochs, each time split into new views.
    optimiser, momentum : "sgd", "momentum" or "adam", see `dynlab.samples.optimisers`.
    precision, threads : see `dynlab.samples.gradient.Minibatch`; the result is the same bits for any number of threads.
    device : "cpu", "cuda" or "auto"; the order of sums is another on a device, so its results agree to rounding, which
        training amplifies in time.
    checkpoints, every, resume : a folder where the state is kept every so many steps (None: nowhere). A run that finds a
        checkpoint there goes on from the last one, or from the one called `resume`, and ends as if it had never stopped.
    watcher, progress : called with lines (`dynlab.samples.progress_lines`) and with the number of steps done.

    Returns Trajectory. Its losses are those of the minibatches; a run that stops says why in status and settings["stopped"].
    Raises SettingError for values that are not allowed, CheckpointError for a checkpoint that is damaged or of another run.
    """
    settings = _checked(model, training, eta, steps, batch, dim, seed, data, optimiser, momentum, precision)
    if model.layered:
        check_hidden_start(model, start)
    device = of_samples(device, [model])
    if device.asked != "cpu":
        settings["device"] = device.words
    every = integer("every", every, at_least=1)
    identity = (start.head == np.eye(model.neurons)).all()
    require(identity or training.head in head_rules.TRAINED, "start", "a head", f'the identity with head "{training.head}"')
    require(checkpoints is not None or resume is None, "resume", resume, "left out without checkpoints")
    record_at = _record_steps(np.asarray(times, dtype=np.float64), settings["eta"], settings["steps"])
    fingerprint = _fingerprint(model, training, start, settings, record_at)
    folder = None if checkpoints is None else expanded(checkpoints)
    found = None if folder is None else checkpoint.latest(folder, resume)
    if found is None:
        state, records, first = _begin(model, training, start, settings), Records([], [], [], [], []), 0
    else:
        state, records, first = _unpack(checkpoint.load(found, fingerprint, named=resume is not None))

    def reached(step: int) -> None:
        if folder is not None and step > first and step % every == 0:
            checkpoint.save(folder, step, fingerprint, _pack(state, records, step))
        if progress is not None:
            progress(step)

    source = Source(settings["seed"], settings.get("data"))
    work = minibatch_class(device.where)(model, training, settings["dim"], settings["batch"], source, precision, threads)
    step, stopped = _go_on(work, settings, state, records, first, record_at, reached, watcher)
    return _trajectory(model, settings, records, state, step, stopped)


def _go_on(
    work: Minibatch, settings: dict, state: State, records: Records, first: int, record_at: set[int],
    reached: Callable[[int], None], watcher: Callable[[str], None] | None,
) -> tuple[int, str | None]:  # fmt: skip
    """Steps from number `first` to the end; the last step reached, and why it was the last if it should not have been.

    reached(step) is called before each step. Every step draws a batch; one more is drawn at the end, for its loss.
    """
    model, training, steps = work.model, work.training, settings["steps"]
    due = progress_lines.line_steps(steps) if watcher else set()
    for step in range(first, steps + 1):
        reached(step)
        kept = (state.target, state.correlation, state.readout, state.target_readout)
        result = work.gradient(step, state.weights, state.head, *(part if part.size else None for part in kept))
        if result.problem is not None:
            return step, result.problem
        if step in record_at or step == 0:
            records.add(step, model, state.weights, result.head, result.loss, state.readout)
        if watcher is not None and step in due:
            _say(model, training, settings, work, state, result, step, watcher)
        if step < steps:
            problem = _step(model, training, settings, state, result, step)
            if problem is not None:
                return step, problem
            _note_events(model, state, (step + 1) * settings["eta"])
    return steps, None


def _checked(
    model: Model, training: Training, eta: float, steps: int | None, batch: int, dim: int, seed: int, data: int | None,
    optimiser: str, momentum: float, precision: str,
) -> dict:  # fmt: skip
    """The settings of the run, as its trajectory keeps them."""
    least, rows = model.features + model.units, "hidden units" if model.layered else "neurons"
    eta = real("eta", eta, above=0.0)
    steps = DEFAULT_STEPS if steps is None else integer("steps", steps, at_least=1, at_most=rng.WORD - 1)
    settings = {
        "head": training.head, "eta_head": training.eta_head, "method": "sgd", "eta": eta,
        "head_rate": training.head_rate * eta, "steps": steps,
        "until": eta * steps, "batch": check_batch(batch, data),
        "dim": integer("dim", dim, at_least=least, why=f"features + {rows}"),
        "seed": integer("seed", seed, at_least=0, at_most=2**64 - 1), "precision": precision,
        "optimiser": choice("optimiser", optimiser, OPTIMISERS),
    }  # fmt: skip
    if optimiser == "momentum":
        settings["momentum"] = real("momentum", momentum, at_least=0.0, at_most=1.0)
    if data is not None:
        settings["data"] = integer("data", data)
    if model.layered:
        settings["readout_rate"] = training.readout_rate
    check_memory(model, integer("dim", dim), check_batch(batch, data))
    return settings if training.is_papers else settings | {"training": training.changed()}


def _record_steps(times: Array, eta: float, steps: int) -> set:
    at = np.rint(times / eta) if len(times) else np.geomspace(1, steps, RECORDS)
    at = np.unique(at.astype(np.int64))
    return set(at[(at >= 1) & (at <= steps)].tolist())


def _begin(model: Model, training: Training, start: OrderParameters, settings: dict) -> State:
    m, none = model.neurons, _nothing()
    weights = dense_start(model, start, settings["dim"], settings["seed"])
    head = np.array(start.head if training.head_matrix is None else training.head_matrix, dtype=np.float64)
    state = State(
        weights, weights.copy() if training.target == "average" else none, head, none,
        new_memory(settings["optimiser"], weights.shape), new_memory(settings["optimiser"], (m, m)),
        np.full(len(EVENTS), np.nan), np.zeros(model.features, bool), np.zeros(1), np.zeros(1, bool),
    )  # fmt: skip
    if model.layered:
        state.readout = np.array(start.readout)
        state.target_readout = state.readout.copy() if training.target == "average" else none
        state.readout_memory = new_memory(settings["optimiser"], state.readout.shape)
    _note_events(model, state, 0.0)
    return state


def _step(model: Model, training: Training, settings: dict, state: State, result: MinibatchResult, step: int) -> str | None:
    """One update, in place; what went wrong, in words."""
    moves = (settings["optimiser"], step + 1, settings.get("momentum", 0.0))
    with np.errstate(all="ignore"):  # overflow is found in the result
        weights = state.weights - settings["eta"] * stride(moves[0], result.d_weights, state.weights_memory, *moves[1:])
        head = result.head
        if training.head_trains:
            head = head - settings["head_rate"] * stride(moves[0], result.d_head, state.head_memory, *moves[1:])
        readout = state.readout
        if result.d_readout is not None and model.readout != "fixed":
            rate = settings["eta"] * training.readout_rate
            readout = readout - rate * stride(moves[0], result.d_readout, state.readout_memory, *moves[1:])
        target, behind = state.target, state.target_readout
        if target.size:
            share = min(settings["eta"] * training.target_rate, 1.0)
            target = target + share * (weights - target)
            behind = behind + share * (readout - behind)
        correlation = state.correlation if result.correlation is None else result.correlation
        kept = (head, target, state.weights_memory, state.head_memory, correlation, readout, behind, state.readout_memory)
        finite = np.isfinite((weights * weights).sum()) and all(np.isfinite(array).all() for array in kept)
    if not finite:
        return "the weights overflow: the learning rate is too large"
    state.weights, state.head, state.target, state.correlation = weights, head, target, correlation
    state.readout, state.target_readout = readout, behind
    return None


def _note_events(model: Model, state: State, time: float) -> None:
    """Times of the first and second feature learnt and of the head's largest entry."""
    for f in np.flatnonzero(progress_lines.features_learnt(model, state.weights, state.readout) & ~state.learnt):
        state.learnt[f] = True
        place = int(np.isfinite(state.marks[:2]).sum())
        if place < 2:
            state.marks[place] = time
    largest = np.abs(state.head - np.diag(np.diagonal(state.head))).max()
    if largest > state.peak[0]:
        state.peak[0], state.marks[2] = largest, time


def _say(
    model: Model, training: Training, settings: dict, work: Minibatch, state: State, result: MinibatchResult, step: int,
    watcher: Callable[[str], None],
) -> None:  # fmt: skip
    watcher(progress_lines.line(model, work.layout, step, result, state.weights, state.readout))
    feature = None if state.warned[0] else progress_lines.turning(model, state.weights)
    if feature is not None:
        state.warned[0] = True
        watcher(progress_lines.warning(model, training, settings, step, feature, state.weights, result.head))


def _trajectory(model: Model, settings: dict, records: Records, state: State, step: int, stopped: str | None) -> Trajectory:
    settings = dict(settings) if stopped is None else settings | {"stopped": f"step {step}: {stopped}"}
    signal, gram, head = (np.array(part) for part in (records.signal, records.gram, records.head))
    rows, k = model.units, model.features
    if not len(records.step):  # not even the start could be evaluated
        records.add(0, model, state.weights, state.head, np.nan, state.readout)
        signal, gram, head = (np.array(part) for part in (records.signal, records.gram, records.head))
    events = {name: float(time) for name, time in zip(EVENTS, state.marks, strict=True)} | {"stationary": float("nan")}
    return Trajectory(
        model=model, settings=settings, time=np.array(records.step) * settings["eta"], signal=signal.reshape(-1, rows, k),
        noise_gram=gram, head=head, loss=np.array(records.loss), events=events,
        status="until" if stopped is None else "not finite", steps=step, rejected=0,
        readout=np.array(records.readout) if model.layered else None,
    )  # fmt: skip


def _fingerprint(model: Model, training: Training, start: OrderParameters, settings: dict, record_at: set[int]) -> dict:
    """What a checkpoint must agree with; the threads may differ."""
    phi = definition(model.activation)  # what the name means here, if it is not built in
    named = _spelt(model) + (f", {phi}" if phi else "")
    return {
        "settings": settings, "model": named, "training": _spelt(training), "record_at": sorted(record_at),
        "start": [part.tolist() for part in (start.signal, start.noise_gram, start.head, start.readout) if part is not None],
    }  # fmt: skip


def _spelt(settings: Model | Training) -> str:
    """All settings with all digits; their `repr` is made to be short."""
    plain = asdict(settings)
    for name in ("probabilities", "correlation", "bias"):  # checkpoints from before there were such settings can be resumed
        if plain.get(name, ()) in (None, "none"):
            del plain[name]
    return repr(plain)


def _pack(state: State, records: Records, step: int) -> dict:
    packed = {f"state_{name}": value for name, value in vars(state).items()}
    packed |= {f"record_{name}": np.array(value) for name, value in vars(records).items()}
    return packed | {"step": np.array(step)}


def _unpack(arrays: dict) -> tuple[State, Records, int]:
    parts = {kind: {name.removeprefix(kind): value for name, value in arrays.items() if name.startswith(kind)}
             for kind in ("state_", "record_")}  # fmt: skip
    records = Records(**{name: list(value) for name, value in parts["record_"].items()})
    return State(**parts["state_"]), records, int(arrays["step"])

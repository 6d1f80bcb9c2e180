r"""Exact descent on dense weights: every optimiser, every switch of `Training`, schedules of the rates.

    x' = x - rate_t * (what the optimiser makes of dL/dx),   x = w (m, d), E,
    w_target' = w_target + target_rate rate_t (w - w_target),

with L the population's, so nothing is sampled: the step of `dynlab.population.descent` where the optimiser is plain and the
training the paper's, and what replaces it where not. The gradient needs the signals and the Gram matrix of the noise parts
alone (`dynlab.formulas.switched`), O(m^2 d) a step.

**Which d.** Plain descent and momentum move w_j within the span of the features and of the noise parts, and look the same in
every frame of it, and a target that is a moving average stays in it, too: K + m numbers a neuron follow a start of any
dimension exactly. Adam divides every coordinate by its own size: it depends on d and on the axes. For it the noise parts lie
in a random frame of R^(d - K), as Gaussian weights do (`dense_start`), and the features on the first K axes, where each is a
coordinate of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population import invariants
from dynlab.population.any_training import gradient
from dynlab.population.dense.dense_steps import DenseFound, DensePoint, DenseRules, DenseState, begin_dense, take_dense_steps
from dynlab.population.descent import EMPTY, noise_rows, steps_to_record
from dynlab.population.gradient import activation_kind, parameter_vector
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.population.order_parameters import OrderParameters, on_axes
from dynlab.population.pair.flow import stopped
from dynlab.population.starts import draw_start
from dynlab.population.trajectory import Trajectory
from dynlab.settings.optimisation import OPTIMISERS
from dynlab.tools.checks import integer

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.settings.optimisation import Optimisation
    from dynlab.settings.training import Training
    from dynlab.tools.types import Array

MOST_DIM = 4096
BURST = 2_000_000  # numbers moved between looks for an interrupt: some hundredths of a second


def dense_start(model: Model, start: OrderParameters, dim: int, seed: int, number: int = 0) -> np.ndarray:
    """Weights (M, d) with the signals and the noise Gram matrix of `start`, the noise parts in a random frame.

    M = m where neurons have no hidden units.

    number: of the start within the ensemble of that seed; the first one's frame is that of minibatches.
    """
    rows, spread = model.units, dim - model.features
    stream = (seed, 0) if number == 0 else (seed, 0, number)
    frame, _ = np.linalg.qr(np.random.default_rng(stream).standard_normal((spread, rows)))
    return np.hstack([on_axes(model, start.signal), noise_rows(start.noise_gram) @ frame.T])


def flat_start(model: Model, start: OrderParameters) -> np.ndarray:
    """The same in the span of features and noise parts alone, (M, K + M)."""
    return np.hstack([on_axes(model, start.signal), noise_rows(start.noise_gram)])


def run_dense_descent(
    model: Model, training: Training, starts: list[OrderParameters], how: Optimisation, *, eta: float, steps: int,
    frames: list[tuple[int, int, int]] | None = None, record_at: np.ndarray = EMPTY,
) -> dict:  # fmt: skip
    """Follow `steps` steps at the learning rate eta from each of `starts`, on the calling thread without the GIL.

    frames: (dim, seed, number) for `dense_start`; None: in the starts' own span, for optimisers that look the same in every
    frame. record_at: increasing numbers of steps.

    Returns the dict of arrays of `descent.run_descent`; times are sums of the learning rates.
    """
    runs = []
    for i, start in enumerate(starts):
        weights = flat_start(model, start) if frames is None else dense_start(model, start, *frames[i])
        runs.append(_run(model, training, how, weights, start.head, eta, steps, record_at))
    joined: dict[str, Any] = {name: np.array([run[name] for run in runs]) for name in ("marks", "peak", "time", "steps")}
    for name in ("starts", "ends", "snapshots", "records"):
        joined[name] = tuple(np.array(parts) for parts in zip(*(run[name] for run in runs), strict=True))
    if training.head in FROM_CORRELATION:  # the kernel leaves the head of the state before the last step
        for name in ("starts", "ends", "snapshots", "records"):
            signal, gram, _ = joined[name]
            joined[name] = signal, gram, gradient.made_heads(model, training, signal, gram)
    joined["record_times"] = np.array([run["record_times"] for run in runs])
    joined["drift"] = np.full(len(starts), np.nan)
    if training.is_papers:
        begin, end = [
            invariants.conserved(model, signal, gram, head, training.head_rate)
            for signal, gram, head in (joined["starts"], joined["ends"])
        ]
        with np.errstate(all="ignore"):  # of a run that overflows
            joined["drift"] = np.abs(end / begin - 1.0).max(1)
    joined["rejected"], joined["rest"] = np.zeros(len(starts), np.int64), np.zeros(len(starts), bool)
    joined["status"] = ["until" if run["steps"] == steps else "not finite" for run in runs]
    return joined


def _run(
    model: Model, training: Training, how: Optimisation, weights: Array, head: Array, eta: float, steps: int,
    record_at: Array,
) -> dict:  # fmt: skip
    """One start of `run_dense_descent`."""
    m, features, count = model.neurons, model.features, len(record_at)
    averages = training.target == "average"
    head = np.array(head if training.head_matrix is None else training.head_matrix, dtype=np.float64)
    memory = OPTIMISERS.index(how.optimiser)
    state = DenseState(
        weights, weights.copy() if averages else weights, head, np.zeros((memory, *weights.shape)), np.zeros((memory, m, m))
    )
    rules = DenseRules(
        activation_kind(model), parameter_vector(model), gradient.choices(training), gradient.numbers(model, training),
        np.array(model.feature_rows, dtype=np.float64), memory, how.momentum, training.weight_decay, training.target_rate,
        averages,
    )  # fmt: skip
    square, signals = (m, m), (m, features)
    point = DensePoint(
        np.zeros(signals), np.zeros(m), np.zeros(square), np.zeros(square), np.zeros(square), np.zeros(signals), np.zeros(m)
    )
    found = DenseFound(
        np.full((count, *signals), np.nan), np.full((count, *square), np.nan), np.full((count, *square), np.nan),
        np.full(3, -1.0), np.zeros(1), np.zeros(features, np.bool_),
        np.full((3, *signals), np.nan), np.full((3, *square), np.nan), np.full((3, *square), np.nan),
    )  # fmt: skip
    begin_dense(rules, state, point, found)
    begun = point.signal.copy(), point.dot.copy(), state.head.copy()
    spare = gradient.free_corner(m), gradient.new_workspace(m, features)
    speeds = np.array([eta, eta * training.head_rate])
    burst, done, time, recorded = max(1, BURST // weights.size), 0, 0.0, 0
    times = np.full(count, np.nan)
    while done < steps:
        if stopped():
            raise KeyboardInterrupt
        some = min(burst, steps - done)
        rates = how.factors(done, some, steps) * speeds
        before, clock = recorded, time + np.cumsum(rates[:, 0])
        time, taken, recorded = take_dense_steps(rules, state, point, found, *spare, done, rates, time, record_at, recorded)
        times[before:recorded] = clock[record_at[before:recorded] - done - 1]
        done += taken
        if taken < some:
            break
    return {
        "starts": begun, "ends": (point.signal, point.dot, state.head),
        "marks": np.where(found.marks < 0.0, np.nan, found.marks),
        "peak": found.peak[0], "time": time, "steps": done, "record_times": times,
        "snapshots": (found.event_signal, found.event_gram, found.event_head),
        "records": (found.signal, found.gram, found.head),
    }  # fmt: skip


def takes(model: Model, training: Training, how: Optimisation, dim: int) -> bool:
    """Whether these steps are taken on dense weights, as all but the paper's plain ones are; checked by `check_dense`."""
    if how.is_plain and training.is_papers:
        return False
    check_dense(model, training, how, dim)
    return True


def check_dense(model: Model, training: Training, how: Optimisation, dim: int) -> None:
    """SettingError for what cannot be followed on dense weights, of dimension dim where the optimiser asks for it."""
    training.check_model(model, stepped=True)
    if how.optimiser == "adam":
        least = model.features + model.units
        integer("dim", dim, at_least=least, at_most=MOST_DIM, why="of the dense weights that adam moves")


def follow_dense(
    model: Model, training: Training, start: OrderParameters, how: Optimisation, times: Array, *,
    frame: tuple[int, int, int], settings: dict[str, Any],
) -> Trajectory:  # fmt: skip
    """`simulate` for descent on dense weights, of settings that have its eta and number of steps.

    Recorded at the steps next to `times`, else at log-spaced ones.
    """
    eta, steps = settings["eta"], settings["steps"]
    record_at = steps_to_record(times, eta, steps)
    frames = [frame] if how.optimiser == "adam" else None
    run = run_dense_descent(model, training, [start], how, eta=eta, steps=steps, frames=frames, record_at=record_at)
    reached = record_at <= run["steps"][0]
    begin, records = [tuple(part[0] for part in run[name]) for name in ("starts", "records")]
    signal, gram, head = (np.concatenate([first[None], rest[reached]]) for first, rest in zip(begin, records, strict=True))
    with np.errstate(all="ignore"):  # of a run that overflows
        loss = gradient.losses(model, training, signal, gram, head)
    first, second, peak = run["marks"][0]
    events = {"first": first, "second": second, "peak": peak if run["peak"][0] > 0 else np.nan, "stationary": np.nan}
    return Trajectory(
        model=model, settings=settings, time=np.concatenate([[0.0], run["record_times"][0][reached]]), signal=signal,
        noise_gram=gram, head=head, loss=loss,
        events={name: float(time) for name, time in events.items()}, status=run["status"][0],
        steps=int(run["steps"][0]), rejected=0,
    )  # fmt: skip


def told(training: Training, how: Optimisation, frame: tuple[int, int, int]) -> dict:
    """What a run's settings say of how its steps are taken, beyond the plain ones."""
    found: dict = {} if how.is_plain else {"optimisation": how.changed()}
    if how.optimiser == "adam":
        found |= dict(zip(("dim", "seed", "number"), frame, strict=True))
    return found if training.is_papers else found | {"training": training.changed()}


def run_piece(
    model: Model, training: Training, how: Optimisation, dim: int, seed: int, some: Array, eta: float, steps: int
) -> dict:
    """The starts called `some` (N,) of the ensemble with `seed`, as `run_dense_descent` returns them."""
    starts = [draw_start(model, dim, seed, int(i), training.start_scale) for i in some]
    frames = [(dim, seed, int(i)) for i in some] if how.optimiser == "adam" else None
    return run_dense_descent(model, training, starts, how, eta=eta, steps=steps, frames=frames)

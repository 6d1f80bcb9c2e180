r"""Exact descent with hidden units: momentum and Adam, scheduled rates, every switch of `Training`.

    x' = x - rate_t * (what the optimiser makes of dL/dx),   x = w (M, d), readout a (m, M), head E (m, m),
    x_target' = x_target + target_rate rate_t (x - x_target)   for w and a, where the target is a moving average,

with dL/dx that of `dynlab.formulas.hidden_units`, or of `dynlab.formulas.hidden_switched` where the training is not the
paper's: the step of `dynlab.population.hidden.descending` where the optimiser is plain, the rates constant and the training
the paper's. Weights, readout and head have memories of their own. The readout's rate is `readout_rate` times that of the
weights in every step, and where it trains weight_decay is of it, too; the head's rate has its own schedule. All but Adam is
followed in the span of features and noise parts, K + M numbers a unit, Adam on weights of dimension d:
`dynlab.population.dense.dense_descent` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population.any_training.hidden_gradient import hidden_switched_losses, hidden_switched_work, made_hidden_head
from dynlab.population.any_training.switch_numbers import choices, numbers
from dynlab.population.dense import dense_descent
from dynlab.population.dense.hidden_steps import HiddenFound, HiddenPoint, HiddenRules, HiddenState, take_hidden_steps
from dynlab.population.dense.hidden_switched_steps import HiddenGoal, HiddenSwitches, take_switched_hidden_steps
from dynlab.population.descent import EMPTY, steps_to_record
from dynlab.population.gradient import hidden_found, hidden_workspace
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.population.hidden import measures
from dynlab.population.hidden.flow import EVENTS, HiddenResult, hidden_system
from dynlab.population.hidden.trajectory import check_hidden_start, hidden_trajectory, states_after
from dynlab.population.pair.flow import stopped
from dynlab.population.status import NOT_FINITE, UNTIL
from dynlab.settings.optimisation import OPTIMISERS

if TYPE_CHECKING:
    from dynlab.population.order_parameters import OrderParameters
    from dynlab.population.trajectory import Trajectory
    from dynlab.settings.model import Model
    from dynlab.settings.optimisation import Optimisation
    from dynlab.settings.training import Training
    from dynlab.tools.types import Array


def run_optimised_hidden(
    model: Model, training: Training, starts: list[OrderParameters], how: Optimisation, *, eta: float, steps: int,
    frames: list[tuple[int, int, int]] | None = None, record_at: np.ndarray = EMPTY,
) -> tuple[HiddenResult, Array]:  # fmt: skip
    """Follow `steps` steps at the weights' learning rate eta from each of `starts`, on the calling thread without the GIL.

    frames: (dim, seed, number) for `dense_start`; None: in the starts' own span, for optimisers that look the same in every
    frame. record_at (T,): increasing numbers of steps, whose states are under `at_times`, nan where a run ended before.

    Returns what `hidden.flow.run_hidden_descent` does, and the times (T,) of the records, sums of the weights' rates.
    """
    system = hidden_system(model, training.readout_rate, training.head_rate)
    speeds = eta * np.array([1.0, *system[-1]])
    runs, clock = [], np.full(len(record_at), np.nan)
    for i, start in enumerate(starts):
        if frames is None:
            weights = dense_descent.flat_start(model, start)
        else:
            weights = dense_descent.dense_start(model, start, *frames[i])
        runs.append(_follow(model, training, system, how, (weights, start), speeds, steps, (record_at, clock)))
    found: dict[str, Any] = {name: np.array([run[name] for run in runs]) for name in runs[0] if name not in ("ends", "kept")}
    ends, kept = ([np.array(parts) for parts in zip(*(run[name] for run in runs), strict=True)] for name in ("ends", "kept"))
    no_trace = tuple(np.zeros((0, *part.shape[1:])) for part in ends)
    found["rejected"] = np.zeros(len(starts), np.int64)
    return HiddenResult(ends=tuple(ends), at_times=tuple(kept), trace=(np.zeros(0), *no_trace), **found), clock


def _follow(
    model: Model, training: Training, system: tuple, how: Optimisation, begin: tuple[Array, OrderParameters], speeds: Array,
    steps: int, record: tuple[np.ndarray, np.ndarray],
) -> dict:  # fmt: skip
    """One start, begin = (its weights (M, d), the start). speeds (3,): rates of weights, readout, head before schedules.

    record: (numbers of steps, their times, to fill).
    """
    (weights, start), (record_at, clock) = begin, record
    memory = OPTIMISERS.index(how.optimiser)
    head, readout = np.array(start.head), np.array(start.readout)
    if training.head_matrix is not None:
        head = np.array(training.head_matrix, dtype=np.float64)
    kept = [np.zeros((memory, *part.shape)) for part in (weights, readout, head)]
    state = HiddenState(weights, readout, head, *kept)
    rules = HiddenRules(system, np.array(model.feature_rows, dtype=np.float64), memory, how.momentum)
    point, found = _new_point(model, weights.shape[1]), _new_found(model, len(record_at))
    take = _stepper(model, training, rules, state, point, found, record_at)
    before = _conserved(system, start.signal, np.diagonal(start.noise_gram), readout, head)
    burst, done, time, recorded = max(1, dense_descent.BURST // (model.units * weights.size)), 0, 0.0, 0
    finite = True
    while done < steps and finite:
        if stopped():
            raise KeyboardInterrupt
        some = min(burst, steps - done)
        rates = how.factors(done, some, steps)[:, [0, 0, 1]] * speeds
        first, times = recorded, time + np.cumsum(rates[:, 0])
        time, taken, recorded = take(done, rates, time, recorded)
        clock[first:recorded] = times[record_at[first:recorded] - done - 1]
        done += taken
        finite = abs(found.tally[measures.LOSS]) < 1e300
    signal, gram = point.signal, point.geometry[1]
    found.tally[measures.DRIFTED] = np.nan
    if training.is_papers:
        with np.errstate(all="ignore"):  # of a run that overflows
            after = _conserved(system, signal, np.diagonal(gram), readout, head)
            found.tally[measures.DRIFTED] = measures.drift_of(before[0], after[0], after[1])
    found.tally[measures.ENDED] = time
    return {
        **dict(zip(EVENTS, found.tally, strict=True)), "learnt": np.where(found.learnt < 0.0, np.nan, found.learnt),
        "steps": done, "status": UNTIL if finite else NOT_FINITE, "ends": (signal, gram, readout, head), "kept": found[:4],
    }  # fmt: skip


def _stepper(
    model: Model, training: Training, rules: HiddenRules, state: HiddenState, point: HiddenPoint, found: HiddenFound,
    record_at: Array,
) -> Callable[[int, Array, float, int], tuple[float, int, int]]:  # fmt: skip
    """What takes steps after number `done` at these rates (n, 3): called with (done, rates, time, records written)."""
    if training.is_papers:
        return lambda done, rates, time, recorded: take_hidden_steps(
            rules, state, point, found, done, rates, time, record_at, recorded
        )
    averages = training.target == "average"
    switches = HiddenSwitches(
        choices(training), numbers(model, training), training.weight_decay, training.target_rate if averages else 0.0,
        model.readout != "fixed",
    )  # fmt: skip
    like, online = _new_point(model, state.weights.shape[1]), (point.signal, point.geometry, point.directions)
    behind = (like.signal, like.geometry, like.directions) if averages else online
    weights, readout = (part.copy() if averages else part for part in (state.weights, state.readout))
    goal, spare = HiddenGoal(weights, readout, *behind), hidden_switched_work(model)[1:]
    return lambda done, rates, time, recorded: take_switched_hidden_steps(
        rules, switches, state, goal, point, spare, found, done, rates, (time, recorded), record_at
    )


def _new_point(model: Model, dim: int) -> HiddenPoint:
    m, units, features = model.neurons, model.units, model.features
    geometry = np.zeros(units), np.zeros((units, units)), np.zeros((units, units)), np.zeros((units, units))
    return HiddenPoint(
        np.zeros((units, features)), geometry, np.zeros((units, dim - features)), hidden_workspace(model),
        tuple(hidden_found(model)), np.zeros((units, dim)), np.zeros((m, features)),
    )  # fmt: skip


def _new_found(model: Model, count: int) -> HiddenFound:
    m, units, features = model.neurons, model.units, model.features
    shapes = (units, features), (units, units), (m, units), (m, m)
    signal, gram, readout, head = (np.full((count, *shape), np.nan) for shape in shapes)
    return HiddenFound(signal, gram, readout, head, np.full(features, -1.0), np.zeros(len(EVENTS)))


def _conserved(system: tuple, signal: Array, squares: Array, readout: Array, head: Array) -> tuple[Array, Array]:
    """What the flow conserves (M + m,), and what it is differences of; squares (M,) of the noise parts' lengths."""
    m, units = readout.shape
    rows = np.diag(np.sqrt(squares))  # any rows of these lengths
    state = np.concatenate([part.ravel() for part in (signal, rows, readout, head)])
    out, size = np.zeros(units + m), np.zeros(units + m)
    measures.conserved_of(system, state, out, size)
    return out, size


def follow_optimised_hidden(
    model: Model, training: Training, start: OrderParameters, how: Optimisation, times: Array, *,
    frame: tuple[int, int, int], settings: dict[str, Any],
) -> Trajectory:  # fmt: skip
    """`simulate` for this descent, of settings that have its eta and number of steps; recorded as `descent.follow` does."""
    check_hidden_start(model, start)
    eta, steps = settings["eta"], settings["steps"]
    record_at = steps_to_record(times, eta, steps)
    frames = [frame] if how.optimiser == "adam" else None
    run: dict[str, Any] = {"eta": eta, "steps": steps, "frames": frames, "record_at": record_at}
    result, clock = run_optimised_hidden(model, training, [start], how, **run)
    reached = np.isfinite(clock)
    states = states_after(start, [part[0][reached] for part in result.at_times])
    when = np.concatenate([[0.0], clock[reached]])
    if training.is_papers:
        return hidden_trajectory(model, settings, result, when, states, False)
    states[3][0] = _begun_head(model, training, start)
    losses = partial(hidden_switched_losses, model, training)
    return hidden_trajectory(model, settings, result, when, states, False, losses)


def _begun_head(model: Model, training: Training, start: OrderParameters) -> Array:
    """The head (m, m) with which the first step is taken."""
    if training.head_matrix is not None:
        return np.array(training.head_matrix)
    if training.head not in FROM_CORRELATION:
        return start.head
    return made_hidden_head(model, training, start.signal, start.noise_gram, np.asarray(start.readout))

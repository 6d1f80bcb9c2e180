"""One trajectory of neurons with hidden units, as `dynlab.simulate` returns it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population.descent import steps_to_record
from dynlab.population.hidden.flow import HiddenResult, run_hidden, run_hidden_descent
from dynlab.population.hidden.moments import hidden_losses
from dynlab.population.order_parameters import OrderParameters, check_readout
from dynlab.population.status import STATUS_NAMES
from dynlab.population.trajectory import Trajectory, when_asked
from dynlab.tools.checks import require

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.settings.training import Training
    from dynlab.tools.types import Array


def check_hidden_start(model: Model, start: OrderParameters) -> None:
    """ValueError or SettingError unless the start fits the model and no neuron or unit is without weights."""
    shape = model.units, model.features
    require(
        start.signal.shape == shape, "start", f"signal of shape {start.signal.shape}", f"of shape {shape} for this model"
    )
    readout = check_readout(model, start.readout)
    size = (start.signal**2).sum(1) + np.diagonal(start.noise_gram)
    require(bool((size > 0.0).all()), "start", "a hidden unit without weights", "of units that answer something")
    require(bool((np.abs(readout).max(1) > 0.0).all()), "start", "a neuron whose readout is 0", "of readouts that are not")


def follow(
    model: Model,
    training: Training,
    start: OrderParameters,
    end: float,
    settle: bool,
    rtol: float,
    times: Array,
    settings: dict,
) -> Trajectory:
    """The flow from a start, recorded at `times`, or at every step if there are none. Parameters: `dynlab.simulate`."""
    check_hidden_start(model, start)
    rates = {"head_rate": training.head_rate, "readout_rate": training.readout_rate}
    run: dict[str, Any] = {"until": end, "rtol": rtol, "settle": settle} | rates
    result = run_hidden(model, [start], **run, times=times, traced=not len(times))
    if len(times):
        kept = np.isfinite(result.at_times[0][0]).all((1, 2))
        when, states = times[kept], [part[0][kept] for part in result.at_times]
    else:
        when, states = np.concatenate([[0.0], result.trace[0]]), states_after(start, result.trace[1:])
    return hidden_trajectory(model, settings, result, when, states, settle)


def follow_steps(
    model: Model, training: Training, start: OrderParameters, eta: float, steps: int, times: Array, settings: dict
) -> Trajectory:
    """Exact descent from a start, recorded as `dynlab.population.descent.follow` does."""
    check_hidden_start(model, start)
    rates = {"head_rate": training.head_rate, "readout_rate": training.readout_rate}
    record_at = steps_to_record(times, eta, steps)
    result = run_hidden_descent(model, [start], **rates, eta=eta, steps=steps, record_at=record_at)
    reached = record_at <= result.steps[0]
    states = states_after(start, [part[0][reached] for part in result.at_times])
    when = np.concatenate([[0.0], record_at[reached] * eta])
    return hidden_trajectory(model, settings, result, when, states, False)


def states_after(start: OrderParameters, later: Any) -> list[Array]:
    """Signal, noise Gram, readout, head of the start and of later states, one array each."""
    begin = start.signal, start.noise_gram, start.readout, start.head
    return [np.concatenate([np.asarray(first)[None], rest]) for first, rest in zip(begin, later, strict=True)]


def hidden_trajectory(
    model: Model, settings: dict, result: HiddenResult, when: Array, states: list[Array], settle: bool,
    losses: Callable[..., Array] | None = None,
) -> Trajectory:  # fmt: skip
    """What `dynlab.simulate` returns of the states at the times `when`.

    losses: of signal, noise Gram, head and readout (None: under the paper's training).
    """
    signal, gram, readout, head = states
    learnt = np.sort(result.learnt[0])
    name = STATUS_NAMES[result.status[0]]
    events = {
        "first": learnt[0],
        "second": learnt[1] if model.features > 1 else np.nan,
        "peak": result.time_peak[0] if result.head_peak[0] > 0.0 else np.nan,
        "stationary": result.time[0] if name == "stationary" else np.nan,
    }
    if settle and name == "until" and np.isnan(learnt[0]):
        name = "waiting"
    return Trajectory(
        model=model, settings=settings, time=when, signal=signal, noise_gram=gram, head=head,
        loss=when_asked(losses or partial(hidden_losses, model), signal, gram, head, readout),
        events={name: float(time) for name, time in events.items()}, status=name,
        steps=int(result.steps[0]), rejected=int(result.rejected[0]), readout=readout,
    )  # fmt: skip

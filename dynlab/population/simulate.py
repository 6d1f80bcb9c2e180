"""One trajectory from a given start on the exact gradient: `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.formulas.head_rules import TRAINED
from dynlab.machine.device import CPU, Device
from dynlab.population import descent, moments
from dynlab.population.any_training import gradient
from dynlab.population.any_training.flow import run_switched
from dynlab.population.choices import (
    as_followed,
    check_training,
    checked_times,
    closed_form,
    own_horizon,
)
from dynlab.population.dense import dense_descent
from dynlab.population.dense.hidden_descent import follow_optimised_hidden
from dynlab.population.flow_device import of_flow
from dynlab.population.hidden import trajectory as hidden
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.pair import flow
from dynlab.population.scaling import check_start
from dynlab.population.status import STATUS_NAMES, SUCCESS
from dynlab.population.trajectory import Trajectory, when_asked
from dynlab.settings.optimisation import Optimisation
from dynlab.settings.training import ETA_HEAD, LATEST, Training
from dynlab.tools.checks import integer, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

DIM = 1000  # of the weights that Adam moves, where none is given
TRACE_POINTS = 4  # recorded points for each step of the solver


def _resolution(times: ArrayLike | None) -> float:
    """Relative distance of neighbouring numbers of the kind that these times are."""
    kind = np.asarray([] if times is None else times).dtype
    return float(np.finfo(kind if kind.kind == "f" else np.float64).eps)


def simulate(
    model: Model,
    start: OrderParameters,
    head: str = "off-diagonal",
    eta_head: float = ETA_HEAD,
    until: float | None = None,
    method: str = "flow",
    *,
    rtol: float = 1e-6,
    eta: float = 0.05,
    steps: int | None = None,
    times: ArrayLike | None = None,
    training: Training | None = None,
    device: str | Device = CPU,
) -> Trajectory:
    """Train from `start` on the exact population gradient: `dynlab.simulate`, which has the parameters, but for "sgd"."""
    training = check_training(model, training, head, eta_head, method)
    device = of_flow(device, [(model, training)], method)
    rate = training.head_rate
    check_start(model, start)
    rtol = real("rtol", rtol, at_least=1e-12, at_most=1e-2)
    until = None if until is None else real("until", until, above=0.0, at_most=LATEST)
    slack = _resolution(times)
    times = checked_times(times)
    settings: dict[str, Any] = {"head": training.head, "eta_head": training.eta_head, "method": method}
    if device.asked != "cpu":
        settings["device"] = device.words
    if method == "descent":
        if not training.is_papers:
            return simulate_by(Optimisation(), model, training, start, until, eta=eta, steps=steps, times=times)
        settings |= _steps(training, until, eta, steps)
        eta, steps = settings["eta"], settings["steps"]
        if model.layered:
            settings |= {"readout_rate": training.readout_rate}
            return hidden.follow_steps(model, training, start, eta, steps, times, settings)
        return descent.follow(model, start, rate * eta, eta, steps, times, settings)
    require(steps is None, "steps", steps, 'left out for method "flow"')
    if until is None and len(times):
        until = float(times[-1])
    end = own_horizon(model, start) if until is None else until
    if len(times) and end < times[-1] <= end * (1.0 + slack):
        times[-1] = end  # the same number, rounded to the digits that the times have
    require(bool((times[-1:] <= end).all() and (times[-2:-1] < end).all()), "times", times, f"at most until = {end:g}")
    settings |= {"until": end, "rtol": rtol}
    if model.layered:
        settings |= {"readout_rate": training.readout_rate}
        return hidden.follow(model, training, start, end, until is None, rtol, times, settings)
    if not closed_form(model, training):
        if not training.is_papers:
            settings["training"] = training.changed()
        return _switched(model, training, start, end, until is None, rtol, times, settings)
    return _flow(model, start, rate, end, until is None, rtol, times, settings, device.where)


def _steps(training: Training, until: float | None, eta: float, steps: int | None) -> dict[str, Any]:
    """What the settings of descent say of its steps."""
    eta = real("eta", eta, above=0.0)
    if steps is None:
        steps = descent.DEFAULT_STEPS if until is None else descent.steps_until(until, eta)
    steps = integer("steps", steps, at_least=1)
    return {"eta": eta, "head_rate": training.head_rate * eta, "steps": steps, "until": steps * eta}


def simulate_by(
    how: Optimisation, model: Model, training: Training, start: OrderParameters, until: float | None, *, eta: float,
    steps: int | None, times: ArrayLike | None = None, frame: tuple[int, int, int] = (DIM, 0, 0),
) -> Trajectory:  # fmt: skip
    """Descent by any optimiser, at scheduled rates, under any training. frame: (dim, seed, number) of `dense_start`."""
    check_start(model, start)
    until = None if until is None else real("until", until, above=0.0, at_most=LATEST)
    identity = (start.head == np.eye(model.neurons)).all()
    require(identity or training.head in TRAINED, "start", "a head", f'the identity with head "{training.head}"')
    dense_descent.check_dense(model, training, how, frame[0])
    for name, value in zip(("seed", "number"), frame[1:], strict=True):
        integer(name, value, at_least=0)
    settings: dict[str, Any] = {"head": training.head, "eta_head": training.eta_head, "method": "descent"}
    settings |= _steps(training, until, eta, steps) | dense_descent.told(training, how, frame)
    given: dict[str, Any] = {"frame": frame, "settings": settings}
    if model.layered:
        settings |= {"readout_rate": training.readout_rate}
        return follow_optimised_hidden(model, training, start, how, checked_times(times), **given)
    return dense_descent.follow_dense(model, training, start, how, checked_times(times), **given)


def _ended(result: Any, settle: bool) -> str:
    """The status of a single result; "waiting" where the horizon came before any feature was learnt, if not at rest."""
    status = STATUS_NAMES[int(result.status[0])]
    waits = settle and status == "until" and np.isnan(result.marks[0, 0]) and not result.rest[0]
    return "waiting" if waits else status


def _switched(
    model: Model, training: Training, start: OrderParameters, end: float, settle: bool, rtol: float, times: Array,
    settings: dict,
) -> Trajectory:  # fmt: skip
    identity = (start.head == np.eye(model.neurons)).all()
    allowed = "the identity here: where the head starts is the training's head_matrix"
    require(identity, "start", "a head", allowed)
    result = run_switched(
        model,
        as_followed(model, training),
        start.signal[None],
        start.noise_gram[None],
        until=end,
        rtol=rtol,
        times=times,
        trace=not len(times),
    )
    if len(times):
        states = [part[0] for part in result.at_times]
        kept = np.isfinite(states[0]).all((1, 2))
        when, states = times[kept], [part[kept] for part in states]
    else:
        when = np.concatenate([[0.0], result.trace[0]])
        states = [np.concatenate([first, rest]) for first, rest in zip(result.starts, result.trace[1:], strict=True)]
        when[-1] = result.time[0]
    status = _ended(result, settle)
    first, second, peak = result.marks[0]
    events = {"first": first, "second": second, "peak": peak if result.peak[0] > 0.0 else np.nan, "stationary": np.nan}
    return Trajectory(
        model=model, settings=settings, time=np.maximum.accumulate(when), signal=states[0], noise_gram=states[1],
        head=states[2], loss=gradient.losses(model, training, *states), events={k: float(v) for k, v in events.items()},
        status=status, steps=int(result.steps[0]), rejected=int(result.rejected[0]),
    )  # fmt: skip


def _flow(
    model: Model, start: OrderParameters, rate: float, end: float, settle: bool, rtol: float, times: Array, settings: dict,
    where: str,
) -> Trajectory:  # fmt: skip
    z, side = flow.encode(model, start)
    run_flow = flow.run_flow
    if where == "cuda":
        from dynlab.population.pair import cuda

        run_flow = cuda.run_flow
    result = run_flow(
        model, z[None], side[None], head_rate=rate, until=end, rtol=rtol, settle=settle, times=times,
        trace_points=0 if len(times) else TRACE_POINTS,
    )  # fmt: skip
    if len(times):
        when, states = times, result.at_times[0]
        kept = np.isfinite(states).all(1)
        when, states = when[kept], states[kept]
    else:
        when = np.concatenate([[0.0], result.trace_time])
        states = np.concatenate([z[None], result.trace])
        # The end is known exactly, the times of the trace to rounding.
        when = np.minimum(when, result.time[0])
        when[-1] = result.time[0] if result.status[0] == 0 else when[-1]
    signal, gram, head = flow.decode(model, states, np.where(side == 0, 1, side))
    status = _ended(result, settle)
    last = moments.losses(model, signal[-1:], gram[-1:], head[-1:])
    if status in SUCCESS and moments.impossible(model, last[0]):
        status = "not finite"
    first, second, peak = result.marks[0]
    events = {"first": first, "second": second, "peak": peak if result.peak[0] > 0.0 else np.nan}
    events["stationary"] = result.time[0] if status == "stationary" else np.nan
    return Trajectory(
        model=model, settings=settings, time=np.maximum.accumulate(when), signal=signal, noise_gram=gram, head=head,
        loss=when_asked(moments.losses, model, signal, gram, head), events={k: float(v) for k, v in events.items()},
        status=status, steps=int(result.steps[0]), rejected=int(result.rejected[0]),
    )  # fmt: skip

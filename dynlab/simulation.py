"""One trajectory from a given start, on the exact gradient or on samples: `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynlab.machine.device import Device
from dynlab.population import simulate as exact
from dynlab.population.choices import check_optimisation, check_training, checked_times
from dynlab.population.flow_device import of_flow
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.trajectory import Trajectory
from dynlab.settings.training import ETA_HEAD, METHODS, PAPER_HEADS, Training
from dynlab.tools.checks import SettingError, choice, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.settings.optimisation import Optimisation


SAMPLED = "sgd"  # the third method of `simulate`: minibatches of the data, in `dynlab.samples`


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
    device: str | Device = "cpu",
    optimisation: Optimisation | None = None,
    **options: Any,
) -> Trajectory:
    """Train from `start` on the exact population gradient, or with method "sgd" on minibatches of samples.

    Parameters
    ----------
    model : Model
    start : OrderParameters of (m, K) signals; its head is the start of the head (the identity in the paper).
    head : "off-diagonal" (entries off the diagonal train) or "none" (the head stays as it is).
    eta_head : learning rate of the head in units of the encoder's, the ratio r = eta_E/eta, whatever the method.
    until : end time. Flow, None: until nothing can change any more, at most `horizon`. Descent, None: steps * eta.
    method : "flow", dw/dt = -dL/dw by the stiff solver of `dynlab.population.pair.solver`; or "descent", the exact map of
        gradient-descent steps, w <- w - eta dL/dw, E <- E - eta eta_head dL/dE; or "sgd", such steps on minibatches, with
        `eta`, `steps`, `times` and as **options those of `dynlab.samples.train.follow` (batch, dim, seed, optimiser, ...).
    rtol : relative tolerance of each step of the flow, in [1e-12, 1e-2].
    eta, steps : learning rate of the encoder and number of steps, for descent (steps None: until / eta, or 200000).
    optimisation : Optimisation, for descent: momentum, Adam, schedules of the rates (None: plain steps at constant rates).
        With "adam" **options are dim, the dimension of the weights that it moves (default 1000, at most 4096), and seed and
        number, of the frame in which their noise parts lie; all else moves alike in any dimension and frame.
    training : Training, every switch of the mechanism; head and eta_head are then its own. None: the paper's.
    device : "cpu", "cuda" or "auto", as in `dynlab.ensemble`: for minibatches, and for the flow, of which a device has one
        thread do a single trajectory.
    times : increasing times to record. None: every step of the solver at four points, and the start.

    Returns
    -------
    Trajectory; a run that fails half-way says so in its status and keeps what it had.

    Raises SettingError (a ValueError of one line) for values that are not allowed.
    """
    if method == SAMPLED:
        told = (
            "optimisation",
            optimisation,
            'left out for method "sgd", whose optimiser and momentum are options of their own',
        )
        require(optimisation is None, *told)
        options = options | {"device": device}
        return _sampled(model, start, training, head, eta_head, until, eta, steps, times, options)
    choice("method", method, (*METHODS, SAMPLED))
    how = check_optimisation(optimisation, method)
    axes = ("dim", "seed", "number") if how.optimiser == "adam" else ()
    for name, value in options.items():
        if name not in axes:
            only = " without adam" if name in ("dim", "seed", "number") and method == "descent" else ""
            raise SettingError(name, value, f'left out for method "{method}"{only}')
    if how.is_plain:
        return exact.simulate(
            model, start, head, eta_head, until, method, rtol=rtol, eta=eta, steps=steps, times=times, training=training,
            device=device,
        )  # fmt: skip
    training = check_training(model, training, head, eta_head, method)
    of_flow(device, [(model, training)], method)
    frame = options.get("dim", exact.DIM), options.get("seed", 0), options.get("number", 0)
    return exact.simulate_by(how, model, training, start, until, eta=eta, steps=steps, times=times, frame=frame)


def _sampled(
    model: Model, start: OrderParameters, training: Training | None, head: str, eta_head: float, until: float | None,
    eta: float, steps: int | None, times: ArrayLike | None, options: dict,
) -> Trajectory:  # fmt: skip
    from dynlab.samples import train

    require(until is None, "until", until, 'left out for method "sgd", which takes steps')
    if training is None:
        training = Training(head=choice("head", head, PAPER_HEADS), eta_head=real("eta_head", eta_head, at_least=0.0))
    return train.follow(model, training, start, eta=eta, steps=steps, times=checked_times(times), **options)

"""What the ways of training the population share: which are allowed, which solver takes which, when they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.population import descent
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.scaling import horizon
from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD, Training
from dynlab.tools.checks import SettingError, choice, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


PAPER_HEADS = ("off-diagonal", "none")
METHODS = ("flow", "descent")


def check_training(model: Model, training: Training | None, head: str, eta_head: float, method: str) -> Training:
    """The training asked for: `training`, or the paper's with this head and rate. SettingError for what is not allowed."""
    choice("method", method, METHODS)
    if training is None:
        training = Training(head=choice("head", head, PAPER_HEADS), eta_head=real("eta_head", eta_head, at_least=0.0))
    else:
        require(isinstance(training, Training), "training", training, "a Training")
        for name, given, default in (("head", head, "off-diagonal"), ("eta_head", eta_head, ETA_HEAD)):
            allowed = f"left out with training, whose {name} is {getattr(training, name)!r}"
            require(given in (default, getattr(training, name)), name, given, allowed)
    training.check_model(model)
    require(method == "flow" or training.is_papers, "method", method, '"flow" with switches other than the paper\'s')
    return training


def closed_form(model: Model, training: Training) -> bool:
    """Whether the solver made for the paper's training is used, rather than the one for any (which costs less for many
    neurons: see `dynlab.formulas.switched`)."""
    return training.is_papers and model.neurons <= 3 and model.features <= 3


def own_horizon(model: Model, start: OrderParameters) -> float:
    """`scaling.horizon` of a Gaussian start with weights as large and signals as small as these."""
    signal = (start.signal**2).mean()
    square = (start.signal**2).sum(1).mean() + np.diagonal(start.noise_gram).mean()
    return horizon(model, square / signal if signal > 0.0 else 1.0, square**0.5 if square > 0.0 else 1.0)


def checked_times(times: ArrayLike | None) -> np.ndarray:
    try:
        values = np.array([] if times is None else times, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingError("times", times, "increasing, finite and not negative") from None
    if values.ndim != 1 or not (np.isfinite(values) & (values >= 0.0)).all() or (np.diff(values) <= 0).any():
        raise SettingError("times", times, "increasing, finite and not negative")
    return values


def default_end(model: Model, dim: float, method: str, eta: float, scale: float = 1.0) -> float:
    """End time where none is given; scale: of the random starts."""
    return descent.DEFAULT_STEPS * eta if method == "descent" else horizon(model, dim, scale)

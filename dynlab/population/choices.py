"""What the ways of training the population share: which are allowed, which solver takes which, when they end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas.head_rules import TRAINED
from dynlab.population import descent
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.scaling import horizon
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import Model, without_bias, without_correlation
from dynlab.settings.optimisation import Optimisation
from dynlab.settings.training import ETA_HEAD, METHODS, PAPER_HEADS, Training
from dynlab.tools.checks import SettingError, choice, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


SOONER = 200.0  # by which a flow with hidden units ends earlier


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
    training.check_model(model, stepped=method == "descent")
    why = f"method {method!r}, whose states are signals, noise and head"
    without_bias(model, f"{why} (population_gradient(..., bias=b) is exact)")
    if method == "flow":
        why = "a flow, which follows the logarithms of signals that keep their signs, as only orthonormal features let them"
        without_correlation(model, f'{why} (method "descent" or "sgd" is exact for these too)')
    if model.layered:
        without_correlation(model, "training with hidden units, of orthonormal features (gradients are exact)")
        flat = method == "descent" or ACTIVATIONS[model.activation].degree == 1
        why = "of degree 1 (relu, linear) for a flow with hidden units; descent is exact for all"
        require(flat, "activation", model.activation, why)
    return training


def check_optimisation(optimisation: Optimisation | None, method: str) -> Optimisation:
    """How steps are taken: `optimisation`, or plain descent. SettingError where the method takes none."""
    if optimisation is None:
        return Optimisation()
    require(isinstance(optimisation, Optimisation), "optimisation", optimisation, "an Optimisation")
    require(method == "descent", "optimisation", optimisation, f'left out for method "{method}"')
    return optimisation


def closed_form(model: Model, training: Training) -> bool:
    """Whether the solver made for the paper's training is used, rather than the one for any.

    The latter costs less for many neurons, and measures what rounding does, without which 11 of 128 starts of three cubic
    neurons wander for ever; the former knows relu's singular ends.
    """
    record = ACTIVATIONS[model.activation]
    most = 2 if record.odd and record.degree > 1 else 3
    return not model.layered and training.is_papers and model.neurons <= most and model.features <= 3


def as_followed(model: Model, training: Training) -> Training:
    """The training with a head that no gradient moves given as a fixed one.

    As coordinates of the flow its entries would stay at rest but for rounding, which late in training is as large as the
    force: with the gradient stopped on the online side starts lost by it what they had learnt.
    """
    if training.head not in TRAINED or training.head_rate > 0.0:
        return training
    identity = tuple(tuple(float(i == j) for i in range(model.neurons)) for j in range(model.neurons))
    return replace(training, head="fixed", head_matrix=training.head_matrix or identity)


def own_horizon(model: Model, start: OrderParameters) -> float:
    """`scaling.horizon` of a Gaussian start with weights as large and signals as small as these."""
    if model.layered:
        return hidden_horizon(model, start.size())
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


def hidden_horizon(model: Model, scale: float = 1.0) -> float:
    """Default end of a flow with hidden units that does not come to rest before, weights being of size `scale`.

    What is learnt is learnt by then. Some starts never rest, but go round for ever: more time would not end them.
    """
    return horizon(model, 1.0, scale) / SOONER


def default_end(model: Model, dim: float, method: str, eta: float, scale: float = 1.0) -> float:
    """End time where none is given; scale: of the random starts."""
    if method == "descent":
        return descent.DEFAULT_STEPS * eta
    return hidden_horizon(model, scale) if model.layered else horizon(model, dim, scale)

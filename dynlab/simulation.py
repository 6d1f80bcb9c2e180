"""One trajectory from a given start, on the exact gradient or on samples: `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynlab.population.choices import HEADS, _times
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.trajectory import Trajectory
from dynlab.settings.training import Training
from dynlab.tools.checks import choice, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model


SAMPLED = "sgd"  # the third method of `simulate`: minibatches of the data, in `dynlab.samples`


def _sampled(
    model: Model, start: OrderParameters, training: Training | None, head: str, eta_head: float, until: float | None,
    eta: float, steps: int | None, times: ArrayLike | None, options: dict,
) -> Trajectory:  # fmt: skip
    from dynlab.samples import train

    require(until is None, "until", until, 'left out for method "sgd", which takes steps')
    if training is None:
        training = Training(head=choice("head", head, HEADS), eta_head=real("eta_head", eta_head, at_least=0.0))
    return train.follow(model, training, start, eta=eta, steps=steps, times=_times(times), **options)

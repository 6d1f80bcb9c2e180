"""Random starts by number."""

from __future__ import annotations

import numpy as np

from dynlab.population.order_parameters import OrderParameters
from dynlab.settings.model import Model


def draw_start(model: Model, dim: int, seed: int, index: int, scale: float = 1.0) -> OrderParameters:
    """Start number `index` of the ensemble with `seed`: w_j ~ N(0, scale^2 I/dim), E = I."""
    return OrderParameters.sample(model, dim, np.random.default_rng((seed, index)), scale)

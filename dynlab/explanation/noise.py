r"""The noise of a minibatch against the exact force, at a recorded state.

The force of one batch of B samples on a signal has mean g (the exact force, up to a bias ~ 1/B) and standard deviation
s = c/sqrt(B). Of one step the noise equals the force at the batch B (s/g)^2; and at batch B it takes (s/g)^2 steps until
what they add up to, which grows like their number, is as large as what the noise adds up to, which grows like its root. For
the whole gradient B |noise|^2/|g|^2 is the gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.explanation.recorded import RecordedRun
from dynlab.population.gradient import order_parameter_gradient
from dynlab.population.order_parameters import OrderParameters

BATCHES = 24
MOST = 4096  # samples a batch, for the measurement


@dataclass(frozen=True, eq=False)
class GradientNoise:
    """force, deviation (2, 2): exact force on each signal, and standard deviation of that of one batch of the run's size.

    scale : the batch at which the noise of the whole gradient of the weights is as large as the gradient.
    """

    batch: int
    force: np.ndarray
    deviation: np.ndarray
    scale: float

    def __repr__(self) -> str:
        return f"GradientNoise(batch {self.batch}, scale {self.scale:.3g})"

    def steps(self, neuron: int, feature: int) -> float:
        """Steps until the force on a signal has moved it further than the noise."""
        force = self.force[neuron, feature]
        return float((self.deviation[neuron, feature] / force) ** 2) if force != 0.0 else float("inf")


def gradient_noise(run: RecordedRun, index: int) -> GradientNoise | None:
    """Measured on `BATCHES` fresh batches at a record, the noise parts in a random frame; None where a loss is undefined."""
    from dynlab.population.dense.dense_descent import dense_start
    from dynlab.samples.gradient import Source
    from dynlab.samples.minibatch import minibatch_class

    if run.batch is None:
        raise ValueError(f"{run!r}: has no batches, whose noise could be measured")
    model, size = run.model, min(run.batch, MOST)
    state = OrderParameters(run.signal[index], run.gram[index], run.head[index])
    weights = dense_start(model, state, run.dim, run.seed)
    work = minibatch_class("cpu")(model, run.training, run.dim, size, Source(run.seed, None), "float64", None)
    results = [work.gradient(step, weights, run.head[index]) for step in range(BATCHES)]
    if any(result.problem is not None for result in results):
        return None
    drawn = np.array([result.d_weights for result in results])
    variance = drawn.var(0, ddof=1) * size / run.batch
    features = model.features
    _, d_signal, d_noise, _ = order_parameter_gradient(model, state)
    exact = (d_signal**2).sum() + ((d_noise @ weights[:, features:]) ** 2).sum()
    scale = float(run.batch * variance.sum() / exact) if exact > 0.0 else float("inf")
    return GradientNoise(run.batch, -d_signal, np.sqrt(variance[:, :features]), scale)

"""The Jacobian that steps are taken with, from numbers with tangents, against differences of the rates."""

import numpy as np
import pytest

from dynlab import Model, Training
from dynlab.population.any_training import flow
from dynlab.population.any_training.records import Limits
from dynlab.population.starts import draw_start
from dynlab.population.stepping import method_table

ALONE = {"head": "none", "stop_gradient": "none"}
TRAININGS = [
    {}, {"head": "linear", "stop_gradient": "none", "head_decay": 0.1}, {"head": "directpred", "normalisation": "scale"},
    {"head": "directcopy", "target": "average"}, {"head": "symmetric", "normalisation": "none", "weight_decay": 0.2},
    {"objective": "vicreg", **ALONE}, {"objective": "barlow-twins", "decorrelation": 0.1, **ALONE},
]  # fmt: skip


def point(model, training):
    """System, state (1, n), sides (1, ...), buffers: off every symmetry, VICReg's outputs on all sides of the corner."""
    start = draw_start(model, 1000, 0, 3)
    z, side = flow.encode(model, training, start.signal[None], start.noise_gram[None])
    z = z + 0.1 * np.random.default_rng(1).standard_normal(z.shape)
    cut = model.neurons * model.features
    if model.activation in ("relu", "linear"):
        side[:, :cut] = np.sign(z[:, :cut])
        if training.target == "average":
            block = cut + model.neurons + model.neurons**2
            side[:, cut : 2 * cut] = np.sign(z[:, block : block + cut])
    if training.objective == "vicreg":
        side[:, cut:] = (-1, 0, 1)
    return flow.system_of(model, training), z, side, flow.buffers_for(model, training, z.shape[1])


@pytest.mark.parametrize("activation", ["cubic", "relu", "relu3"])
@pytest.mark.parametrize("switched", TRAININGS, ids=lambda one: "-".join(map(str, one.values())) or "paper")
def test_against_differences(activation, switched):
    model, training = Model(activation=activation, neurons=3), Training(eta_head=0.5, **switched)
    system, z, side, buffers = point(model, training)
    n = z.shape[1]
    asked, seen = flow.noted(np.zeros((1, 0)), 1, n, model.features, 0)
    found = np.zeros(1), np.zeros((1, 4), np.int64), np.full(1, flow.TO_BEGIN), np.zeros((1, n))
    limits, weights = Limits(np.full(1, 1e9), 1e-6, 0), flow.weights_of(model, training, z)
    flow._kernel(system, method_table(), z.copy(), side, weights, limits, asked, seen, found, buffers, (0, 1), None)
    moved = np.concatenate([z + 1e-5 * np.eye(n), z - 1e-5 * np.eye(n)])
    ends = flow.rates_at(model, training, moved, np.repeat(side, 2 * n, axis=0), buffers)[1]
    for k in range(n):
        wanted = (ends[k] - ends[n + k]) / 2e-5
        assert np.abs(buffers.jac_at[k] - wanted).max() < 1e-6 * (1.0 + np.abs(wanted).max()), k

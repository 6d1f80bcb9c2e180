"""States, events and times of the flow against SciPy on dense weights."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dynlab import Model, OrderParameters
from tests.population.pair.checkers import agrees_with, run
from tests.population.pair.dense import dense_flow
from tests.strategies import ACTIVATIONS

SHAPES = {(2, 2): (1.0, 0.5), (1, 1): (1.0,), (3, 2): (1.0, 0.6), (2, 3): (1.0, 0.8, 0.5)}
TIMES = np.array([0.03, 0.1, 0.3])


def a_start(neurons, features, seed, size=0.3):
    """Signals of the given size beside noise parts of length about one, in general position."""
    rng = np.random.default_rng([seed, neurons, features])
    factor = rng.standard_normal((neurons, neurons)) * 0.3 + np.eye(neurons)
    signal = size * rng.choice([-1.0, 1.0], (neurons, features)) * rng.uniform(0.6, 1.4, (neurons, features))
    head = np.eye(neurons) + 0.1 * rng.standard_normal((neurons, neurons)) * (1 - np.eye(neurons))
    return OrderParameters(signal, factor @ factor.T, head)


@cache
def case(activation, shape, head_rate):
    neurons, features = shape
    model = Model(strengths=SHAPES[shape], activation=activation, neurons=neurons)
    start = a_start(neurons, features, seed=4)
    times = TIMES * (1 if activation in ("relu", "linear") else 10)
    return model, start, dense_flow(model, start, head_rate, times)


@pytest.mark.parametrize("head_rate", [0.0, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_states_at_chosen_times(activation, shape, head_rate):
    model, start, reference = case(activation, shape, head_rate)
    assert np.abs(reference.signal[-1] - start.signal).max() > 1e-3, "nothing moved: the comparison would be empty"
    assert (np.sign(reference.signal) == np.sign(start.signal)).all(), "a kink is crossed: see test_relu"
    agrees_with(run, reference, model, start, head_rate, rtol=1e-6, tolerance=1e-5, clock=1e-3)
    agrees_with(run, reference, model, start, head_rate, rtol=1e-9, tolerance=1e-8, clock=1e-4)


JUMPS = [("cubic", 0.5, 20, 3, 1e4), ("cubic", 0.3, 60, 2, 3e5), ("relu3", 0.5, 20, 3, 1e4)]


@cache
def jump(activation, weak, dim, seed, end):
    model = Model(weak=weak, activation=activation)
    start = OrderParameters.sample(model, dim, np.random.default_rng(seed))
    times = np.geomspace(1.0, end, 25)
    return model, start, dense_flow(model, start, 0.1, times, "Radau", 1e-10)


@pytest.mark.parametrize("at", JUMPS, ids=lambda at: "-".join(map(str, at)))
def test_through_the_jumps(at):
    """Waiting, jump, decay: states, times and events, the arc length being turned into time."""
    model, start, reference = jump(*at)
    assert np.isfinite(reference.first)
    assert model.activation != "cubic" or np.isfinite([reference.second, reference.peak]).all()
    agrees_with(run, reference, model, start, 0.1, rtol=1e-9, tolerance=5e-8, clock=1e-6)
    agrees_with(run, reference, model, start, 0.1, rtol=1e-6, tolerance=1e-5, clock=1e-4)

"""The exact gradient with hidden units, against 200 digits, sampling, and the case of one unit."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from tests import naive
from tests.oracles import hidden as oracle
from tests.population.hidden.draws import drawn


def close(found, exact, slack):
    """Within 1e-11 of each component, or of what rounding moves the block by."""
    exact = np.array(exact, dtype=float)
    found = np.asarray(found)
    return np.abs(found - exact) <= 1e-11 * np.abs(exact) + slack * np.abs(exact).max(initial=0.0) + 1e-100


@pytest.mark.parametrize("number", range(24))
def test_gradients_agree_with_two_hundred_digits(number):
    model, weights, head, a = drawn(number)
    found = dynlab.population_gradient(model, weights, head, readout=a)
    loss, d_weights, d_head, d_readout = oracle.population_gradient(model, weights, head, a)
    assert abs(found.loss - float(loss)) < 1e-13 * (1.0 + 4 * model.neurons)
    assert close(found.d_weights, d_weights, 1e-13).all()
    assert close(found.d_head, d_head, 1e-13).all()
    used = np.ones(a.shape) if model.readout == "shared" else np.kron(np.eye(model.neurons), np.ones(model.hidden))
    assert close(found.d_readout, np.array(d_readout, dtype=float) * used, 1e-13).all()


@pytest.mark.parametrize("number", range(8))
def test_scaling_a_unit_or_its_readout_is_the_same(number):
    # <w_h, dL/dw_h>/q = <X_h, dL/dX_h> = sum_r a_rh dL/da_rh, whatever the state.
    model, weights, head, a = drawn(number)
    found = dynlab.population_gradient(model, weights, head, readout=a)
    degree = {"relu": 1, "linear": 1, "cubic": 3, "relu3": 3}[model.activation]
    size = np.abs(weights * found.d_weights).sum(1) + np.abs(a * found.d_readout).sum(0)
    left, right = (weights * found.d_weights).sum(1) / degree, (a * found.d_readout).sum(0)
    assert (np.abs(left - right) <= 1e-12 * size.max()).all()


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3"])
def test_one_unit_with_readout_one_is_the_neuron_itself(activation):
    rng = np.random.default_rng(3)
    weights, head = rng.standard_normal((2, 7)), np.array([[1.0, 0.2], [-0.3, 1.0]])
    plain = dynlab.population_gradient(dynlab.Model(activation=activation), weights, head)
    layered = dynlab.Model(activation=activation, hidden=1, readout="own")
    found = dynlab.population_gradient(layered, weights, head, readout=np.eye(2))
    np.testing.assert_allclose(found.d_weights, plain.d_weights, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(found.d_head, plain.d_head, rtol=1e-11, atol=1e-14)
    assert plain.d_readout is None


def test_a_fixed_readout_of_one_unit_is_the_model_without_hidden_units():
    model = dynlab.Model(hidden=1, readout="fixed")
    assert model == dynlab.Model()
    assert not model.layered
    assert dynlab.OrderParameters.sample(model, 100, 0).readout is None


@pytest.mark.parametrize("readout", ["own", "shared"])
def test_the_loss_is_that_of_samples(readout):
    model = dynlab.Model(activation="relu", hidden=2, readout=readout, patches=4, feature_patches=2, noise=0.7, weak=0.6)
    rng = np.random.default_rng(11)
    weights = rng.standard_normal((4, 8))
    a = rng.standard_normal((2, 4)) * (np.kron(np.eye(2), np.ones(2)) if readout == "own" else 1.0)
    head = np.array([[1.0, 0.4], [-0.2, 1.0]])
    views = [naive.sample_outputs(model, weights, 100_000, rng) for _ in range(4)]
    first, second = (np.concatenate([pair[k] for pair in views]) for k in (0, 1))
    online, target = first @ a.T @ head.T, second @ a.T
    rho = [np.corrcoef(online[:, j], target[:, j])[0, 1] for j in range(2)]
    loss, *_ = dynlab.population_gradient(model, weights, head, readout=a)
    assert abs(loss - sum(2.0 - 2.0 * x for x in rho)) < 0.02  # eight standard errors


@pytest.mark.parametrize(
    ("readout", "words"),
    [
        (None, "readout: missing"),
        (np.ones((2, 3)), "shape"),
        (np.ones((2, 4)), "units of another"),
        (np.full((2, 4), np.nan), "nan or infinity"),
    ],
)
def test_wrong_readouts_are_refused_in_a_line(readout, words):
    model = dynlab.Model(hidden=2)
    with pytest.raises(ValueError, match=words) as caught:
        dynlab.population_gradient(model, np.ones((4, 9)), np.eye(2), readout=readout)
    assert "\n" not in str(caught.value)


def test_a_readout_for_a_model_without_hidden_units_is_refused():
    with pytest.raises(ValueError, match="no hidden units"):
        dynlab.population_gradient(dynlab.Model(), np.ones((2, 9)), np.eye(2), readout=np.eye(2))

"""The gradient of every combination of switches with hidden units against the oracle of 50 digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab import Model, Training, training_gradient
from tests.oracles import exact
from tests.oracles import switches as oracle
from tests.population.any_training.combinations import a_training, any_head
from tests.strategies import SeededDraws

CLOSE = 1e-11  # of the largest component of an array


def a_case(number):
    """Model, training, weights, head, target's weights, readout, target's readout: state number `number`."""
    rng = np.random.default_rng((11, number))
    m, hidden, features = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    model = Model(
        strengths=tuple(np.sort(rng.uniform(0.4, 1.4, features))[::-1]), neurons=m, hidden=hidden,
        readout=str(rng.choice(["own", "shared", "fixed"])) if hidden > 1 else "own", patches=int(rng.choice([4, 6, 8])),
        feature_patches=int(rng.integers(1, 4)), noise=0.0 if number % 6 == 0 else rng.uniform(0.2, 0.8),
        activation=("relu", "cubic", "relu3", "linear")[number % 4], mask=str(rng.choice(["half", "independent"])),
        probabilities=tuple(np.random.default_rng(number).dirichlet(np.ones(features))) if number % 5 == 0 else None,
        correlation=0.4 if number % 7 == 3 and features > 1 else None,
    )  # fmt: skip
    draws = SeededDraws(rng)
    training = a_training(draws, m, model.noise == 0.0)
    dim = features + model.units + int(rng.integers(0, 2))
    weights = rng.standard_normal((model.units, dim))
    used = np.ones((m, model.units)) if model.readout == "shared" else np.kron(np.eye(m), np.ones(hidden))
    readout = used * rng.standard_normal((m, model.units))
    trained = training.head in ("off-diagonal", "linear", "symmetric")
    head = any_head(draws, training.head, m) if trained else None
    behind = None, None
    if training.target == "average":
        behind = weights + 0.3 * rng.standard_normal(weights.shape), readout + 0.3 * used * rng.standard_normal(used.shape)
    return model, training, weights, head, behind[0], readout, behind[1]


def right_gradient(model, training, weights, head, target, readout, behind):
    """Loss, d_weights, d_head, d_readout as floats, the last on the entries in use and with its decay where it trains."""
    given = np.array(training.head_matrix) if training.head == "fixed" else head
    found = oracle.training_gradient(model, training, weights, given, target, 50, readout, behind)
    loss, d_weights, d_head, d_readout = (np.array(part, object).astype(float) for part in found)
    used = np.ones(readout.shape) if model.readout == "shared" else np.kron(np.eye(len(readout)), np.ones(model.hidden))
    if model.readout == "fixed":
        d_readout = d_readout - training.weight_decay * readout
    return loss, d_weights, d_head, d_readout * used


@pytest.mark.parametrize("block", range(8))
def test_drawn_combinations(block):
    for number in range(16 * block, 16 * block + 16):
        model, training, weights, head, target, readout, behind = case = a_case(number)
        given = {"target_weights": target, "readout": readout, "target_readout": behind}
        try:
            right = right_gradient(*case)
        except exact.Degenerate:
            with pytest.raises(ValueError, match="zero variance"):
                training_gradient(model, training, weights, head, **given)
            continue
        found = training_gradient(model, training, weights, head, **given)
        for name, one, other in zip(("loss", "weights", "head", "readout"), (*found, found.d_readout), right, strict=True):
            size = max(np.abs(other).max(), 1e-3)
            assert np.abs(one - other).max() <= CLOSE * size, (number, name, model, training)


@pytest.mark.parametrize("activation", ["relu", "relu3", "cubic"])
def test_the_papers_training_is_that_of_population_gradient(activation):
    model = Model(activation=activation, weak=0.6, hidden=3)
    rng = np.random.default_rng(2)
    weights, head = rng.standard_normal((6, 9)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    readout = rng.standard_normal((2, 6)) * np.kron(np.eye(2), np.ones(3))
    one = training_gradient(model, Training(), weights, head, readout=readout)
    other = dynlab.population_gradient(model, weights, head, readout=readout)
    for mine, theirs in zip((*one, one.d_readout), (*other, other.d_readout), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13)


def test_one_unit_whose_readout_is_one_is_a_neuron():
    plain, layered = Model(activation="relu"), Model(activation="relu", hidden=1, readout="own")
    rng = np.random.default_rng(4)
    weights, target = rng.standard_normal((2, 2, 6))
    training = Training(head="linear", target="average", normalisation="scale", decorrelation=0.5, weight_decay=0.1)
    head = np.eye(2) + 0.2 * rng.standard_normal((2, 2))
    right = training_gradient(plain, training, weights, head, target)
    found = training_gradient(layered, training, weights, head, target, readout=np.eye(2), target_readout=np.eye(2))
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    assert right.d_readout is None


def test_what_an_output_is_normalised_by_its_gradients_do_not_see():
    # Own units, batch normalisation, no head: sum_h a_jh dL/da_jh = 0 and sum_h <w_h, dL/dw_h> = 0 for every output.
    model, training = Model(activation="relu3", weak=0.5, hidden=3), Training(head="none", stop_gradient="none")
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((6, 8))
    readout = rng.standard_normal((2, 6)) * np.kron(np.eye(2), np.ones(3))
    found = training_gradient(model, training, weights, readout=readout)
    np.testing.assert_allclose((readout * found.d_readout).sum(1), 0.0, atol=1e-13)
    np.testing.assert_allclose((weights * found.d_weights).sum(1).reshape(2, 3).sum(1), 0.0, atol=1e-13)
    unit = 3 * (readout * found.d_readout).sum(0)
    np.testing.assert_allclose((weights * found.d_weights).sum(1), unit, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "readout: missing"),
        ({"readout": np.ones((2, 4))}, "joins a neuron to units of another"),
        ({"readout": np.eye(2).repeat(2, 1), "target_readout": np.eye(2).repeat(2, 1)}, "left out with target 'same'"),
    ],
)
def test_what_does_not_fit_is_refused(given, word):
    with pytest.raises(ValueError, match=word):
        training_gradient(Model(activation="relu", hidden=2), Training(), np.ones((4, 7)), **given)
    with pytest.raises(ValueError, match="no hidden units"):
        training_gradient(Model(activation="relu"), Training(), np.ones((2, 7)), readout=np.eye(2))
    dead = replace(Model(activation="relu", hidden=2), noise=0.0)
    with pytest.raises(ValueError, match="zero variance"):
        training_gradient(dead, Training(), np.zeros((4, 7)), readout=np.eye(2).repeat(2, 1))

"""A hidden unit without weights: counted, and no number of the rest is lost by it."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.ensembles.hidden import dead_units
from dynlab.population.hidden.moments import hidden_carried, hidden_losses, hidden_rank

MODEL = dynlab.Model(activation="relu", weak=0.6, hidden=2)
READOUT = np.array([[1.0, -0.7, 0.0, 0.0], [0.0, 0.0, 0.4, 2.0]])


def test_units_are_counted_by_all_of_their_weights():
    # Of three starts: none; unit 2, whose signal and noise are gone; units 3 and 4, and 1 lives by its noise alone.
    signal, gram = np.ones((3, 4, 2)), np.tile(np.eye(4), (3, 1, 1))
    later, left = signal.copy(), gram.copy()
    later[1, 1], left[1, 1, 1] = 1e-4, 1e-9
    later[2, [0, 2, 3]], left[2, [2, 3], [2, 3]] = 0.0, 0.0
    assert dead_units((signal, gram), (later, left)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("activation", ["relu", "relu3", "cubic", "linear"])
def test_its_gradients_are_numbers_and_those_of_the_rest_what_they_are_without_it(activation):
    model = dynlab.Model(activation=activation, weak=0.6, hidden=2)
    rng = np.random.default_rng(3)
    weights, head = rng.standard_normal((4, 7)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    weights[1] = 0.0
    kept = [0, 2, 3]
    for found in (
        dynlab.population_gradient(model, weights, head, readout=READOUT),
        dynlab.training_gradient(model, dynlab.Training(), weights, head, readout=READOUT),
    ):
        parts = [found.loss, found.d_weights, found.d_head, found.d_readout]
        assert all(np.isfinite(part).all() for part in parts)
        assert found.d_readout[0, 1] == 0.0
        if activation != "linear":  # whose slope at 0 is not 0
            assert (found.d_weights[1, :2] == 0.0).all()
        # The same where the unit has no part in the output.
        other = READOUT * (np.arange(4) != 1)
        lone = rng.standard_normal((4, 7))
        lone[kept] = weights[kept]
        right = dynlab.population_gradient(model, lone, head, readout=other)
        np.testing.assert_allclose(found.d_weights[kept], right.d_weights[kept], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found.d_head, right.d_head, rtol=1e-11, atol=1e-14)
        assert found.loss == pytest.approx(right.loss, abs=1e-13)


def test_what_is_told_of_its_state_is_a_number():
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((4, 8))
    weights[2] = 0.0
    signal, noise = weights[:, :2], weights[:, 2:]
    for told in (
        hidden_carried(MODEL, signal, noise @ noise.T, READOUT),
        hidden_rank(MODEL, signal, noise @ noise.T, READOUT),
        hidden_losses(MODEL, signal, noise @ noise.T, np.eye(2), READOUT),
    ):
        assert np.isfinite(told).all()


def test_descent_goes_on_with_a_unit_that_has_all_but_died():
    # Its signals are 1e-19 and its noise part is gone: it stays so small, is counted as nothing died on the way, and the
    # other three do what they do beside a unit of that size.
    start = dynlab.OrderParameters.sample(MODEL, 20, 1)
    signal, gram = np.array(start.signal), np.array(start.noise_gram)
    signal[1], gram[1], gram[:, 1] = 1e-19, 0.0, 0.0
    begin = dynlab.OrderParameters(signal, gram, np.eye(2), start.readout)
    for more in ({}, {"training": dynlab.Training(weight_decay=0.01)}):
        run = dynlab.simulate(MODEL, begin, method="descent", eta=0.02, steps=200, **more)
        for part in (run.signal, run.noise_gram, run.readout, run.head, run.loss):
            assert np.isfinite(part).all()
        assert run.status == "until"


def test_on_a_batch_it_is_silent():
    # By loops: relu's derivative at 0 is 0, so a unit of weights 0 has gradient 0, in weights and in readout.
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((4, 6))
    weights[3] = 0.0
    found = dynlab.minibatch_gradient(MODEL, dynlab.Training(), weights, np.eye(2), readout=READOUT, batch=32)
    assert (found.d_weights[3] == 0.0).all() and found.d_readout[1, 3] == 0.0
    assert np.isfinite(found.loss) and np.isfinite(found.d_weights).all() and np.isfinite(found.d_readout).all()

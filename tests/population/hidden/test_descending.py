"""Exact descent with hidden units: against steps of dense weights, for every activation."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.population.hidden import flow
from tests.population.hidden.test_flow import dense

ETA, ETA_HEAD, READOUT_RATE, STEPS, DIM = 0.05, 0.4, 0.7, 60, 12


def stepped(model, start):
    """Weights, readout, head after `STEPS` steps of dense weights."""
    used = start.readout != 0.0
    weights, readout, head = dense(start, DIM, 1), start.readout.copy(), np.eye(2)
    for _ in range(STEPS):
        found = dynlab.population_gradient(model, weights, head, readout=readout)
        weights = weights - ETA * found.d_weights
        readout = readout - ETA * READOUT_RATE * np.where(used, found.d_readout, 0.0)
        head = head - ETA * ETA_HEAD * found.d_head
    return weights, readout, head, found


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3"])
def test_descent_is_that_of_dense_weights(activation):
    model = dynlab.Model(activation=activation, weak=0.6, hidden=2)
    start = dynlab.OrderParameters.sample(model, DIM, 0)
    weights, readout, head, _ = stepped(model, start)
    training = dynlab.Training(eta_head=ETA_HEAD, readout_rate=READOUT_RATE)
    times = [ETA, 30 * ETA, STEPS * ETA]
    run = dynlab.simulate(model, start, training=training, method="descent", eta=ETA, steps=STEPS, times=times)
    assert run.status == "until" and run.steps == STEPS
    np.testing.assert_allclose(run.time, [0.0, *times])
    np.testing.assert_allclose(run.signal[-1], weights[:, :2], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run.noise_gram[-1], weights[:, 2:] @ weights[:, 2:].T, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run.readout[-1], readout, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run.head[-1], head, rtol=1e-9, atol=1e-11)
    loss = dynlab.population_gradient(model, weights, head, readout=readout).loss
    assert run.loss[-1] == pytest.approx(loss, abs=1e-11)


def test_an_ensemble_of_descents_is_its_trajectories_however_it_is_cut(monkeypatch):
    model = dynlab.Model(activation="relu", weak=0.6, hidden=2)
    run = {"dim": 200, "method": "descent", "eta": ETA, "until": 20.0, "eta_head": 0.1}
    many = dynlab.ensemble(model, seeds=3, **run, threads=1)
    monkeypatch.setattr(flow, "BURST", 4)
    again = dynlab.ensemble(model, seeds=3, **run, threads=2)
    assert again.frame.equals(many.frame)
    assert (many.frame["steps"] == 400).all() and (many.frame["status"] == "until").all()
    start = dynlab.OrderParameters.sample(model, 200, np.random.default_rng((0, 2)))
    one = dynlab.simulate(model, start, method="descent", eta=ETA, until=20.0, eta_head=0.1)
    assert np.array_equal(one.signal[-1], many.ends[0][2])
    assert many.frame["loss_end"][2] == pytest.approx(one.loss[-1], abs=1e-11)
    assert many.frame["drift"].max() > 1e-4  # descent does not conserve what the flow does


def test_a_step_that_is_too_long_is_told():
    model = dynlab.Model(activation="cubic", hidden=2)
    run = dynlab.ensemble(model, dim=200, seeds=2, method="descent", eta=1e90, until=1e92, threads=1)
    assert (run.frame["status"] == "not finite").all() and (run.frame["outcome"] == "failed").all()

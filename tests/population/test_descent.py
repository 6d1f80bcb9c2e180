"""The map of one descent step on the order parameters, against plain gradient descent on dense weights."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters
from dynlab.population.descent import run_descent
from tests.population.pair.dense import dense_weights

SHAPES = [(2, (1.0, 0.5)), (1, (1.0,)), (3, (1.0, 0.6)), (2, (1.0, 0.8, 0.5))]


def drawn(activation, neurons, strengths, seed=0):
    model = Model(strengths=strengths, activation=activation, neurons=neurons)
    rng = np.random.default_rng([seed, neurons])
    start = OrderParameters.sample(model, 12, rng)
    off = 0.2 * rng.standard_normal((neurons, neurons)) * (1 - np.eye(neurons))
    return model, OrderParameters(start.signal, start.noise_gram, np.eye(neurons) + off)


def plain_descent(model, start, eta, eta_head, steps):
    """States (steps + 1, ...) of w <- w - eta dL/dw, E <- E - eta_head dL/dE."""
    weights, head = dense_weights(start), start.head.copy()
    states = [(weights, head)]
    for _ in range(steps):
        _, d_weights, d_head = dynlab.population_gradient(model, weights, head)
        weights, head = weights - eta * d_weights, head - eta_head * d_head
        states.append((weights, head))
    noise = np.array([w[:, model.features :] for w, _ in states])
    signal = np.array([w[:, : model.features] for w, _ in states])
    return signal, noise @ noise.transpose(0, 2, 1), np.array([e for _, e in states])


def follows_dense_weights(simulate, model, start, eta, eta_head, steps):
    run = simulate(
        model, start, method="descent", eta=eta, eta_head=eta_head / eta, steps=steps, times=eta * np.arange(1, steps + 1)
    )
    expected = plain_descent(model, start, eta, eta_head, steps)
    assert np.abs(expected[0][-1] - expected[0][0]).max() > 1e-6, "nothing moves"
    for mine, plain in zip((run.signal, run.noise_gram, run.head), expected, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("neurons", "strengths"), SHAPES)
@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3", "linear"])
def test_dense_weights(activation, neurons, strengths):
    model, start = drawn(activation, neurons, strengths)
    follows_dense_weights(dynlab.simulate, model, start, 0.05, 0.02, 50)


@pytest.mark.parametrize("wrong", [{"eta": 1.0001}, {"eta_head": 1.001}, {"noise": 1.0001}], ids=lambda w: next(iter(w)))
def test_a_wrong_map_is_caught(wrong):
    def faulty(model, start, eta, eta_head, times, **rest):
        model = Model(strengths=model.strengths, noise=model.noise * wrong.get("noise", 1.0))
        eta_head = eta_head * wrong.get("eta_head", 1.0)
        times = times * wrong.get("eta", 1.0)
        return dynlab.simulate(model, start, eta=eta * wrong.get("eta", 1.0), eta_head=eta_head, times=times, **rest)

    model, start = drawn("cubic", 2, (1.0, 0.5))
    with pytest.raises(AssertionError):
        follows_dense_weights(faulty, model, start, 0.05, 0.02, 50)


@pytest.mark.parametrize("activation", ["cubic", "relu3", "linear"])
def test_the_flow_is_the_limit_of_small_steps(activation):
    """First order in eta, at the same ratio r of the rates."""
    model, start = drawn(activation, 2, (1.0, 0.5))
    end, rate = 2.0, 0.1
    flow = dynlab.simulate(model, start, eta_head=rate, times=[end], rtol=1e-10)
    distance = []
    for steps in (50, 100, 200, 400):
        eta = end / steps
        down = dynlab.simulate(model, start, method="descent", eta=eta, eta_head=rate, steps=steps, times=[end])
        assert down.time[-1] == pytest.approx(end)
        distance.append(np.abs(down.signal[-1] - flow.signal[-1]).max())
    ratios = np.array(distance[:-1]) / distance[1:]
    assert ((ratios > 1.8) & (ratios < 2.2)).all(), distance


def test_events_and_end():
    """Events of the map at the very steps at which a loop over dense weights sees them."""
    model, start = drawn("cubic", 2, (1.0, 0.7), seed=1)
    eta, eta_head, steps = 0.05, 0.02, 1500
    signal, gram, head = plain_descent(model, start, eta, eta_head, steps)
    cosines = signal**2 / ((signal**2).sum(-1) + np.diagonal(gram, axis1=1, axis2=2))[..., None]
    passed = sorted(np.argmax(cosines[:, :, f].max(1) > 0.5) for f in range(2) if (cosines[:, :, f] > 0.5).any())
    sizes = np.abs(head - np.eye(2)).max((1, 2))
    run = dynlab.simulate(model, start, method="descent", eta=eta, eta_head=eta_head / eta, steps=steps)
    assert passed and passed[0] > 0
    assert run.events["first"] == pytest.approx(eta * passed[0], abs=1e-9)
    if len(passed) > 1:
        assert run.events["second"] == pytest.approx(eta * passed[1], abs=1e-9)
    assert run.events["peak"] == pytest.approx(eta * sizes.argmax(), abs=1e-9)
    assert run.status == "until" and run.steps == steps
    assert run.time[-1] == pytest.approx(eta * steps)
    np.testing.assert_allclose(run.signal[-1], signal[-1], atol=1e-8)


def test_eta_head_is_a_ratio_whatever_the_method():
    """One step of descent, and a flow as long: E moves by eta eta_head dL/dE, whatever eta is."""
    model, start = drawn("cubic", 2, (1.0, 0.5))
    _, _, d_head = dynlab.population_gradient(model, dense_weights(start), start.head)
    for eta, ratio in ((0.05, 0.4), (0.01, 2.0)):
        step = dynlab.simulate(model, start, method="descent", eta=eta, eta_head=ratio, steps=1)
        np.testing.assert_allclose(step.head[-1] - start.head, -eta * ratio * d_head, rtol=1e-9, atol=1e-13)
        assert step.settings["eta_head"] == ratio and step.settings["head_rate"] == pytest.approx(eta * ratio)
        short = 1e-6 * eta
        flow = dynlab.simulate(model, start, eta_head=ratio, until=short, rtol=1e-9, times=[short])
        np.testing.assert_allclose((flow.head[-1] - start.head) / short, -ratio * d_head, rtol=1e-3, atol=1e-9)


def test_many_starts_are_single_starts():
    model, _ = drawn("relu", 2, (1.0, 0.5))
    starts = [drawn("relu", 2, (1.0, 0.5), seed)[1] for seed in range(5)]
    together = run_descent(model, starts, head_rate=0.01, eta=0.05, steps=200)
    for k, start in enumerate(starts):
        alone = run_descent(model, [start], head_rate=0.01, eta=0.05, steps=200)
        for a, b in zip(together["ends"], alone["ends"], strict=True):
            np.testing.assert_array_equal(a[k], b[0])


def test_ensembles_of_descent():
    model = Model(weak=0.5)
    result = dynlab.ensemble(model, dim=16, seeds=6, method="descent", eta=0.1, eta_head=0.01, until=50.0)
    assert (result.frame["status"] == "until").all() and (result.frame["steps"] == 500).all()
    start = dynlab.population.starts.draw_start(model, 16, 0, 3)
    run = dynlab.simulate(model, start, method="descent", eta=0.1, eta_head=0.01, steps=500)
    np.testing.assert_array_equal(result.ends[0][3], run.signal[-1])

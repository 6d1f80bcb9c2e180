"""Balance, the scale alpha_p, alignment and collapse (Tian, Chen & Ganguli 2021, Theorems 1 to 3) along simulated flows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.linear.gradient_flow import linear_flow_rates, simulate_linear, tangent
from dynlab.linear.laws import alignment_matrix, balance, commutator, decay_rate, misalignment
from dynlab.linear.model import LinearModel
from dynlab.linear.modes import collapse_threshold, commuting_start
from tests.linear.draws import cases, covariance

norm = np.linalg.norm


def drift(model, run, law):
    """Largest change of a law's constant along a run, relative to the terms it is the difference of."""
    constant = law(model, run.W, run.W_p, run.time)
    return np.abs(constant - constant[0]).max() / (norm(run.W[0]) ** 2 + norm(run.W_p[0]) ** 2 / model.alpha_p)


@given(cases())
def test_balance(case):
    """W W^T - W_p^T W_p / alpha_p falls like e^(-2 eta t), for any data, target and start."""
    model, *start = case
    run = simulate_linear(model, *start, until=8.0, rtol=1e-12)
    assert len(run.time) > 2 and norm(run.W[-1] - run.W[0]) > 1e-6
    assert drift(model, run, balance) < 1e-9


def test_balance_needs_what_it_says():
    """The other order of the transpose, a target that is differentiated, a symmetrised gradient: none is balanced."""
    rng = np.random.default_rng(0)
    model = LinearModel(3, sigma=0.5, alpha_p=2.0, eta=0.1)
    W, W_p = 0.7 * rng.standard_normal((2, 3, 3))
    run = simulate_linear(model, W, W_p, until=5.0, rtol=1e-12)
    assert drift(model, run, balance) < 1e-10
    assert drift(model, run, lambda m, W, W_p, t: balance(m, W, np.swapaxes(W_p, -1, -2), t)) > 0.01
    assert drift(model, run, lambda m, W, W_p, t: balance(m, W, W_p, 0 * t)) > 0.01
    for rule, head in (({"stop_gradient": "none"}, W_p), ({"symmetric_predictor": True}, W_p + W_p.T)):
        other = replace(model, **rule)
        assert drift(other, simulate_linear(other, W, head, until=5.0, rtol=1e-12), balance) > 0.01


@given(cases())
def test_alpha_p_is_the_unit_of_the_encoder(case):
    """alpha_p with W, W_a is alpha_p = 1 with sqrt(alpha_p) W, sqrt(alpha_p) W_a, and the same predictor at all times."""
    model, W, W_p, W_a = case
    unit, times = np.sqrt(model.alpha_p), [0.0, 0.5, 2.0]
    one = simulate_linear(model, W, W_p, W_a, until=2.0, times=times, rtol=1e-12)
    scaled = unit * W, W_p, None if model.beta is None else unit * W_a
    two = simulate_linear(replace(model, alpha_p=1.0), *scaled, until=2.0, times=times, rtol=1e-12)
    np.testing.assert_allclose(one.W_p, two.W_p, rtol=0, atol=1e-9)
    np.testing.assert_allclose(unit * one.W, two.W, rtol=0, atol=1e-9)
    np.testing.assert_allclose(unit * one.W_a, two.W_a, rtol=0, atol=1e-9)


@given(cases(isotropic=True, symmetric_predictor=True, beta=None), st.floats(0.2, 2.0))
def test_commutator_equation(case, tau):
    """dL/dt = -(K L + L K) at random states with W_a = tau W (Theorem 3)."""
    model, W, W_p, _ = case
    model = replace(model, beta=1.0)
    dW, dW_p, _ = linear_flow_rates(model, W, W_p, tau * W)
    F, dF = W @ W.T, dW @ W.T + W @ dW.T
    change = dF @ W_p - W_p @ dF + F @ dW_p - dW_p @ F
    K, L = alignment_matrix(model, W, W_p, tau), commutator(W, W_p)
    np.testing.assert_allclose(L, F @ W_p - W_p @ F, rtol=0, atol=1e-12)
    np.testing.assert_allclose(change, -(K @ L + L @ K), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("eta", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_eigenspaces_align_where_the_predictor_stays_symmetric(eta, seed):
    """Theorem 3: |L| stays under its bound, and falls relative to |F| |W_p| by eight decades or more."""
    rng = np.random.default_rng(seed)
    model = LinearModel(3, sigma=0.7, alpha_p=2.0, eta=eta, symmetric_predictor=True)
    W, M = rng.standard_normal((2, 3, 3))
    run = simulate_linear(model, W, (M + M.T) / 2, until=250.0, times=np.linspace(0.0, 250.0, 5001), rtol=1e-10)
    relative = misalignment(run.W, run.W_p)
    assert relative[0] > 0.1 and relative[-1] < 1e-9
    early = slice(0, 201)
    slowest = np.linalg.eigvalsh(alignment_matrix(model, run.W, run.W_p))[early, 0]
    size, time = norm(commutator(run.W, run.W_p), axis=(1, 2))[early], run.time[early]
    done = np.concatenate([[0.0], np.cumsum((slowest[1:] + slowest[:-1]) / 2 * np.diff(time))])
    assert np.all(size <= size[0] * np.exp(-2 * done) * 1.002 + 1e-9)


def test_plain_flow_aligns_as_fast_as_it_balances():
    """From a symmetric start without symmetrisation: e^(-2 eta t) with weight decay, no alignment without it."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        W, M = rng.standard_normal((2, 3, 3))
        model = LinearModel(3, sigma=0.7, alpha_p=2.0, eta=0.1)
        run = simulate_linear(model, W, (M + M.T) / 2, until=100.0, times=[0.0, 60.0, 100.0], rtol=1e-12, atol=1e-22)
        relative = misalignment(run.W, run.W_p)
        assert relative[0] > 0.1 and relative[-1] < 1e-7
        assert np.log(relative[1] / relative[2]) / 40.0 == pytest.approx(2 * model.eta, rel=0.01)
        still = simulate_linear(replace(model, eta=0.0), W, (M + M.T) / 2, until=100.0)
        assert norm(linear_flow_rates(model := replace(model, eta=0.0), *still.final)[0]) < 1e-6
        assert misalignment(still.W[-1], still.W_p[-1]) > 0.05


def test_stop_gradient_and_predictor_both_needed():
    """One start, one weight decay below the threshold: it learns with both, and collapses without either."""
    model = LinearModel(3, sigma=0.5, eta=0.05)
    W, W_p, _ = commuting_start(model, [0.9, 0.8, 0.7], [0.4, 0.5, 0.6], rng=np.random.default_rng(0))
    assert model.eta < collapse_threshold(model) and decay_rate(model) == 0.0
    learnt = simulate_linear(model, W, W_p, until=200.0)
    assert np.linalg.svd(learnt.W[-1])[1].min() > 0.5
    for rule in ({"stop_gradient": "none"}, {"predictor": False}, {"stop_gradient": "none", "predictor": False}):
        other = replace(model, **rule)
        run = simulate_linear(other, W, W_p if other.predictor else None, until=200.0)
        assert norm(run.W[-1]) < 1e-9 * norm(W), rule


@given(cases(predictor=False, moving_average=False), st.sampled_from(["target", "none"]))
def test_without_predictor_the_flow_is_an_exponential(case, stop):
    """W(0) exp(-(X' + eta) t), twice X' where the target is differentiated; the slowest rate bounds it."""
    model, W, _, _ = case
    model = replace(model, stop_gradient=stop)
    times = np.array([0.0, 1.0, 3.0])
    run = simulate_linear(model, W, until=3.0, times=times, rtol=1e-12)
    rates, V = np.linalg.eigh({"target": 1.0, "none": 2.0}[stop] * model.X_prime + model.eta * np.eye(model.inputs))
    for time, got in zip(times, run.W, strict=True):
        np.testing.assert_allclose(got, W @ (V * np.exp(-rates * time)) @ V.T, rtol=0, atol=1e-10)
        assert norm(got) <= norm(W) * np.exp(-decay_rate(model) * time) + 1e-10
    assert decay_rate(model) == pytest.approx(rates[0], rel=1e-9, abs=1e-9)


def late_rate(run):
    """-d ln|W|/dt between the last two times."""
    sizes = norm(run.W[-2:], axis=(1, 2))
    return -np.diff(np.log(sizes))[0] / np.diff(run.time[-2:])[0]


def test_without_predictor_a_moving_average_decays_at_its_slowest_rate():
    rng = np.random.default_rng(2)
    for beta in (0.1, 1.0, 10.0):
        model = LinearModel(covariance(rng, 3), covariance(rng, 3, 0.3), predictor=False, beta=beta, eta=0.05)
        W, W_a = rng.standard_normal((2, 2, 3))
        run = simulate_linear(model, W, None, W_a, until=120.0, times=[0.0, 110.0, 120.0], rtol=1e-10, atol=1e-150)
        assert late_rate(run) == pytest.approx(decay_rate(model), rel=1e-4)


@given(cases(stop_gradient="none", moving_average=False))
def test_without_stop_gradient_everything_collapses(case):
    """Theorem 2 with its sharpened rate, from any start and for any data."""
    model, W, W_p, _ = case
    run = simulate_linear(model, W, W_p, until=10.0, rtol=1e-10)
    bound = norm(W) * np.exp(-decay_rate(model) * run.time)
    assert np.all(norm(run.W, axis=(1, 2)) <= bound * (1 + 1e-8) + 1e-9)
    assert np.all(np.diff(norm(run.W, axis=(1, 2))) <= 1e-9)


def test_rates_without_stop_gradient_are_met():
    """x'(2x + x')/(x + x') at eta = 0 for W_p at its worst, x/(x + x') I; lambda_min(X + X') + eta once W_p has died."""
    x, x_prime = 1.3, 0.4
    model = LinearModel(x * np.eye(2), x_prime * np.eye(2), stop_gradient="none", eta=0.0)
    W = np.array([[0.3, -1.0], [0.5, 0.2]])
    run = simulate_linear(model, W, x / (x + x_prime) * np.eye(2), until=10.0, times=[0.0, 5.0, 10.0], atol=1e-16)
    assert decay_rate(model) == pytest.approx(x_prime * (2 * x + x_prime) / (x + x_prime), rel=1e-12)
    assert late_rate(run) == pytest.approx(decay_rate(model), rel=1e-8)

    rng = np.random.default_rng(4)
    model = LinearModel(covariance(rng, 2), covariance(rng, 2), stop_gradient="none", eta=0.3)
    run = simulate_linear(model, W, W + 1.0, until=80.0, times=[0.0, 70.0, 80.0], rtol=1e-10, atol=1e-150)
    assert late_rate(run) == pytest.approx(np.linalg.eigvalsh(model.A)[0] + model.eta, rel=1e-6)
    assert late_rate(run) > decay_rate(model) > model.eta


@given(cases(), st.floats(1.05, 4.0))
def test_above_the_threshold_every_start_collapses(case, times_threshold):
    """All data, commuting or not, all starts, all targets: |W|^2 stays under the comparison system's."""
    model, W, W_p, W_a = case
    c = collapse_threshold(model)
    model = replace(model, eta=times_threshold * c)
    run = simulate_linear(model, W, W_p, W_a, until=20.0, times=np.linspace(0.0, 20.0, 9), rtol=1e-10)
    size = norm(run.W, axis=(1, 2)) ** 2
    if model.beta is None:
        limit, slowest = size[0] * np.exp(-2 * (model.eta - c) * run.time), 2 * (model.eta - c)
    else:
        system = np.array([[-2 * model.eta, 2 * c], [model.beta, -model.beta]])
        rates, vectors = np.linalg.eig(system)
        limit = np.exp(np.outer(run.time, rates)) @ (vectors[0] * np.linalg.solve(vectors, [size[0], norm(W_a) ** 2]))
        slowest = -rates.max()
    assert decay_rate(model) == pytest.approx(slowest / 2, rel=1e-6, abs=1e-12) and slowest > 0.0
    assert np.all(size <= limit * (1 + 1e-7) + 1e-16)


def test_tangent_is_linear_in_the_move():
    model = LinearModel(2, sigma=0.3, beta=1.0)
    rng = np.random.default_rng(0)
    state, one, two = (tuple(rng.standard_normal((3, 2, 2))) for _ in range(3))
    both = tuple(2 * a - b for a, b in zip(one, two, strict=True))
    for x, a, b in zip(tangent(model, state, both), tangent(model, state, one), tangent(model, state, two), strict=True):
        np.testing.assert_allclose(x, 2 * a - b, rtol=0, atol=1e-12)

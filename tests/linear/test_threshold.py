"""Fixed points of a mode, their stability in all matrices, and thresholds found by simulation against the formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.linear.gradient_flow import jacobian, linear_flow_rates, simulate_linear
from dynlab.linear.model import LinearModel
from dynlab.linear.modes import basin_boundary, collapse_threshold, commuting_start, fixed_points, joint_spectrum
from dynlab.linear.search import find_basin_boundary, find_collapse_threshold, has_collapsed


@given(st.floats(0.0, 2.0), st.floats(0.2, 5.0), st.floats(0.01, 1.5), st.sampled_from([None, 0.3, 4.0]))
def test_fixed_points_rest_and_are_what_they_are_called(sigma, alpha_p, share, beta):
    """At rest in all matrices; the full Jacobian has the rate, and a growing direction where and only where it says so."""
    model = LinearModel(2, sigma=sigma, alpha_p=alpha_p, beta=beta)
    model = replace(model, eta=share * collapse_threshold(model))
    points = fixed_points(model)
    if abs(share - 1.0) > 1e-9:
        assert [q.kind for q in points] == ["stable", "unstable", "stable"][: 3 if share < 1.0 else 1]
    a = 1 + sigma**2
    roots = np.roots([-a, 1.0, -model.eta])
    if share < 0.999:
        assert [q.p for q in points[1:]] == pytest.approx(sorted(roots.real), rel=1e-9)
    elif share > 1.001:
        assert np.abs(roots.imag).min() > 0.0
    for q in points:
        start = commuting_start(model, [q.p, q.p], rng=np.random.default_rng(1))
        for rate in linear_flow_rates(model, *start):
            np.testing.assert_allclose(rate, 0.0, rtol=0, atol=1e-12)
        assert q.s * alpha_p == pytest.approx(q.p**2, abs=1e-15)
        if beta is None and abs(share - 1.0) > 1e-3:
            grows = np.linalg.eigvals(jacobian(model, *start))
            assert np.abs(grows - q.rate).min() < 1e-8
            assert q.p == 0.0 or np.abs(grows + 2 * model.eta).min() < 1e-8  # off balance
            assert (grows.real.max() > 1e-7) == (q.kind == "unstable")


def test_fixed_points_with_a_moving_average_keep_their_kind():
    """Kind by the full Jacobian, with the determinant -beta p g'(p) of the mode's (p, tau) block."""
    for beta in (0.05, 0.5, 5.0):
        model = LinearModel(2, sigma=0.5, eta=0.1, beta=beta)
        for q in fixed_points(model)[1:]:
            grows = np.linalg.eigvals(jacobian(model, *commuting_start(model, [q.p, q.p])))
            trace, determinant = q.rate - beta - q.p, -beta * q.rate
            pair = np.roots([1.0, -trace, determinant])
            assert all(np.abs(grows - root).min() < 1e-8 for root in pair)
            assert (grows.real.max() > 1e-7) == (q.kind == "unstable")


def test_special_fixed_points():
    meeting = fixed_points(LinearModel(2, sigma=0.0, eta=0.25))
    assert [(q.p, q.kind) for q in meeting] == [(0.0, "stable"), (0.5, "half-stable")]
    without_decay = fixed_points(LinearModel(2, sigma=1.0, eta=0.0))
    assert [(q.p, q.rate, q.kind) for q in without_decay] == [(0.0, 0.0, "half-stable"), (0.5, -0.5, "stable")]
    small = LinearModel(2, sigma=1.0, eta=1e-14)
    assert basin_boundary(small) / 1e-14 == pytest.approx(1.0, rel=1e-12) and basin_boundary(replace(small, eta=0.0)) == 0.0
    assert basin_boundary(replace(small, eta=0.1251)) == np.inf
    silent = LinearModel(np.diag([1.0, 0.0]), sigma=1.0, eta=0.01)
    assert [q.p for q in fixed_points(silent, mode=1)] == [0.0] and len(fixed_points(silent, mode=0)) == 3


def test_spectrum_and_order_of_the_modes():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    x, x_prime = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.2, 3.0])
    model = LinearModel((basis * x) @ basis.T, (basis * x_prime) @ basis.T)
    found = joint_spectrum(model)
    assert found.x == pytest.approx([1.0, 2.0, 0.5]) and found.x_prime == pytest.approx([0.2, 3.0, 0.1])
    np.testing.assert_allclose((found.vectors * found.x_prime) @ found.vectors.T, model.X_prime, atol=1e-12)
    assert collapse_threshold(model) == pytest.approx(1.0 / 4.8, rel=1e-12)
    assert collapse_threshold(LinearModel(4, sigma=0.7)) == pytest.approx(1 / (4 * 1.49), rel=1e-12)


def test_found_threshold_is_the_formula():
    """Bisection of simulated full matrices; 2 % is asked for, a hundredth of that is found."""
    rng = np.random.default_rng(0)
    model = LinearModel(3, sigma=0.7, alpha_p=2.0)
    start = commuting_start(model, [0.9, 0.9], outputs=3, rng=rng)
    found = find_collapse_threshold(model, *start, tol=1e-4)
    assert found == pytest.approx(1 / (4 * (1 + 0.7**2)), rel=1.5e-4)
    # Isotropic augmentation only enters by its rate, the target's average not at all; the strongest mode decides.
    uneven = LinearModel(np.diag([1.0, 0.5]), np.diag([0.2, 0.9]), alpha_p=0.5, beta=0.7)
    found = find_collapse_threshold(uneven, *commuting_start(uneven, [1.0, 1.0], rng=rng), tol=1e-3)
    assert found == pytest.approx(1.0 / (4 * 1.2), rel=1.5e-3)


def test_impatience_costs_what_the_saddle_node_says():
    """A run of length T takes a start for alive up to (pi/(eta T))^2 above the threshold, but for getting there and away."""
    model, needed = LinearModel(1, sigma=0.5), []
    for patience in (20.0, 60.0):
        found = find_collapse_threshold(model, *commuting_start(model, [1.0]), tol=1e-4, patience=patience)
        needed.append(np.pi / np.sqrt(found / collapse_threshold(model) - 1))
        assert 0.0 < patience - needed[-1] < 10.0
    assert needed[1] - needed[0] == pytest.approx(40.0, rel=0.03)


def test_threshold_of_a_start_in_the_basin_of_collapse():
    """A balanced start p(0) below 1/(2a) collapses as soon as p_-(eta) passes it: eta = p (1 - a p)."""
    model, p = LinearModel(2, sigma=0.5), 0.1
    found = find_collapse_threshold(model, *commuting_start(model, [p]), tol=1e-4, patience=100.0)
    assert found == pytest.approx(p * (1 - 1.25 * p), rel=1e-4) and found < collapse_threshold(model) / 2
    start = commuting_start(model, [-0.5], outputs=2)
    assert all(has_collapsed(replace(model, eta=eta), *start, patience=100.0) for eta in (1e-3, 0.01, 0.1))


def test_found_basin_boundary_is_the_formula():
    model = LinearModel(2, sigma=0.7, alpha_p=2.0, eta=0.05)
    found = find_basin_boundary(model, outputs=2, rng=np.random.default_rng(0), tol=1e-6, patience=60.0)
    a = 1.49
    assert found == pytest.approx((1 - np.sqrt(1 - 4 * 0.05 * a)) / (2 * a), rel=2e-6)
    assert found == pytest.approx(basin_boundary(model), rel=2e-6)
    assert find_basin_boundary(replace(model, eta=0.2)) == np.inf == basin_boundary(replace(model, eta=0.2))


def test_both_sides_of_the_basin_boundary_end_at_the_fixed_points():
    model = LinearModel(3, sigma=0.5, alpha_p=3.0, eta=0.08)
    _, _, learnt = fixed_points(model)
    for factor, p, s in ((1.01, learnt.p, learnt.s), (0.99, 0.0, 0.0)):
        start = commuting_start(model, factor * basin_boundary(model) * np.ones(3), rng=np.random.default_rng(2))
        W, W_p, _ = simulate_linear(model, *start, until=400.0).final
        np.testing.assert_allclose(W_p, p * np.eye(3), rtol=0, atol=1e-7)
        np.testing.assert_allclose(W @ W.T, s * np.eye(3), rtol=0, atol=1e-7)

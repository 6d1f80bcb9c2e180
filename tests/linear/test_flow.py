"""The linear flow against the definition of its loss, its own derivative, two methods, and the mode equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from dynlab.linear.gradient_flow import jacobian, linear_flow_rates, simulate_linear, tangent
from dynlab.linear.laws import balance, misalignment
from dynlab.linear.model import LinearModel, loss
from dynlab.linear.modes import commuting_start, joint_spectrum, mode_rates
from tests.linear.draws import cases, covariance, mean_loss, slope, views

RULES = [
    {},
    {"symmetric_predictor": True},
    {"predictor": False},
    {"stop_gradient": "none", "beta": None},
    {"stop_gradient": "none", "beta": None, "predictor": False},
]
NAMES = ["plain", "symmetric", "no predictor", "no stop", "neither"]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@given(data=st.data())
def test_rates_descend_the_loss(rule, data):
    """The average over single views gives the loss, its slopes the rates, for all data and rules."""
    model, W, W_p, W_a = data.draw(cases(**{"moving_average": "beta" not in rule} | rule))
    pairs = views(model)
    assert loss(model, W, W_p, W_a) == pytest.approx(mean_loss(pairs, W, W_p, W_a), rel=1e-12, abs=1e-13)

    both = model.stop_gradient == "none"
    dW, dW_p, dW_a = linear_flow_rates(model, W, W_p, W_a)
    want = -slope(lambda M: mean_loss(pairs, M, W_p, M if both else W_a), W) - model.eta * W
    np.testing.assert_allclose(dW, want, rtol=0, atol=1e-11)
    force = -model.alpha_p * slope(lambda M: mean_loss(pairs, W, M, W_a), W_p)
    if model.symmetric_predictor:
        force = (force + force.T) / 2
    want = force - model.eta * W_p if model.predictor else 0.0 * W_p
    np.testing.assert_allclose(dW_p, want, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(dW_a, dW if model.beta is None else model.beta * (W - W_a))


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@given(data=st.data())
def test_tangent_is_the_derivative(rule, data):
    """The rates are cubic: two central differences, of steps 1 and 2, give their derivative exactly."""
    model, *state = data.draw(cases(**{"moving_average": "beta" not in rule} | rule))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    V, V_p, V_a = (rng.standard_normal(part.shape) for part in state)
    move = (V, V_p if model.predictor else 0 * V_p, V if model.beta is None else V_a)
    at = {h: linear_flow_rates(model, *(m + h * v for m, v in zip(state, move, strict=True))) for h in (-2, -1, 1, 2)}
    for got, a, b, c, d in zip(tangent(model, state, move), *at.values(), strict=True):
        np.testing.assert_allclose(got, (a - 8 * b + 8 * c - d) / 12, rtol=1e-10, atol=1e-9)


def random_start(n1, n2, seed):
    rng = np.random.default_rng(seed)
    return tuple(0.7 * rng.standard_normal(shape) for shape in ((n2, n1), (n2, n2), (n2, n1)))


def test_explicit_and_implicit_agree():
    rng = np.random.default_rng(1)
    data = {"X": covariance(rng, 3), "X_prime": covariance(rng, 3), "alpha_p": 3.0, "eta": 0.05}
    times = np.linspace(0.0, 30.0, 7)
    for rule, start in [
        ({"beta": 0.4}, random_start(3, 2, 0)),
        ({"stop_gradient": "none"}, random_start(3, 2, 0)[:2]),
        ({"predictor": False, "beta": 2.0}, (random_start(3, 2, 0)[0], None, random_start(3, 2, 1)[0])),
    ]:
        model = LinearModel(**data, **rule)
        settings = {"until": 30.0, "times": times, "rtol": 1e-10}
        runs = [simulate_linear(model, *start, **settings, method=method) for method in ("explicit", "implicit")]
        assert [r.method for r in runs] == ["DOP853", "Radau"] and all(r.status == "until" for r in runs)
        for part in ("W", "W_p", "W_a"):
            one, two = (getattr(r, part) for r in runs)
            np.testing.assert_allclose(one, two, rtol=0, atol=1e-7)
            assert np.abs(one[-1] - one[0]).max() > 0.1 or (part == "W_p" and not model.predictor)


def test_long_runs_are_implicit_and_stop_where_told():
    model = LinearModel(2, sigma=0.5, eta=0.3)
    W, W_p, _ = random_start(2, 2, 3)
    run = simulate_linear(model, W, W_p, until=1e5, stop=lambda t, W, W_p, W_a: np.linalg.norm(W) - 0.01)
    assert (run.method, run.status) == ("Radau", "stopped")
    assert np.linalg.norm(run.final[0]) == pytest.approx(0.01, rel=1e-6) and np.all(np.diff(run.time) > 0)
    whole = simulate_linear(model, W, W_p, until=1e5)
    assert whole.status == "until" and whole.time[-1] == 1e5 and np.linalg.norm(whole.W[-1]) < 1e-9


def test_a_run_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr("dynlab.linear.gradient_flow.MOST", 500)
    with pytest.raises(RuntimeError, match="gave up at time .* of 100: use a larger") as error:
        simulate_linear(LinearModel(2), *random_start(2, 2, 0)[:2], until=100.0, rtol=1e-12)
    assert "\n" not in str(error.value)


def test_frame_is_what_the_matrices_say():
    model = LinearModel(3, sigma=0.5, eta=0.1, beta=0.5)
    run = simulate_linear(model, *random_start(3, 2, 5), until=5.0, times=[0.0, 2.0, 5.0])
    table = run.frame()
    assert list(table.time) == [0.0, 2.0, 5.0] and run.W.shape == (3, 2, 3) and run.W_p.shape == (3, 2, 2)
    for row, W, W_p, W_a in zip(table.itertuples(), run.W, run.W_p, run.W_a, strict=True):
        assert row.loss == pytest.approx(mean_loss(views(model), W, W_p, W_a))
        norms = [np.sqrt((M**2).sum()) for M in (W, W_p, W_a, W_p - W_p.T)]
        assert [row.encoder, row.predictor, row.target, row.asymmetry] == pytest.approx(norms)
        assert row.misalignment == pytest.approx(float(misalignment(W, W_p)))
        drift = balance(model, W, W_p, row.time) - balance(model, run.W[0], run.W_p[0], 0.0)
        assert row.balance_drift == pytest.approx(np.sqrt((drift**2).sum()), abs=1e-15)
    assert "until after" in repr(run)


def turned(rng, n, values):
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (basis * values) @ basis.T, (basis * values[::-1]) @ basis.T


@pytest.mark.parametrize("rule", [{}, {"beta": 0.7}, {"symmetric_predictor": True}, {"stop_gradient": "none"},
                                  {"predictor": False, "beta": 0.3}], ids=str)  # fmt: skip
@pytest.mark.parametrize("isotropic", [True, False])
def test_modes_follow_their_equations(rule, isotropic):
    """Eigenvalues of the matrix flow from a commuting start against the mode equations, solved on their own."""
    rng = np.random.default_rng(7)
    X, X_prime = turned(rng, 3, np.array([1.0, 0.3, 1.7]))
    data = {"X": 3, "sigma": 0.6} if isotropic else {"X": X, "X_prime": X_prime}
    model = LinearModel(**data, alpha_p=1.7, eta=0.03, **rule)
    p = np.array([0.9, -0.4, 0.2]) if model.predictor else np.ones(3)
    s, tau = np.array([0.5, 1.2, 0.8]), np.array([0.6, 1.0, 1.5]) if model.beta else np.ones(3)
    start = commuting_start(model, p, s, tau, outputs=4 if model.predictor else 3, rng=None if isotropic else rng)
    if not model.predictor:
        start = (start[0], None, start[2])
    times = np.linspace(0.0, 12.0, 9)
    run = simulate_linear(model, *start, until=12.0, times=times, rtol=1e-12)
    modes = solve_ivp(lambda t, y: np.concatenate(mode_rates(model, *y.reshape(3, 3))), (0.0, 12.0),
                      np.concatenate([p, s, tau]), "DOP853", times, rtol=1e-12, atol=1e-14)  # fmt: skip
    modes = modes.y.T.reshape(-1, 3, 3)
    # The modes' axes are those of the start, whose left vectors are the columns of W_0 V / s^(1/2).
    right = joint_spectrum(model).vectors
    left = start[0] @ right / np.sqrt(s)
    for k in range(len(times)):
        W, W_p, W_a = left.T @ run.W[k] @ right, left.T @ run.W_p[k] @ left, left.T @ run.W_a[k] @ right
        p, s, tau = modes[k]
        np.testing.assert_allclose(W_p, np.diag(p), rtol=0, atol=1e-9)
        np.testing.assert_allclose(W @ W.T, np.diag(s), rtol=0, atol=1e-9)
        np.testing.assert_allclose(W_a, np.diag(tau * np.sqrt(s)), rtol=0, atol=1e-9)


@given(st.floats(0.0, 2.0), st.floats(0.1, 5.0), st.floats(0.0, 1.0), st.floats(0.1, 5.0), st.integers(0, 999))
def test_isotropic_modes_are_those_of_the_paper(sigma, alpha_p, eta, beta, seed):
    model = LinearModel(2, sigma=sigma, alpha_p=alpha_p, eta=eta, beta=beta)
    p, s, tau = np.random.default_rng(seed).uniform(0.1, 2.0, (3, 2))
    dp, ds, dtau = mode_rates(model, p, s, tau)
    pull = tau - (1 + sigma**2) * p
    np.testing.assert_allclose(dp, alpha_p * s * pull - eta * p, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ds, 2 * p * s * pull - 2 * eta * s, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(s * dtau, beta * (1 - tau) * s - tau / 2 * ds, rtol=1e-11, atol=1e-11)


def test_jacobian_of_a_mode_start_has_its_size_and_trace():
    """One column checked by a run: a small push follows exp(J t)."""
    model = replace(LinearModel(2, sigma=0.5, eta=0.1), beta=0.5)
    start = random_start(2, 2, 9)
    J = jacobian(model, *start)
    assert J.shape == (12, 12)
    push = 1e-6
    moved = (start[0] + push * np.array([[0.0, 0.0], [1.0, 0.0]]), *start[1:])
    flat = lambda state: np.concatenate([part.ravel() for part in state])  # noqa: E731
    change = (flat(linear_flow_rates(model, *moved)) - flat(linear_flow_rates(model, *start))) / push
    np.testing.assert_allclose(J[:, 2], change, rtol=0, atol=1e-4)

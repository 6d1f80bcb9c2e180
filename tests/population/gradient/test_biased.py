"""Relu with biases: moments against mpmath, gradients against quadrature at 30 digits, no bias, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from mpmath import mp, mpf

import dynlab
from dynlab import Model, OrderParameters, Training
from dynlab.formulas import biased_units
from dynlab.population import biased, moments
from dynlab.population.any_training.gradient import training_gradient
from dynlab.samples.minibatch import minibatch_gradient
from tests.oracles import biased as oracle

FAR = (0.0, 0.3, -0.3, 0.95, -0.95, 1.0 - 1e-6, -1.0 + 1e-6)


@pytest.mark.parametrize("rho", FAR)
def test_moments_of_a_pair(rho):
    """To 1e-13 of their units, at thresholds of either sign, none, and far out."""
    rng = np.random.default_rng(int(1000 * abs(rho)))
    c = math.sqrt((1.0 - rho) * (1.0 + rho))
    for b1, b2 in [(0.0, 0.0), (0.0, 0.7), (-3.0, 2.0), *rng.normal(size=(2, 2)) * 1.5]:
        s1, s2 = (float(x) for x in np.exp(rng.normal(size=2)))
        found = biased_units.biased_pair(s1, s2, rho, c, b1 * s1, b2 * s2)
        with mp.workdps(25):
            exact = tuple(mpf(x) for x in (s1, s2, rho, b1 * s1, b2 * s2))
            value, both = oracle.pair(*exact)
            mean, square = oracle.single(exact[0], exact[3])
        assert abs(found[0] - value) < 1e-13 * s1 * s2
        assert abs(found[2] - both) < 1e-13
        one = biased_units.biased_moments(s1, b1 * s1)
        assert abs(one[0] - mean) < 1e-13 * s1 and abs(one[1] - square) < 1e-13 * s1 * s1


def test_moments_by_hand():
    """E max(0, x + 1) = phi(1) + Phi(1); twice the same unit the square, with its mirror image and b = 0 nothing;
    at right angles the product; P of an orthant 1/4 + asin(rho)/(2 pi)."""
    mean, square, above, _ = biased_units.biased_moments(1.0, 1.0)
    assert mean == pytest.approx(0.24197072451914337 + 0.8413447460685429, rel=1e-15)
    assert square == pytest.approx(2.0 * 0.8413447460685429 + 0.24197072451914337, rel=1e-15)
    assert above == pytest.approx(0.8413447460685429, rel=1e-15)
    assert biased_units.biased_pair(1.0, 1.0, 1.0, 0.0, 1.0, 1.0)[0] == pytest.approx(square, rel=1e-14)
    assert biased_units.biased_pair(1.0, 1.0, -1.0, 0.0, 0.0, 0.0)[0] == pytest.approx(0.0, abs=1e-15)
    assert biased_units.biased_pair(1.0, 1.0, 0.0, 1.0, 1.0, 1.0)[0] == pytest.approx(mean**2, rel=1e-14)
    assert biased_units.orthant(0.0, 0.0, 0.5, math.sqrt(0.75)) == pytest.approx(1.0 / 3.0, rel=1e-15)
    # Of -x and x + b > 0, b = 1: (-x)(1 + x) on (-1, 0), whose mean is -int x phi - int x^2 phi.
    below = 0.3989422804014327 - 0.24197072451914337 - (0.3413447460685429 - 0.24197072451914337)
    assert biased_units.biased_pair(1.0, 1.0, -1.0, 0.0, 1.0, 0.0)[0] == pytest.approx(below, abs=1e-14)


def test_owens_t_by_hand():
    """T(0, a) = atan(a)/(2 pi); T(h, 1) = Phi(h) Phi(-h)/2; T(h, inf) = Phi(-|h|)/2; odd in a, even in h."""
    t, cdf = biased_units.owens_t, biased_units.normal_cdf
    assert t(0.0, 2.0) == pytest.approx(math.atan(2.0) / (2.0 * math.pi), rel=1e-14)
    for h in (0.3, 1.7, 4.0):
        assert t(h, 1.0) == pytest.approx(0.5 * cdf(h) * cdf(-h), rel=1e-12)
        assert t(h, math.inf) == pytest.approx(0.5 * cdf(-h), rel=1e-14)
        assert t(-h, -1.7) == -t(h, 1.7)


CASES = {
    "paper": Model(activation="relu", bias="trained"),
    "unequal": Model(activation="relu", bias="trained", strengths=(1.0, 0.7), probabilities=(0.3, 0.7), correlation=0.4),
    "independent": Model(activation="relu", bias="trained", weak=0.6, mask="independent", patches=6, noise=1.3),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_quadrature_at_thirty_digits(name):
    rng = np.random.default_rng(sorted(CASES).index(name))
    model = CASES[name]
    weights, bias = rng.standard_normal((2, 4)), rng.normal(size=2) * 0.5
    head = np.array([[1.0, 0.4], [-0.3, 1.0]])
    found = dynlab.population_gradient(model, weights, head, bias=bias)
    right = oracle.gradient(model, weights, head, bias)
    assert found.loss == pytest.approx(right[0], abs=1e-12)
    for mine, exact in zip((found.d_weights, found.d_head, found.d_bias), right[1:], strict=True):
        assert np.abs(mine - exact).max() <= 1e-10 * np.abs(exact).max()
    assert dynlab.population_loss(model, weights, head, bias=bias) == found.loss


@pytest.mark.parametrize("features", [1, 3])
def test_without_a_bias_it_is_relu(features):
    rng = np.random.default_rng(features)
    strengths = (1.0, 0.6, 0.5)[:features]
    weights, head = rng.standard_normal((3, features + 4)), np.eye(3) + 0.3 * rng.standard_normal((3, 3)) * (1 - np.eye(3))
    weights[1, features:] = -2.0 * weights[0, features:]  # antiparallel noise parts
    plain = Model(activation="relu", strengths=strengths, neurons=3)
    right = dynlab.population_gradient(plain, weights, head)
    found = dynlab.population_gradient(replace(plain, bias="trained"), weights, head, bias=np.zeros(3))
    assert found.loss == pytest.approx(right.loss, rel=1e-12)
    np.testing.assert_allclose(found.d_weights, right.d_weights, atol=1e-13)
    np.testing.assert_allclose(found.d_head, right.d_head, atol=1e-13)
    assert right.d_bias is None and found.d_bias.shape == (3,) and "d_bias" in repr(found)


def test_weights_and_biases_scale_together():
    """max(0, z + b) is of degree 1 in (w, b): <w_j, dL/dw_j> + b_j dL/db_j = sum_r (E_rj dL/dE_rj - E_jr dL/dE_jr)."""
    rng = np.random.default_rng(5)
    model, weights, bias = CASES["unequal"], rng.standard_normal((2, 5)), rng.normal(size=2)
    head = np.array([[1.0, 0.7], [-0.5, 1.0]])
    found = dynlab.population_gradient(model, weights, head, bias=bias)
    left = (weights * found.d_weights).sum(1) + bias * found.d_bias
    power = head * found.d_head
    np.testing.assert_allclose(left, power.sum(0) - power.sum(1), atol=1e-14)


def test_units_that_never_answer_and_noise_that_is_gone():
    model = CASES["paper"]
    weights = np.array([[1.0, 0.2, 0.0, 0.0], [0.3, -1.0, 0.0, 0.0]])
    found = dynlab.population_gradient(model, weights, np.eye(2), bias=np.array([-0.1, 0.0]))
    assert all(np.isfinite(part).all() for part in found) and np.isfinite(found.d_bias).all()
    with pytest.raises(ValueError, match="zero variance"):
        dynlab.population_gradient(model, weights, np.eye(2), bias=np.array([-5.0, 0.0]))


REFUSED = {
    "flow": lambda model, state, w: dynlab.simulate(model, state),
    "descent": lambda model, state, w: dynlab.simulate(model, state, method="descent"),
    "sgd": lambda model, state, w: dynlab.simulate(model, state, method="sgd", steps=1, dim=6),
    "minibatch": lambda model, state, w: minibatch_gradient(model, Training(), w, batch=4),
    "ensemble": lambda model, state, w: dynlab.ensemble(model, 10, 2),
    "switches": lambda model, state, w: training_gradient(model, Training(head="linear"), w),
    "moments": lambda model, state, w: moments.carried(model, state.signal, state.noise_gram),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_with_biases_is_refused_in_a_line(name):
    model, weights = CASES["paper"], np.ones((2, 6))
    with pytest.raises(ValueError, match=r"bias='trained': must be \"none\" for") as caught:
        REFUSED[name](model, OrderParameters.from_weights(model, weights), weights)
    assert "\n" not in str(caught.value)


def test_wrong_biases_are_refused_in_a_line():
    weights = np.ones((2, 6))
    for settings in ({"activation": "cubic"}, {"activation": "relu", "hidden": 2}, {"activation": "relu", "bias": "fixed"}):
        with pytest.raises(ValueError, match="must be"):
            Model(**({"bias": "trained"} | settings))
    for model, bias, words in (
        (Model(activation="relu"), np.zeros(2), "have none"), (CASES["paper"], None, "bias: missing"),
        (CASES["paper"], np.zeros(3), "shape"), (CASES["paper"], [np.nan, 0.0], "nan or infinity"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            dynlab.population_gradient(model, weights, np.eye(2), bias=bias)
    assert biased.__doc__ is not None and Model(bias="none") == Model()

"""The terms of the force: they sum to the exact gradient, and each is what is left when another is switched off in an oracle
that shares no code with them (`tests.naive`, differentiated by differences)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dynlab.population import terms as subject
from dynlab.population.forms import BilinearForms
from dynlab.population.gradient import order_parameter_gradient, population_gradient
from dynlab.population.order_parameters import OrderParameters
from dynlab.settings.model import Model
from tests import naive

ROUNDING = 1e-12  # of the sum of the sizes of the terms: m^2 roundings, and those of the noise covariances
STEP = 3e-4


def drawn(number: int, activation=None, neurons=None, features=None):
    """A model and a state, the same for the same number."""
    rng = np.random.default_rng(number)
    activation = activation or ("relu", "cubic", "relu3", "linear")[number % 4]
    neurons, features = neurons or int(rng.integers(1, 5)), features or int(rng.integers(1, 4))
    model = Model(
        strengths=tuple(np.sort(rng.uniform(0.3, 1.5, features))[::-1]), patches=int(rng.choice((4, 6))),
        feature_patches=int(rng.integers(2, 4)), noise=float(rng.uniform(0.1, 1.5)), activation=activation,
        neurons=neurons, mask=("half", "independent")[number % 2 if number % 3 else 0],
        probabilities=tuple(np.random.default_rng(number + 1000).dirichlet(np.ones(features))) if number % 2 == 0 else None,
    )  # fmt: skip
    weights = rng.standard_normal((neurons, features + neurons + 1)) * 10.0 ** rng.uniform(-0.5, 0.5)
    head = np.eye(neurons) + (1.0 - np.eye(neurons)) * rng.standard_normal((neurons, neurons)) * 10.0 ** rng.uniform(-2, 0.3)
    return model, weights, head


def split(model, weights, head, make=subject.terms):
    state = OrderParameters.from_weights(model, weights, head)
    return make(model, state.signal, state.noise_gram, state.head)


def sums_to_the_gradient(make, number: int) -> None:
    """All terms together are minus the exact gradient, to rounding of the largest of them."""
    model, weights, head = drawn(number)
    found = split(model, weights, head, make)
    _, d_weights, d_head = population_gradient(model, weights, head)
    parts = [found.learning, found.borrowing, found.centring]
    size = sum(np.abs(part).sum(0) for part in parts)
    assert (np.abs(found.signal + d_weights[:, : model.features]) <= ROUNDING * size).all()
    size = np.abs(found.drive) + np.abs(found.noise) + np.abs(found.mismatch)
    assert (np.abs(found.head + d_head) <= ROUNDING * size).all()


@pytest.mark.parametrize("number", range(40))
def test_terms_sum_to_the_exact_gradient(number):
    sums_to_the_gradient(subject.terms, number)


def test_own_terms_and_lending_sum_as_well():
    model, weights, head = drawn(5, neurons=3)
    found = split(model, weights, head)
    own = sum(found.own(name) for name in ("learning", "borrowing", "centring"))
    assert np.allclose(own + found.lending, found.signal, rtol=1e-13, atol=0.0)
    assert np.abs(found.lending).max() > 1e-3 * np.abs(own).max()


# --- with something switched off, by an oracle ---


def slope(function, at: float) -> float:
    """Five-point central difference."""
    values = [function(at + k * STEP) for k in (-2, -1, 1, 2)]
    return (8.0 * (values[2] - values[1]) - (values[3] - values[0])) / (12.0 * STEP)


def correlation(model, weights, head, j, moved=None):
    """rho_j when the online weights or the head are moved: ("weights" or "head", row, column, value)."""
    online, entries = weights.copy(), head.copy()
    if moved is not None:
        what, row, column, value = moved
        (online if what == "weights" else entries)[row, column] = value
    return naive.correlations(model, online, weights, entries)[j]


def bare(model):
    """The model as `tests.naive` takes it."""
    shape = model.patches, model.feature_patches, model.noise, model.activation, model.mask
    return naive.settings(model.strengths, *shape, model.probabilities)


def variances(model, weights, head, j) -> tuple[float, float]:
    """V_j of the online output and U_j of the target's."""
    found = naive.population_moments(model, weights, weights)
    mean = found["mean_1"]
    same = found["view_1"] - np.outer(mean, mean)
    own = found["view_2"] - np.outer(found["mean_2"], found["mean_2"])
    return float(head[j] @ same @ head[j]), float(own[j, j])


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3", "linear"])
def test_what_acts_through_an_output_is_the_slope_of_its_loss(activation):
    """All other outputs' losses switched off."""
    model, weights, head = drawn(11, activation, neurons=2, features=2)
    found, plain = split(model, weights, head), bare(model)
    for j in (0, 1):
        for p, l in ((0, 0), (0, 1), (1, 0), (1, 1)):
            at = "weights", p, l
            right = 2.0 * slope(lambda x, j=j, at=at: correlation(plain, weights, head, j, (*at, x)), weights[p, l])
            assert found.by_output[j, p, l] == pytest.approx(right, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("activation", ["cubic", "linear"])
def test_borrowing_is_what_is_left_without_noise(activation):
    """With the noise switched off, an odd activation has borrowing alone, up to the factor (U V^3)^(-1/2)."""
    model, weights, head = drawn(12, activation, neurons=2, features=2)
    found, plain, quiet = split(model, weights, head), bare(model), bare(replace(model, noise=0.0))
    assert not found.centring.any()
    for j in (0, 1):
        (v, u), (v_quiet, u_quiet) = (variances(some, weights, head, j) for some in (plain, quiet))
        factor = math.sqrt(u_quiet * v_quiet**3 / (u * v**3))
        for p, l in ((0, 0), (0, 1), (1, 0), (1, 1)):
            at = "weights", p, l
            alone = 2.0 * slope(lambda x, j=j, at=at: correlation(quiet, weights, head, j, (*at, x)), weights[p, l])
            assert found.borrowing[j, p, l] == pytest.approx(factor * alone, rel=1e-6, abs=1e-9)
        r = 1 - j
        alone = 2.0 * slope(lambda x, j=j, r=r: correlation(quiet, weights, head, j, ("head", j, r, x)), head[j, r])
        assert found.mismatch[j, r] == pytest.approx(factor * alone, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3", "linear"])
def test_without_a_head_nothing_is_borrowed_or_lent(activation):
    model, weights, _ = drawn(13, activation, neurons=3, features=2)
    found, plain = split(model, weights, np.eye(3)), bare(model)
    assert not found.borrowing.any() and not found.lending.any() and not found.noise.any() and not found.mismatch.any()
    right = 2.0 * slope(lambda x: correlation(plain, weights, np.eye(3), 1, ("weights", 1, 0, x)), weights[1, 0])
    assert (found.learning + found.centring)[1, 1, 0] == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3", "linear"])
def test_the_drive_is_the_force_with_the_entry_switched_off(activation):
    model, weights, head = drawn(14, activation, neurons=3, features=2)
    found, plain = split(model, weights, head), bare(model)
    for j, r in ((0, 1), (2, 0)):
        off = head.copy()
        off[j, r] = 0.0
        right = 2.0 * slope(lambda x, j=j, r=r, off=off: correlation(plain, weights, off, j, ("head", j, r, x)), 0.0)
        factor = (variances(plain, weights, off, j)[0] / variances(plain, weights, head, j)[0]) ** 1.5
        assert found.drive[j, r] == pytest.approx(factor * right, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("number", range(8))
def test_at_the_equilibrium_an_entry_feels_no_force(number):
    model, weights, head = drawn(number, neurons=3)
    found = split(model, weights, head)
    for j, r in zip(*np.nonzero(np.isfinite(found.equilibrium)), strict=True):
        moved = head.copy()
        moved[j, r] = found.equilibrium[j, r]
        again = split(model, weights, moved)
        assert abs(again.head[j, r]) <= 1e-11 * (abs(again.drive[j, r]) + abs(again.noise[j, r]) + abs(again.mismatch[j, r]))
        assert again.drive[j, r] * moved[j, r] > 0.0, "a drive away from the equilibrium would not lead there"


def test_the_paper_s_two_neurons_in_closed_form():
    """Two neurons, two features, cubic: ab e D (F_2, -F_1) and -ab D^2 e, written out."""
    model, weights, head = drawn(17, "cubic", neurons=2, features=2)
    found = split(model, weights, head)
    f = (np.asarray(model.strengths) * weights[:, :2]) ** 3
    slopes = 3.0 * np.asarray(model.strengths) ** 3 * weights[:, :2] ** 2
    v, u = variances(bare(model), weights, head, 0)
    n, patches = model.feature_patches, model.patches
    spread = n * (patches - n) / (4.0 * (patches - 1.0)) if model.mask == "half" else n / 4.0
    ab = (n * n / 4.0 + spread) * (n * n / 4.0 - spread) / 4.0
    d = f[0, 0] * f[1, 1] - f[0, 1] * f[1, 0]
    e, online = head[0, 1], head[0] @ f
    scale = 2.0 / (math.sqrt(u) * v**1.5)
    right = scale * ab * e * d * np.array([online[1], -online[0]]) * slopes[0]
    assert np.allclose(found.borrowing[0, 0], right, rtol=1e-10, atol=0.0)
    assert found.mismatch[0, 1] == pytest.approx(-scale * ab * d * d * e, rel=1e-10)


def test_a_late_state_keeps_its_small_terms():
    """Where the force has fallen by twenty decades the terms still sum to it: nothing cancels in them."""
    model = Model()
    signal = np.array([[4e-3, -0.98], [0.985, 3e-3]])
    gram = np.array([[1e-9, 1e-11], [1e-11, 2e-9]])
    head = np.array([[1.0, -3e-16], [2e-14, 1.0]])
    found = subject.terms(model, signal, gram, head)
    _, d_signal, _, d_head = order_parameter_gradient(model, OrderParameters(signal, gram, head))
    assert np.allclose(found.signal, -d_signal, rtol=1e-9, atol=0.0)
    size = np.abs(found.drive) + np.abs(found.noise) + np.abs(found.mismatch)
    assert (np.abs(found.head + d_head) <= 1e-10 * size).all()


def test_an_output_without_variance_is_refused():
    with pytest.raises(ValueError, match="output 1 has zero variance"):
        subject.terms(Model(noise=0.0), np.array([[0.0, 0.0], [1.0, 1.0]]), np.eye(2), np.eye(2))


# --- faults ---


def faulty(name: str):
    """`terms` with one term of the wrong sign."""

    def make(model, signal, gram, head):
        found = subject.terms(model, signal, gram, head)
        return replace(found, **{name: -getattr(found, name)})

    return make


@pytest.mark.parametrize("name", ["learning", "borrowing", "centring", "drive", "noise", "mismatch"])
def test_a_term_of_the_wrong_sign_is_seen(name):
    """Planted: the sum is wrong on some of the states (centring is zero on the odd ones)."""
    with pytest.raises(AssertionError):
        for number in range(8):
            sums_to_the_gradient(faulty(name), number)


@pytest.mark.parametrize("activation", ["relu", "cubic"])
def test_the_antisymmetric_form_is_what_it_stands_for(activation):
    """T(x, f) = (R x)(P f)^T - (P f)(R x)^T, P f from x^T P z of unit vectors; features of unequal frequency."""
    model = Model(activation=activation, strengths=(1.0, 0.7, 0.5), probabilities=(0.1, 0.6, 0.3), mask="independent")
    form, rng = BilinearForms(model), np.random.default_rng(3)
    width = form.count + (activation == "relu")
    x, f = rng.standard_normal((2, width))
    pulled, same = form.apply_across(x), np.array([form.same(unit, f) for unit in np.eye(width)])
    np.testing.assert_allclose(form.turn(x, f), np.outer(pulled, same) - np.outer(same, pulled), atol=1e-14)

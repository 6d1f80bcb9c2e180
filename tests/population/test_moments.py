"""Correlations of the outputs and what they carry, against enumeration and sampling that share no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab import Model, OrderParameters
from dynlab.population import moments
from tests import naive

CASES = [(activation, mask) for activation in ("cubic", "relu", "relu3", "linear") for mask in ("half", "independent")]


def drawn(rng, neurons, features, dim=7):
    """Dense weights with signals of the noise's size and of both signs."""
    weights = rng.standard_normal((neurons, dim))
    weights[:, :features] *= np.exp(rng.uniform(-2, 2, (neurons, features)))
    return weights


def counts(model):
    """(probability, feature patches, noise patches) of view 1, mask by mask."""
    every = naive.masks(model.patches, model.mask)
    n = model.feature_patches
    return [(1 / len(every), sum(mask[:n]), sum(mask[n:])) for mask in every]


def naive_carried(model, weights):
    """(m, K) shares by enumeration of masks, features and signs: variance of the feature patches' sum, split by power."""
    phi, count, often = naive.ACTIVATIONS[model.activation][0], len(model.strengths), naive.chances(model)
    shares = np.zeros((len(weights), count))
    for j, w in enumerate(weights):
        mean = square = noise_mean = noise_square = 0.0
        mu = naive.noise_mean(model.activation, model.noise, w[count:])
        second = naive.noise_moment(model.activation, model.noise, w[count:], w[count:])
        power = [0.0] * count
        for chance, with_feature, without in counts(model):
            for l in range(count):
                for sign in (1.0, -1.0):
                    answer = phi(sign * model.strengths[l] * w[l])
                    mean += chance * with_feature * answer * often[l] / 2
                    square += chance * (with_feature * answer) ** 2 * often[l] / 2
                    power[l] += chance * answer**2 * often[l]
            noise_mean += chance * without * mu
            noise_square += chance * (without * second + without * (without - 1) * mu * mu)
        features, noise = square - mean**2, noise_square - noise_mean**2
        for l in range(count):
            shares[j, l] = features / (features + noise) * power[l] / sum(power)
    return shares


@pytest.mark.parametrize(("activation", "mask"), CASES)
@pytest.mark.parametrize("features", [1, 2, 3])
def test_by_enumeration(activation, mask, features):
    rng = np.random.default_rng(features)
    for neurons in (1, 2, 3):
        strengths = tuple(np.sort(rng.uniform(0.2, 2.0, features))[::-1])
        often = tuple(np.random.default_rng(neurons).dirichlet(np.ones(features)).tolist())
        model = Model(
            strengths=strengths, neurons=neurons, activation=activation, mask=mask, patches=6, feature_patches=2, noise=0.7,
            probabilities=often if neurons > 1 else None,
        )  # fmt: skip
        weights = drawn(rng, neurons, features)
        state = OrderParameters.from_weights(model, weights)
        plain = naive.population_moments(model, weights, weights)
        covariance = plain["view_1"] - np.outer(plain["mean_1"], plain["mean_1"])
        right = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        np.testing.assert_allclose(moments.output_correlations(model, state.signal, state.noise_gram), right, atol=1e-12)
        carried = moments.carried(model, state.signal, state.noise_gram)
        np.testing.assert_allclose(carried, naive_carried(model, weights), atol=1e-12)


@pytest.mark.parametrize(("activation", "mask"), CASES)
def test_by_sampling(activation, mask):
    """Sampled data: the parts of each output from feature patches and from noise patches, their variances, the powers."""
    model = naive.settings((1.0, 0.6), patches=8, feature_patches=3, noise=0.6, activation=activation, mask=mask)
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((2, 5)) * 0.8
    samples = 200_000
    data, kept = naive.sample_views(model, 5, samples, rng)
    _, degree, odd = naive.ACTIVATIONS[activation]
    which = np.abs(data[..., :2]) > 0.0  # (samples, patches, K): patches with a feature
    u = np.einsum("spd,jd->sjp", data, weights)
    values = (u if odd else np.maximum(u, 0.0)) ** degree * kept[:, None, :]
    by_feature = np.einsum("sjp,spk->sjk", values, which.astype(float))
    total = values.sum(-1)
    features, noise = by_feature.sum(-1).var(0), (total - by_feature.sum(-1)).var(0)
    power = (by_feature**2).mean(0)
    right = (features / (features + noise))[:, None] * power / power.sum(-1, keepdims=True)
    checked = Model(strengths=(1.0, 0.6), patches=8, feature_patches=3, noise=0.6, activation=activation, mask=mask)
    state = OrderParameters.from_weights(checked, weights)
    found = moments.carried(checked, state.signal, state.noise_gram)
    np.testing.assert_allclose(found, right, atol=0.03)  # ten standard errors of the heaviest tails
    rho = moments.output_correlations(checked, state.signal, state.noise_gram)
    np.testing.assert_allclose(rho, np.corrcoef(total.T), atol=0.03)


def entropy_rank(p):
    """Rank of two outputs whose spectrum is (p, 1 - p)."""
    return math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))


def pure(model, signal):
    """Rank and shares of a state without noise parts."""
    signal = np.array(signal, float)
    gram = np.zeros((len(signal), len(signal)))
    return float(moments.output_rank(model, signal, gram)), moments.carried(model, signal, gram)


def test_opposite_relu_neurons_by_hand():
    """relu on +v_1 and -v_1, P = 16, n = 4: f = (1, 0, 0, 0) N1 and (0, 1, 0, 0) N1 over (l, s), means 1/4, so S_11 = 3/16
    and S_12 = -1/16; E N1^2 = 24/5 and Var N1 = 4/5 give Var = 24/5 * 3/16 + 4/5/16 = 19/20, Cov = -24/5/16 + 4/5/16 = -1/4:
    a correlation of -5/19, spectrum 12/19 and 7/19, rank 1.931. With one feature: 7/5 and -1, rank 1.507.
    """
    rank, shares = pure(Model(activation="relu"), [[1.0, 0.0], [-2.0, 0.0]])
    assert rank == pytest.approx(entropy_rank(12 / 19), rel=1e-12) and rank == pytest.approx(1.931, abs=5e-4)
    np.testing.assert_allclose(shares, [[1, 0], [1, 0]], atol=1e-15)
    alone, _ = pure(Model(activation="relu", strengths=(1.0,)), [[1.0], [-1.0]])
    assert alone == pytest.approx(entropy_rank(6 / 7), rel=1e-12)
    for signs in ([[1.0, 0.0], [3.0, 0.0]], [[-1.0, 0.0], [-3.0, 0.0]]):
        assert pure(Model(activation="relu"), signs)[0] == pytest.approx(1.0, abs=1e-12)
    assert pure(Model(activation="cubic"), [[1.0, 0.0], [-2.0, 0.0]])[0] == pytest.approx(1.0, abs=1e-12)
    assert pure(Model(activation="cubic"), [[1.0, 0.0], [0.0, -2.0]])[0] == pytest.approx(2.0, abs=1e-12)


def test_what_a_mixed_direction_carries_by_hand():
    """Cubic at 45 degrees to two features of strengths 1 and .3: powers 1 and .3^6, squared cosines 1/2."""
    weak = 0.3**6 / (1 + 0.3**6)
    _, shares = pure(Model(activation="cubic"), [[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(shares, [[1 - weak, weak], [0.0, 1.0]], rtol=1e-12)


def test_noise_by_hand():
    """Cubic on v_1 with a noise part as long: E N1^2/2 = 12/5 against E n1 15 sigma^6 = 90 sigma^6."""
    model = Model(activation="cubic", noise=0.5, neurons=1)
    shares = moments.carried(model, np.array([[1.0, 0.0]]), np.array([[1.0]]))
    np.testing.assert_allclose(shares, [[2.4 / (2.4 + 90 / 64), 0.0]], rtol=1e-12)


def test_outputs_without_variance():
    for activation in ("cubic", "relu", "relu3"):
        model = Model(activation=activation)
        rank, shares = pure(model, np.zeros((2, 2)))
        assert rank == 0.0 and (shares == 0.0).all()
        rank, shares = pure(model, [[1.0, 0.0], [0.0, 0.0]])
        assert rank == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(shares, [[1.0, 0.0], [0.0, 0.0]])
        rho = moments.output_correlations(model, np.array([[1.0, 0.0], [0.0, 0.0]]), np.zeros((2, 2)))
        np.testing.assert_allclose(rho, [[1.0, 0.0], [0.0, 0.0]])
        lost = np.array([[[np.nan, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
        assert np.isnan(moments.output_rank(model, lost, np.zeros((2, 2, 2)))).tolist() == [True, False]


@given(st.integers(0, 10**6), st.sampled_from(CASES), st.integers(1, 3), st.integers(1, 4), st.floats(-100, 100))
def test_shares_are_shares_and_no_size_of_weights_matters(seed, case, features, neurons, power):
    rng = np.random.default_rng(seed)
    activation, mask = case
    strengths = tuple(np.sort(np.exp(rng.uniform(-3, 3, features)))[::-1])
    model = Model(strengths=strengths, neurons=neurons, activation=activation, mask=mask, noise=float(np.exp(rng.normal())))
    state = OrderParameters.from_weights(model, drawn(rng, neurons, features, features + neurons))
    shares = moments.carried(model, state.signal, state.noise_gram)
    assert ((shares >= 0.0) & (shares <= 1.0 + 1e-12)).all() and (shares.sum(-1) <= 1.0 + 1e-12).all()
    rank = moments.output_rank(model, state.signal, state.noise_gram)
    assert 1.0 - 1e-12 <= rank <= neurons + 1e-9
    scale = 10.0**power * np.exp(rng.normal(size=neurons))
    scaled = state.signal * scale[:, None], state.noise_gram * scale[:, None] * scale[None, :]
    np.testing.assert_allclose(moments.carried(model, *scaled), shares, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(moments.output_rank(model, *scaled), rank, rtol=1e-6)

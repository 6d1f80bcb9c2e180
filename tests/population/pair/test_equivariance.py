"""Symmetries of the dynamics, on whole trajectories from drawn starts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab import Model, OrderParameters
from tests.population.pair.checkers import Run, apart, run

TIMES = np.array([0.1, 0.5, 1.0])
RTOL, CLOSE = 1e-9, 3e-6
seeds = st.integers(0, 10**6)
activations = st.sampled_from(["relu", "cubic", "relu3", "linear"])


def drawn(activation, seed, strengths=(1.0, 0.6), neurons=2, head=True, dim=8):
    model = Model(strengths=strengths, activation=activation, neurons=neurons)
    rng = np.random.default_rng(seed)
    start = OrderParameters.sample(model, dim, rng)
    off = 0.2 * head * rng.standard_normal((neurons, neurons)) * (1 - np.eye(neurons))
    return model, OrderParameters(start.signal, start.noise_gram, np.eye(neurons) + off)


def same_motion(model, start, other, turn, rate=0.1, other_rate=None, times=TIMES, stretch=1.0, other_model=None):
    """The trajectory from `other`, turned back by turn(signal, gram, head), is that from `start`."""
    a = run(model, start, rate, times, RTOL)
    b = run(other_model or model, other, rate if other_rate is None else other_rate, times * stretch, RTOL)
    assert a.status == b.status == "until"
    assert np.abs(a.signal[-1] - a.signal[0]).max() > 1e-9, "nothing moves"
    turned = Run(*turn(b.signal, b.noise_gram, b.head), *(None,) * 6)
    assert apart(turned, a) < CLOSE


@given(activations, seeds, st.sampled_from([(2, (1.0, 0.6)), (3, (1.0, 0.6, 0.4))]))
def test_swapping_neurons(activation, seed, shape):
    neurons, strengths = shape
    model, start = drawn(activation, seed, strengths, neurons)
    order = np.random.default_rng(seed).permutation(neurons)
    back = np.argsort(order)
    grid = np.ix_(order, order)
    other = OrderParameters(start.signal[order], start.noise_gram[grid], start.head[grid])
    same_motion(model, start, other, lambda s, q, e: (s[:, back], q[:, back][:, :, back], e[:, back][:, :, back]))


@given(st.sampled_from(["cubic", "linear"]), seeds)
def test_flipping_a_neuron(activation, seed):
    """For odd activations output j changes its sign with w_j; row and column j of the head follow."""
    model, start = drawn(activation, seed)
    sign = np.array([-1.0, 1.0])
    both = np.outer(sign, sign)
    other = OrderParameters(sign[:, None] * start.signal, both * start.noise_gram, both * start.head)
    same_motion(model, start, other, lambda s, q, e: (sign[:, None] * s, both * q, both * e))


@given(activations, seeds)
def test_mirroring_a_feature(activation, seed):
    """The features' signs are random: v_l -> -v_l changes nothing, for any activation."""
    model, start = drawn(activation, seed)
    sign = np.array([1.0, -1.0])
    other = OrderParameters(start.signal * sign, start.noise_gram, start.head)
    same_motion(model, start, other, lambda s, q, e: (s * sign, q, e))


@given(activations, seeds, st.sampled_from([(0.8, 0.8), (0.8, 0.8, 0.8)]))
def test_permuting_equal_features(activation, seed, strengths):
    model, start = drawn(activation, seed, strengths)
    order = np.roll(np.arange(len(strengths)), 1)
    back = np.argsort(order)
    other = OrderParameters(start.signal[:, order], start.noise_gram, start.head)
    same_motion(model, start, other, lambda s, q, e: (s[:, :, back], q, e))


@given(activations, seeds, st.floats(0.2, 5.0))
def test_scaling_the_weights(activation, seed, factor):
    """w -> c w: the loss stays, its gradient falls like 1/c, so t -> c^2 t and r -> r / c^2."""
    model, start = drawn(activation, seed)
    other = OrderParameters(factor * start.signal, factor**2 * start.noise_gram, start.head)
    same_motion(
        model,
        start,
        other,
        lambda s, q, e: (s / factor, q / factor**2, e),
        other_rate=0.1 / factor**2,
        stretch=factor**2,
    )


@given(activations, seeds, st.floats(0.3, 3.0))
def test_scaling_the_data(activation, seed, factor):
    """Strengths and noise by the same factor: every output is scaled, and normalisation removes it."""
    model, start = drawn(activation, seed)
    scaled = Model(
        strengths=tuple(factor * alpha for alpha in model.strengths), noise=factor * model.noise, activation=activation
    )
    same_motion(model, start, start, lambda s, q, e: (s, q, e), other_model=scaled)


@given(activations, seeds)
def test_without_a_head_neurons_are_alone(activation, seed):
    """A neuron's signals and norm are the same whatever the other neuron is, and as in a model with one neuron."""
    model, start = drawn(activation, seed, head=False)
    _, stranger = drawn(activation, seed + 1, head=False)
    signal = np.array([start.signal[0], stranger.signal[1]])
    norm = np.sqrt([start.noise_gram[0, 0], stranger.noise_gram[1, 1]])
    gram = np.outer(norm, norm) * [[1.0, -0.3], [-0.3, 1.0]]
    single = Model(strengths=model.strengths, neurons=1, activation=activation)
    first = OrderParameters(start.signal[:1], start.noise_gram[:1, :1])
    mine = run(model, start, 0.0, TIMES, RTOL)
    for other in (run(model, OrderParameters(signal, gram), 0.0, TIMES, RTOL), run(single, first, 0.0, TIMES, RTOL)):
        np.testing.assert_allclose(other.signal[:, 0], mine.signal[:, 0], atol=1e-4)
        np.testing.assert_allclose(other.noise_gram[:, 0, 0], mine.noise_gram[:, 0, 0], atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_with_a_head_neurons_are_not_alone(rate):
    """What the test above would not see if it could not fail."""
    model, start = drawn("cubic", 3)
    other = OrderParameters([start.signal[0], 2 * start.signal[1]], start.noise_gram, start.head)
    a, b = run(model, start, rate, TIMES, RTOL), run(model, other, rate, TIMES, RTOL)
    assert np.abs(a.signal[-1, 0] - b.signal[-1, 0]).max() > 1e-4

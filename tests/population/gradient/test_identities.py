"""What holds exactly: scale invariance, symmetries, bounds, independence without the head."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dynlab
from tests.oracles import exact
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, HypothesisDraws, SeededDraws, a_state, states

ordinary = states(edges=False)
gradient = dynlab.population_gradient


@given(ordinary)
def test_euler_identity(state):
    checkers.euler_identity(gradient, state)


@given(ordinary, st.lists(st.sampled_from((0.25, 0.5, 1.0, 2.0, 3.0)), min_size=4, max_size=4))
def test_rescaling_of_outputs(state, factors):
    checkers.rescaling(gradient, state, factors[: state.model.neurons])


@given(ordinary, st.permutations(range(4)))
def test_permutation_of_neurons(state, order):
    checkers.permutation_of_neurons(gradient, state, [k for k in order if k < state.model.neurons])


@given(st.sampled_from(("cubic", "linear")), st.data())
def test_sign_flip_of_neurons(activation, data):
    state = data.draw(states(activation=activation, edges=False))
    signs = data.draw(st.lists(st.sampled_from((1, -1)), min_size=4, max_size=4))
    checkers.sign_flip(gradient, state, signs[: state.model.neurons])


@given(ordinary, st.lists(st.sampled_from((1, -1)), min_size=4, max_size=4))
def test_mirrored_features(state, signs):
    checkers.mirror_features(gradient, state, signs[: state.model.features])


@given(ordinary, st.integers(0, 2**32 - 1))
def test_rotation_of_the_noise_space(state, seed):
    checkers.rotation_of_noise(gradient, state, np.random.default_rng(seed))


@given(st.sampled_from(ACTIVATIONS), st.permutations(range(3)), st.data())
def test_permutation_of_equal_features(activation, order, data):
    model = dynlab.Model(strengths=(0.7,) * 3, activation=activation, neurons=data.draw(st.integers(1, 3)))
    state = a_state(HypothesisDraws(data.draw), edges=False, model=model)
    checkers.permutation_of_features(gradient, state, order)


@given(ordinary)
def test_bounds(state):
    checkers.bounds(gradient, state)


@given(states())
def test_inputs_are_left_alone(state):
    checkers.leaves_inputs_alone(gradient, state)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_without_the_head_neurons_are_independent(activation):
    model = dynlab.Model(strengths=(1.0, 0.6, 0.4), activation=activation, neurons=3)
    state = a_state(SeededDraws(np.random.default_rng(20)), edges=False, model=model)
    loss, d_weights, _ = gradient(model, state.weights, np.eye(3))
    alone = dynlab.Model(strengths=(1.0, 0.6, 0.4), activation=activation, neurons=1)
    parts = [gradient(alone, row[None], np.eye(1)) for row in state.weights]
    checkers.close(loss, sum(part[0] for part in parts), "loss")
    checkers.close(d_weights, np.vstack([part[1] for part in parts]), "dW")


def test_collapsed_and_diverse_states_share_the_lowest_loss():
    """4 - 4 E[N1 N2]/E[N1^2] for cubic; P = 16, n = 4 make it 4/3. Both are stationary."""
    model = dynlab.Model(activation="cubic")
    counts = exact.count_moments(16, 4, "half")
    lowest = 4 - 4 * counts.NxN / counts.NN
    assert lowest * 3 == 4
    for signal in ([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]):
        loss, d_weights, d_head = gradient(model, np.hstack([signal, np.zeros((2, 2))]), np.eye(2))
        assert loss == pytest.approx(float(lowest), rel=1e-15)
        assert not d_weights.any() and not d_head.any()


def test_collapse_with_noise_left():
    """At w_1 = w_2 the head has nothing to gain; less noise and more signal lower the loss."""
    model = dynlab.Model(activation="cubic")
    weights = np.tile([1.0, 0.0, 0.1, 0.0], (2, 1))
    _, d_weights, d_head = gradient(model, weights, np.eye(2))
    assert np.abs(d_head).max() < 1e-20
    assert (d_weights[:, 2] > 0).all() and (d_weights[:, 0] < 0).all()

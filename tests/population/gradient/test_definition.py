"""Loss and gradient against the definition: every mask enumerated, finite differences, sampled data."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from tests import naive
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, SeededDraws, a_state, drawn_states

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


@every_activation
def test_differences_in_d_dimensions(activation):
    for state in drawn_states(activation, 4, seed=10, edges=False, max_patches=4):
        checkers.against_definition(dynlab.population_gradient, state)


@every_activation
@pytest.mark.parametrize("mask", ["half", "independent"])
def test_loss_of_eight_patches(activation, mask):
    model = dynlab.Model(activation=activation, patches=8, feature_patches=3, mask=mask, weak=0.6)
    state = a_state(SeededDraws(np.random.default_rng(11)), edges=False, model=model)
    right = naive.population_loss(model, state.weights, state.weights, state.head)
    assert dynlab.population_loss(model, state.weights, state.head) == pytest.approx(right, rel=1e-12)


@every_activation
@pytest.mark.parametrize("mask", ["half", "independent"])
def test_sampled_data(activation, mask):
    model = dynlab.Model(activation=activation, patches=6, feature_patches=2, mask=mask, weak=0.6)
    state = a_state(SeededDraws(np.random.default_rng(12)), edges=False, model=model)
    checkers.against_samples(dynlab.population_gradient, state, samples=120_000)

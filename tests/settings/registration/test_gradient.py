"""Gradients of registered activations: against 50 digits, the definition, and the built-in ones they repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab.settings.activation_records import ACTIVATIONS
from tests.oracles import exact, quadrature
from tests.population.gradient import checkers
from tests.settings.registration.examples import EXAMPLES, TWINS, drawn

every_example = pytest.mark.parametrize("activation", EXAMPLES)


@every_example
def test_fifty_digits(activation):
    """At every edge: parallel and antiparallel noise parts, ties, tiny and vanishing ones."""
    failures = []
    for state in drawn(activation, 120, seed=0):
        try:
            checkers.against_exact(dynlab.population_gradient, state)
        except AssertionError as failure:
            failures.append(str(failure))
    report = "\n\n".join(failures[:2])
    assert not failures, f"{len(failures)} of 120 states are wrong, the first of them:\n{report}"


@every_example
def test_definition(activation):
    """Every mask enumerated, noise moments by quadrature, derivatives by differences."""
    for state in drawn(activation, 2, seed=1, edges=False, max_patches=4):
        checkers.against_definition(dynlab.population_gradient, state)


@every_example
def test_identities(activation):
    for state in drawn(activation, 30, seed=2, edges=False):
        checkers.euler_identity(dynlab.population_gradient, state)
        checkers.bounds(dynlab.population_gradient, state)
        factors = (0.5, 2.0, 1.0, 3.0)[: state.model.neurons]
        checkers.rescaling(dynlab.population_gradient, state, factors)


@every_example
@pytest.mark.parametrize("angle", [0.1, 0.5, 1.0, np.pi / 2, 2.0, 2.7, 3.0])
def test_moments(activation, angle):
    """Mean and second moment against Cartesian quadrature, in units of the variance of phi."""
    record = ACTIVATIONS[activation]
    for noise, norm_1, norm_2 in ((1.0, 1.0, 1.0), (0.5, 1.3, 0.2), (2.0, 0.04, 3.0)):
        first, second = noise * norm_1, noise * norm_2
        mu_1, mu_2, moment = record.moments(noise, norm_1, norm_2, angle)
        right = quadrature.moment(activation, first, second, angle)
        square, q = exact.SQUARE[record.degree], record.degree
        assert abs(mu_1 - quadrature.mean(activation, first)) < 1e-13 * square**0.5 * first**q
        assert abs(mu_2 - quadrature.mean(activation, second)) < 1e-13 * square**0.5 * second**q
        assert abs(moment - right) < 1e-13 * square * (first * second) ** q


@every_example
@pytest.mark.parametrize("neurons", [2, 3])
def test_collapsed_and_diverse_have_one_loss(activation, neurons):
    """Without noise and head, on v_1 alone or on a feature each: 2 m (1 - b/a), b/a = E[N1 N2]/E[N1^2] = 2/3 for odd phi."""
    model = dynlab.Model(activation=activation, neurons=neurons, strengths=(1.0, 0.6, 0.4)[:neurons])
    collapsed, diverse = np.zeros((neurons, neurons + 1)), np.zeros((neurons, neurons + 1))
    collapsed[:, 0] = 1.0
    diverse[:, :neurons] = np.eye(neurons)
    losses = [dynlab.population_loss(model, w, np.eye(neurons)) for w in (collapsed, diverse)]
    if activation == "quintic":
        assert losses == pytest.approx([2 * neurons * (1 - 2 / 3)] * 2, rel=1e-12)
    else:
        # One in 2K states answers in both, whichever it is.
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
        assert 0.0 < losses[0] < 4 * neurons


@pytest.mark.parametrize("built_in", TWINS)
def test_a_built_in_one_registered_again_has_its_gradient(built_in):
    for state in drawn(built_in, 60, seed=3, edges=False):
        again = replace(state.model, activation=TWINS[built_in])
        right = dynlab.population_gradient(state.model, state.weights, state.head)
        found = dynlab.population_gradient(again, state.weights, state.head)
        for name, mine, theirs in zip(("loss", "dW", "dE"), found, right, strict=True):
            checkers.close(mine, theirs, name, tolerance=2e-14)

"""The gradient component by component against 50 digits, at states that reach every edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given

import dynlab
from tests.oracles import exact
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, State, drawn_states, states

STATES = 500


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_drawn_states(activation):
    failures, checked = [], 0
    for state in drawn_states(activation, STATES):
        try:
            checkers.against_exact(dynlab.population_gradient, state)
            checked += 1
        except AssertionError as failure:
            failures.append(str(failure))
    report = "\n\n".join(failures[:3])
    assert not failures, f"{len(failures)} of {STATES} states are wrong, the first of them:\n{report}"
    assert checked == STATES


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_ordinary_states_need_no_allowance(activation):
    """In general position every component is within 1e-11 of itself, whatever rounding the inputs does."""
    for state in drawn_states(activation, 40, seed=7, edges=False, neurons=2):
        found = checkers.components(dynlab.population_gradient(state.model, state.weights, state.head))
        for name, right in checkers.reference(state).items():
            assert abs(found[name] - float(right)) <= checkers.RELATIVE * abs(float(right)), (name, state)


@given(states())
def test_any_state(state):
    try:
        checkers.reference(state)
    except exact.Degenerate:
        assume(False)
    checkers.against_exact(dynlab.population_gradient, state)


@pytest.mark.parametrize("noise_part", [(0.7071067811865475, 0.7071067811865475), (1.0, 1.0), (0.3, -1.7)])
def test_terms_that_cancel_whatever_the_weights(noise_part):
    """F_0 = f_0 - f_1 with equal noise parts is reached by the only feature alone: rho_0 is the same for any w_0."""
    model = dynlab.Model(strengths=(1.0,), patches=4, feature_patches=1, activation="relu", noise=1.0)
    weights = np.array([[1.0, *noise_part], [0.01, *noise_part]])
    state = State(model, weights, np.array([[1.0, -1.0], [0.0, 1.0]]), ())
    assert checkers.reference(state)["dW[0,0]"] == 0
    checkers.against_exact(dynlab.population_gradient, state)
    with pytest.raises(AssertionError, match="dW"):
        checkers.against_exact(lambda *at: shifted(dynlab.population_gradient(*at), 1e-14), state)


def shifted(gradient, by):
    """The gradient with its first component `by` further."""
    loss, d_weights, d_head = gradient
    d_weights = d_weights.copy()
    d_weights[0, 0] += by
    return loss, d_weights, d_head


@given(states())
def test_loss_alone_is_the_same_number(state):
    try:
        checkers.reference(state)
    except exact.Degenerate:
        assume(False)
    arguments = state.model, state.weights, state.head
    assert dynlab.population_loss(*arguments) == dynlab.population_gradient(*arguments)[0]

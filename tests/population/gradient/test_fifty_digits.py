"""The gradient component by component against 50 digits, at states that reach every edge."""

from __future__ import annotations

import pytest
from hypothesis import assume, given

import dynlab
from tests.oracles import exact
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, drawn_states, states

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


@given(states())
def test_loss_alone_is_the_same_number(state):
    try:
        checkers.reference(state)
    except exact.Degenerate:
        assume(False)
    arguments = state.model, state.weights, state.head
    assert dynlab.population_loss(*arguments) == dynlab.population_gradient(*arguments)[0]

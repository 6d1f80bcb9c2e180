"""The oracles against each other, before anything is measured by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpmath import mp, mpf

from tests import naive
from tests.oracles import exact
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, drawn_states

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def exact_candidate(model, weights, head):
    """The gradient at many digits, rounded to float64."""
    loss, d_weights, d_head = exact.population_gradient(model, weights, head)
    return float(loss), d_weights.astype(float), d_head.astype(float)


@every_activation
def test_closed_form_equals_enumeration_of_masks(activation):
    for state in drawn_states(activation, 12, seed=1, edges=False, neurons=2, max_patches=6):
        # A target that is not the online side, so that the two cannot be confused.
        target = state.weights[::-1] * np.linspace(0.5, 1.5, state.weights.shape[1])
        right = naive.population_loss(state.model, state.weights, target, state.head)
        found = exact.population_loss(state.model, state.weights, target, state.head)
        assert float(found) == pytest.approx(right, rel=1e-12)


@every_activation
def test_closed_form_gradient_equals_differences_of_the_definition(activation):
    for state in drawn_states(activation, 3, seed=2, edges=False, neurons=2, max_patches=4):
        checkers.against_definition(exact_candidate, state)


@every_activation
def test_tape_equals_differences_at_many_digits(activation):
    """Central differences at step 1e-60 are good to 1e-120 of the third derivative, at the edges too."""
    for state in drawn_states(activation, 3, seed=3, neurons=2):
        _, d_weights, d_head = exact.population_gradient(state.model, state.weights, state.head, digits=400)
        with mp.workdps(400):
            for array, gradient in ((0, d_weights), (1, d_head)):
                for index in np.ndindex(gradient.shape):
                    if array == 1 and index[0] == index[1]:
                        continue
                    error = abs(difference(state, array, index) - gradient[index])
                    assert error <= TINY * (abs(gradient[index]) + TINY)


TINY = mpf(10) ** -40


def difference(state, array: int, index):
    """Central difference of the online side in one entry of the weights (array 0) or the head (array 1)."""
    values, step = [], mpf(10) ** -60
    for sign in (1, -1):
        sides = [[[mpf(float(x)) for x in row] for row in entries] for entries in (state.weights, state.head)]
        sides[array][index[0]][index[1]] += sign * step
        values.append(exact.population_loss(state.model, sides[0], state.weights, sides[1], digits=400))
    return (values[0] - values[1]) / (2 * step)


@every_activation
def test_fifty_digits_are_right(activation):
    """Twice the digits change nothing in the first fifty, and components taken for zero are zero."""
    for state in drawn_states(activation, 60, seed=4):
        found = checkers.reference(state)
        finer = exact.population_gradient(state.model, state.weights, state.head, digits=2 * exact.DIGITS)
        for name, value in checkers.components(finer).items():
            if found[name] == 0:
                assert abs(value) < mpf(10) ** -300
            else:
                assert abs(found[name] - value) < mpf(10) ** -50 * abs(value), (name, state)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_count_moments_equal_enumeration(mask):
    for patches in (2, 4, 6):
        for n in range(1, patches):
            found = exact.count_moments(patches, n, mask)
            kept = [(sum(m[:n]), sum(m[n:])) for m in naive.masks(patches, mask)]
            for name, product in (
                ("N", lambda a, b: a),
                ("Nn", lambda a, b: a * b),
                ("nn", lambda a, b: b * b),
                ("NxN", lambda a, b, n=n: a * (n - a)),
                ("Nxn", lambda a, b, rest=patches - n: a * (rest - b)),
                ("nxn", lambda a, b, rest=patches - n: b * (rest - b)),
            ):
                assert getattr(found, name) * len(kept) == sum(product(a, b) for a, b in kept), name


@every_activation
def test_noise_moments_by_three_ways(activation):
    """Closed form, polar and Cartesian quadrature agree."""

    def closed_form(noise, norm_1, norm_2, angle):
        with exact.precision():
            squares = [mpf(norm) ** 2 for norm in (norm_1, norm_2)]
            means = [exact.noise_mean(activation, mpf(noise), square) for square in squares]
            product = mpf(norm_1) * norm_2 * mp.cos(mpf(float(angle)))
            return [float(x) for x in (*means, exact.noise_moment(activation, mpf(noise), *squares, product))]

    def polar(noise, norm_1, norm_2, angle):
        w, v = np.array([norm_1, 0.0]), norm_2 * np.array([np.cos(angle), np.sin(angle)])
        mean = [naive.noise_mean(activation, noise, x) for x in (w, v)]
        return *mean, naive.noise_moment(activation, noise, w, v)

    checkers.moments_against_quadrature(closed_form, activation)
    checkers.moments_against_quadrature(polar, activation)
    for angle in (0.0, 1e-9, 1e-3, 3.14, np.pi - 1e-9, np.pi):
        checkers.moments_against_exact(polar, activation, angle)
    assert float(exact.noise_square(activation, mpf(0.5), mpf(1.69))) == pytest.approx(
        naive.noise_moment(activation, 0.5, np.array([1.3]), np.array([1.3])), rel=1e-13
    )


@every_activation
def test_samples_agree_with_the_closed_form(activation):
    (state,) = drawn_states(activation, 1, seed=5, edges=False, neurons=2, max_patches=4)
    checkers.against_samples(exact_candidate, state, samples=100_000)


def test_a_degenerate_state_is_refused():
    """Output 1 is f_1 - f_2 of two equal neurons: constant."""
    model = naive.settings((1.0, 0.5))
    weights = np.ones((2, 4))
    with pytest.raises(exact.Degenerate):
        exact.population_gradient(model, weights, [[1, -1], [0, 1]])


def test_moving_the_inputs_moves_the_components():
    """An ulp moves an ordinary component by about an ulp, and one that is always zero not at all."""
    (state,) = drawn_states("relu", 1, seed=6, edges=False, neurons=2)
    at, moves = checkers.reference(state), checkers.movement(state)
    for name, value in at.items():
        assert 0 < moves[name] < 1e3 * checkers.ULP * max(abs(value), 1)
    # Without noise the noise parts of the weights have no effect at all.
    silent = replace(state, model=replace(state.model, noise=0.0))
    at, moves = checkers.reference(silent), checkers.movement(silent)
    for axis in range(state.model.features, state.weights.shape[1]):
        assert at[f"dW[0,{axis}]"] == moves[f"dW[0,{axis}]"] == 0

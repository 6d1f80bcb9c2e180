"""Numbers of twice the digits, and the formulas run with them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from dynlab import Model
from dynlab.machine.twofloat import TwoFloat, two_floats
from dynlab.population import gradient
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, State, drawn_states

TINY = Fraction(1, 2**100)


def exactly(number) -> Fraction:
    return Fraction(number.real) + Fraction(number.low) if isinstance(number, TwoFloat) else Fraction(number)


def drawn_numbers(rng, low_digits: bool) -> TwoFloat:
    high = rng.choice((-1, 1)) * 10.0 ** rng.uniform(-8, 8)
    return TwoFloat(high, high * 2.0**-54 * rng.uniform(-1, 1) if low_digits else 0.0)


def test_arithmetic_is_exact_to_100_bits():
    rng = np.random.default_rng(50)
    for _ in range(500):
        x, y, z = drawn_numbers(rng, True), drawn_numbers(rng, True), float(rng.standard_normal())
        a, b, c = exactly(x), exactly(y), exactly(z)
        near = x + TwoFloat(0.0, x.real * 1e-25)
        for found, right in (
            (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (-x, -a),
            (x + z, a + c), (z + x, a + c), (x - z, a - c), (z - x, c - a), (x * z, a * c), (z * x, a * c),
            (x / z, a / c), (z / x, c / a), (np.float64(z) * x, c * a),
        ):  # fmt: skip
            assert abs(exactly(found) - right) <= TINY * abs(right)
        assert (x < y) == (a < b) and (x > y) == (a > b)
        assert (near > x) == (x.real > 0) and float(near) == float(x)
        root = (x * x).sqrt()
        assert abs(exactly(root) ** 2 - a * a) <= 4 * TINY * a * a


def test_arrays():
    found = two_floats(np.array([[1.0, 0.1], [3.0, -2.0]]))
    assert found.shape == (2, 2) and exactly(found[0, 1] * 3.0) != Fraction(0.1 * 3.0)
    assert exactly(found[0, 1] * 3.0) == 3 * Fraction(0.1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_same_formulas_with_twice_the_digits(activation, monkeypatch):
    """In general position nothing cancels and both evaluations agree but for the last digits."""
    ordinary = list(drawn_states(activation, 6, seed=51, edges=False))
    found = [gradient.population_gradient(s.model, s.weights, s.head) for s in ordinary]
    monkeypatch.setattr(gradient, "CANCELLED", 1e9)
    monkeypatch.setattr(gradient, "EXTENDED_WORK", 10**4)
    changed = 0
    for state, right in zip(ordinary, found, strict=True):
        again = gradient.population_gradient(state.model, state.weights, state.head)
        checkers.same(again, right, "twice the digits")
        changed += (checkers.vector(again) != checkers.vector(right)).any()
    assert changed


def test_where_outputs_cancel(monkeypatch):
    """Neuron 2 is tiny and its output borrows neuron 1 with a minus sign: forces on neuron 1 cancel."""
    model = Model(strengths=(1.0,), noise=0.1, activation="cubic")
    weights = np.array([[0.7, 0.5, -0.3, 0.2], [7e-5, 1e-9, 2e-9, -1e-9]])
    state = State(model, weights, np.array([[1.0, 0.0], [-0.2, 1.0]]), ())
    checkers.against_exact(gradient.population_gradient, state)
    monkeypatch.setattr(gradient, "CANCELLED", 0.0)
    with pytest.raises(AssertionError, match=r"dW\[0,0\]"):
        checkers.against_exact(gradient.population_gradient, state)

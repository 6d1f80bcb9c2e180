"""The pair of relu and relu3 in closed form: angles, what is held, determinants of neurons that are nearly parallel.

Rates and Jacobians are held against many digits in `test_tangents`; here is what its states do not reach.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from dynlab import Model
from dynlab.formulas import held_coordinates, rectified_flow_rates, rectified_noise
from dynlab.population.pair import at_rest, solver
from tests.population.pair.test_tangents import by_many_digits, compiled, states, system_of


def test_the_arc_tangent():
    """Two units in the last place over [0, 1], down to 1e-300."""
    x = np.concatenate([np.linspace(0.0, 1.0, 2001), 10.0 ** -np.linspace(0, 300, 200), [rectified_noise.ATAN_TURN]])
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.atan(mpmath.mpf(float(one)))) for one in x])
    found = np.array([rectified_noise.small_arc_tangent(float(one)) for one in x])
    assert (np.abs(found - exact) <= 4.5e-16 * exact).all()


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_angles_of_all_sizes(activation):
    """Rates and columns where noise parts are nearly parallel, at right angles, nearly antiparallel."""
    model = Model(activation=activation)
    for angle, (z, side) in zip([-9.0, -4.0, -1.2, -1e-8, 0.0, 1e-8, 0.6, 3.0, 9.0], states(model, 9, 5), strict=True):
        z[6] = angle
        rates, jac = compiled(model, z, side)
        exact, columns = by_many_digits(system_of(model), z, side)
        columns[:, :4][:, side == 0] = 0.0
        assert (np.abs(rates - exact) <= 1e-13 * np.abs(exact).max() + 1e-12 * np.abs(exact)).all()
        assert (np.abs(jac - columns) <= 1e-12 * np.abs(columns).max(1, keepdims=True) + 1e-11 * np.abs(columns)).all()


def test_parallel_neurons_without_noise():
    """relu3 at delta = 1e-13: the head's force, a product with e^(3 delta) - 1, keeps ten digits."""
    model = Model(activation="relu3")
    for delta, side in ((1e-13, np.array([1, -1, 1, -1])), (-3e-12, np.array([-1, -1, -1, -1]))):
        z = np.array([-0.1, -0.4, -0.3, delta, -40.0, -39.0, 0.3, 0.02, -0.01])
        rates, _ = compiled(model, z, side)
        exact, columns = by_many_digits(system_of(model), z, side)
        np.testing.assert_allclose(rates[7:9], exact[7:9], rtol=1e-10)
        _, jac = compiled(model, z, side)
        np.testing.assert_allclose(jac[7:9, 3], columns[7:9, 3], rtol=1e-10)


@pytest.mark.parametrize("place", [10.0, 25.0, 41.0, 55.0, 90.0, 130.0])
@pytest.mark.parametrize("rate", [1e-9, -1e-9, 0.2, -0.2, 0.0])
@pytest.mark.parametrize("outward", [1.0, -1.0])
def test_what_is_held(place, rate, outward):
    """As `solver.held`, and its derivatives by differences at many digits."""

    def value(x, r, square):
        slowed = r / (1 + (x / 40) ** 16)
        distance = outward * x
        if distance < 20 or r == 0:
            return slowed
        if r * outward <= 0:
            force = (slowed * mpmath.exp(-distance)) ** 2
            share = force / (force + mpmath.mpf("1e-6") * square / (1 + mpmath.exp(8 * (42 - distance))))
            return slowed * share**2
        return 0 if distance > 120 else slowed / (1 + mpmath.exp(4 * (distance - 40)))

    z, rates, square = np.zeros(9), np.zeros(9), 1e-3
    z[6], rates[6] = outward * place, rate * np.exp(place) if rate * outward < 0.0 else rate
    free = rates[6]
    with mpmath.workdps(200):
        at = [mpmath.mpf(float(one)) for one in (z[6], free, square)]
        exact = value(*at)
        slopes = []
        for k in range(3):
            step = mpmath.mpf(10) ** -25 * (abs(at[k]) or 1)
            moved = [at[:k] + [at[k] + sign * step] + at[k + 1 :] for sign in (1, -1)]
            slopes.append((value(*moved[0]) - value(*moved[1])) / (2 * step))
        held = solver.held(place, outward, 40.0, free / (1.0 + (place / 40.0) ** 16), square)
    jac = np.zeros((9, 9))
    jac[6, 0], jac[7, 1], rates[7] = 1.0, 0.5, 1.0  # the free rate moves with z_0, the square with z_1
    held_coordinates.hold_one(6, outward, square, z, rates, jac)
    assert rates[6] == pytest.approx(float(exact), rel=1e-11, abs=1e-300)
    assert rates[6] == pytest.approx(held, rel=1e-11, abs=1e-300)
    if free != 0.0:
        for k, expected in ((0, slopes[1]), (6, slopes[0]), (1, slopes[2])):
            assert jac[6, k] == pytest.approx(float(expected), rel=1e-9, abs=1e-290)


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_the_smallest_share_is_that_of_all_activations(activation):
    model = Model(activation=activation)
    kind, _, _, par = system = system_of(model)
    seen = []
    for z, side in states(model, 200, 7):
        if activation == "relu":
            z[:4] = side * np.abs(z[:4])
        seen.append(rectified_flow_rates.smallest_share(kind, par, z, side, np.zeros(9)))
        assert seen[-1] == pytest.approx(at_rest.smallest_output(system, z, side), rel=1e-9, abs=1e-13)
    assert min(seen) < 0.2 and max(seen) > 0.9

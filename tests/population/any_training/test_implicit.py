"""Implicit steps of trajectories that creep: the method's table, its interpolant, a stiff problem that can be solved, and
starts on which the Rosenbrock method takes tens of thousands of steps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import dynlab
from dynlab.formulas import sdirk4
from dynlab.population.any_training import implicit
from dynlab.population.any_training.records import IN_A_ROW, KAPPA
from dynlab.population.pair.solver import interpolate
from dynlab.population.pair.step_control import STEP_LENGTH
from dynlab.population.stepping import method_table

FAST = 1e12


def table():
    """A (5, 5) with its diagonal, and the weights of the method and of the embedded one."""
    a = np.zeros((5, 5))
    a[:, :4] = sdirk4.UNDER_DIAGONAL
    a += sdirk4.DIAGONAL * np.eye(5)
    return a, a[4], a[4] - np.array(sdirk4.DIFFERENCES)


def conditions(a):
    """Elementary weights and densities by order (Hairer, Norsett & Wanner I, II.2)."""
    one = np.ones(5)
    c = a @ one
    return {1: [(one, 1)], 2: [(c, 2)], 3: [(c**2, 3), (a @ c, 6)],
            4: [(c**3, 4), (c * (a @ c), 8), (a @ c**2, 12), (a @ (a @ c), 24)]}  # fmt: skip


def test_orders_and_stability_of_the_table():
    a, weights, embedded = table()
    missed = {p: max(abs(weights @ phi - 1 / density) for phi, density in rows) for p, rows in conditions(a).items()}
    assert max(missed.values()) < 1e-14
    missed = {p: max(abs(embedded @ phi - 1 / density) for phi, density in rows) for p, rows in conditions(a).items()}
    assert max(missed[p] for p in (1, 2, 3)) < 1e-14 and missed[4] > 1e-3, "the error estimate would vanish"

    def amplified(z):
        return abs(1 + z * weights @ np.linalg.solve(np.eye(5) - z * a, np.ones(5)))

    assert amplified(-1e9) < 1e-7
    assert max(amplified(1j * y) for y in np.geomspace(1e-3, 1e4, 200)) < 1.0 + 1e-12


def buffers(n):
    rows = {name: np.zeros(n) for name in ("rates", "rates_at", "point", "new", "last", "normal", "floors", "noise")}
    squares = {name: np.zeros((n, n)) for name in ("jac", "jac_at", "matrix")}
    return SimpleNamespace(
        **rows, **squares, order=np.zeros(n, np.int64), stages=np.zeros((8, n)), control=np.zeros(5), scratch=None, twin=None
    )


def test_the_interpolant_is_hermites_cubic():
    n, h = 3, 0.7
    z, new, before, after = np.random.default_rng(0).standard_normal((4, n))
    held = buffers(n)
    held.rates[:], held.stages[4] = before, after
    implicit.to_interpolant(h, z, new, held)
    np.testing.assert_array_equal(held.normal, after)
    for theta in (0.0, 0.2, 0.5, 0.9, 1.0):
        point = np.zeros(n)
        interpolate(method_table(), theta, z, new, held.stages, point)
        t = theta
        hermite = (2 * t**3 - 3 * t**2 + 1) * z + (t**3 - 2 * t**2 + t) * h * before
        hermite = hermite + (3 * t**2 - 2 * t**3) * new + (t**3 - t**2) * h * after
        np.testing.assert_allclose(point, hermite, rtol=0, atol=1e-13)


# y' = 1 + FAST y (E - y^2), E' = -FAST (E - y^2): E stays at y^2, so y + 2 y^3/3 - t does not change but by rounding.


def rates_of(system, z, side, scratch, rates):
    y, entry, clock = z
    lag = FAST * (entry - y * y)
    rates[:] = 1.0 + y * lag, -lag, math.exp(-clock)


def jacobian_of(system, z, side, twin, low, columns):
    y, entry, clock = z
    slope = np.array([
        [FAST * (entry - 3.0 * y * y), FAST * y, 0.0], [2.0 * FAST * y, -FAST, 0.0], [0.0, 0.0, -math.exp(-clock)],
    ])  # fmt: skip
    columns[low:] = slope.T[low:]


def solved(time):
    """y at a time."""
    return float(np.real(next(r for r in np.roots([2 / 3, 0.0, 1.0, -time]) if abs(r.imag) < 1e-9)))


@pytest.fixture
def stiff(monkeypatch):
    """A walk through the problem above from t = 0.3 to 100: (largest relative error of y, steps, steps not taken)."""
    for module, name, fake in (
        (implicit, "switched_rates", rates_of), (implicit, "exact_jacobian", jacobian_of),
        (implicit, "head_start", lambda *_: 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fake)

    def walk(rtol):
        system, held, weights = SimpleNamespace(m=1, features=1, choice=()), buffers(3), SimpleNamespace()
        weights.relative, weights.caps = np.array([0.0, 1.0, 0.0]), np.full(3, 1e-9)
        start = solved(0.3)
        z = np.array([start, start * start, math.log(0.3)])
        implicit.begin_implicit(system, z, (), held)
        worst, steps, lost = 0.0, 0, 0
        assert implicit.is_implicit(held.control) and held.control[KAPPA] == -1.0
        while z[2] < math.log(100.0) and steps + lost < 400:
            error = implicit.implicit_step(system, z, (), weights, rtol, held)
            if error <= 1.0:
                z[:] = held.new
                implicit.go_on(error, held)
                steps += 1
                worst = max(worst, abs(z[0] / solved(math.exp(z[2])) - 1.0))
            else:
                held.control[STEP_LENGTH] *= 0.2
                held.control[IN_A_ROW] += 1
                lost += 1
        assert z[2] >= math.log(100.0)
        return worst, steps, lost

    return walk


def test_a_stiff_problem_whose_fast_direction_turns(stiff):
    """Of order 2, which it falls to there: a thousandth of the tolerance is some thirtieth of the error."""
    coarse, fine = stiff(1e-4), stiff(1e-7)
    assert coarse[0] < 5e-4 and fine[0] < 2e-5 and fine[0] < 0.1 * coarse[0]
    assert coarse[1] < 60 and fine[1] < 200 and max(coarse[2], fine[2]) < 5


def test_that_the_head_is_relaxed_first_spares_steps(stiff, monkeypatch):
    """Newton's method alone loses its way where the entry lags, and steps are taken again, shorter."""
    _, steps, lost = stiff(1e-7)
    monkeypatch.setattr(implicit, "RELAXATIONS", 0)
    _, more, again = stiff(1e-7)
    assert again > lost + 10 and more > 1.5 * steps


# What the Rosenbrock method alone made of start 1 at time 6e13, in 14931 steps and 4400 that were rejected.
SIGNALS = {(0, 3): -11.201, (0, 0): -5.7637, (2, 3): -3.4974, (3, 0): -5.4379}  # logarithms
ENTRY = -2.5156e-05  # E_43


@pytest.fixture(scope="module")
def ladder():
    return dynlab.Model(neurons=4, strengths=tuple(np.geomspace(1.0, 0.3, 4)), activation="cubic")


def test_starts_that_took_tens_of_thousands_of_steps_end(ladder):
    run = dynlab.ensemble(ladder, dim=1000, seeds=[1, 38], eta_head=0.01, until=1e16, threads=1)
    assert list(run.frame.status) == ["until", "until"] and (run.frame.steps + run.frame.rejected).max() < 3000
    assert run.frame.drift.max() < 5e-5


def test_they_are_where_the_other_method_has_them(ladder):
    run = dynlab.ensemble(ladder, dim=1000, seeds=[1], eta_head=0.01, until=6e13, threads=1)
    signal, _, head = (part[0] for part in run.ends[:3])
    for place, wanted in SIGNALS.items():
        assert math.log(abs(signal[place])) == pytest.approx(wanted, abs=5e-3)
    assert head[3, 2] == pytest.approx(ENTRY, rel=1e-2)
    sharp = dynlab.ensemble(ladder, dim=1000, seeds=[1], eta_head=0.01, until=6e13, threads=1, rtol=1e-8)
    assert head[3, 2] == pytest.approx(sharp.ends[2][0][3, 2], rel=2e-3)

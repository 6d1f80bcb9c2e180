"""Steps of many coordinates: the formulas' table, a stiff problem that can be solved, and the flow as the other steps follow
it, its conserved quantities, in bursts, on threads."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dynlab import Model, Training, ensemble, simulate
from dynlab.formulas import ndf
from dynlab.population import invariants
from dynlab.population.any_training import flow, implicit, multistep
from dynlab.population.any_training.records import Weights
from dynlab.population.choices import as_followed
from dynlab.population.pair.step_control import STEP_LENGTH
from dynlab.population.starts import draw_start, draw_starts
from tests.population.any_training.test_implicit import buffers


def backward_differences(values):
    """D^0 ... D^k of the last of k + 1 values."""
    found, row = [], np.array(values, dtype=object)
    while len(row):
        found.append(row[-1])
        row = row[1:] - row[:-1]
    return found


@pytest.mark.parametrize("order", range(1, ndf.HIGHEST + 1))
def test_the_table_against_its_definition(order):
    """With y = t^p and h = 1, from 0: exact up to p = order, and off by what LOCAL_ERROR says of the next."""
    kappa = Fraction(ndf.KAPPA[order]).limit_denominator(10**6)
    gamma = sum(Fraction(1, j) for j in range(1, order + 1))
    assert ndf.ALPHA[order] == pytest.approx(float((1 - kappa) * gamma), rel=1e-15)
    for power in range(order + 2):
        past = [Fraction(-j) ** power for j in range(order, -1, -1)]
        differences = backward_differences(past)
        psi = sum(sum(Fraction(1, i) for i in range(1, j + 1)) * differences[j] for j in range(1, order + 1))
        slope = Fraction(power)  # y'(1)
        alpha = (1 - kappa) * gamma
        new = sum(differences) + (slope - psi) / alpha  # from c f = psi/alpha + d, c = 1/alpha
        if power <= order:
            assert new == 1
        else:  # D^(k+1) of t^(k+1) is (k+1)!; the local error, solved for alpha, is LOCAL_ERROR times that
            exact = float((new - 1) * alpha / math.factorial(order + 1))
            assert exact == pytest.approx(ndf.LOCAL_ERROR[order], rel=1e-5)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.7, 10.0])
@pytest.mark.parametrize("order", range(1, ndf.HIGHEST + 1))
def test_differences_of_longer_steps_are_those_of_the_same_polynomial(order, ratio):
    coefficients = np.random.default_rng(order).standard_normal(order + 1)

    def differences(length):
        return np.array(backward_differences([np.polyval(coefficients, -length * j) for j in range(order, -1, -1)]), float)

    held, small = np.zeros((multistep.ROWS, 1)), np.zeros((3, ndf.HIGHEST + 1, ndf.HIGHEST + 1))
    held[: order + 1, 0] = differences(1.0)
    multistep.rescale(ratio, order, held, small)
    np.testing.assert_allclose(held[: order + 1, 0], differences(ratio), rtol=1e-9, atol=1e-10 * max(1.0, ratio**order))


# y' = -1e9 (y - cos t) - sin t, which follows cos t, and u' = u (1 - u), in log time.


def rates_of(system, z, side, scratch, rates):
    y, u, clock = z
    t = math.exp(clock)
    rates[:] = -1e9 * (y - math.cos(t)) - math.sin(t), u * (1.0 - u), 1.0 / t


def jacobian_of(system, z, side, twin, low, columns):
    y, u, clock = z
    t = math.exp(clock)
    by_clock = -1e9 * math.sin(t) * t - math.cos(t) * t
    columns[:] = np.array([[-1e9, 0.0, by_clock], [0.0, 1.0 - 2.0 * u, 0.0], [0.0, 0.0, -1.0 / t]]).T


@pytest.fixture
def walk(monkeypatch):
    """Through the problem above from t = 0.01 to 20: (largest error, steps, factorisations)."""
    factorised = []
    for module, name, fake in (
        (multistep, "switched_rates", rates_of), (implicit, "switched_rates", rates_of),
        (implicit, "exact_jacobian", jacobian_of), (multistep, "head_start", lambda *_: 2),
        (multistep, "note_start", lambda *_: None),
        (multistep, "factor", lambda *given, plain=multistep.factor: (factorised.append(1), plain(*given))),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fake)

    class System:
        m, features, choice = 1, 1, ()

    def run(rtol):
        z, weights = np.array([1.0, 0.01, math.log(0.01)]), Weights(np.ones(3), np.zeros(3), np.zeros(3))
        held, history = buffers(3), flow.history_for(3)
        held.control = np.zeros(6)
        factorised.clear()
        assert multistep.set_off_wide(System, z, (), weights, history, None, held) == flow.UNDER_WAY
        begun, worst, steps = z.copy(), 0.0, 0
        while z[2] < math.log(20.0) and steps < 5000:
            error = multistep.multistep(System, z, (), weights, rtol, history, held)
            if error > 1.0:
                continue
            multistep.shift(int(history.numbers[multistep.ORDER]), held.last, history.differences)
            z[:] = held.new
            multistep.carry_on(z, rtol, weights, error, history, held)
            steps += 1
            t = math.exp(z[2])
            odds = begun[1] / (1.0 - begun[1]) * math.exp(t - 0.01)
            worst = max(worst, abs(z[0] - math.cos(t)), abs(z[1] - odds / (1.0 + odds)))
        assert z[2] >= math.log(20.0) and held.control[STEP_LENGTH] > 0.0
        return worst, steps, len(factorised)

    return run


def test_a_stiff_problem_that_can_be_solved(walk):
    coarse, fine = walk(1e-4), walk(1e-7)
    assert coarse[0] < 1e-2 and fine[0] < 1e-4 and fine[0] < 0.03 * coarse[0]
    assert fine[1] < 1500 and fine[2] < 0.4 * fine[1], "factors are kept for many steps"


def test_a_wrong_table_is_caught(walk, monkeypatch):
    monkeypatch.setattr(multistep, "HARMONIC", (*ndf.HARMONIC[:2], 1.4, *ndf.HARMONIC[3:]))
    assert walk(1e-7)[0] > 1e-3


def both_ways(monkeypatch, model, training, count=4, until=1e9, **asked):
    """The flow by steps for few coordinates, and by those for many."""
    signal, gram = draw_starts(model, 1000, 0, np.arange(count))
    found = []
    for wide in (10**9, 0):
        monkeypatch.setattr(flow, "WIDE", wide)
        given = as_followed(model, training), signal, gram
        found.append(flow.run_switched(model, *given, until=until, rtol=1e-6, **asked))
    return found


THREE = Model(neurons=3, strengths=(1.0, 0.6, 0.3))


@pytest.mark.parametrize(
    ("model", "training"),
    [
        (THREE, Training()),
        (THREE, Training(target="average", target_rate=0.01)),
        (Model(neurons=3, strengths=(1.0, 0.6, 0.3), activation="relu3"), Training(head="none")),
    ],
)
def test_as_the_other_steps_follow_it(monkeypatch, model, training):
    few, many = both_ways(monkeypatch, model, training, times=(1e2, 1e4, 1e5, 1e9))
    assert (few.status == many.status).all() and (many.steps > few.steps).all()
    assert (np.isfinite(few.learnt) == np.isfinite(many.learnt)).all() and np.isfinite(few.learnt).any()
    np.testing.assert_allclose(many.learnt, few.learnt, rtol=2e-3)
    np.testing.assert_allclose(many.peak, few.peak, rtol=2e-3, atol=1e-9)
    np.testing.assert_allclose(many.loss, few.loss, rtol=1e-5)
    for one, other in zip(many.at_times, few.at_times, strict=True):
        np.testing.assert_allclose(one[:, [0, 1, 3]], other[:, [0, 1, 3]], rtol=1e-3, atol=1e-3)


def test_what_is_conserved():
    """Eight neurons and features, 193 coordinates, of themselves; and the same bits on two threads."""
    model = Model(neurons=8, strengths=tuple(np.linspace(1.0, 0.3, 8)))
    assert flow.is_wide(model, Training()) and flow.coordinates(model, Training()) == 193
    alone, shared = (ensemble(model, seeds=2, until=1e5, threads=threads) for threads in (1, 2))
    rate = Training().head_rate
    kept = [invariants.conserved(model, *states, rate) for states in (alone.starts, alone.ends)]
    assert np.abs(kept[1] / kept[0] - 1.0).max() < 1e-4
    assert (np.isfinite(alone.marks[:, 0])).all() and (alone.frame["head_peak"] > 0.01).all()
    for one, other in zip(alone.ends, shared.ends, strict=True):
        assert (one == other).all()


def test_bursts_do_not_matter(monkeypatch):
    monkeypatch.setattr(flow, "WIDE", 0)
    signal, gram = draw_starts(THREE, 1000, 0, np.arange(2))

    def run(burst):
        monkeypatch.setattr(flow, "BURST", burst)
        return flow.run_switched(THREE, Training(), signal, gram, until=1e5, rtol=1e-6)

    whole, parts = run(flow.BURST), run(1)
    assert (whole.steps == parts.steps).all()
    for one, other in zip(whole.ends, parts.ends, strict=True):
        assert (one == other).all()


def test_one_trajectory_with_its_trace(monkeypatch):
    monkeypatch.setattr(flow, "WIDE", 0)
    found = simulate(THREE, draw_start(THREE, 1000, 0, 0), until=1e6)
    assert found.status == "until" and found.time[-1] == pytest.approx(1e6, rel=1e-12) and (np.diff(found.time) >= 0.0).all()
    kept = invariants.conserved(THREE, found.signal, found.noise_gram, found.head, Training().head_rate)
    assert np.abs(kept / kept[0] - 1.0).max() < 1e-4
    assert found.loss[-1] < 0.8 * found.loss[0]


def test_how_many_steps_it_may_take(monkeypatch):
    monkeypatch.setattr(flow, "WIDE", 0)
    signal, gram = draw_starts(THREE, 1000, 0, np.arange(1))
    found = flow.run_switched(THREE, Training(), signal, gram, until=1e9, rtol=1e-6, max_steps=50)
    assert found.status[0] == multistep.TOO_MANY_STEPS and found.steps[0] + found.rejected[0] == 50


def test_kinks_keep_to_the_other_steps():
    assert not flow.is_wide(Model(neurons=12, activation="relu"), Training())
    assert not flow.is_wide(Model(neurons=12), Training(objective="vicreg", head="none", stop_gradient="none"))

"""Every check of the flow must be able to fail: faults planted in the solver, and the checks that must catch them.

Faults are of three kinds: wrong arrays handed to the compiled kernel (the method's table, the parameters), wrong
formulas (integrated in pure Python by SciPy in the solver's own coordinates), and wrong results.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dynlab import Model
from dynlab.formulas import cubic_flow_rates
from dynlab.population import gradient
from dynlab.population.pair import clock, flow
from dynlab.population.starts import draw_start
from dynlab.population.stepping import method_table
from tests.population.pair import checkers
from tests.population.pair.checkers import Run, run
from tests.population.pair.dense import dense_flow

MODEL, RATE, RTOL = Model(weak=0.6), 0.1, 1e-7
START = draw_start(MODEL, 12, 0, 1)
TIMES = np.geomspace(0.5, 300.0, 12)


@cache
def reference():
    return dense_flow(MODEL, START, RATE, TIMES)


def check(name, runner):
    if name == "scipy":
        checkers.agrees_with(runner, reference(), MODEL, START, RATE, RTOL, tolerance=1e-6, clock=1e-4)
    elif name == "conservation":
        checkers.conserves(runner, MODEL, START, RATE, TIMES, RTOL, tolerance=1e-5)
    elif name == "mirror":
        checkers.mirror_neurons(runner, MODEL, START, RATE, TIMES, RTOL, tolerance=1e-4)
    elif name == "bound":
        checkers.head_within_bound(runner, MODEL, START, RATE, TIMES, RTOL)
    else:
        checkers.loss_never_rises(runner, MODEL, START, 0.0, TIMES, RTOL)


def with_table(change):
    """The compiled solver with a changed table (A, C, H, gamma)."""

    def runner(*at):
        right = method_table

        def wrong():
            a, c, h, gamma = (np.array(part) for part in right())
            change(a, c, h)
            return a, c, h, float(gamma)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow, "method_table", wrong)
            return run(*at)

    return runner


def with_parameters(change):
    """The compiled solver with changed parameters (count moments, sigma, the head's rate, strengths)."""

    def runner(*at):
        right = gradient.parameter_vector

        def wrong(model, head_rate=0.0):
            par = right(model, head_rate)
            change(par)
            return par

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gradient, "parameter_vector", wrong)
            return run(*at)

    return runner


def with_rates(change):
    """The formula of the rates, `change`d, integrated in pure Python."""

    def runner(model, start, head_rate, times, rtol):
        z, side = flow.encode(model, start)
        par, side = gradient.parameter_vector(model, head_rate).tolist(), side.tolist()

        def slope(_, point):
            rates = [0.0] * 9
            cubic_flow_rates.cubic_pair_rates(par, point.tolist(), side, rates)
            change(rates, point)
            return rates

        solution = solve_ivp(slope, (0.0, times[-1]), z, "LSODA", t_eval=times, rtol=1e-9, atol=1e-12)
        states = flow.decode(model, solution.y.T, np.array(side))
        mine = run(model, start, head_rate, times, rtol)
        return Run(*states, tuple(part[-1] for part in states), times[-1], mine.first, mine.second, mine.peak, "until")

    return runner


def with_result(change):
    return lambda *at: change(run(*at))


def late(model, start, head_rate, times, rtol):
    """A time integral with a wrong weight: clocks run slow by 2 parts in a thousand."""
    return run(model, start, head_rate, np.asarray(times) * 1.002, rtol)


def scaled(index, factor):
    def change(array, *_):
        array[index] *= factor

    return change


FAULTS = {
    "none": with_rates(lambda rates, point: None),
    "head's rate doubled": with_parameters(scaled(7, 2.0)),
    "weak feature brighter": with_parameters(scaled(9, 1.01)),
    "more noise patches": with_parameters(scaled(2, 1.01)),
    "a stage's weight": with_table(lambda a, c, h: scaled((4, 1), 1.05)(a)),
    "a stage's coupling": with_table(lambda a, c, h: scaled((5, 2), 1.05)(c)),
    "sign in the interpolant": with_table(lambda a, c, h: scaled((0, 0), -1.0)(h)),
    "sign of a signal's rate": with_rates(scaled(2, -1.0)),
    "factor in a norm's rate": with_rates(scaled(4, 1.1)),
    "sign of the angle's rate": with_rates(scaled(6, -1.0)),
    "head's gradient doubled": with_rates(scaled(8, 2.0)),
    "all backwards": with_rates(lambda rates, point: rates.__setitem__(slice(0, 7), [-x for x in rates[:7]])),
    "late": late,
    "head too large": with_result(lambda r: replace(r, head=np.eye(2) + 1.2 * (r.head - np.eye(2)))),
    "event late": with_result(lambda r: replace(r, peak=1.01 * r.peak)),
    "end is not finite": with_result(lambda r: replace(r, end=(np.nan * r.end[0], *r.end[1:]))),
    "not finished": with_result(lambda r: replace(r, status="steps")),
}

CAUGHT = {
    "scipy": [
        "head's rate doubled", "weak feature brighter", "more noise patches", "a stage's weight", "a stage's coupling",
        "sign in the interpolant", "sign of a signal's rate", "factor in a norm's rate", "sign of the angle's rate",
        "head's gradient doubled", "late", "head too large", "event late", "not finished",
    ],
    "conservation": [
        "head's rate doubled", "sign of a signal's rate", "factor in a norm's rate", "head's gradient doubled",
        "end is not finite",
    ],
    "mirror": ["sign of a signal's rate", "factor in a norm's rate", "head's gradient doubled"],
    "bound": ["head too large"],
    "descends": ["all backwards"],
}  # fmt: skip


def bound_state():
    """A run in which the head comes close to its bound."""
    return Model(weak=0.3), draw_start(Model(), 10**6, 0, 0), np.geomspace(1e8, 1e14, 400)


@pytest.mark.parametrize("name", CAUGHT)
def test_the_flow_itself_passes(name):
    check(name, run)
    check(name, FAULTS["none"])


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in CAUGHT for fault in CAUGHT[name]])
def test_fault_is_caught(name, fault):
    if name == "bound":
        model, start, times = bound_state()
        checkers.head_within_bound(run, model, start, 0.01, times, 1e-9)
        with pytest.raises(AssertionError):
            checkers.head_within_bound(FAULTS[fault], model, start, 0.01, times, 1e-9)
        return
    with pytest.raises(AssertionError):
        check(name, FAULTS[fault])


def test_every_fault_is_caught_somewhere():
    assert {fault for faults in CAUGHT.values() for fault in faults} | {"none"} == set(FAULTS)


def keeps_small_steps(add):
    """A clock that stands at 1e12 and is given ten thousand steps far below its spacing of 1e-4."""
    clock = [1e12, 0.0]
    for _ in range(10_000):
        add(clock, 1e-6)
    assert abs(clock[0] + clock[1] - 1e12 - 1e-2) < 1.3e-4, "small steps are lost"


def test_missing_compensation_is_caught():
    keeps_small_steps(clock.add_time)

    def plain(clock, step):
        clock[0] += step

    with pytest.raises(AssertionError, match="lost"):
        keeps_small_steps(plain)

"""relu's kinks: signals that reach 0 in finite time stay there, are let go when the force turns, and descent agrees."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import dynlab
from dynlab import Model
from dynlab.population.gradient import order_parameter_gradient
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.starts import draw_start

MODEL = Model(strengths=(1.0, 0.7), activation="relu")


@cache
def trajectory(index, eta_head):
    return dynlab.simulate(MODEL, draw_start(MODEL, 20, 5, index), eta_head=eta_head, until=50.0, rtol=1e-8)


def spans_at_zero(signal):
    """[(first, last)] index ranges in which a signal (n,) is exactly 0."""
    at = np.flatnonzero(np.diff(np.concatenate([[False], signal == 0.0, [False]]).astype(int)))
    return list(zip(at[::2], at[1::2] - 1, strict=True))


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_weak_signals_reach_zero_and_stay(index):
    run = trajectory(index, 0.01)
    assert run.success
    stopped = 0
    for j in range(2):
        for f in range(2):
            for first, last in spans_at_zero(run.signal[:, j, f]):
                stopped += 1
                assert 0.0 < run.time[first] < 50.0
                assert last == len(run.time) - 1, "let go although the head hardly moves"
    assert stopped >= 1


def one_sided(run, k, j, f):
    """Velocities of signal (j, f) just above and just below its kink, from the exact gradient."""
    velocities = []
    for side in (1, -1):
        signal = run.signal[k].copy()
        signal[j, f] = side * 1e-12
        state = OrderParameters(signal, run.noise_gram[k], run.head[k])
        velocities.append(-order_parameter_gradient(MODEL, state)[1][j, f])
    return velocities


RELEASED = [(11, 1, 0), (12, 1, 0), (14, 0, 0)]


@pytest.mark.parametrize(("index", "j", "f"), RELEASED)
def test_release_when_the_force_turns(index, j, f):
    run = trajectory(index, 1.0)
    (first, last), *_ = spans_at_zero(run.signal[:, j, f])
    assert last < len(run.time) - 1
    for k in range(first + 1, last - 4, max(1, (last - first) // 10)):
        above, below = one_sided(run, k, j, f)
        assert above <= 1e-9 and below >= -1e-9, f"held at {run.time[k]} although it is pulled away"
    above, below = one_sided(run, last + 5, j, f)
    assert above > 0.0 or below < 0.0, "let go although both sides pull back"
    assert abs(run.signal[-1, j, f]) > 1e-3


@pytest.mark.parametrize(("index", "eta_head"), [(2, 0.01), (3, 0.01), (11, 1.0), (12, 1.0), (14, 1.0)])
def test_descent_rattles_around_the_same_trajectory(index, eta_head):
    """Through sliding and release, the distance falls in proportion to the step."""
    start = draw_start(MODEL, 20, 5, index)
    times = np.array([0.8, 1.6, 2.4, 3.2])
    flow = dynlab.simulate(MODEL, start, eta_head=eta_head, times=times, rtol=1e-9)
    assert (trajectory(index, eta_head).signal == 0.0).any()
    distance = []
    for eta in (4e-3, 1e-3, 2.5e-4):
        steps = round(times[-1] / eta)
        down = dynlab.simulate(MODEL, start, eta_head=eta_head, method="descent", eta=eta, steps=steps, times=times)
        distance.append(max(np.abs(down.signal[1:] - flow.signal).max(), np.abs(down.head[1:] - flow.head).max()))
    assert distance[2] < 2e-3
    ratios = np.array(distance[:-1]) / distance[1:]
    assert ((ratios > 2.5) & (ratios < 6.5)).all(), distance

"""Rounds of a state that goes round, on paths known by hand, and how a run is cut into bursts."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import dynlab
from dynlab.population.hidden import cycles, flow
from dynlab.population.hidden.flow import run_hidden
from dynlab.population.pair.flow import heed

UNITS, FEATURES, NEURONS = 2, 1, 1
SYSTEM = (0, NEURONS, UNITS, FEATURES, None, None, None)
PERIOD, STEP = 7.0, 0.05


def followed(path, until):
    """The first period that is found on path(t) -> (state (9,), velocity), its time, and the numbers."""
    track = np.zeros(cycles.NUMBERS), *(np.zeros(9) for _ in range(6))
    track[0][cycles.AGE] = -1.0
    for t in np.arange(0.0, until, STEP):
        found = cycles.look_for_round(SYSTEM, t, *path(t), 0.1, track)
        if found > 0.0:
            return found, t, track[0]
    return 0.0, until, track[0]


def ellipse(t, shrink=0.0, turn=0.0, drift=0.0):
    """Signals on an ellipse, noise rows that turn together, readout at rest: state and velocity."""
    w, fade = 2.0 * np.pi / PERIOD, np.exp(-shrink * t)
    signal = np.array([1.0 + drift * t + 0.3 * fade * np.cos(w * t), 0.2 * fade * np.sin(w * t)])
    speed = np.array([drift, 0.0]) - shrink * (signal - [1.0 + drift * t, 0.0])
    speed += 0.3 * fade * w * np.array([-np.sin(w * t), 2.0 / 3.0 * np.cos(w * t)])
    c, s = np.cos(turn * t), np.sin(turn * t)
    rows = np.array([[1.0, 0.2], [0.3, 0.8]]) @ np.array([[c, s], [-s, c]])
    moved = turn * rows @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    y = np.concatenate([signal, rows.ravel(), [0.5, -0.5], [1.0]])
    return y, np.concatenate([speed, moved.ravel(), np.zeros(3)])


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_a_cycle_is_found_with_its_period_after_as_many_rounds_as_it_takes(turn):
    # A turn of the noise space is no change: its period is another, 2 pi/0.3.
    period, when, _ = followed(lambda t: ellipse(t, turn=turn), 100.0)
    assert abs(period - PERIOD) < 1e-4
    assert cycles.ROUNDS * PERIOD <= when < (cycles.ROUNDS + 1.5) * PERIOD


@pytest.mark.parametrize("path", [{"shrink": 0.01}, {"drift": 1e-3}])
def test_rounds_that_drift_are_no_cycle_but_are_told(path):
    # Each comes back to within 7 % or 1 % of its extent: more than `ALIKE`, less than `NEAR`.
    period, _, numbers = followed(lambda t: ellipse(t, **path), 60.0)
    assert period == 0.0
    assert abs(cycles.last_period(numbers) - PERIOD) < 0.05


def test_what_only_drifts_or_rests_goes_round_nowhere():
    for path in (
        lambda t: ellipse(0.0),
        lambda t: ellipse(t, shrink=2.0),
        lambda t: (ellipse(0.0)[0] * (1.0 + t), ellipse(0.0)[0]),
    ):
        period, _, numbers = followed(path, 100.0)
        assert period == cycles.last_period(numbers) == 0.0


MODEL = dynlab.Model(activation="relu", weak=0.6, hidden=2)
RUN = {"head_rate": 0.1, "readout_rate": 1.0, "until": 20.0, "rtol": 1e-6, "settle": True}


def starts(count):
    return [dynlab.OrderParameters.sample(MODEL, 200, np.random.default_rng((0, k))) for k in range(count)]


def test_bursts_change_no_bit_and_no_step_is_taken_twice(monkeypatch):
    whole = run_hidden(MODEL, starts(3), **RUN, traced=True)
    monkeypatch.setattr(flow, "BURST", 4)
    parts = run_hidden(MODEL, starts(3), **RUN, traced=True)
    for name in ("learnt", "head_peak", "time", "drift", "loss", "steps", "rejected", "status"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name), equal_nan=True), name
    for name in ("ends", "trace"):
        for one, other in zip(getattr(parts, name), getattr(whole, name), strict=True):
            assert np.array_equal(one, other), name
    assert len(whole.trace[0]) == whole.steps[-1] > 30
    assert (np.diff(whole.trace[0]) > 0.0).all()
    assert np.array_equal(whole.trace[1][-1], whole.ends[0][-1])


def test_an_interrupt_is_heeded_within_a_start(monkeypatch):
    stop, bursts = threading.Event(), []

    def stopped():
        bursts.append(len(bursts))
        return len(bursts) > 3  # within the first start, which takes more

    monkeypatch.setattr(flow, "BURST", 4)
    monkeypatch.setattr(flow, "stopped", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_hidden(MODEL, starts(1), **RUN)
    assert len(bursts) == 4
    monkeypatch.undo()
    heed(stop)
    stop.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_hidden(MODEL, starts(1), **RUN)
    finally:
        heed(threading.Event())


def test_the_last_time_asked_for_is_told_however_it_is_rounded():
    for until in (0.1 + 0.2, 1.0 / 3.0, 19.7):
        times = np.array([0.5, 1.0]) * until
        found = run_hidden(MODEL, starts(2), **(RUN | {"settle": False, "until": until}), times=times)
        assert np.isfinite(found.at_times[0]).all()
        assert (
            np.array_equal(found.at_times[0][:, -1], found.ends[0])
            or np.abs(found.at_times[0][:, -1] - found.ends[0]).max() < 1e-9
        )

"""Chosen times, traces, events and stationarity."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab import Model
from dynlab.population.starts import draw_start

MODEL = Model(weak=0.5)
START = draw_start(MODEL, 50, 0, 2)


def test_chosen_times_are_the_trace():
    """The same run recorded at chosen times and at every step: the first lie on the second."""
    trace = dynlab.simulate(MODEL, START, eta_head=0.1, until=1e6, rtol=1e-8)
    inside = trace.time[5:-5:7]
    inside = inside[np.concatenate([[True], np.diff(inside) > 0])]
    chosen = dynlab.simulate(MODEL, START, eta_head=0.1, until=1e6, rtol=1e-8, times=inside)
    np.testing.assert_array_equal(chosen.time, inside)
    where = np.searchsorted(trace.time, inside)
    np.testing.assert_allclose(chosen.signal, trace.signal[where], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(chosen.head, trace.head[where], rtol=1e-5, atol=1e-9)


def test_recording_changes_nothing():
    plain = dynlab.simulate(MODEL, START, until=1e5)
    recorded = dynlab.simulate(MODEL, START, until=1e5, times=[0.0, 1.0, 100.0, 1e5])
    # The end is read off the interpolant at a theta of its own: up to rounding.
    np.testing.assert_allclose(plain.signal[-1], recorded.signal[-1], rtol=1e-13)
    np.testing.assert_array_equal(recorded.signal[0], plain.signal[0])
    assert plain.steps == recorded.steps
    np.testing.assert_array_equal(list(plain.events.values()), list(recorded.events.values()))


@pytest.mark.parametrize("until", [1e-3, 3.7, 12345.6789, 1e9])
def test_until_is_met(until):
    run = dynlab.simulate(MODEL, START, until=until)
    assert run.status == "until"
    assert run.time[-1] == pytest.approx(until, rel=1e-14)
    assert run.settings["until"] == until
    frame = dynlab.ensemble(MODEL, dim=50, seeds=5, until=until).frame
    assert (frame["time_end"] == until).all() and (frame["status"] == "until").all()


def test_stopping_early_is_a_prefix():
    """The state at an end in the middle is the state of a longer run at that time."""
    middle = dynlab.simulate(MODEL, START, until=1e3, rtol=1e-9).final
    longer = dynlab.simulate(MODEL, START, times=[1e3, 1e5], rtol=1e-9)
    np.testing.assert_allclose(middle.signal, longer.signal[0], rtol=1e-6)


def test_events_of_the_trace():
    """First and second feature learnt, and the head's peak, recomputed from a fine record."""
    run = dynlab.simulate(MODEL, START, eta_head=0.1, until=1e6, rtol=1e-8)
    learnt = []
    for f in range(2):
        passed = np.flatnonzero(run.cosines[:, :, f].max(1) > 0.5)
        assert len(passed) and passed[0] > 0
        learnt.append((run.time[passed[0] - 1], run.time[passed[0]]))
    for name, (low, high) in zip(("first", "second"), sorted(learnt), strict=True):
        assert low * (1 - 1e-12) <= run.events[name] <= high * (1 + 1e-12)
    sizes = np.abs(run.head - np.eye(2)).max((1, 2))
    at = sizes.argmax()
    assert run.time[at - 1] <= run.events["peak"] <= run.time[at + 1]
    frame = dynlab.ensemble(MODEL, dim=50, seeds=[2], eta_head=0.1, until=1e6, rtol=1e-8).frame.iloc[0]
    assert frame["head_peak"] >= sizes.max() * (1 - 1e-12)
    assert frame["head_peak"] == pytest.approx(sizes.max(), rel=1e-3)
    assert [frame["time_first"], frame["time_second"]] == [run.events["first"], run.events["second"]]


def test_no_events_without_cause():
    run = dynlab.simulate(MODEL, START, head="none", until=1e-3)
    assert all(np.isnan(time) for time in run.events.values())
    assert (run.head == np.eye(2)).all()


def test_snapshots_are_the_states_at_the_events():
    result = dynlab.ensemble(MODEL, dim=50, seeds=20, eta_head=0.1)
    signal, gram, head = result.snapshots
    cosines = signal**2 / ((signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1))[..., None]
    for row in (0, 1):
        seen = ~np.isnan(result.marks[:, row])
        assert seen.sum() > 10
        # Of the best neuron of each feature, one is just passing 1/2.
        away = np.abs(cosines[seen, row].max(1) - 0.5).min(1)
        assert away.max() < 1e-6
    peaks = np.abs(head[:, 2] - np.eye(2)).max((1, 2))
    np.testing.assert_allclose(peaks, result.frame["head_peak"], rtol=1e-12)


@pytest.mark.parametrize("activation", ["cubic", "relu"])
@pytest.mark.parametrize("dim", [64, 10**6])
def test_stationarity_changes_no_outcome(activation, dim):
    """Stopping where nothing can change any more, against running on to the full horizon."""
    model = Model(weak=0.3, activation=activation)
    seeds = 200 if activation == "cubic" else 50
    early = dynlab.ensemble(model, dim=dim, seeds=seeds)
    late = dynlab.ensemble(model, dim=dim, seeds=seeds, until=early.settings["until"])
    assert (early.frame["status"] == "stationary").mean() > 0.9
    assert (late.frame["status"] == "until").all()
    assert (early.frame["time_end"] <= late.frame["time_end"]).all()
    assert early.frame["outcome"].tolist() == late.frame["outcome"].tolist()
    for name in ("time_first", "time_second", "head_peak"):
        # The head of relu still creeps towards its largest value when the rest is at rest.
        close = 1e-3 if name == "head_peak" and activation == "relu" else 1e-6
        np.testing.assert_allclose(early.frame[name], late.frame[name], rtol=close)

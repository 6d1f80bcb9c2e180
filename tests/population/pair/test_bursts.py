"""Integration goes on in bursts of steps: to the same bits, and ended by an interrupt; impossible losses are failures."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import dynlab
from dynlab import Model
from dynlab.population import moments
from dynlab.population.pair import flow
from dynlab.population.starts import draw_start
from tests.waiting import HANGS


def run(model, starts, **options):
    z, side = (np.array(part) for part in zip(*(flow.encode(model, start) for start in starts), strict=True))
    return flow.run_flow(model, z, side, head_rate=0.01, until=1e8, rtol=1e-6, settle=True, **options)


@pytest.mark.parametrize("burst", [1, 7, 50])
def test_bursts_change_no_bit(monkeypatch, burst):
    """Of four trajectories, with times that are recorded and a last one that is traced."""
    model = Model()
    starts = [draw_start(model, 1000, 0, i) for i in range(4)]
    options = {"times": [1.0, 1e4, 1e6], "trace_points": 2}
    whole = run(model, starts, **options)
    monkeypatch.setattr(flow, "BURST", burst * 81)
    parts = run(model, starts, **options)
    assert (whole.steps > 2 * burst).all()
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(value, getattr(parts, name), err_msg=name)


def test_a_trace_grows_burst_by_burst_to_its_largest_size(monkeypatch):
    """Where it is full the rest of the run is not recorded, in bursts as in one piece."""
    model, start = Model(), draw_start(Model(), 1000, 0, 0)
    whole = run(model, [start], trace_points=4)
    assert len(whole.trace) == 4 * whole.steps[0]
    monkeypatch.setattr(flow, "BURST", 7 * 81)
    monkeypatch.setattr(flow, "MOST_POINTS", 101)
    full = run(model, [start], trace_points=4)
    np.testing.assert_array_equal(full.trace, whole.trace[:101])
    np.testing.assert_array_equal(full.trace_time, whole.trace_time[:101])
    np.testing.assert_array_equal(full.end, whole.end)


def test_a_thread_ends_what_it_integrates_when_told():
    """In the thread that heeds the event, and in no other."""
    model, caught = Model(), []
    starts = [draw_start(model, 1000, 0, 0)]
    stop = threading.Event()
    stop.set()

    def work():
        flow.heed(stop)
        try:
            run(model, starts)
        except KeyboardInterrupt:
            caught.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught == ["stopped"]
    assert (run(model, starts).status <= 1).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_ends_an_ensemble_within_a_burst(monkeypatch, threads):
    """Threads in the middle of their trajectories are told, and none begins another burst."""
    begun, told, sent, kernel = [], [], threading.Event(), flow._abreast_flow_kernel

    def interrupted(*arguments):
        begun.append(flow.stopped())
        result = kernel(*arguments)
        if len(begun) >= 1000 and not sent.is_set():
            sent.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if sent.is_set() and all(told):
            told.append(flow._thread.stop.wait(HANGS))
        return result

    monkeypatch.setattr(flow, "BURST", 81)
    monkeypatch.setattr(flow, "_abreast_flow_kernel", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            dynlab.ensemble(Model(), dim=1000, seeds=200, threads=threads)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told and all(told), "a thread was not told"
    assert not any(begun), "a burst began all the same"


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf, -0.01, 8.01])
def test_an_impossible_loss_is_a_failure(monkeypatch, loss):
    """With two neurons losses are in [0, 8]."""
    model, original = Model(), moments.losses

    def spoilt(*state):
        values = original(*state)
        values[-1] = loss
        return values

    monkeypatch.setattr(moments, "losses", spoilt)
    frame = dynlab.ensemble(model, dim=1000, seeds=3, until=10.0).frame
    assert frame["status"].tolist() == ["until", "until", "not finite"]
    assert frame["outcome"].tolist()[2] == "failed" and "failed" not in frame["outcome"].tolist()[:2]
    one = dynlab.simulate(model, draw_start(model, 1000, 0, 0), until=10.0)
    assert one.status == "not finite" and not one.success


@pytest.mark.parametrize(("loss", "wrong"), [(0.0, False), (8.0, False), (-1e-9, False), (8.0 + 1e-9, False), (-1e-3, True)])
def test_losses_at_the_ends_of_their_range(loss, wrong):
    """Perfect agreement is 0 and perfect opposition 4 a neuron; rounding beyond them is no failure."""
    assert bool(moments.impossible(Model(), np.array(loss))) is wrong

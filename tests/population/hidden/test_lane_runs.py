"""Trajectories of hidden units that go on side by side in lanes are those that go on alone, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.ensembles import hidden
from dynlab.population.hidden import flow
from dynlab.population.hidden.flow import run_hidden
from dynlab.population.status import SINGULAR, STATIONARY, UNTIL

MODEL = dynlab.Model(activation="relu", weak=0.6, hidden=2)
RUN = {"readout_rate": 1.0, "rtol": 1e-6, "settle": True, "times": np.array([1.0, 7.5, 500.0])}
NAMES = ("learnt", "head_peak", "time_peak", "time", "drift", "loss", "period", "peak_row", "steps", "rejected", "status")


def starts(numbers):
    return [dynlab.OrderParameters.sample(MODEL, 1000, np.random.default_rng((0, k))) for k in numbers]


def agree(one, other):
    for name in NAMES:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    for mine, theirs in zip(one.ends + one.at_times, other.ends + other.at_times, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


@pytest.mark.parametrize(("rate", "until"), [(0.1, 700.0), (0.0, 300.0)])
def test_lanes_give_the_bits_of_single_trajectories(monkeypatch, rate, until):
    # More than there are lanes, of all lengths: kinks, both methods, a singular end among them.
    begun = starts([334, *range(18)])
    alone = run_hidden(MODEL, begun, head_rate=rate, until=until, **RUN)
    monkeypatch.setattr(flow, "ABREAST", 1)
    agree(run_hidden(MODEL, begun, head_rate=rate, until=until, **RUN), alone)
    some = set(alone.status)
    assert STATIONARY in some and (rate == 0.0 or {UNTIL, SINGULAR} <= some)
    assert any((part == 0.0).any() for part in alone.ends[0])  # signals that are held


def test_bursts_of_lanes_change_no_bit_and_fewer_starts_than_lanes_will_do(monkeypatch):
    monkeypatch.setattr(flow, "ABREAST", 1)
    whole = run_hidden(MODEL, starts(range(10)), head_rate=0.1, until=20.0, **RUN)
    monkeypatch.setattr(flow, "BURST", 4)
    agree(run_hidden(MODEL, starts(range(10)), head_rate=0.1, until=20.0, **RUN), whole)
    few = run_hidden(MODEL, starts([3]), head_rate=0.1, until=20.0, **RUN)
    for part, every in zip(few.ends, whole.ends, strict=True):
        assert np.array_equal(part[0], every[3])


def test_many_starts_are_given_out_in_larger_pieces():
    assert hidden.piece_size(100, 2, "flow") == hidden.piece_size(1000, 2, "descent") == hidden.PIECE
    for count in (500, 2000, 100_000):
        size = hidden.piece_size(count, 2, "flow")
        assert flow.ABREAST <= size <= max(hidden.LARGEST_PIECE, count)
        assert -(-count // size) >= 4  # for both threads to end together

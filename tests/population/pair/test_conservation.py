"""Conserved quantities over ensembles, recomputed from their first and last states, and nothing failing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import dynlab
from dynlab import Model
from tests.population.pair.checkers import charges, conserves, head_within_bound, loss_never_rises, mirror_neurons, run

DIMS = (64, 1000, 10**6, 10**12)
CORNERS = list(itertools.product((0.1, 0.3, 0.8), (0.0, 0.001, 0.01, 0.1, 1.0)))


def drift_between_ends(result):
    """Largest relative change of the conserved quantities between start and end, over an ensemble."""
    rate = result.settings["eta_head"] if result.settings["head"] == "off-diagonal" else 0.0
    before, after = (charges(result.model.activation, *part, rate) for part in (result.starts, result.ends))
    assert np.isfinite(after).all()
    return np.abs(after / before - 1.0).max()


def sound(result, limit):
    """No failure; the drift, recomputed and as the solver saw it on the way, below `limit`."""
    frame = result.frame
    failed = frame[frame["outcome"] == "failed"]
    assert failed.empty, failed[["seed", "status", "steps"]].to_string()
    assert set(frame["status"]) <= {"until", "stationary"}
    assert drift_between_ends(result) < limit
    assert frame["drift"].max() < limit
    # What the solver reports includes the end, up to the rounding of decoding.
    assert drift_between_ends(result) <= frame["drift"].max() + 1e-11


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("rtol", "limit", "seeds"), [(1e-6, 1e-4, 60), (1e-9, 1e-7, 12)], ids=["1e-6", "1e-9"])
def test_cubic_ensembles(dim, rtol, limit, seeds):
    for weak, eta_head in CORNERS:
        sound(dynlab.ensemble(Model(weak=weak), dim=dim, seeds=seeds, eta_head=eta_head, rtol=rtol), limit)


@pytest.mark.parametrize("head", ["none", "off-diagonal"])
@pytest.mark.parametrize("dim", [64, 1000])
@pytest.mark.parametrize("activation", ["relu", "relu3", "linear"])
def test_other_activations(activation, dim, head):
    model = Model(weak=0.5, activation=activation)
    until = 100.0 if activation == "linear" else None
    # Long waits at large heads cost relu3 a digit.
    loose = 10.0 if activation == "relu3" else 1.0
    for rtol, limit, seeds in ((1e-6, loose * 1e-4, 20), (1e-9, loose * 1e-7, 4)):
        sound(dynlab.ensemble(model, dim=dim, seeds=seeds, head=head, eta_head=0.1, rtol=rtol, until=until), limit)


@pytest.mark.parametrize("activation", ["cubic", "relu"])
def test_three_neurons_three_features(activation):
    model = Model(strengths=(1.0, 0.7, 0.5), neurons=3, activation=activation)
    for rtol, limit in ((1e-6, 1e-4), (1e-9, 1e-7)):
        sound(dynlab.ensemble(model, dim=100, seeds=4, eta_head=0.1, rtol=rtol, until=1e4), limit)


@pytest.mark.parametrize("head_rate", [0.0, 0.01, 1.0])
def test_all_the_way(head_rate):
    """At a hundred times between, not only at the ends; also what else holds along the way."""
    model = Model(weak=0.5)
    for seed in range(5):
        start = dynlab.population.starts.draw_start(model, 100, 3, seed)
        times = np.geomspace(1.0, 1e7, 100)
        conserves(run, model, start, head_rate, times, rtol=1e-9, tolerance=1e-7)
        mirror_neurons(run, model, start, head_rate, times[:40], rtol=1e-9, tolerance=1e-4)
        head_within_bound(run, model, start, head_rate, times, rtol=1e-9)
        if head_rate == 0.0:
            loss_never_rises(run, model, start, head_rate, times, rtol=1e-9)

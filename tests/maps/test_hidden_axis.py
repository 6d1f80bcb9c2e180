"""Hidden units as an axis of a map; what a store, a portrait make of them."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.ensembles.ensemble_store import Store
from dynlab.maps.measures import Measure
from dynlab.maps.phase_map import phase_map
from dynlab.maps.points import MapPoint, layered_starts
from dynlab.planes.plane import Plane, Side
from dynlab.portrait import main as portrait
from dynlab.tools.checks import SettingError
from tests.maps.cases import small_grid

FIXED = {"activation": "relu", "dim": 200, "until": 3.0, "readout": "own"}
X, Y = "hidden=1:2:2", "eta-head=0.1:1:2"


def test_a_map_over_hidden_units_is_of_the_ensembles_flow(tmp_path):
    found = phase_map(small_grid(X, Y, **FIXED), tmp_path, seeds=3, measure=Measure.named("rank"))
    frame = found.frame
    assert len(frame) == 2 * 2 * 2 and (frame["seeds"] == 3).all()
    row = frame[(frame["hidden"] == 2) & (frame["eta_head"] == 1.0) & (frame["head"] == "off-diagonal")].iloc[0]
    model = dynlab.Model(activation="relu", hidden=2, readout="own")
    starts = layered_starts(MapPoint(model, 200, 1.0, 3.0), 0, 0, 3)
    ends = [dynlab.simulate(model, start, eta_head=1.0, until=3.0).final for start in starts]
    from dynlab.population.hidden.moments import hidden_rank

    ranks = [hidden_rank(model, end.signal, end.noise_gram, end.readout) for end in ends]
    assert row["value"] == pytest.approx(np.median(ranks), rel=1e-9)
    # The same starts without a head: it does nothing to a rate.
    assert frame[frame["head"] == "none"].groupby("hidden")["value"].nunique().eq(1).all()


def test_starts_are_numbered_the_same_however_many_are_asked_for():
    point = MapPoint(dynlab.Model(activation="relu", hidden=2), 200, 0.1, None)
    many, few = layered_starts(point, 5, 0, 40), layered_starts(point, 5, 14, 18)
    for one, other in zip(many[14:18], few, strict=True):
        assert np.array_equal(one.readout, other.readout) and np.array_equal(one.signal, other.signal)
    assert len({start.readout.tobytes() for start in many}) == 40


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({"activation": "cubic"}, "activation"),
        ({"activation": "relu", "dim": 5}, "features . hidden units"),
        ({"activation": "relu", "readout": "all"}, "readout"),
    ],
)
def test_what_has_no_flow_is_refused_in_a_line(fixed, words):
    with pytest.raises(SettingError, match=words) as caught:
        small_grid("hidden=1:2:2", Y, **fixed)
    assert "\n" not in str(caught.value)


def test_a_portrait_is_refused_with_the_reason(capsys):
    assert portrait(["--hidden", "4", "--activation", "relu"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--hidden 4: must be 1 with a fixed readout for a portrait: with hidden units no two coordinates tell" in said
    with pytest.raises(SettingError, match="portrait"):
        Plane(dynlab.Model(activation="relu", hidden=2), 0.1, Side("w21", -1.0, 1.0), Side("w22", -1.0, 1.0))


def test_a_store_gives_back_what_it_was_given(tmp_path):
    model = dynlab.Model(activation="relu", hidden=2)
    run = dynlab.ensemble(model, dim=200, seeds=2, eta_head=0.1, until=2.0, threads=1)
    settings = {"model": {"activation": "relu", "hidden": 2}, "dim": 200}
    store = Store(tmp_path)
    store.put(settings, run)
    again = store.get(settings)
    assert again.frame.equals(run.frame) and again.model == model
    for name in ("starts", "ends", "snapshots"):
        for one, other in zip(getattr(again, name), getattr(run, name), strict=True):
            assert np.array_equal(one, other)
    assert len(again.ends) == 4 and again.snapshots == ()

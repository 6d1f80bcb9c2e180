"""Results as arrays with labelled dimensions: the numbers of the results themselves, and back from NetCDF whole."""

import builtins
import json
import math

import numpy as np
import pytest

import dynlab
from dynlab.ensembles.labelled_ensemble import FOLDED, WORDS
from dynlab.maps.axes import Axis
from dynlab.maps.grid import Grid
from dynlab.maps.phase_map import phase_map
from dynlab.tools.labelled import Labelled, NoXarray, dataset
from dynlab.tools.show import brief

xarray = pytest.importorskip("xarray", reason="xarray is not installed")
CUBIC = dynlab.Model(activation="cubic")


def back(found, tmp_path):
    """The Dataset after a way over the disk."""
    found.to_netcdf(tmp_path / "found.nc")
    with xarray.open_dataset(tmp_path / "found.nc") as read:
        return read.load()


def test_a_trajectory(tmp_path):
    start = dynlab.OrderParameters.sample(CUBIC, 30, 0)
    run = dynlab.simulate(CUBIC, start, until=1e3)
    found = back(run.to_xarray(), tmp_path)
    assert dict(found.sizes) == {
        "time": len(run.time), "neuron": 2, "lender": 2, "other_neuron": 2, "feature": 2,
    }  # fmt: skip
    for name in ("signal", "noise_gram", "head", "loss", "carried"):
        assert np.array_equal(found[name].values, getattr(run, name))
    assert found["head"].sel(neuron=2, lender=1).values[-1] == run.frame["head_2_1"].iloc[-1]
    assert found["time"].attrs["units"] == "steps x learning rate" and found["loss"].attrs["units"] == "1"
    assert dynlab.Model(**json.loads(found.attrs["model"])) == CUBIC and found.attrs["status"] == run.status
    assert json.loads(found.attrs["settings"])["eta_head"] == 0.01
    for name, time in run.events.items():
        kept = found.attrs[f"time_of_{name}"]
        assert kept == time or (math.isnan(kept) and math.isnan(time))


def test_an_ensemble(tmp_path):
    many = dynlab.ensemble(CUBIC, dim=30, seeds=[7, 3, 5], until=1e3)
    found = back(many.to_xarray(), tmp_path)
    assert list(found["start"].values) == [7, 3, 5]
    assert np.array_equal(found["cosine"].sel(neuron=2, feature=1).values, many.frame["cosine_2_1"])
    assert np.array_equal(found["carried"].sel(neuron=1, feature=2).values, many.frame["carried_1_2"])
    assert [str(word) for word in found["outcome"].values] == list(many.frame["outcome"])
    assert np.array_equal(found["signal_at_start"].values, many.starts[0])
    assert np.array_equal(found["head_at_end"].values, many.ends[2])
    assert np.array_equal(found["head_end"].values, many.frame["head_end"])
    hidden = dynlab.ensemble(dynlab.Model(activation="relu", hidden=2), dim=20, seeds=1, until=0.5)
    for frame in (many.frame, hidden.frame):  # each column says what it is
        assert {name for name in frame.columns if not FOLDED.fullmatch(name)} - {"seed"} <= set(WORDS)


def test_hidden_units_have_a_dimension_of_their_own():
    model = dynlab.Model(activation="relu", hidden=2)
    run = dynlab.simulate(model, dynlab.OrderParameters.sample(model, 20, 0), until=0.5)
    found = run.to_xarray()
    assert found["signal"].dims == ("time", "unit", "feature") and found["readout"].dims == ("time", "neuron", "unit")
    assert list(found["unit"].values) == [1, 2, 3, 4] and np.array_equal(found["readout"].values, run.readout)


def test_a_map(tmp_path):
    grid = Grid(Axis("weak", (0.2, 0.5, 0.8)), Axis("eta_head", (0.01, 0.1)), {"dim": 20, "until": 10.0})
    mapped = phase_map(grid, tmp_path / "map", seeds=2, threads=1)
    found = back(mapped.to_xarray(), tmp_path)
    assert found["value"].dims == ("head", "eta_head", "weak") and found["seeds"].dtype.kind == "i"
    for head in ("off-diagonal", "none"):
        assert np.array_equal(found["value"].sel(head=head).values, mapped.field(head), equal_nan=True)
    row = mapped.frame.query("head == 'none' and weak == 0.5 and eta_head == 0.1").iloc[0]
    assert float(found["high"].sel(head="none", weak=0.5, eta_head=0.1)) == row["high"]
    assert json.loads(found.attrs["settings"])["dim"] == 20 and found.attrs["measure"] == "both"


def test_what_netcdf_cannot_hold_is_written_as_json(tmp_path):
    one = Labelled(("x",), np.array(["a", None], dtype=object), "words")
    found = back(dataset({"word": one}, {}, {"none": None, "yes": True, "table": {"a": [1]}, "number": 2.5}), tmp_path)
    assert found.attrs["none"] == "null" and found.attrs["yes"] == "true" and json.loads(found.attrs["table"]) == {"a": [1]}
    assert found.attrs["number"] == 2.5 and [brief(str(word)) for word in found["word"].values] == ["'a'", "'None'"]


def test_without_xarray_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "xarray":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoXarray, match=r"^xarray is not installed: python -m pip install 'dynlab-ssl\[xarray\]'$"):
        dataset({}, {}, {})

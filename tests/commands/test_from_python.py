"""`dynlab.phase_map`, `dynlab.portrait`, `dynlab.pretrain`, `dynlab.linear`: what the commands do, as functions."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

import dynlab
from dynlab import __main__
from tests.images import small

AXES = {"x": "weak=0.2:0.8:2", "y": "eta-head=0.01:1:2:log"}


CODE = """
import sys, dynlab
assert not {"numpy", "numba", "pandas", "matplotlib", "bokeh"} & set(sys.modules)
dynlab.phase_map, dynlab.pretrain, dynlab.linear
assert not {"pandas", "matplotlib", "bokeh", "dynlab.images.training"} & set(sys.modules)
assert callable(dynlab.sweep) and dynlab.sweep.main
assert callable(dynlab.portrait) and callable(dynlab.pretrain) and callable(dynlab.portrait.main)
import dynlab.diagnose
assert callable(dynlab.diagnose) and callable(dynlab.diagnose.main)
from dynlab import pretrain
assert pretrain.main and pretrain is dynlab.pretrain
assert dynlab.linear.laws.balance and dynlab.linear.LinearModel is dynlab.LinearModel
assert "linear" in dir(dynlab) and "laws" in dir(dynlab.linear)
"""


def test_import_stays_light_and_the_names_are_there_in_any_order():
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_a_map_of_a_model_is_that_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = dynlab.Model(noise=0.4)
    found = dynlab.phase_map(model, **AXES, dim=500, seeds=8, until=1e7, folder="kept")
    words = f"phase --x {AXES['x']} --y {AXES['y']} --noise 0.4 --dim 500 --until 1e7 --seeds 8 --no-plots --out"
    assert __main__.main([*words.split(), "typed"]) == 0
    assert found.computed > 0 and found.frame.shape[0] == 8
    again = dynlab.phase_map(model, **AXES, dim=500, seeds=8, until=1e7, folder="typed")  # what the command stored
    assert again.computed == 0
    nowhere = dynlab.phase_map(model, **AXES, dim=500, seeds=8, until=1e7)
    for other in (again, nowhere):
        assert other.frame.equals(found.frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "typed"]


def test_what_a_map_cannot_have_is_refused(tmp_path):
    for model in (dynlab.Model(strengths=(1.0, 0.5, 0.2)), dynlab.Model(probabilities=(0.7, 0.3))):
        with pytest.raises(dynlab.SettingError, match="of two features, alike in frequency"):
            dynlab.phase_map(model, **AXES)
    with pytest.raises(dynlab.SettingError, match="did you mean weak"):
        dynlab.phase_map(dynlab.Model(), x="weka=0.1:1:3", y=AXES["y"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="holds other files"):
        dynlab.phase_map(dynlab.Model(), **AXES, folder=tmp_path)


def test_a_portrait_is_that_of_the_command(tmp_path):
    import pandas as pd

    model = dynlab.Model(weak=0.5)
    options = {"points": 4, "trajectories": 1, "until": 1e3}
    found = dynlab.portrait(model, x="E21=0:1", y="w22", hold={"w21": 0.3}, **options)
    words = (
        "portrait --weak 0.5 --x E21=0:1 --y w22 --hold w21=0.3 --points 4 --trajectories 1 --until 1e3 --no-plots --quiet"
    )
    assert __main__.main([*words.split(), "--out", str(tmp_path / "typed")]) == 0
    typed = pd.read_csv(tmp_path / "typed" / "portrait.csv")
    assert np.array_equal(typed["rate_E21"], found.field["rate_x"], equal_nan=True)
    assert list(typed["end_state"].fillna("")) == list(found.field["end_state"])
    assert found.names == ("E21", "w22")
    assert list(inspect.signature(dynlab.portrait).parameters)[:3] == ["model", "x", "y"]
    with pytest.raises(dynlab.SettingError, match="points=1"):
        dynlab.portrait(model, points=1)
    with pytest.raises(dynlab.SettingError, match="hold='w99'"):
        dynlab.portrait(model, hold={"w99": 1.0})


def test_pretraining_from_python(tmp_path, capsys):
    pictures = small.small_set(96, 0)
    settings = {"encoder": "demo", "projector": (8,), "batch": 32, "steps": 2, "record": 1, "knn_every": 0}
    run = dynlab.pretrain(None, pictures, tmp_path / "run", plots=False, quiet=True, threads=1, **settings)
    assert run.status == "finished" and list(run.metrics["step"]) == [1, 2] and run.settings.projector == (8,)
    assert len(run.weights()) > 2 and capsys.readouterr() == ("", "")
    again = dynlab.pretrain(None, pictures, tmp_path / "run", resume=True, quiet=True)
    assert again.metrics.equals(run.metrics)
    for wrong, told in (
        ({"hed": "none"}, "did you mean head"),
        ({"resume": True}, "out=None"),
        ({"recipe": "demos"}, "did you mean demo"),
    ):
        with pytest.raises(dynlab.SettingError, match=told):
            dynlab.pretrain(data=pictures, **wrong)
    with pytest.raises(dynlab.SettingError, match="as in the run that is resumed"):
        dynlab.pretrain(None, pictures, tmp_path / "run", resume=True, batch=16)

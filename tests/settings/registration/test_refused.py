"""Where a registered activation means nothing it is refused, in one line, by name; never taken for another."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import dynlab
from dynlab import Model, SettingError, Training
from dynlab.ensembles.ensemble_store import Store
from dynlab.machine import gpu
from dynlab.maps.axes import Axis
from dynlab.maps.grid import Grid
from dynlab.population.any_training.stability import fixed_points
from dynlab.population.pair import batch, cuda
from dynlab.population.starts import draw_start
from tests.waiting import HANGS

BUILT_IN = "^activation='quintic': must be one of relu, cubic, relu3, linear "


def quintic():
    return Model(activation="quintic")


def test_many_states_at_once():
    with pytest.raises(SettingError, match=BUILT_IN + "for gradients of many states"):
        batch.pair_gradients(quintic(), np.ones((3, 2, 4)), np.tile(np.eye(2), (3, 1, 1)))


def test_fixed_points():
    with pytest.raises(SettingError, match=BUILT_IN + "for fixed points"):
        fixed_points(quintic(), Training())


def test_phase_maps():
    with pytest.raises(SettingError, match=BUILT_IN + "in a phase map"):
        Grid(Axis("weak", (0.2, 0.3)), Axis("noise", (0.2, 0.3)), {"activation": "quintic"})


def test_stores(tmp_path):
    with pytest.raises(SettingError, match=BUILT_IN + "in a store"):
        Store(tmp_path).path({"model": {"activation": "quintic"}})


def test_devices():
    assert "quintic" in cuda.missing(quintic(), Training())
    if gpu.unavailable() is None:
        with pytest.raises(SettingError, match="quintic"):
            dynlab.ensemble(quintic(), seeds=2, device="cuda")


def test_a_trajectory_knows_what_its_activation_was(tmp_path):
    run = dynlab.simulate(quintic(), draw_start(quintic(), 100, 0, 0), until=10.0)
    run.save(tmp_path / "run.csv")
    again = dynlab.Trajectory.load(tmp_path / "run.csv")
    assert (again.signal == run.signal).all() and again.model == quintic()
    other = (tmp_path / "run.csv").read_text(encoding="utf-8").replace('"z^5"', '"max(0, z)^2"')
    (tmp_path / "other.csv").write_text(other, encoding="utf-8")
    words = r"other.csv: is damaged \(activation quintic was max\(0, z\)\^2, here it is z\^5\)"
    with pytest.raises(ValueError, match=words):
        dynlab.Trajectory.load(tmp_path / "other.csv")


def test_another_process_must_register_it(tmp_path):
    (tmp_path / "model").write_bytes(pickle.dumps(quintic()))
    program = f"""
import pickle, numpy, dynlab
model = pickle.load(open({str(tmp_path / "model")!r}, "rb"))
try:
    dynlab.population_loss(model, numpy.ones((2, 4)), numpy.eye(2))
except dynlab.SettingError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", program]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=HANGS)
    assert found.stdout.strip() == "activation='quintic': must be one of relu, cubic, relu3, linear, or registered first"

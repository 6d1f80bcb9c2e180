"""Numbers as people have them: whole floats, NumPy's scalars and arrays without axes; and sizes that no machine has."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.__main__ import main
from dynlab.images.data import datasets
from dynlab.images.data.augment import Augmentation
from dynlab.images.losses import LossSettings
from dynlab.images.settings import Pretraining
from dynlab.images.training import run_folder
from dynlab.settings.model import Model
from dynlab.settings.training import Training
from dynlab.tools import checks
from dynlab.tools.checks import SettingError
from tests.images import small

SETTINGS = (Model(), Training(), Pretraining(limit=512, steps=7, head_hidden=3, seed=5), LossSettings(), Augmentation())
WHOLE = [float, np.float32, np.float64, np.int16, np.uint64, np.array, lambda n: np.array(float(n)), np.longdouble]
REAL = [np.float64, np.array, lambda x: np.array(x, dtype=np.longdouble)[()]]
KINDS = {**{f"whole{i}": kind for i, kind in enumerate(WHOLE)}, **{f"real{i}": kind for i, kind in enumerate(REAL)}}


def numbers_in(settings, kind):
    """Names of the settings that are an int (float)."""
    return [one.name for one in dataclasses.fields(settings) if type(getattr(settings, one.name)) is kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: type(one).__name__)
def test_settings_take_a_number_of_any_kind_for_what_it_means(settings, kind):
    plain = int if kind.startswith("whole") else float
    names = numbers_in(settings, plain)
    for name in names:
        more = {"strengths": None} if name in ("strong", "weak") else {}
        value = getattr(settings, name)
        changed = dataclasses.replace(settings, **{name: KINDS[kind](value)}, **more)
        assert changed == settings and type(getattr(changed, name)) is plain, name
    assert names or type(settings).__name__ in ("Training", "LossSettings")


@pytest.mark.parametrize("value", [16.5, np.float32(16.5), np.array([16]), np.array(np.nan), np.True_, np.array(True),
                                   "16", np.array("16"), np.datetime64(16, "D"), 16 + 0j, [16], pd.NA])  # fmt: skip
def test_what_means_no_integer_is_refused_in_a_line(value):
    with pytest.raises(SettingError, match="^patches=.*: must be an integer >= 2$"):
        Model(patches=value)


def test_numbers_read_back_from_a_table_do():
    model = Model()
    table = dynlab.ensemble(model, dim=8.0, seeds=np.float64(3), seed=np.array(0), threads=1.0).frame
    row = table.iloc[1]
    again = dynlab.ensemble(model, dim=8, seeds=[row["seed"]], seed=0).frame
    assert again["seed"].tolist() == [1] and again["cosine_1_1"].tolist() == [row["cosine_1_1"]]
    as_floats = dynlab.ensemble(model, dim=8, seeds=np.array([1.0], np.float32)).frame
    pd.testing.assert_frame_equal(again, as_floats)


def test_a_start_is_drawn_by_a_generator_or_a_seed():
    model = Model()
    one = dynlab.OrderParameters.sample(model, 10.0, 3)
    other = dynlab.OrderParameters.sample(model, 10, np.random.default_rng(3))
    assert (one.signal == other.signal).all() and (one.noise_gram == other.noise_gram).all()
    for wrong in (None, "0", -1, 0.5, np.random, object()):
        with pytest.raises(SettingError, match="^rng=.*: must be a numpy.random.Generator or an integer >= 0$"):
            dynlab.OrderParameters.sample(model, 10, wrong)
    for scale in (0.0, -1.0, np.nan, "1"):
        with pytest.raises(SettingError, match="^scale="):
            dynlab.OrderParameters.sample(model, 10, 0, scale)


@pytest.mark.parametrize("seeds", [[], (), np.zeros(0), [0.5], [-1], [[0, 1]], [[0], [1, 2]], ["0"], [None], [np.nan],
                                   [True], 0, -3, 2.5, "8", None, {}, [2**63], [np.inf], 10**20, 1e18])  # fmt: skip
def test_seeds_that_are_none_are_refused_in_a_line(seeds):
    with pytest.raises(SettingError, match="^seeds=") as error:
        dynlab.ensemble(Model(), dim=8, seeds=seeds)
    assert "\n" not in str(error.value)


START = dynlab.OrderParameters.sample(Model(), 8, 0)
HUGE = (10**20, 10**32, 1e20, 1e300, np.float64(1e25), np.inf)
ABSURD = {
    "dim of an ensemble": ("dim", lambda n: dynlab.ensemble(Model(), dim=n, seeds=1)),
    "dim of a start": ("dim", lambda n: dynlab.OrderParameters.sample(Model(), n, 0)),
    "dim of samples": ("dim", lambda n: dynlab.simulate(Model(), START, method="sgd", steps=1, dim=n)),
    "batch": ("batch", lambda n: dynlab.simulate(Model(), START, method="sgd", steps=1, dim=8, batch=n)),
    "data": ("data", lambda n: dynlab.simulate(Model(), START, method="sgd", steps=1, dim=8, batch=2, data=n)),
    "steps of samples": ("steps", lambda n: dynlab.simulate(Model(), START, method="sgd", steps=n, dim=8)),
    "steps": ("steps", lambda n: dynlab.simulate(Model(), START, method="descent", steps=n)),
    "until of descent": ("until", lambda n: dynlab.simulate(Model(), START, method="descent", until=n)),
    "until of an ensemble": ("until", lambda n: dynlab.ensemble(Model(), dim=8, seeds=1, method="descent", until=n)),
    "patches": ("patches", lambda n: Model(patches=n)),
    "neurons": ("neurons", lambda n: Model(neurons=n)),
    "threads": ("threads", lambda n: dynlab.ensemble(Model(), dim=8, seeds=1, threads=n)),
    "pictures": ("batch", lambda n: Pretraining(batch=n)),
    "projector": ("projector", lambda n: Pretraining(projector=(n, 8))),
}
LARGE = {  # whole numbers of 64 bits, for which there is no memory
    "seeds": ("seeds", lambda: dynlab.ensemble(Model(), dim=8, seeds=10**13)),
    "dim of samples": ("dim", lambda: dynlab.simulate(Model(), START, method="sgd", steps=1, dim=10**13)),
    "batch": ("batch", lambda: dynlab.simulate(Model(), START, method="sgd", steps=1, dim=8, batch=10**14)),
    "neurons": ("neurons", lambda: dynlab.OrderParameters.sample(Model(neurons=10**8), 10**9, 0)),
    "projector": ("projector", lambda: Pretraining(projector=(10**8, 10**8))),
    "outputs": ("projector", lambda: Pretraining(projector=(10**8,))),
    "head": ("head_hidden", lambda: Pretraining(projector=(8, 8), head_hidden=10**15)),
}


@pytest.mark.parametrize("name", ABSURD)
def test_sizes_beyond_64_bits_are_refused_in_a_line(name):
    setting, call = ABSURD[name]
    for size in HUGE:
        with pytest.raises(SettingError, match=f"^{setting}=") as error:
            call(size)
        assert "\n" not in str(error.value) and error.value.name == setting


@pytest.mark.parametrize("name", LARGE)
def test_sizes_beyond_the_memory_are_refused_in_a_line(name):
    setting, call = LARGE[name]
    with pytest.raises(SettingError, match=rf"^{setting}=.*: must be smaller: .* would take .* GiB, and this machine has "):
        call()


def test_the_largest_dimension_is_as_good_as_any():
    """At 2^63 - 1 the start is what it is at 10^18, on the scale 1/sqrt(dim)."""
    far, near = (dynlab.OrderParameters.sample(Model(), dim, 0) for dim in (checks.MOST, 10**18))
    ratio = np.sqrt(checks.MOST / 1e18)
    np.testing.assert_allclose(far.signal * ratio, near.signal, rtol=1e-12)
    np.testing.assert_allclose(far.noise_gram.diagonal(), 1.0, rtol=1e-8)


@pytest.mark.parametrize("until", [0.1, 1e5 + 0.1, 1e5])
def test_times_of_few_digits_may_end_where_the_run_does(until):
    times = np.linspace(0.0, until, 5, dtype=np.float32)
    run = dynlab.simulate(Model(), START, until=until, times=times)
    assert run.time[-1] == min(until, float(times[-1])) and run.time[-1] <= until and len(run.time) == 5
    for late in (np.array([0.0, until * 1.001], np.float32), [0.0, until * (1 + 1e-9)], np.array([until, until * 1.01])):
        with pytest.raises(SettingError, match="^times="):
            dynlab.simulate(Model(), START, until=until, times=late)
    with pytest.raises(SettingError, match="^times="):
        dynlab.simulate(Model(), START, times="soon")


def test_no_memory_is_one_line(monkeypatch, capsys):
    from dynlab import run

    def full(*_):
        np.empty(2**62, np.uint8)

    monkeypatch.setattr(run, "compute_main_run", full)
    assert main(["run", "--seeds", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("dynlab.run: error: not enough memory: Unable to allocate") and said.count("\n") == 1


def test_few_pictures_still_have_neighbours(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)
    words = "--encoder demo --projector 4 --limit 4 --batch 2 --steps 4 --knn-every 1 --no-plots --quiet".split()
    assert main(["pretrain", *words, "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 0
    assert run_folder.read(tmp_path / "run").metrics["knn"].iloc[-1] in (0.0, 1.0)  # one picture is asked for


def test_records_that_an_editor_has_put_a_mark_into_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)
    words = "--encoder demo --projector 4 --limit 16 --batch 8 --steps 2 --no-plots --quiet".split()
    assert main(["pretrain", *words, "--out", str(tmp_path / "run")]) == 0
    kept = tmp_path / "run" / "run.json"
    kept.write_text("\ufeff" + kept.read_text())
    assert run_folder.read(tmp_path / "run").status == "finished"
    assert main(["pretrain", "--config", str(kept), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    assert json.loads((tmp_path / "two" / "run.json").read_text())["settings"]["limit"] == 16


def in_a_notebook(call):
    """What IPython shows of an error: what the error's own method returns, as it does for any that has one."""
    try:
        call()
    except Exception as error:
        return error._render_traceback_()
    raise AssertionError("nothing was wrong")


@pytest.mark.parametrize(("call", "last"), [
    (lambda: Model(weak=2), "SettingError: weak=2: must be a finite number > 0 and <= 1 (strong)"),
    (lambda: dynlab.ensemble(Model(), dim=1), "SettingError: dim=1: must be an integer >= 4 (features + neurons)"),
    (lambda: run_folder.read("nowhere"), "FolderError: nowhere: holds no run of dynlab.pretrain (run.json is missing)"),
])  # fmt: skip
def test_a_notebook_shows_the_users_lines_alone(call, last):
    shown = in_a_notebook(call)
    assert shown[-1] == last and "test_numbers" in shown[0]
    assert not [line for line in shown[:-1] if str(Path(dynlab.__file__).parent) in line]

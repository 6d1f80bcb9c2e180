"""Sweeps computed: the numbers of the single commands, the same bytes stopped, shared or repeated, points that fail."""

from __future__ import annotations

import importlib.util
import json
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab import phase, pretrain, run
from dynlab import sweep as command
from dynlab.ensembles import main_run
from dynlab.images.data import datasets
from dynlab.images.training import train
from dynlab.machine import closure, workers
from dynlab.sweeps import point_results, swept
from dynlab.sweeps.sweep_folder import SweepFolder, point_key
from tests.images import small

FLOW = """
command = "run"
[settings]
seeds = 8
dim = 64
[grid]
weak = [0.2, 0.6]
head = ["none", "off-diagonal"]
[[points]]
method = "descent"
until = 300
"""
PICTURES = """
command = "pretrain"
[settings]
encoder = "demo"
projector = [8, 4]
batch = 16
limit = 48
steps = 5
record = 1
augmentation = "demo"
[grid]
head = ["none", "off-diagonal"]
[[points]]
lr = 1e30
optimiser = "sgd"
[[points]]
batch = 200
limit = 200
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load", small.load)
    (tmp_path / "flow.toml").write_text(FLOW)
    (tmp_path / "pictures.toml").write_text(PICTURES)


def table(out="out"):
    return pd.read_csv(f"{out}/sweep.csv")


class Backwards(Executor):
    """Does what it is given when it is asked for the first result, the last job first, in this process."""

    def __init__(self):
        self.jobs = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.jobs.append((future, fn, args, kwargs))
        if len(self.jobs) == 5:
            for one, job, given, named in reversed(self.jobs):
                one.set_result(job(*given, **named))
        return future


def test_a_point_has_the_numbers_of_the_command(capsys):
    assert command.main(["flow.toml", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert "5 of 5 points computed now; files in out: plan.json, run.json, sweep.csv" in said
    found, alone = table(), []
    for words in ("--weak 0.2", "--weak 0.6", "--weak 0.3 --method descent --until 300"):
        place = f"alone{len(alone)}"
        given = f"--activation cubic --seeds 8 --dim 64 --no-plots --quiet {words} --out {place}"
        assert run.main(given.split()) == 0
        summary, ends = pd.read_csv(f"{place}/summary.csv"), pd.read_csv(f"{place}/ensemble.csv")
        for head in ("none", "off-diagonal"):
            row = summary[summary["head"] == head].iloc[0].to_dict()
            rows = ends[(ends["head"] == head) & (ends["outcome"] != "failed")]
            row |= {"rank": np.median(rows["rank"]), "loss_end": np.median(rows["loss_end"])}
            counts = {f"ended_{name}": int((ends[ends["head"] == head]["status"] == name).sum()) for name in ends["status"]}
            alone.append(row | counts)
    del alone[4]  # descent without a head is no point
    for (_, row), single in zip(found.iterrows(), alone, strict=True):
        for name, value in single.items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12, nan_ok=True)), name
    assert list(found["method"]) == ["flow"] * 4 + ["descent"] and list(found["status"]) == ["finished"] * 5
    assert found[[name for name in found if name.startswith("ended_")]].sum(axis=1).tolist() == [8] * 5

    made = open("out/sweep.csv", "rb").read()
    folder = [path.stem for path in (Path("out") / "swept").iterdir()]
    assert command.main(["flow.toml", "--out", "out"]) == 0
    assert "0 of 5 points computed now" in capsys.readouterr().out and open("out/sweep.csv", "rb").read() == made
    shared = dynlab.sweep("flow.toml", "shared", executor=Backwards())
    assert shared.computed == 5 and open("shared/sweep.csv", "rb").read() == made
    assert "Swept(run, 5 points, 5 finished)" == repr(shared) and "weak" in shared._repr_html_()
    nowhere = dynlab.sweep({"command": "run", "settings": {"seeds": 8, "dim": 64}, "points": [{"weak": 0.6}]})
    assert nowhere.place is None and nowhere.frame["both"][0] == found["both"][3] and len(folder) == 5


def test_a_stopped_sweep_goes_on_to_the_same_bytes(monkeypatch, capsys):
    assert command.main(["flow.toml", "--out", "whole", "--quiet"]) == 0
    made, count, limit = swept.made_point, [], 3

    def stopping(*given):
        count.append(given)
        if len(count) == limit:
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(swept, "made_point", stopping)
    assert command.main(["flow.toml", "--out", "out", "--quiet"]) == 130
    assert not Path("out/sweep.csv").exists() and len(list(Path("out/swept").iterdir())) == 2
    limit = 0
    assert command.main(["flow.toml", "--out", "out", "--quiet"]) == 0
    assert len(count) == 3 + 3
    assert open("out/sweep.csv", "rb").read() == open("whole/sweep.csv", "rb").read()


def test_a_file_with_more_points_goes_on_and_one_that_lacks_some_is_refused(tmp_path, capsys):
    small_one = 'command = "run"\n[settings]\nseeds = 2\ndim = 64\n[grid]\nweak = [0.2, 0.6]\n'
    (tmp_path / "s.toml").write_text(small_one)
    assert command.main(["s.toml", "--out", "out", "--quiet"]) == 0
    (tmp_path / "s.toml").write_text(small_one.replace("0.2, 0.6", "0.6, 0.4, 0.2"))
    assert command.main(["s.toml", "--out", "out"]) == 0
    assert "1 of 3 points computed now" in capsys.readouterr().out and table()["weak"].tolist() == [0.6, 0.4, 0.2]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    (tmp_path / "less.toml").write_text(small_one)
    assert command.main(["less.toml", "--out", "out"]) == 2
    line = "FILE less.toml: must be a sweep with all points of the one in out, and more as it likes (1 are not in it, the "
    assert f"{line}first point 2 (weak=0.4)), or given another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    assert command.main(["less.toml", "--out", "another", "--quiet"]) == 0
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "notes.txt").write_text("mine")
    assert command.main(["less.toml", "--out", "busy"]) == 2
    assert "--out busy: holds other files; must be a new or an empty folder, or one of dyn" in capsys.readouterr().err


def test_a_damaged_point_is_computed_again_and_a_damaged_plan_named(tmp_path, capsys):
    (tmp_path / "s.toml").write_text('command = "run"\n[settings]\nseeds = 2\ndim = 64\n[grid]\nweak = [0.2, 0.6]\n')
    assert command.main(["s.toml", "--out", "out", "--quiet"]) == 0
    whole, first = (tmp_path / "out" / "sweep.csv").read_bytes(), sorted((tmp_path / "out" / "swept").iterdir())[0]
    first.write_text(first.read_text().replace('"both": ', '"both": 1'))
    assert command.main(["s.toml", "--out", "out", "--quiet"]) == 0
    assert capsys.readouterr().err == f"out/swept/{first.name}: is damaged: computed again\n"
    assert (tmp_path / "out" / "sweep.csv").read_bytes() == whole
    text = first.read_text()
    first.unlink()
    first.mkdir()
    assert command.main(["s.toml", "--out", "out", "--quiet"]) == 2
    assert "is a folder, where the results of a point belong; remove it" in capsys.readouterr().err
    first.rmdir()
    first.write_text(text)
    (tmp_path / "out" / "plan.json").write_text("{}")
    assert command.main(["s.toml", "--out", "out", "--quiet"]) == 2
    assert "plan.json: cannot be read (KeyError: 'points of the sweep'); remove it, and" in capsys.readouterr().err
    (tmp_path / "out" / "plan.json").unlink()
    found = dynlab.sweep("s.toml", "out")
    assert found.computed == 0 and (tmp_path / "out" / "sweep.csv").read_bytes() == whole


def test_results_of_other_sources_are_not_taken(tmp_path):
    folder = SweepFolder(tmp_path)
    (tmp_path / "swept").mkdir()
    key = point_key("run", {"weak": 0.3})
    row = {"status": "finished", "a": float("nan"), "b": -np.inf, "c": 3, "d": 0.1, "e": "words"}
    folder.keep(key, {"weak": 0.3}, row, "these")
    assert repr(folder.row(key, "these")) == repr(row) and folder.row(key, "others") is None and folder.damage == []
    assert point_key("sgd", {"weak": 0.3}) != key != point_key("run", {"weak": 0.31})
    with pytest.raises(dynlab.SettingError, match="a cluster whose workers run the same sources of dynlab"):
        point_results.point_job("run", None, key, None, "others")


def test_a_stored_point_holds_the_digest_of_what_made_it_and_does_not_outlive_it(tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text('command = "run"\n[settings]\nseeds = 2\ndim = 64\n[grid]\nweak = [0.2, 0.6]\n')
    assert dynlab.sweep("s.toml", "out").computed == 2 and dynlab.sweep("s.toml", "out").computed == 0
    held = [json.loads(path.read_text())["sources"] for path in Path("out/swept").iterdir()]
    assert held == 2 * [workers.digest_of_sources(*point_results.MADE_BY["run"])]
    digest_of = closure.digest_of
    monkeypatch.setattr(closure, "digest_of", lambda module: digest_of(module) + b"edited" * module.endswith("pair.flow"))
    assert dynlab.sweep("s.toml", "out").computed == 2 and dynlab.sweep("s.toml", "out").computed == 0
    assert held[0] not in [json.loads(path.read_text())["sources"] for path in Path("out/swept").iterdir()]


@pytest.mark.parametrize("swept_command", point_results.MADE_BY)
def test_what_makes_a_point_is_in_its_digest(swept_command):
    """Arithmetic that a row is read off by, whether a module names it at its head or in a function: by hand."""
    needed = {
        "run": ("population/pair/flow.py", "population/pair/cuda.py", "ensembles/main_run.py", "tools/intervals.py"),
        "sgd": ("samples/kernels.py", "samples/runs.py", "population/outcomes.py", "tools/intervals.py"),
        "pretrain": ("images/training/train.py", "images/verdict.py", "images/layers/products.py"),
    }
    held = {path for module in point_results.MADE_BY[swept_command] for path in closure.sources_of(module)}
    names = {path.relative_to(closure.PACKAGE).as_posix() for path in held}
    assert {"sweeps/point_results.py", *needed[swept_command]} <= names


def test_minibatches(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(
        'command = "sgd"\n[settings]\ndim = 6\nsteps = 40\nseeds = 3\n[grid]\nbatch = [8, 16]\n'
        "[[points]]\nbatch = 8\nlr = 1e200\n"
    )
    assert command.main(["s.toml", "--out", "out"]) == 1
    found, errors = table(), capsys.readouterr().err
    words = "--method sgd --activation cubic --head off-diagonal --dim 6 --steps 40 --seeds 3 --batch 8,16"
    assert run.main([*words.split(), "--no-plots", "--quiet", "--out", "alone"]) == 0
    alone = pd.read_csv("alone/summary.csv")
    for name in alone:
        assert found[name][:2].tolist() == alone[name].tolist()
    last = pd.read_csv("alone/trajectory.csv").groupby(["batch", "seed"]).last()["loss"]
    for place, batch in enumerate((8, 16)):
        assert found["loss_end"][place] == pytest.approx(last[batch].median(), rel=1e-12)
    assert found["exact_loss_end"][0] == pytest.approx(last[0, 0], rel=1e-12)
    assert found["status"].tolist() == ["finished", "finished", "diverged"] and found["stopped"].tolist() == [0, 0, 3]
    assert found["reason"][2].startswith("cubic, head off-diagonal, batch 8, seed 0: stopped at ")
    assert errors.startswith("dynlab.sweep: point 3 diverged: cubic, head off-diagonal") and errors.count("\n") == 1


def test_pictures_and_points_that_diverge_or_fail(monkeypatch, capsys):
    step, count = train.Trainer.step, 0

    def stopping(self, number):
        nonlocal count
        count += 1
        if count == 8:  # in the middle of the second run
            raise KeyboardInterrupt
        step(self, number)

    words = ["pictures.toml", "--data", "nowhere", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "step", stopping)
        assert command.main([*words, "out", "--quiet"]) == 130
    assert command.main([*words, "out", "--quiet"]) == 1
    found, errors = table(), capsys.readouterr().err.splitlines()[1:]
    assert command.main([*words, "whole", "--quiet"]) == 1
    assert open("out/sweep.csv", "rb").read() == open("whole/sweep.csv", "rb").read()
    assert found["status"].tolist() == ["finished", "finished", "diverged", "failed"]
    assert [line.partition(":")[2].partition(":")[0] for line in errors] == [" point 3 diverged", " point 4 failed"]
    assert errors[1].endswith("batch=200: must be an integer <= 96, the number of training pictures")
    for place, head in enumerate(("none", "off-diagonal")):
        given = f"--encoder demo --projector 8,4 --batch 16 --limit 48 --steps 5 --record 1 --augmentation demo --out {head}"
        assert pretrain.main([*given.split(), "--data", "nowhere", "--no-plots", "--quiet", "--head", head]) == 0
        last = pd.read_csv(f"{head}/metrics.csv").iloc[-1]
        for column, name in (("loss_end", "loss"), ("rank", "rank"), ("correlation", "correlation"), ("step", "step")):
            assert found[column][place] == last[name]
        record = json.loads(open(f"out/runs/{found['folder'][place]}/run.json").read())
        assert record["settings"]["head"] == head == found["head"][place] and record["status"] == "finished"


def test_starts_that_all_fail_are_a_point_that_failed(monkeypatch):
    frame = pd.DataFrame({"outcome": ["failed"] * 3, "status": ["steps", "steps", "not finite"]}).assign(
        rank=1.0, loss_end=1.0
    )
    found = SimpleNamespace(frame=frame.assign(rank=1.0, loss_end=1.0), summary_row=lambda: pd.DataFrame([{"failed": 1.0}]))
    monkeypatch.setattr(main_run, "ensemble_asked", lambda *_: found)
    (one,) = command.sweep_points(command.sweep_plan({"command": "run", "points": [{"weak": 0.2}]}))
    made = point_results.made_point("run", one.settings, one.key, None)
    assert made.row["status"] == "failed" and made.row["reason"] == "every start failed: 1 not finite, 2 steps"
    assert made.row["ended_steps"] == 2 and made.row["ended_not_finite"] == 1 and np.isnan(made.row["rank"])


def test_what_runs_out_of_memory_is_told_and_tried_again(monkeypatch):
    def out(*_):
        raise MemoryError("so much")

    given = {"command": "run", "settings": {"seeds": 2, "dim": 64}, "points": [{"weak": 0.6}]}
    with monkeypatch.context() as patch:
        patch.setattr(point_results, "_ensemble_row", out)
        found = dynlab.sweep(given, "out")
    assert found.troubles() == ["point 1 failed: not enough memory: so much"]
    again = dynlab.sweep(given, "out")
    assert again.computed == 1 and again.troubles() == [] and dynlab.sweep(given, "out").computed == 0


TABLES = {
    "run": (run, "--activation cubic --seeds 4 --dim 64 --no-plots", ("summary", "ensemble", "trajectory")),
    "sgd": (run, "--method sgd --activation cubic --batch 8 --steps 8 --dim 6 --no-plots", ("summary", "trajectory")),
    "phase": (phase, "--x weak=0.2:0.8:2 --y eta-head=0.01:0.1:2 --seeds 4 --no-plots", ("phase",)),
    "sweep": (command, "flow.toml", ("sweep",)),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_parquet(name, monkeypatch, capsys, tmp_path):
    """Without pyarrow the wish is refused before anything is made; with it what is read back is what the CSV holds."""
    module, words, tables = TABLES[name]
    given = [*words.split(), "--quiet", "--parquet", "--out", "out"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        assert module.main(given) == 2
        end = "--parquet True: must be used with the extra arrays: python -m pip install 'dynlab-ssl[arrays]'\n"
        assert capsys.readouterr().err.endswith(end) and not (tmp_path / "out").exists()
    if importlib.util.find_spec("pyarrow") is None:
        assert not list(tmp_path.rglob("*.parquet"))
        return
    assert module.main(given) == 0
    for one in tables:
        whole = pd.read_parquet(tmp_path / "out" / f"{one}.parquet")
        read = pd.read_csv(tmp_path / "out" / f"{one}.csv", keep_default_na=False, na_values=["nan"])
        pd.testing.assert_frame_equal(whole, read, check_dtype=False)
    if name == "run":
        assert "parquet" not in (tmp_path / "out" / "run.json").read_text().partition('"settings"')[2]

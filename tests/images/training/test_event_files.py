"""What a run writes for other tools: a JSON line an epoch, and TensorBoard's event file, whole after a stop too."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.images.data import datasets
from dynlab.images.training import event_files, run_folder, train
from tests.images import small
from tests.images.training import naive_events

# 6 steps an epoch, which end at 6, 12, 18 and 24, of which 6 and 18 have no line in metrics.csv; then half an epoch.
SMALL = ["--encoder", "demo", "--projector", "16,8", "--batch", "16", "--steps", "27", "--record", "4", "--knn-every", "2"]
STEPS = [1, 4, 8, 12, 16, 20, 24, 27]
ENDS = [(6, 1), (12, 2), (18, 3), (24, 4), (27, 4.5)]


def pretrain(out, *words):
    usual = ["--data", "nowhere", "--no-plots", "--quiet", "--out", str(out)]
    return small.command("dynlab.pretrain", [*SMALL, *usual, *words])


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was not stopped, without event files."""
    out, before = tmp_path_factory.mktemp("runs") / "whole", datasets.load
    try:
        assert pretrain(out) == 0
    finally:
        datasets.load = before
    return out


def stopped_at(step, out, *words):
    """Interrupt a run before a step; the steps of its events and epochs that a kill there would leave on the disk."""
    made, seen = train.Trainer.step, []

    def interrupted(self, number):
        if number == step:
            on_disk = [step for _, step, _ in scalars_of(out)] if "--tensorboard" in words else []
            seen.extend((on_disk, [line["step"] for line in lines_of(out)]))
            raise KeyboardInterrupt
        made(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Trainer, "step", interrupted)
        assert pretrain(out, *words) == 130
    return seen


def lines_of(out):
    def no_bare_words(word):
        raise AssertionError(word)

    text = (out / "epochs.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=no_bare_words) for line in text.splitlines()]


def scalars_of(out):
    """The one event file of a run."""
    (path,) = out.glob("*tfevents*")
    return naive_events.events(path)


def holds_the_metrics(out):
    """Whether the event file holds metrics.csv, in floats of 32 bits, without what is not known; its times."""
    table, found = pd.read_csv(out / "metrics.csv"), scalars_of(out)
    assert [step for _, step, _ in found] == table["step"].tolist()
    for (_, _, scalars), row in zip(found, table.drop(columns="step").to_dict("records"), strict=True):
        assert scalars == {name: float(np.float32(value)) for name, value in row.items() if not np.isnan(value)}
    return [when for when, _, _ in found]


def test_every_epoch_is_a_line_of_json(whole):
    lines, table = lines_of(whole), pd.read_csv(whole / "metrics.csv").set_index("step")
    assert [(line["step"], line["epoch"]) for line in lines] == ENDS
    assert list(lines[0]) == list(run_folder.METRIC_COLUMNS)
    assert table.index.tolist() == STEPS  # no line more than without the other file
    for line in lines:
        assert (line["knn"] is None) == (line["step"] not in (12, 24))  # as metrics.csv: at the end of every second epoch
        assert line["entropy"] is None and np.isfinite(line["loss"])
        if line["step"] in table.index:
            same = table.loc[line["step"]]
            assert all(line[name] == same[name] or (line[name] is None and np.isnan(same[name])) for name in same.index)
    assert len({line["loss"] for line in lines}) == len(lines)


def test_a_run_that_is_stopped_and_resumed_has_each_epoch_once(whole, tmp_path):
    out = tmp_path / "cut"
    for step, words in ((11, ()), (21, ("--resume",))):  # beyond the checkpoints of 6 and 18, lines of which are dropped
        assert stopped_at(step, out, *words)[1] == [end for end, _ in ENDS if end <= step]
    assert pretrain(out, "--resume") == 0
    for name in ("epochs.jsonl", "metrics.csv", "weights.npz"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_an_epoch_beyond_the_checkpoint_is_not_doubled(whole, tmp_path):
    """Checkpoints at 5, 10, ...: the line of step 12 is on the disk when the run goes on from step 10."""
    out = tmp_path / "cut"
    assert stopped_at(14, out, "--every", "5")[1] == [6, 12]
    assert pretrain(out, "--resume", "--every", "5") == 0
    assert (out / "epochs.jsonl").read_bytes() == (whole / "epochs.jsonl").read_bytes()


def test_the_event_file_holds_the_metrics(whole, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard (tensorboardX)")
    assert not list(whole.glob("*tfevents*"))
    begun = time.time()
    found = dynlab.pretrain(
        data="nowhere", out=tmp_path / "x", tensorboard=True, plots=False, quiet=True, encoder="demo", projector=(16, 8),
        batch=16, steps=27, record=4, knn_every=2,
    )  # fmt: skip
    times = holds_the_metrics(tmp_path / "x")
    assert times == sorted(times) and begun <= times[0] and times[-1] <= time.time()
    assert found.status == "finished" and found.metrics["knn"].notna().sum() == 2
    for name in ("metrics.csv", "epochs.jsonl", "weights.npz"):  # nothing else is another for it
        assert (tmp_path / "x" / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_resumed_run_has_no_step_twice(tmp_path):
    """It goes on with the event file without being asked again; what it had reached beyond the checkpoint is dropped."""
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard (tensorboardX)")
    out = tmp_path / "cut"
    assert stopped_at(11, out, "--tensorboard")[0] == [1, 4, 8]
    stopped_at(9, out, "--resume")
    stopped_at(23, out, "--resume")
    assert [step for _, step, _ in scalars_of(out)] == [1, 4, 8, 12, 16, 20]
    assert pretrain(out, "--resume") == 0
    times = holds_the_metrics(out)
    assert times == sorted(times) and len(times) == len(STEPS)


def test_lines_written_anew_are_as_far_apart_as_they_came(tmp_path):
    """By times.csv, of two processes: the second began after 7 s of the first, and step 8 was done again."""
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard (tensorboardX)")
    (tmp_path / "times.csv").write_text("step,seconds\n1,2.0\n4,5.0\n8,7.0\n8,1.0\n12,4.5\n")
    assert run_folder.seconds_of(tmp_path) == 11.5
    run = run_folder.Run.__new__(run_folder.Run)
    run.folder, run.known = tmp_path, [{"step": float(step), "loss": 1.0} for step in (1, 4, 8, 12)]
    run._begin_events()
    run.events.close()
    times = np.array([when for when, _, _ in scalars_of(tmp_path)])
    assert np.diff(times) == pytest.approx([3.0, 3.0, 3.5], abs=0.05) and abs(times[-1] - time.time()) < 5.0


def test_a_viewer_drops_what_it_has_read_of_the_old_file(tmp_path):
    """A record of session_log (field 7) with status START (1): what a viewer has of this step and later ones is void."""
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard (tensorboardX)")
    for n in range(2):
        one = event_files.EventFile(tmp_path)
        one.add({"step": 1, "loss": 0.5 + n, "knn": float("nan")}, 1e9)
        one.close()
        (path,) = tmp_path.iterdir()
        logs = [dict(naive_events.fields(body)) for body in naive_events.records(path)]
        starts = [dict(naive_events.fields(parts[7])) for parts in logs if 7 in parts]
        assert starts == [{1: 1}] * n and all(parts.get(2, 0) == 0 for parts in logs if 7 in parts)
    assert scalars_of(tmp_path) == [(1e9, 1, {"loss": 1.5})]


def test_without_the_package_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    said = "must be used with the extra tensorboard: python -m pip install 'dynlab-ssl[tensorboard]'"
    assert pretrain(tmp_path / "x", "--tensorboard") == 2
    assert capsys.readouterr().err == f"dynlab.pretrain: error: --tensorboard True: {said}\n"
    with pytest.raises(ValueError, match="with the extra tensorboard"):
        dynlab.pretrain(data="nowhere", out=tmp_path / "x", tensorboard=True)
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="tensorboard='yes': must be True or False"):
        dynlab.pretrain(data="nowhere", out=tmp_path / "x", tensorboard="yes")

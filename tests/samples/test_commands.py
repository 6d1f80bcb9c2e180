"""`dynlab.run --method sgd` and `dynlab.compare`: files, report, resume, bad input, stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dynlab import compare, run
from tests.waiting import HANGS, until

SMALL = "--patches 4 --feature-patches 2 --dim 6 --batch 16 --steps 12 --seeds 2 --activation cubic --quiet".split()


def finished(command, words, capsys):
    """Exit status, standard output and standard error."""
    try:
        status = command(words)
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


def test_run_writes_its_folder(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--method", "sgd", *SMALL[:-1], "--lr", "0.05", "--out", str(out)]
    status, said, lines = finished(run.main, words, capsys)
    assert status == 0 and "distance to the exact descent" in said and f"files in {out}" in said
    assert lines == "", "of several runs only a collapse is told on the way"
    files = {"trajectory.csv", "summary.csv", "run.json", "overlay.png", "overlay.pdf"}
    assert {path.name for path in out.iterdir()} == files
    frame = pd.read_csv(out / "trajectory.csv")
    assert set(frame["batch"]) == {0, 16} and set(frame["head"]) == {"off-diagonal", "none"}
    frame = frame[(frame["seed"] == 0) & (frame["head"] == "none")]
    exact, sampled = (frame[frame["batch"] == batch] for batch in (0, 16))
    for name in ("signal_1_1", "signal_2_2", "noise_1_2"):
        assert np.isclose(exact[name].iloc[0], sampled[name].iloc[0])
    record = json.loads((out / "run.json").read_text())
    assert record["command"].startswith("python -m dynlab.run --method sgd") and record["settings"]["lr"] == 0.05


def test_compare_prints_the_exponent(tmp_path, capsys):
    words = [*SMALL[:-1], "--batch", "16,64,256", "--head", "none", "--seeds", "6", "--no-plots"]
    words += ["--out", str(tmp_path / "out")]
    status, said, _ = finished(compare.main, words, capsys)
    assert status == 0 and "cubic, head none: the distance falls as batch^(-0." in said
    assert len(said.splitlines()) < 30 and "nan" not in said, "of 18 runs a table, no line each"
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["batch"].tolist() == [16, 64, 256] and (summary["distance"].diff().dropna() < 0).all()


def test_killed_and_resumed_writes_the_same_bytes(tmp_path):
    """kill -9 of the command in mid-run; the same command goes on and ends with the same trajectory.csv."""
    words = [sys.executable, "-m", "dynlab.run", "--method", "sgd", *SMALL, "--steps", "1500", "--every", "50", "--no-plots"]
    subprocess.run([*words, "--out", str(tmp_path / "whole")], check=True, timeout=HANGS)
    words += ["--out", str(tmp_path / "killed"), "--checkpoints", str(tmp_path / "kept")]
    process = subprocess.Popen(words)
    until(lambda: bool(list((tmp_path / "kept").glob("cubic-none-*/step-*.npz"))), process)
    process.kill()
    assert process.wait(HANGS) != 0 and not (tmp_path / "killed").exists()
    subprocess.run(words, check=True, timeout=HANGS)
    whole, killed = ((tmp_path / name / "trajectory.csv").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_a_damaged_checkpoint_is_one_line(tmp_path, capsys):
    words = [*SMALL, "--seeds", "1", "--head", "none", "--every", "5", "--no-plots", "--checkpoints", str(tmp_path / "kept")]
    first = finished(run.main, ["--method=sgd", *words, "--out", str(tmp_path / "a")], capsys)
    assert first[0] == 0
    kept = sorted((tmp_path / "kept" / "cubic-none-batch16-seed0").iterdir())
    assert [path.name for path in kept] == ["step-000000000005.npz", "step-000000000010.npz"]
    os.truncate(kept[1], 100)
    status, _, error = finished(run.main, ["--method=sgd", *words, "--out", str(tmp_path / "b")], capsys)
    assert status == 1 and error.count("\n") == 1
    assert error.startswith(f"dynlab.run: error: {kept[1]}: is damaged; remove it to go on from step-000000000005.npz")
    named = ["--method=sgd", *words, "--resume", kept[1].name, "--out", str(tmp_path / "c")]
    status, _, error = finished(run.main, named, capsys)
    assert status == 1 and error.endswith("is damaged; the one before it is step-000000000005.npz\n")
    again = ["--method=sgd", *words, "--resume", kept[0].name, "--out", str(tmp_path / "b")]
    assert finished(run.main, again, capsys)[0] == 0
    kept[1].unlink()  # as the line says
    followed = ["--method=sgd", *words, "--out", str(tmp_path / "d")]
    assert finished(run.main, followed, capsys)[0] == 0
    whole, named, removed = ((tmp_path / name / "trajectory.csv").read_bytes() for name in "abd")
    assert whole == named == removed


def test_a_stopped_run_says_so(tmp_path, capsys):
    words = ["--method", "sgd", *SMALL, "--lr", "1e200", "--no-plots", "--out", str(tmp_path / "out")]
    status, _, error = finished(run.main, words, capsys)
    assert status == 1 and "cubic, head none, batch 16, seed 0: stopped at step" in error and "overflow" in error
    assert pd.read_csv(tmp_path / "out" / "summary.csv")["stopped"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch 1", "--batch 1: must be an integer >= 2 (normalisation by the statistics of one sample is undefined)"),
        ("--batch x", "--batch x: must be an integer"),
        ("--lr 0", "--lr 0: must be a finite number > 0"),
        ("--steps 0", "--steps 0: must be an integer >= 1"),
        ("--dim 3", "--dim 3: must be an integer >= 4 (features + neurons)"),
        ("--optimiser lamb", "--optimiser lamb: must be one of sgd, momentum, adam"),
        ("--data 10", "--data 10: must be an integer >= 16"),
        ("--head full", "--head full: must be one of off-diagonal, none"),
        ("--resume a.npz", "--resume a.npz: must be given with --checkpoints"),
        ("--until 3", "unrecognized arguments: --until 3"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, error = finished(run.main, ["--method", "sgd", *SMALL, *words.split()], capsys)
    assert status == 2 and error.count("\n") == 1 and message in error, error
    assert not list(tmp_path.iterdir())

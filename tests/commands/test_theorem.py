"""The command `python -m dynlab.theorem`: what it writes, that it goes on where it was, what it refuses."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pandas as pd
import pytest

import dynlab
from dynlab.claims import CLAIMS
from dynlab.claims.claim import FAILS, HOLDS, OUT_OF_REACH, agrees, within
from dynlab.theorem import NUMBERS, claims
from dynlab.tools.checks import SettingError
from tests.command_line.calling import refusal
from tests.waiting import HANGS

ENVIRONMENT = os.environ | {"PYTHONPATH": dynlab.__file__.rsplit("/dynlab/", 1)[0], "OMP_WAIT_POLICY": "passive"}
RESULTS = ("theorem.json", "theorem.csv", "theorem.md", "points.csv", "settings.json")


def command(folder, *options):
    """Run the command in a folder; the finished process."""
    words = [sys.executable, "-m", "dynlab.theorem", *options]
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANGS, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A quick run of two claims: (finished process, its folder)."""
    folder = tmp_path_factory.mktemp("theorem")
    done = command(folder, "--quick", "--claims", "9,2", "--out", "out")
    assert done.returncode == 0, done.stderr
    return done, folder


def test_records_are_complete_and_strict_json(run):
    done, folder = run
    records = json.loads((folder / "out" / "theorem.json").read_text(), parse_constant=pytest.fail)
    assert {record["claim"] for record in records} == {2, 9}
    for record in records:
        assert set(record) == {"claim", "name", "statement", "predicted", "measured", "low", "high", "verdict"}
        assert record["verdict"] in (HOLDS, FAILS, OUT_OF_REACH)
        assert record["low"] <= record["measured"] <= record["high"]
        assert record["name"] in " ".join(done.stdout.split())
    table = pd.read_csv(folder / "out" / "theorem.csv")
    assert table["name"].tolist() == [record["name"] for record in records]
    assert len({(record["claim"], record["name"]) for record in records}) == len(records)
    assert (folder / "out" / "theorem.png").stat().st_size > 10_000


def test_goes_on_where_it_was_and_ends_with_the_same_bytes(run):
    """A run that has lost a point, as one that was killed has, computes that one alone."""
    _, folder = run
    out = folder / "out"
    before = {name: (out / name).read_bytes() for name in (*RESULTS, "theorem.png")}
    kept = sorted((out / "points").iterdir())
    stamps = {path: path.stat().st_mtime_ns for path in kept[1:]}
    kept[0].unlink()
    for name in before:
        (out / name).unlink()
    done = command(folder, "--quick", "--claims", "2,9", "--out", "out", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sorted((out / "points").iterdir()) == kept
    assert {path: path.stat().st_mtime_ns for path in kept[1:]} == stamps


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--claims", "13"], "--claims 13: must be numbers from 1 to 12"),
        (
            ["--claims", "1,x"],
            "--claims 1,x: must be numbers from 1 to 12 or ranges of them (1-3) with commas between them, "
            "or the beginnings of names",
        ),
        (["--claims", "phase"], "--claims phase: must be numbers from 1 to 12"),  # two names begin so
        (["--claims", ""], "must be numbers from 1 to 12"),
        (["--threads", "0"], "--threads 0: must be an integer >= 1"),
        (["--seed", "-1"], "--seed -1: must be an integer >= 0"),
        (["--out", ""], "--out"),
        (["--dims", "3"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert words in refusal("theorem", ["--quick", *options], capsys)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_of_a_process_of_its_own(tmp_path):
    done = command(tmp_path, "--quick", "--claims", "13")
    assert done.returncode == 2
    assert "--claims 13: must be numbers from 1 to 12" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = command(tmp_path, "--quick", "--claims", "2", "--out", ".")
    assert done.returncode == 2
    assert "holds other files" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_every_claim_has_a_module():
    assert tuple(CLAIMS) == NUMBERS


def test_claims_are_asked_for_by_number_or_name():
    assert claims("relu,hidden") == claims("12, 10") == (10, 12)
    assert claims(None) == NUMBERS
    assert claims("1-11") == tuple(range(1, 12))
    assert claims("hidden, 9-11, 3,10") == (3, 9, 10, 11, 12)


@pytest.mark.parametrize("words", ["0-3", "3-1", "1-99999999999", "1-", "-3", "1-2-3", "a-b", "1 - 3"])
def test_a_range_that_is_none(words):
    with pytest.raises(SettingError, match="numbers from 1 to 12"):
        claims(words)


def test_a_prediction_holds_only_where_the_interval_could_tell():
    assert agrees(0.5, 0.49, 0.52, 0.02) == HOLDS
    assert agrees(0.5, 0.51, 0.52, 0.02) == FAILS
    assert agrees(0.5, 0.2, 0.8, 0.02) == OUT_OF_REACH
    assert agrees(math.nan, 0.2, 0.8, 0.5) == agrees(0.5, math.nan, math.nan, 0.5) == OUT_OF_REACH


def test_verdicts():
    assert within(1.92, 2.08, 1.9, 2.1) == HOLDS
    assert within(2.2, 2.3, 1.9, 2.1) == FAILS
    assert within(2.0, 2.3, 1.9, 2.1) == OUT_OF_REACH
    assert within(math.nan, math.nan, 1.9, 2.1) == OUT_OF_REACH

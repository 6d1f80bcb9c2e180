"""The command writes what it computed; what is wrong is one line and leaves the disk as it was."""

import json

import numpy as np
import pandas as pd
import pytest

from dynlab.portrait import main

SMALL = ["--points", "8", "--trajectories", "4", "--quiet"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portrait") / "out"
    words = ["--x", "E21=0:0.2", "--y", "w22=-0.3:0.3", "--hold", "w21=0.2", "--slave", "E12", "--out", str(folder)]
    assert main([*words, *SMALL]) == 0
    return folder


def test_the_folder(made):
    names = {
        "portrait.png",
        "portrait.pdf",
        "portrait.csv",
        "nullclines.csv",
        "fixed_points.csv",
        "trajectories.csv",
        "run.json",
    }
    assert {path.name for path in made.iterdir()} == names
    field = pd.read_csv(made / "portrait.csv")
    assert list(field) == ["E21", "w22", "rate_E21", "rate_w22", "end_state"] and len(field) == 64
    assert np.isfinite(field[["rate_E21", "rate_w22"]].to_numpy()).all()
    record = json.loads((made / "run.json").read_text())
    assert sum(record["shares"].values()) == pytest.approx(1.0)
    assert record["settings"]["held"]["w21"] == 0.2 and record["settings"]["slaved"] == ["E12"]
    assert "slaved to the rest: $E_{12}$" in record["caption"] and r"$\langle w_2, v_1\rangle$ = 0.2" in record["caption"]
    assert list(pd.read_csv(made / "trajectories.csv"))[:2] == ["trajectory", "time"]
    assert b"Phase portrait on E21 and w22" in (made / "portrait.png").read_bytes()


def test_the_same_command_gives_the_same_bytes(made, tmp_path):
    words = json.loads((made / "run.json").read_text())["command"].split()[3:]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main([*words, "--threads", "1"]) == 0
    for path in made.iterdir():
        assert path.name == "run.json" or path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


BAD = [
    ("--x w23", "--x w23: must be NAME or NAME=LOW:HIGH with NAME of w11, w12"),
    ("--x w21=1", "must be NAME or NAME=LOW:HIGH with numbers"),
    ("--x w21=1:0", "must be a range from a lower to a higher finite value"),
    ("--x w21=0:inf", "must be a range from a lower to a higher finite value"),
    ("--x w22", "--y w22: must be another coordinate than that of x"),
    ("--hold w21=1", "must be left out: it is an axis or slaved"),
    ("--hold w31=1", "must be a coordinate of w11"),
    ("--hold E21", "must be NAME=VALUE, each name once"),
    ("--hold E21=1,E21=2", "must be NAME=VALUE, each name once"),
    ("--hold E21=a", "must be NAME=VALUE with a number"),
    ("--hold s1=-1", "must be a number >= 0"),
    ("--hold s1=0.1,w1=1", "must be left out: s1 is given"),
    ("--slave w11", "must be E12 or E21, and no axis"),
    ("--slave E21 --x E21", "must be E12 or E21, and no axis"),
    ("--head linear", "--head linear: must be one of off-diagonal, none"),
    ("--points 1", "--points 1: must be an integer >= 2"),
    ("--until 0", "--until 0: must be a finite number > 0"),
    ("--weak 2", "--weak 2: must be a finite number > 0 and <= 1"),
    ("--out=", "must be the name of a folder"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    try:
        status = main([*SMALL, *words.split()])
    except SystemExit as error:
        status = error.code
    line = capsys.readouterr().err
    assert status == 2 and line.count("\n") == 1 and message in line
    assert not any(tmp_path.iterdir())

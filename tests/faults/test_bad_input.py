"""Bad options and damaged files: one line, the right exit status, nothing on standard output, the disk as it was.

200 inputs a command, drawn by a fixed seed (DYNLAB_FAULTS=N: N times as many), in a process of its own.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

from tests.faults.commands import READING, STUBS, TABLE
from tests.faults.processes import Running
from tests.waiting import beyond_progress

TIMES = int(os.environ.get("DYNLAB_FAULTS", "1"))
INPUTS, DAMAGES = 200 * TIMES, 48 * TIMES
WITHOUT_SIZES = ("figures", "doctor", "diagnose", "export", "recipes")


def fuzz(kind: str, name: str, count: int, desk: Path, prepare: str) -> dict:
    """What `tests.faults.fuzz` reports."""
    words = [kind, name, str(zlib.crc32(name.encode())), str(count)]
    ended = Running("tests.faults.fuzz", words, desk, desk.with_name("notes"), prepare=prepare).wait()
    assert ended.status == 0, ended
    return json.loads(ended.out)


@pytest.fixture
def desk(tmp_path):
    """A folder with a file, a run and something else in it."""
    place = tmp_path / "desk"
    for name, content in (("full", "run.json"), ("busy", "notes.txt")):
        (place / name).mkdir(parents=True)
        (place / name / content).write_text("precious")
    (place / "file").write_text("precious")
    return place


@pytest.mark.parametrize("name", TABLE)
def test_bad_options_are_one_line(name, desk, tmp_path):
    command = TABLE[name]
    if command.lay is not None:
        command.lay(desk, tmp_path / "kept")
    found = fuzz("options", name, INPUTS, desk, command.prepare)
    assert found["wrong"] == [], "\n".join(found["wrong"])
    assert found["refused"] == INPUTS


@pytest.mark.parametrize("name", TABLE)
def test_absurd_sizes_are_one_line(name, desk, tmp_path):
    command = TABLE[name]
    if command.lay is not None:
        command.lay(desk, tmp_path / "kept")
    found = fuzz("sizes", name, 0, desk, command.prepare)
    assert found["wrong"] == [], "\n".join(found["wrong"])
    assert found["accepted"] == 0 and (found["refused"] or name in WITHOUT_SIZES)


@pytest.mark.parametrize("name", TABLE)
def test_what_is_suggested_can_be_done(name, desk, tmp_path):
    command = TABLE[name]
    if command.lay is not None:
        command.lay(desk, tmp_path / "kept")
    found = fuzz("advice", name, 0, desk, command.prepare)
    assert found["wrong"] == [], "\n".join(found["wrong"])
    assert found["accepted"]


@pytest.mark.parametrize("name", READING)
def test_damaged_files_are_named(name, tmp_path):
    desk, command = tmp_path / "desk", TABLE[READING[name].command]
    desk.mkdir()
    if command.lay is not None:
        command.lay(desk, tmp_path / "kept")
    else:
        ended = Running(command.module, command.words.split(), desk, tmp_path / "made", prepare=command.prepare).wait()
        assert ended.status == 0, ended
    found = fuzz("files", name, DAMAGES, desk, command.prepare)
    assert found["wrong"] == [], "\n".join(found["wrong"])
    assert found["refused"] + found["accepted"] == DAMAGES


def test_every_command_has_its_work_replaced():
    assert set(STUBS) == set(TABLE)


def test_a_folder_whose_name_is_no_text(desk, tmp_path):
    command = TABLE["ablate"]
    words = [*command.words.split(), "--out", "odd\udcff\udcfe"]
    ended = Running(command.module, words, desk, tmp_path / "notes").wait()
    assert ended.status == 0 and beyond_progress(ended.errors) == [], ended
    assert "files in odd\\udcff\\udcfe: ablate.csv, run.json" in ended.out
    assert json.loads((desk / "odd\udcff\udcfe" / "run.json").read_text())["settings"]["out"] == words[-1]

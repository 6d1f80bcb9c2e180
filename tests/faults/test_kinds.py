"""Divergence, a newest checkpoint that is cut, files as editors write them, numbers as arrays give them: drawn.

By a fixed seed (DYNLAB_FAULTS=N: N times as many), in a process of its own.
"""

from __future__ import annotations

import pytest

from tests.faults.commands import TABLE
from tests.faults.kinds import MARKS, RESUMED, TRAINING, _Calls, _calls
from tests.faults.test_bad_input import TIMES, desk, fuzz  # noqa: F401 (desk is a fixture)


def drawn(kind, name, count, place, tmp_path):
    command = TABLE.get(name)
    if command is not None and command.lay is not None:
        command.lay(place, tmp_path / "kept")
    found = fuzz(kind, name, count, place, "" if command is None else command.prepare)
    assert found["wrong"] == [], "\n".join(found["wrong"])
    return found


@pytest.mark.parametrize("name", TRAINING)
def test_training_that_diverges_is_told_and_leaves_only_finite_numbers(name, tmp_path):
    place = tmp_path / "desk"
    place.mkdir()
    found = drawn("divergence", name, 8 * TIMES, place, tmp_path)
    assert found["refused"] and found["refused"] + found["accepted"] == 8 * TIMES


@pytest.mark.parametrize("name", RESUMED)
def test_a_newest_checkpoint_that_is_cut_is_got_over_as_is_advised(name, tmp_path):
    place = tmp_path / "desk"
    place.mkdir()
    assert drawn("newest", name, 4 * TIMES, place, tmp_path)["refused"] == 4 * TIMES


@pytest.mark.parametrize("name", TABLE)
def test_options_in_files_as_editors_write_them(name, desk, tmp_path):  # noqa: F811
    count = 2 * len(MARKS)
    assert drawn("marked", name, count, desk, tmp_path)["accepted"] == count


@pytest.mark.parametrize("name", _Calls.NAMES)
def test_numbers_as_arrays_give_them(name, tmp_path):
    place = tmp_path / "desk"
    place.mkdir()
    assert drawn("scalars", name, 40 * TIMES, place, tmp_path)["accepted"] == 40 * TIMES


def test_the_calls_are_those_that_are_named():
    assert tuple(_calls()) == _Calls.NAMES

"""Faults that are planted on demand can be planted: the text that each replaces is in the sources, its tests are there."""

from importlib import import_module
from pathlib import Path

import pytest

from tests import ROOT
from tests.thorough import planted
from tests.thorough.planting import Planting

NAMES = sorted(path.stem for path in Path(planted.__file__).parent.glob("*.py") if path.stem != "__init__")


def planting(name: str) -> Planting:
    return import_module(f"tests.thorough.planted.{name}").PLANTING


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_finds_its_text(name):
    assert planting(name).lost() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_tests_that_should_see_a_fault_are_there(name):
    one = planting(name)
    assert one.program == name and one.faults
    for fault in (None, *one.faults):
        files = [word for word in one.tests(fault) if word.startswith("tests/")]
        assert files and all((ROOT / word.partition("::")[0]).exists() for word in files), (fault, files)


def test_a_fault_that_lost_its_text_is_told(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    faults = {
        "there": ("a.py", "x = 1", "x = 2"), "gone": ("a.py", "y = 1", "y = 2"), "file gone": ("b.py", "x", "y"),
        "no fault": ("a.py", "x", "x"),
    }  # fmt: skip
    found = Planting("some", faults, lambda name: ()).lost(tmp_path)
    assert [line.partition(":")[0] for line in found] == ["gone", "file gone", "no fault"]

"""The tree of the tests is that of dynlab: what is tested where can be guessed from where it is."""

from pathlib import Path

import pytest

import dynlab
from tests import ROOT
from tests.architecture.mirror import apart


def test_every_room_has_its_tests_and_every_folder_of_tests_its_room():
    assert apart(Path(dynlab.__file__).parent, ROOT / "tests") == []


@pytest.fixture
def small(tmp_path):
    """(package, tests) of a package with one room, which mirror each other."""
    for name in ("package/__init__.py", "package/room/__init__.py", "package/room/door.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for name in ("tests/__init__.py", "tests/room/__init__.py", "tests/room/test_door.py", "tests/naive_walls.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('"""Doors."""\n')
    return tmp_path / "package", tmp_path / "tests"


PLANTED = {
    "a room without tests": ("package/attic/__init__.py", "attic: no tests/attic/test_*.py"),
    "a folder of tests without a room": ("tests/garden/__init__.py", "tests/garden: neither a room nor a module of package"),
    "a folder that says nothing": ("tests/room/door/test_handle.py", "tests/room/door: no __init__.py"),
    "a test that lies flat": ("tests/test_house.py", "tests/test_house.py: lies flat"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_apart_is_found(small, name):
    package, tests = small
    assert apart(package, tests, others={}) == []
    path, said = PLANTED[name]
    (package.parent / path).parent.mkdir(exist_ok=True)
    (package.parent / path).write_text('"""Said."""\n')
    (line,) = apart(package, tests, others={})
    assert line.startswith(said)


def test_a_room_whose_only_file_of_tests_is_gone_is_found(small):
    package, tests = small
    (tests / "room" / "test_door.py").unlink()
    assert apart(package, tests, others={}) == ["room: no tests/room/test_*.py"]


def test_a_name_on_the_list_that_no_folder_bears_is_found(small):
    assert apart(*small, others={"cellar": "for wine"}) == ["tests/cellar: named as one that may be apart, and not there"]

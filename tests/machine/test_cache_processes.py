"""Whatever happened to sources, files and other processes, a process prints what it would without a cache."""

from __future__ import annotations

import signal
import time

import pytest

from tests.machine.forking import Forking
from tests.machine.toy import RUN, Toy, said
from tests.waiting import HANGS


@pytest.fixture(scope="module")
def forking():
    with Forking() as server:
        yield server


@pytest.fixture
def toy(tmp_path, forking):
    return Toy(tmp_path, forking)


def test_an_edit_to_a_helper_is_noticed_in_both_directions(toy):
    """By processes that are forked; and one that is not finds what they keep, and keeps what they find."""
    assert toy.run() == ("7.0 0", "")
    assert toy.run_anew() == ("7.0 1", "")
    toy.edit(5.0)
    assert toy.run() == ("16.0 0", "")
    toy.edit(2.0)
    assert toy.run() == ("7.0 1", "")
    assert len(list(toy.cache.iterdir())) == 2
    toy.edit(4.0)
    assert toy.run_anew() == ("13.0 0", "")
    assert toy.run() == ("13.0 1", "")


def test_an_edit_to_a_source_that_a_kernel_does_not_depend_on_costs_nothing(toy):
    assert toy.run() == ("7.0 0", "")
    other = toy.package / "other.py"
    other.write_text("x = 1\n")
    assert toy.run() == ("7.0 1", "")
    assert len(list(toy.cache.iterdir())) == 2  # a copy under the new key, which an old version's removal leaves
    other.write_text("x = 2\n")
    toy.edit(5.0)
    assert toy.run() == ("16.0 0", "")
    assert len(list(toy.cache.iterdir())) == 3


def test_a_damaged_file_of_another_version_is_passed_over_in_silence(toy):
    assert toy.run() == ("7.0 0", "")
    (path,) = toy.cache.rglob("*.kernel")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (toy.package / "other.py").write_text("x = 1\n")
    assert toy.run() == ("7.0 0", "")
    assert toy.run() == ("7.0 1", "")


@pytest.mark.parametrize("early", [True, False], ids=["before the key", "after the key"])
def test_sources_that_are_edited_while_a_process_runs_leave_nothing_wrong(toy, early):
    """The process compiles what it finds in the end; kept under the key of what it found at first, or the reverse, that
    would be the result of the next one."""
    helper = toy.package / "helper.py"
    text = helper.read_text().replace("2.0", "5.0")
    edit = f"import pathlib; pathlib.Path({str(helper)!r}).write_text({text!r})"
    if early:
        code = f"from dynlab import helper; {edit}; {RUN}"
    else:
        code = f"from dynlab.machine import cache; cache.cache_key(); {edit}; {RUN}"
    printed, errors = toy.run(code)
    assert printed == ("7.0 0" if early else "16.0 0")
    assert errors.endswith("kernels are not cached: sources of dynlab were edited since this process began\n")
    assert errors.count("\n") == 1
    assert toy.run() == ("16.0 0", "")
    toy.edit(2.0)
    assert toy.run() == ("7.0 0", "")


def test_ten_processes_with_an_empty_cache_one_of_them_killed(toy):
    processes = [toy.start() for _ in range(10)]
    while not toy.cache.exists() and processes[4].poll() is None:  # until one of them has come to its first kernel
        time.sleep(0.001)
    processes[4].send_signal(signal.SIGKILL)
    processes[4].communicate()
    for process in processes[:4] + processes[5:]:
        printed, errors = said(process)
        assert printed.startswith("7.0 ") and errors == ""
    assert toy.run() == ("7.0 1", "")


KILLED = "import os, signal; os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); " + RUN
CLEAR = """
from dynlab.machine import cache
print(cache.kept()[0].unfinished, *cache.clear(old=True), cache.kept()[0].unfinished)
"""


def test_what_a_killed_process_was_writing_is_neither_read_nor_kept_for_ever(toy):
    process = toy.start(KILLED)
    assert process.wait(timeout=HANGS) == -signal.SIGKILL
    process.communicate()
    assert len(toy.files()) == 1 and ".writing." in toy.files()[0]
    size = sum(path.stat().st_size for path in toy.cache.rglob("*.writing.*"))
    assert toy.run() == ("7.0 0", "")
    assert toy.run() == ("7.0 1", "")
    assert toy.run(CLEAR) == (f"1 1 {size} [] 0", "")
    assert toy.run() == ("7.0 1", "")


def test_a_place_that_cannot_be_written_is_one_line(toy):
    toy.cache.write_text("a file")
    printed, errors = toy.run()
    assert printed == "7.0 0"
    assert errors.startswith("dynlab:1: CacheWarning: kernels are not cached: ")
    assert errors.endswith("cannot be written (Not a directory)\n") and errors.count("\n") == 1
    assert toy.cache.read_text() == "a file"


KEY = "from dynlab.machine import cache; print(cache.cache_key())"


def test_what_changes_code_changes_the_key_and_nothing_else_does(toy):
    plain = toy.run(KEY)
    assert toy.run_anew(KEY, NUMBA_NUM_THREADS="1", NUMBA_ENABLE_CUDASIM="1", NUMBA_CACHE_DIR="x", HOME="x") == plain
    for name, value in (("NUMBA_OPT", "1"), ("NUMBA_CPU_NAME", "generic"), ("PYTHONOPTIMIZE", "1")):
        assert toy.run_anew(KEY, **{name: value}) != plain, name

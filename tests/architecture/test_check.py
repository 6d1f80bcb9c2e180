"""What the whole check says at the end: time by folders, too many skipped tests; and that no test hangs on the clock."""

import os
import re
import subprocess
import sys

import pytest

from tests import ROOT
from tests.waiting import HANGS

FILES = sorted((ROOT / "tests").rglob("*.py"))
TESTS = """
import pytest

@pytest.mark.parametrize("i", range(5))
def test_it(i):
    if i < 3:
        pytest.skip("there is no device")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three tests that are skipped and two that pass, in a folder of their own."""
    made = tmp_path_factory.mktemp("check")
    (made / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (made / "room").mkdir()
    (made / "room" / "test_it.py").write_text(TESTS)
    return made


@pytest.mark.parametrize(("most", "processes", "status"), [("2", "0", 1), ("2", "2", 1), ("3", "2", 0)])
def test_more_skipped_tests_than_are_allowed_fail_the_run(folder, most, processes, status):
    environment = os.environ | {"DYNLAB_MOST_SKIPPED": most, "DYNLAB_TIMES": "1"}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        processes,
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        "room",
    ]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("3 tests were skipped, and DYNLAB_MOST_SKIPPED allows 2" in done.stdout) == (status == 1)
    assert "2 passed, 3 skipped" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.endswith(" room")]
    assert line.split()[1:] == ["s", "5", "tests", "room"]


def test_the_number_stands_in_the_check():
    """In one place, and the test command of README runs under it."""
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert text.count("DYNLAB_MOST_SKIPPED=") == 1 and "DYNLAB_TIMES=1" in text


# Where a test may sleep: between two looks at another process or thread, or to bring threads out of order.
SLEEPS = {
    "waiting.py": 1, "faults/processes.py": 2, "machine/test_cache_processes.py": 1, "maps/test_map.py": 1,
    "explorer/test_page.py": 1,
}  # fmt: skip


def test_no_test_hangs_on_the_clock():
    """No test sleeps elsewhere, and none asserts how long something took; that something hangs is another matter."""
    texts = {path.relative_to(ROOT / "tests").as_posix(): path.read_text(encoding="utf-8") for path in FILES}
    sleeping = {name: n for name, text in texts.items() if (n := len(re.findall(r"(?<!\w)time\.sleep\(", text)))}
    assert {name: n for name, n in sleeping.items() if n > SLEEPS.get(name, 0)} == {}
    timed = [name for name, text in texts.items() if re.search(r"assert[^\n]*\b(perf_counter|process_time)\(", text)]
    assert timed == []

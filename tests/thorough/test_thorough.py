"""What is checked on demand is chosen by name, told as it was found, and shown on the page."""

import sys

import pytest

import dynlab
from tests import ROOT
from tests.thorough import __main__ as command
from tests.thorough import results
from tests.thorough.results import FAILED, PASSED, SKIPPED, Result
from tests.thorough.test_planted import NAMES

SOURCE = (ROOT / "dynlab" / "docs").is_dir()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Results and page go elsewhere."""
    monkeypatch.setattr(results, "FILE", tmp_path / "last.json")
    monkeypatch.setattr(results, "PAGE", tmp_path / "checked.md")
    return tmp_path


def test_parts_are_chosen_by_their_names_or_by_the_first_word(capsys):
    assert command.chosen(None) == list(command.PARTS)
    assert command.chosen("planted") == [f"planted.{name}" for name in NAMES]
    assert command.chosen("planted.samples, pytorch") == ["planted.samples", "pytorch"]
    with pytest.raises(SystemExit):
        command.main(["--only", "pytorch,weather"])
    assert "no such part: weather; there are pytorch, " in capsys.readouterr().err


def test_a_part_that_cannot_run_says_why(kept, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main(["--only", "pytorch,coverage"]) == 0
    found = results.read()
    assert found["pytorch"]["outcome"] == SKIPPED and "--torch names no interpreter" in found["pytorch"]["counts"]
    assert found["coverage"]["outcome"] == SKIPPED and "pip install coverage" in found["coverage"]["counts"]


def test_what_fails_fails_the_command_and_stands_on_the_page(kept, monkeypatch):
    answers = {"pytorch": Result(PASSED, "8 passed"), "explore": Result(FAILED, "1 failed", ("a.py::test_b fails",))}
    monkeypatch.setattr(command, "run", lambda part, given: answers[part])
    assert command.main(["--only", "pytorch", "--torch", "/home/me/bin/python"]) == 0
    assert command.main(["--only", "explore"]) == 1
    page = (kept / "checked.md").read_text()
    assert (
        f"| {dynlab.__version__} | passed: 8 passed |" in page
        and "`python -m tests.thorough --only pytorch --torch PYTHON`" in page
    )
    assert "| FAILED: 1 failed |" in page and "* a.py::test_b fails" in page
    assert "| processors | tests and results in the arithmetic of other processors | | | never run |" in page


def test_counts_are_those_of_pytest(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert False\n"
        "def test_left_out(): pytest.skip('no device')\n"
    )
    found = command.tested(["-n", "0", "--rootdir", str(tmp_path), str(tmp_path)], sys.executable)
    assert (found.outcome, found.counts) == (FAILED, "1 passed, 1 failed, 1 skipped")
    assert found.lines[0].endswith("test_it.py::test_wrong fails") and found.lines[1] == "skipped: no device"


@pytest.mark.skipif(not SOURCE, reason="the page is part of the source, and the tests stand beside an installed wheel")
def test_the_page_is_that_of_the_last_results():
    assert results.PAGE.read_text(encoding="utf-8") == results.page(results.read(), command.PARTS)

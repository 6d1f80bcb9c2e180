"""Every wrong option is one line on standard error, exit status 2, and leaves the disk as it was."""

import os
import subprocess
import sys

import pytest

import dynlab
from tests.command_line.calling import refusal
from tests.waiting import HANGS

# Commands run in a folder of their own: let them find the package that is being tested.
ENVIRONMENT = os.environ | {"PYTHONPATH": dynlab.__file__.rsplit("/dynlab/", 1)[0]}
BAD = [
    ("--strong 0", "--strong 0: must be a finite number > 0"),
    ("--strong inf", "--strong inf: must be"),
    ("--strong 0.1", "--weak 0.3: must be a finite number > 0 and <= 0.1 (strong)"),
    ("--weak 2.0", "--weak 2.0: must be a finite number > 0 and <= 1 (strong)"),
    ("--weak nan", "--weak nan: must be"),
    ("--weak -0.1", "--weak -0.1: must be"),
    ("--weak -1e-3", "--weak -1e-3: must be"),
    ("--weak -inf", "--weak -inf: must be"),
    ("--weak lots", "--weak lots: must be"),
    ("--weak=", "--weak '': must be"),
    ("--weak", "--weak"),
    ("--noise -1", "--noise -1: must be a finite number >= 0"),
    ("--noise nan", "--noise nan: must be"),
    ("--patches 0", "--patches 0: must be an integer >= 2"),
    ("--patches 15", '--patches 15: must be even for mask "half"'),
    ("--patches 16.5", "--patches 16.5: must be an integer"),
    ("--feature-patches 0", "--feature-patches 0: must be an integer >= 1 and <= 15"),
    ("--feature-patches 16", "--feature-patches 16: must be an integer >= 1 and <= 15"),
    ("--mask quarter", "--mask quarter: must be one of half, independent"),
    ("--activation tanh", "--activation tanh: must be one of relu, cubic, relu3, linear"),
    ("--activation relu,tanh", "--activation tanh: must be one of"),
    ("--activation relu --activation tanh", "--activation tanh: must be one of"),
    ("--activation=", "--activation '': must be one of"),
    ("--dim 3", "--dim 3: must be an integer >= 4 (features + neurons)"),
    ("--dim 1000.5", "--dim 1000.5: must be an integer"),
    ("--dim nan", "--dim nan: must be an integer"),
    ("--seeds 0", "--seeds 0: must be an integer >= 1"),
    ("--seeds -5", "--seeds -5: must be an integer >= 1"),
    ("--seeds 1e12", "--seeds 1e12: must be an integer >= 1 and <= 10000000"),
    ("--seed -1", "--seed -1: must be an integer >= 0"),
    ("--seed one", "--seed one: must be an integer >= 0"),
    ("--eta-head -0.01", "--eta-head -0.01: must be a finite number >= 0"),
    ("--eta-head nan", "--eta-head nan: must be"),
    ("--vicreg-weights 1,2", "--vicreg-weights 1,2: must be three numbers"),
    ("--vicreg-weights 1,x,1", "--vicreg-weights 1,x,1: must be a finite number >= 0"),
    ("--barlow-weight -1", "--barlow-weight -1: must be a finite number >= 0"),
    ("--until 0", "--until 0: must be a finite number > 0"),
    ("--until nan", "--until nan: must be"),
    ("--method euler", "--method euler: must be one of flow, descent"),
    ("--rtol 1e-13", "--rtol 1e-13: must be a finite number >= 1e-12 and <= 0.01"),
    ("--rtol 0.1", "--rtol 0.1: must be a finite number >= 1e-12 and <= 0.01"),
    ("--threads 0", "--threads 0: must be an integer >= 1"),
    ("--threads 100000", "--threads 100000: must be an integer >= 1"),
    ("--out=", "--out '': must be the name of a folder"),
    ("--out .", "--out .: names no folder"),
    ("--out file", "--out file: holds a file; must be a new or an empty folder"),
    ("--out file/below", "--out file/below: cannot be written (Not a directory)"),
    ("--out full", "--out full: holds another run; must be a new or an empty folder"),
    ("--out busy", "--out busy: holds other files; must be a new or an empty folder"),
    ("--colour red", "--colour"),
    ("--wea 0.3", "--wea"),
    ("stray", "stray"),
]


def tree(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_text() for path in folder.rglob("*")}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a file, a run and something else in it, to run the command in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    for name, content in (("full", "run.json"), ("busy", "notes.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text("precious")
    return tmp_path


@pytest.fixture
def refused(desk, capsys):
    """Call the command with options; its line of error, after checking that it behaved."""

    def call(options):
        before = tree(desk)
        line = refusal("run", options, capsys)
        assert tree(desk) == before
        return line

    return call


@pytest.mark.parametrize(("options", "message"), BAD, ids=[options for options, _ in BAD])
def test_a_wrong_option_is_one_line(refused, options, message):
    assert message in refused(options.split())


@pytest.mark.parametrize("options", ["--weak nan", "--out full", "--wea 0.3"])
def test_a_wrong_option_is_one_line_of_a_process_of_its_own(desk, options):
    """One that its setting, one that the disk and one that the parser refuses."""
    before = tree(desk)
    command = [sys.executable, "-m", "dynlab.run", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False, cwd=desk, env=ENVIRONMENT)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("dynlab.run: error: "), done.stderr
    assert dict(BAD).get(options, options) in done.stderr
    assert tree(desk) == before


def test_words_with_line_breaks_still_make_one_line(refused):
    assert refused(["--weak", "0.3\n0.4"]).startswith("--weak 0.3 0.4: must be")


def test_the_first_wrong_setting_is_named_before_the_folder_is_claimed(refused):
    assert refused(["--weak", "2", "--out", "new"]).startswith("--weak 2:")


def test_help_names_every_option_and_writes_nothing(desk):
    before = tree(desk)
    command = [sys.executable, "-m", "dynlab.run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=True, cwd=desk, env=ENVIRONMENT)
    options = "strong weak activation dim seeds seed noise patches feature-patches mask eta-head until method"
    for option in f"{options} rtol threads out no-plots quiet".split():
        assert f"\n  --{option} " in done.stdout
    assert tree(desk) == before

"""Every wrong option is one line on standard error, exit status 2, and leaves the disk as it was."""

import subprocess
import sys

import pytest

from tests.waiting import HANGS

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


def refusal(options, folder):
    """Run the command with these options; its line of error, after checking that it behaved."""
    before = tree(folder)
    command = [sys.executable, "-m", "dynlab.run", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("dynlab.run: error: ")
    assert tree(folder) == before
    return done.stderr.removeprefix("dynlab.run: error: ")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The command runs in a folder of its own: let it find the package that is being tested."""
    import dynlab

    monkeypatch.setenv("PYTHONPATH", dynlab.__file__.rsplit("/dynlab/", 1)[0])


@pytest.mark.parametrize(("options", "message"), BAD, ids=[options for options, _ in BAD])
def test_a_wrong_option_is_one_line(desk, options, message):
    assert message in refusal(options.split(), desk)


def test_words_with_line_breaks_still_make_one_line(desk):
    assert refusal(["--weak", "0.3\n0.4"], desk).startswith("--weak 0.3 0.4: must be")


def test_the_first_wrong_setting_is_named_before_the_folder_is_claimed(desk):
    assert refusal(["--weak", "2", "--out", "new"], desk).startswith("--weak 2:")


def test_help_names_every_option_and_writes_nothing(desk):
    before = tree(desk)
    command = [sys.executable, "-m", "dynlab.run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=True, cwd=desk)
    options = "strong weak activation dim seeds seed noise patches feature-patches mask eta-head until method"
    for option in f"{options} rtol threads out no-plots quiet".split():
        assert f"\n  --{option} " in done.stdout
    assert tree(desk) == before

"""Every wrong option is one line on standard error, exit status 2, and leaves the disk as it was."""

import subprocess
import sys

import pytest

from dynlab.phase import main
from tests.maps.cases import ENVIRONMENT, X, Y
from tests.waiting import HANGS

BAD = [
    ("--x weka=0.1:1:4", "--x weka=0.1:1:4: must be an axis of strong, weak, noise, eta-head, until, patches"),
    ("--x activation=1:2:3", "must be an axis of"),
    ("--x weak", "--x weak: must be NAME=LOW:HIGH:COUNT"),
    ("--x weak=", "must be NAME=LOW:HIGH:COUNT"),
    ("--x weak=0.1:1", "must be NAME=LOW:HIGH:COUNT"),
    ("--x weak=0.1:1:4:log:5", "must be NAME=LOW:HIGH:COUNT"),
    ("--x weak=a:1:4", "must be NAME=LOW:HIGH:COUNT or NAME=LOW:HIGH:COUNT:log with finite numbers"),
    ("--x weak=0.1:inf:4", "with finite numbers"),
    ("--x weak=nan:1:4", "with finite numbers"),
    ("--x weak=0.1:1:4:cubic", "must be spaced log or linear"),
    ("--x weak=1:0.1:4", "must be a range from a lower to a higher value"),
    ("--x weak=0.5:0.5:4", "must be a range from a lower to a higher value"),
    ("--x weak=0.1:1:1", "must be of 2 to 1000 points"),
    ("--x weak=0.1:1:0", "must be of 2 to 1000 points"),
    ("--x weak=0.1:1:-4", "must be of 2 to 1000 points"),
    ("--x weak=0.1:1:2.5", "must be of 2 to 1000 points"),
    ("--x weak=0.1:1:1e9", "must be of 2 to 1000 points"),
    ("--x weak=0:1:4:log", "must be above 0 where it is spaced log"),
    ("--x weak=-1:1:4:log", "must be above 0 where it is spaced log"),
    ("--x weak=0:1:4", "such that, at weak=0, eta_head=0.001, weak is a finite number > 0"),
    ("--x weak=0.1:2:4", "is a finite number > 0 and <= 1 (strong)"),
    ("--x noise=-1:1:4", "noise is a finite number >= 0"),
    ("--x patches=5:9:3", 'patches is even for mask "half"'),
    ("--x patches=8.1:8.3:4", "a range with two or more integers, as patches is one"),
    ("--x feature-patches=1:20:4", "feature_patches is an integer >= 1 and <= 15"),
    ("--x dim=2:100:3", "dim is an integer >= 4"),
    ("--x until=0:10:3", "until is a finite number > 0"),
    ("--y weak=0.1:1:4", "--y weak=0.1:1:4: must be another setting than that of --x"),
    ("--x weak=0.1:1:1000 --y noise=0.1:1:1000", "of at most 250000 points"),
    ("--weak 0.3", "--weak 0.3: must be left out: it is an axis"),
    ("--strong 0.5", "weak is a finite number > 0 and <= 0.5 (strong)"),
    ("--strong 0", "--strong 0: must be a finite number > 0"),
    ("--noise lots", "--noise lots: must be a finite number"),
    ("--dim 3", "--dim 3: must be an integer >= 4"),
    ("--neurons 0", "--neurons 0: must be an integer >= 1"),
    ("--activation tanh", "--activation tanh: must be one of relu, cubic, relu3, linear"),
    ("--mask quarter", "--mask quarter: must be one of"),
    ("--until 0", "--until 0: must be a finite number > 0"),
    ("--rtol 1", "--rtol 1: must be"),
    ("--seeds 0", "--seeds 0: must be an integer >= 1"),
    ("--seeds 1e9", "--seeds 1e9: must be an integer >= 1 and <= 1000000"),
    ("--seed -1", "--seed -1: must be an integer >= 0"),
    ("--measure sharpness", "--measure sharpness: must be one of both, only-strong"),
    ("--level high", "--level high: must be a finite number"),
    ("--measure loss --refine", "--level"),
    ("--threads 0", "--threads 0: must be"),
    ("--dask tcp://127.0.0.1:9", "--dask tcp://127.0.0.1:9: must be"),
    ("--dask nowhere", "--dask nowhere: must be"),
    ("--out=", "--out '': must be the name of a folder"),
    ("--out file", "holds other files; must be a new or an empty folder"),
    ("--out busy", "holds other files; must be a new or an empty folder"),
    ("--out file/below", "cannot be written (Not a directory)"),
    ("--refined", "unrecognized arguments"),
    ("--mea both", "unrecognized arguments"),
    ("stray", "unrecognized arguments"),
]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a file and something else in it, to run the command in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dynlab.command_line.executors.DASK_WAIT", 0.5)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "notes.txt").write_text("precious")
    return tmp_path


def tree(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_text() for path in folder.rglob("*")}


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_a_wrong_option_is_one_line(desk, capsys, words, message):
    if "--dask" in words:
        pytest.importorskip("distributed")
    before = tree(desk)
    given = words.split()
    for option, axis in (("--x", X), ("--y", Y)):
        given += [] if option in given else [option, axis]
    try:
        status = main(given if "--out" in words else [*given, "--out", "new"])
    except SystemExit as error:  # argparse's own
        status = error.code
    out, line = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert line.count("\n") == 1 and line.startswith("dynlab.phase: error: "), line
    assert message in line
    assert tree(desk) == before


@pytest.mark.parametrize("words", [["--x", "weka=0:1:4", "--y", Y], ["--x", X], []])
def test_no_traceback_in_a_process_of_its_own(tmp_path, words):
    done = subprocess.run(
        [sys.executable, "-m", "dynlab.phase", *words],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("dynlab.phase: error: "), done.stderr
    assert not list(tmp_path.iterdir())


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    names = "x y seeds measure level refine seed strong weak noise eta-head patches feature-patches neurons dim until"
    for name in f"{names} hidden readout activation mask rtol threads dask out no-plots quiet".split():
        assert f"\n  --{name} " in text or f"\n  --{name}\n" in text


def test_without_dask_the_extra_is_named(desk, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["--x", X, "--y", Y, "--dask", "tcp://127.0.0.1:9"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "must be used with the extra dask: python -m pip install 'dynlab-ssl[dask]'" in line

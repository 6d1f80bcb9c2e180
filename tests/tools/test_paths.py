"""Every path goes through `dynlab.tools.files.expanded`: a ~ is a home folder wherever it is given, and never a folder's
name."""

import ast
import json
import os
from pathlib import Path

import numpy as np
import pytest

import dynlab
from dynlab.__main__ import main
from dynlab.drawing import style
from dynlab.ensembles.ensemble_store import Store
from dynlab.explanation.explanation import explain
from dynlab.images.data import datasets
from dynlab.images.data.archives import MissingData
from dynlab.images.training import run_folder as record
from dynlab.machine import cache
from dynlab.tools import checkpoint
from dynlab.tools.files import FolderError, expanded, growing_folder, held_folder, run_folder
from tests.images import small

PACKAGE = Path(dynlab.__file__).parent


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder, and a working folder beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "desk").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "desk")
    yield tmp_path / "home"
    assert not [path for path in (tmp_path / "desk").rglob("*") if path.name.startswith("~")]


def test_what_it_means(home):
    assert expanded("~") == home and expanded("~/a/b") == home / "a" / "b" == expanded(Path("~/a/b"))
    assert expanded("a/~") == Path("a/~") and expanded("a") == Path("a")
    assert expanded("./~") == expanded(expanded("./~")) == Path.cwd() / "~"
    with pytest.raises(FolderError, match="^~no-such-user/x: names the home of a user that is not known$"):
        expanded("~no-such-user/x")


def _run_folder(path):
    with run_folder(path) as folder:
        (folder.partial / "a").write_text("a")


def _growing(path):
    with growing_folder(path) as folder:
        (folder / "a").write_text("a")


def _held(path):
    with held_folder(Path(path)):
        pass


def _figure(path):
    from matplotlib.figure import Figure

    style.save(Figure(), Path(path) / "a", "a")


def _checkpoints(path):
    model = dynlab.Model()
    start = dynlab.OrderParameters.sample(model, 6, 0)
    dynlab.simulate(model, start, method="sgd", steps=4, batch=4, dim=6, checkpoints=path, every=2)


WRITERS = {
    "run_folder": _run_folder, "growing_folder": _growing, "held_folder": _held, "Store": Store, "figure": _figure,
    "checkpoints": _checkpoints,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_what_writes_there_writes_at_home(name, home):
    (home / "x").mkdir()
    WRITERS[name]("~/x")
    assert list((home / "x").iterdir()) and not list(Path().iterdir())


@pytest.mark.parametrize("read", [record.read, explain], ids=["record", "explain"])
def test_what_reads_there_looks_at_home(read, home):
    with pytest.raises(FolderError, match=f"{home}/x"):
        read("~/x")


def test_pictures_trajectories_kernels_and_named_checkpoints_too(home, monkeypatch):
    with pytest.raises(MissingData, match=f"^{home}/x: expected cifar10"):
        datasets.load("cifar10", "~/x")
    model = dynlab.Model()
    run = dynlab.simulate(model, dynlab.OrderParameters.sample(model, 6, 0), method="sgd", steps=2, batch=4, dim=6)
    run.save("~/run.csv")
    assert (home / "run.csv").is_file() and dynlab.Trajectory.load("~/run.csv").steps == 2
    monkeypatch.setenv("DYNLAB_CACHE_DIR", "~/kernels")
    assert cache.cache_root() == home / "kernels"
    monkeypatch.delenv("DYNLAB_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    assert cache.cache_root() == home / "caches" / "dynlab"
    checkpoint.save(home / "kept", 1, {}, {"x": np.zeros(1)})
    assert checkpoint.latest(Path("kept"), "~/kept/step-000000000001.npz") == home / "kept" / "step-000000000001.npz"


TOML = '\ufeffout = "~/run"\ncheckpoints = "~/kept"\nbatch = 4\nsteps = 4\nevery = 2\ndim = 6\nseeds = 1\nno-plots = true\n'


def test_commands_and_their_files(home, capsys):
    (home / "a.toml").write_text(TOML + 'activation = "cubic"\nhead = "none"\nmethod = "sgd"\n', encoding="utf-8")
    assert main(["run", "--config", "~/a.toml", "--quiet"]) == 0
    assert (home / "run" / "run.json").is_file() and list((home / "kept").glob("*/step-*.npz"))
    assert main(["run", "--config=~/a.toml", "--out=~/two", "--quiet"]) == 0
    assert (home / "two" / "run.json").is_file()
    assert main(["run", "--out=~no-such-user/x"]) == 2
    said = capsys.readouterr().err
    assert said == "dynlab.run: error: --out ~no-such-user/x: names the home of a user that is not known\n"
    for words in (["pretrain", "--data=~no-such-user"], ["heads", "--data", "~no-such-user"], ["evaluate", "~no-such-user"]):
        assert main(words) == 2
        assert "~no-such-user: names the home" in capsys.readouterr().err


PRETRAIN = "--encoder demo --projector 8,4 --batch 16 --steps 4 --record 2 --every 2 --limit 48 --no-plots --quiet"


def test_a_run_knows_where_its_pictures_are(home, monkeypatch):
    """Gone on with, and evaluated, from another folder than the one it was started in."""
    asked = []

    def load(name, folder, *more, **_):
        asked.append(Path(folder))
        return small.load(name, folder, *more)

    monkeypatch.setattr(datasets, "load", load)
    assert main(["pretrain", *PRETRAIN.split(), "--data", "pictures", "--out", "~/run"]) == 0
    there = Path.cwd() / "pictures"
    assert json.loads((home / "run" / "run.json").read_text())["data"] == str(there)
    os.chdir(home)
    assert main(["evaluate", "run", "--of", "z", "--quiet"]) == 0
    kept = json.loads((home / "run" / "run.json").read_text())
    (home / "run" / "run.json").write_text(json.dumps(kept | {"status": "running"}))
    assert main(["pretrain", "--resume", "--out", "run", "--quiet"]) == 0
    assert asked == [Path("pictures"), there, there, there]
    assert main(["pretrain", "--resume", "--out", "run", "--quiet"]) == 0  # finished: no pictures are needed
    assert len(asked) == 4
    assert main(["pretrain", "--resume", "--out", "run", "--quiet", "--data", "elsewhere"]) == 0 and len(asked) == 4


def test_no_path_is_made_otherwise():
    """`Path(...)` of what is no literal stands in `expanded` alone, or where a path is no user's."""
    ours = {"Path(__file__)", "Path(dynlab.__file__)", "Path(tempfile.gettempdir())"}
    ours |= {"Path(tempfile.mkdtemp(prefix='dynlab-map-'))", "Path(scratch)", "Path(spec.origin)"}
    found = []
    for source in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "figures").glob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path":
                if len(node.args) == 1 and not isinstance(node.args[0], ast.Constant) and ast.unparse(node) not in ours:
                    found.append(f"{source.name}: {ast.unparse(node)}")
    allowed = {
        "files.py: Path(os.path.expanduser(text))",
        "parser.py: Path(word)",
        "checkpoint.py: Path(resume)",
        "configuration.py: Path(path)",
        "sweep.py: Path(arguments.plan)",
        "sweep.py: Path(stack.enter_context(TemporaryDirectory(prefix='dynlab-sweep-')))",
        "swept.py: Path(found.place)",
        "measured_runs.py: Path(found[0])",
        "source.py: Path(str(import_module('dynlab.figures').__file__))",
        "tutorial.py: Path(os.environ.get('DYNLAB_FIGURES') or tempfile.mkdtemp(prefix='dynlab-tutorial-'))",
    }  # the first is `expanded`; the next three, and the plan's stem, look at the form of a word, or at one that could not
    # be expanded; a worker tells its place as text
    assert set(found) <= allowed, set(found) - allowed

"""What messages advise is done here as they say it, and it helps. (What errors suggest is followed in tests/faults.)"""

import json
import re
import shlex
import shutil

import pytest

import dynlab
from dynlab import __main__
from dynlab.explanation.advice import LOST, SWITCHED
from dynlab.images.data import datasets, download
from dynlab.images.data.archives import MissingData
from dynlab.images.training import run_folder
from dynlab.run import check, parser
from dynlab.tools.files import FolderTaken
from tests.images import small

SMALL = "--encoder demo --projector 8,4 --batch 16 --steps 4 --record 2 --every 2 --limit 48 --no-plots --quiet"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command of dynlab in a folder of its own; its status, and what it said on standard error."""
    monkeypatch.chdir(tmp_path)

    def call(words):
        capsys.readouterr()
        try:
            status = __main__.main(shlex.split(words) if isinstance(words, str) else words)
        except SystemExit as stopped:
            status = stopped.code
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize("command", ["pretrain", "heads", "evaluate"])
def test_missing_pictures_are_fetched_by_the_option_that_is_named(command, run, monkeypatch, tmp_path):
    with monkeypatch.context() as there:
        there.setattr(datasets, "load", small.load)
        assert run(f"pretrain {SMALL} --data absent --out done")[0] == 0
    words = {"pretrain": f"pretrain {SMALL} --out new", "heads": "heads --recipe demo", "evaluate": "evaluate done"}
    status, said = run(f"{words[command]} --data nowhere")
    assert status == 1 and said.count("\n") == 1
    program = "dynlab.heads" if command == "heads" else f"dynlab.{command}"
    assert said.startswith(f"{program}: error: --data nowhere: expected cifar10 (data_batch_1.bin or")
    assert said.endswith("found no such folder; --download fetches it\n")
    fetched = []
    monkeypatch.setattr(download, "fetch", lambda name, folder, **_: fetched.append((name, str(folder))))
    assert run(f"{words[command]} --data nowhere --download")[1] == said  # nothing was fetched into it, so it is missing yet
    assert fetched == [("cifar10", "nowhere")]


def test_missing_pictures_in_python():
    with pytest.raises(MissingData, match=r"; dynlab.images.data.download.fetch\('mnist', 'nowhere'\) fetches it$"):
        datasets.load("mnist", "nowhere")
    assert set(download.REMOTES) == set(datasets.CATALOGUE)


def test_a_run_that_has_not_ended_is_gone_on_with_by_the_command_that_is_said(run, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load", small.load)
    place = tmp_path / "a folder"
    assert run(["pretrain", *SMALL.split(), "--data", "absent", "--out", str(place)])[0] == 0
    kept = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps(kept | {"status": "running"}))
    (place / "weights.npz").unlink()
    status, said = run(["evaluate", str(place)])
    assert status == 2 and said.count("\n") == 1
    advised = re.search(r"go on with it by: dynlab (.*)$", said)[1]
    assert run(advised)[0] == 0 and run(["evaluate", str(place), "--of", "z"])[0] == 0
    status, said = run(["pretrain", *SMALL.split(), "--out", str(place)])
    assert status == 2 and said.endswith("; --resume (in Python resume=True) goes on with it\n")
    assert run(["pretrain", "--resume", "--out", str(place)])[0] == 0
    with pytest.raises(FolderTaken, match=r"resume=True\) goes on with it$"):
        run_folder.pretrain(run_folder.settings_of(place), small.small_set(96, 0), place, quiet=True)
    assert run_folder.pretrain(run_folder.settings_of(place), small.small_set(96, 0), place, quiet=True, resume=True) == []


def test_a_damaged_measurement_that_is_removed_is_made_again(run, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load", small.load)
    words = "heads --recipe demo --heads none --normalisations length --steps 2 --batch 16 --limit 48 --no-plots --out out"
    assert run(words)[0] == 0
    said = next((tmp_path / "out").glob("*/evaluate.json"))
    said.write_text("{")
    status, line = run(words)
    assert status == 2 and line.endswith("; remove it, and the run is measured again\n") and str(said.name) in line
    said.unlink()
    assert run(words)[0] == 0 and said.is_file()


def test_pictures_of_a_contest_are_those_of_its_runs(run, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load", small.load)
    words = "heads --recipe demo --heads none --normalisations length --steps 2 --batch 16 --limit 48 --no-plots --quiet"
    assert run(f"{words} --out out")[0] == 0
    other = small.small_set(96, 7)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: other)
    status, line = run(f"{words} --out out --data there")
    assert status == 2 and line.count("\n") == 1
    assert line.startswith("dynlab.heads: error: --data there: must be the pictures that length-none-seed0 was trained on")
    assert run(f"{words} --out another --data there")[0] == 0
    shutil.rmtree(tmp_path / "another")


def test_a_positional_is_called_by_its_place(run):
    status, said = run("figures nope")
    assert status == 2 and said.startswith("figures: error: NAME nope: must be one of phases,") and "--name" not in said
    assert run("figures --name phases")[1].startswith("figures: error: unrecognized arguments: --name")


def test_an_axis_that_is_begun_is_meant(run):
    status, said = run("phase --x weak=0.1:0.9:2 --y eta=1e-3:1:2:log")
    assert status == 2 and said.endswith("; did you mean eta-head?\n")


def test_what_explain_suggests_are_options_of_the_run():
    """Every switch that is called a cause, put back; the ones of the head's rate are tried in tests/explanation."""
    changes = [{"head": "off-diagonal"}, {"activation": "cubic"}, {"eta_head": "0.1"}, *({name: "0"} for name in LOST)]
    changes += [{name: "same" if name == "target" else getattr(dynlab.Training(), name)} for name, _ in SWITCHED]
    for change in changes:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in change.items()]
        assert check(parser().parse_args(words)).models, words


def test_every_method_is_named_where_one_is_mistyped():
    model = dynlab.Model()
    start = dynlab.OrderParameters.sample(model, 6, 0)
    with pytest.raises(dynlab.SettingError, match="one of flow, descent, sgd; did you mean sgd"):
        dynlab.simulate(model, start, method="sdg")

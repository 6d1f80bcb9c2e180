"""Options from files: TOML for one or several commands, and the record of a run, which is repeated to the byte."""

import json
import shutil

import pytest

from dynlab.__main__ import main
from dynlab.command_line.parser import Parser, number_of
from dynlab.images.data import datasets
from tests.images import small

TOML = """
strong = 1.0
weak = 0.25
dim = 1e12
activation = ["relu", "cubic"]
eta-head = 0.001
no-plots = true
quiet = false

[run]
weak = 0.5
start_scale = -1

[phase]
x = "weak=0.1:1:3"
"""
BAD = [
    ("absent.toml", None, "--config absent.toml: cannot be read (No such file or directory)"),
    ("folder", "", "--config folder: cannot be read (Is a directory)"),
    ("a.toml", "weak 0.3", "--config a.toml: cannot be read (Expected '=' after a key"),
    ("a.toml", "wek = 0.3", "--config a.toml: wek: is no option of dynlab.run; did you mean weak?"),
    ("a.toml", "config = 'b.toml'", "--config a.toml: config: is no option of dynlab.run"),
    ("a.toml", "weak = 2020-01-01", "--config a.toml: weak: datetime.date(2020, 1, 1): must be a number, a word, or a list"),
    ("a.toml", "weak = {a = 1}", "--config a.toml: weak: {'a': 1}: must be a number, a word, or a list of these"),
    ("a.toml", "weak = true", "--config a.toml: weak: True: must be a number, a word, or a list of these"),
    ("a.toml", "quiet = 1", "--config a.toml: quiet: 1: must be true or false"),
    ("a.toml", "weak = [0.1, 0.2]", "--weak 0.1,0.2: must be a finite number > 0"),
    ("a.toml", "weak = -0.1", "--weak -0.1: must be a finite number > 0"),
    ("a.toml", "activation = 'tanh'", "--activation tanh: must be one of"),
    ("a.json", "{", "--config a.json: cannot be read (Expecting property name"),
    ("a.json", "[1]", "--config a.json: must hold options by name"),
    ("a.json", "{}", "--config a.json: holds no options; must be a TOML file or the run.json of a run"),
    ("a.json", '{"options": {}, "program": "dynlab.phase"}', "--config a.json: is of dynlab.phase; must be of dynlab.run"),
    ("a.json", "\xff\xfe", "--config a.json: cannot be read"),
]


def values(tmp_path, *words, text=TOML):
    """Options of a small parser given a configuration file and words."""
    parser = Parser(prog="dynlab.run")
    for name in ("strong", "weak", "dim", "eta-head", "start-scale"):
        parser.option(f"--{name}", "a number", "7")
    parser.option("--activation", "names", metavar="NAME", action="append")
    for name in ("no-plots", "quiet"):
        parser.add_argument(f"--{name}", action="store_true", help="a switch")
    file = tmp_path / "a.toml"
    file.write_text(text, encoding="utf-8")
    found = parser.call(["--config", str(file), *words]).arguments
    return {name: value if isinstance(value, (bool, list)) else number_of(value) for name, value in vars(found).items()}


def test_a_file_gives_options_and_words_win(tmp_path):
    found = values(tmp_path)
    assert found["weak"] == 0.5  # its own table wins over what stands outside
    assert found["dim"] == 10**12 and isinstance(found["dim"], int)
    assert found["eta_head"] == 0.001 and found["start_scale"] == -1
    assert found["activation"] == ["relu", "cubic"] and found["no_plots"] is True and found["quiet"] is False
    found = values(tmp_path, "--set", "weak=0.75", "--set", "eta-head=-1e-3", "--activation", "relu3", "--set", "quiet=true")
    assert found["weak"] == 0.75 and found["eta_head"] == -1e-3 and found["activation"] == ["relu3"] and found["quiet"]
    assert values(tmp_path, "--set", "weak=0.75", "--weak", "0.8")["weak"] == 0.8


@pytest.mark.parametrize(("name", "text", "line"), BAD, ids=[f"{name}-{text}" for name, text, _ in BAD])
def test_a_bad_file_is_one_line(name, text, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if name == "folder":
        (tmp_path / name).mkdir()
    elif text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    try:
        status = main(["run", "--config", name, "--seeds", "2"])
    except SystemExit as stopped:
        status = stopped.code
    said = capsys.readouterr()
    assert status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"dynlab.run: error: {line}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ([] if text is None else [name])


RUNS = {
    "flow": "run --weak 0.4 --seeds 8 --activation cubic --dim 100 --eta-head 1e-2 --until 1e5",
    "descent": "run --method descent --seeds 4 --activation cubic --dim 8 --until 20",
    "sgd": "run --method sgd --seeds 1 --activation cubic --dim 8 --batch 32 --steps 20 --no-plots",
    "compare": "compare --seeds 1 --batch 16,32 --steps 20 --no-plots",
    "ablate": "ablate --groups head --seeds 2 --dim 100 --until 1e5",
    "portrait": "portrait --x E21=0:1 --y w22 --hold w21=0.3,w1=2 --hold E12=0.1 --points 3 --trajectories 2",
    "phase": "phase --x weak=0.2:0.8:2 --y eta-head=1e-3:1:2:log --seeds 2",
    "pretrain": "pretrain --encoder demo --projector 16,8 --batch 16 --steps 6 --record 2 --data nowhere",
}
MAY_DIFFER = {"run.json", "times.csv"}  # the command as typed, the machine, seconds


@pytest.mark.parametrize("name", RUNS)
def test_the_record_of_a_run_repeats_it_to_the_byte(name, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)
    monkeypatch.chdir(tmp_path)
    words = RUNS[name].split()
    assert main([*words, "--out", "one", "--quiet", "--threads", "1"]) == 0
    first = json.loads((tmp_path / "one/run.json").read_text())
    shutil.copy("one/run.json", "kept.json")
    assert main([words[0], "--config", "kept.json", "--out", "two", "--quiet"]) == 0
    second = json.loads((tmp_path / "two/run.json").read_text())
    assert first["options"] == second["options"] and "threads" not in first["options"]
    assert _comparable(first["settings"]) == _comparable(second["settings"])
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two") != {}
    changed = "--seed=6" if name not in ("portrait", "phase") else "--weak=0.9" if name == "portrait" else "--noise=0.7"
    assert main([words[0], "--config", "kept.json", "--out", "three", "--quiet", changed]) == 0
    assert _bytes(tmp_path / "three") != _bytes(tmp_path / "one")


def _comparable(settings: dict) -> dict:
    return {name: value for name, value in settings.items() if name not in ("threads", "out")}


def _bytes(folder) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in MAY_DIFFER]
    results = [path for path in files if not {"store", "checkpoints"} & set(path.parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in results}

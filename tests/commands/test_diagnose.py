"""`dynlab diagnose` and `dynlab explain` of a monitor's folder: what they print and write, and errors of one line."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest

import dynlab
from dynlab import __main__, explain, pretrain
from dynlab.embeddings import remarks
from dynlab.embeddings.findings import EmbeddingDiagnosis
from dynlab.images.settings import Pretraining


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with embeddings that have collapsed, a head, a target and labels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((120, 1)) * np.ones(6) + 0.01 * rng.standard_normal((120, 6))
    np.save("z.npy", z.astype(np.float32))
    np.save("E.npy", np.eye(6))
    np.save("g.npy", z)
    np.savetxt("y.csv", np.arange(120) % 3, fmt="%d")
    return tmp_path


def run(words):
    return __main__.main(shlex.split(words))


def test_it_says_the_verdict_first_and_what_to_change(desk, capsys):
    assert run("diagnose z.npy --head E.npy --target g.npy --labels y.csv --out out") == 0
    told = capsys.readouterr()
    said = told.out.splitlines()
    assert said[0] == "z: 120 rows of 6 outputs" and said[1].startswith("COLLAPSED: ") and told.err == ""
    whole = " ".join(told.out.split())
    for words in (
        "Change first: the head lends nothing",
        "alignment with the target",
        "Nearest neighbours: ",
        "files in out: run.json",
    ):
        assert words in whole, words
    names = {path.name for path in (desk / "out").iterdir()}
    assert names == {"run.json", "diagnose.json", "diagnose.png", "diagnose.pdf"}
    kept = json.loads((desk / "out" / "diagnose.json").read_text())
    found = dynlab.diagnose("z.npy", "E.npy", "g.npy", "y.csv")
    assert kept == json.loads(json.dumps(found.as_json() | {"text": found.text}))
    assert kept["verdict"] == "collapsed" and len(kept["spectrum"]) == 6 and kept["head"]["norm"] == 0.0


def test_a_forecast_is_told_with_its_worth_and_written(desk, capsys):
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((2, 12)) * [[1.5], [1.0]]
    shared = [growth * rng.standard_normal((200, 2)) @ mixing for growth in (1.0, 1.3, 1.6)]
    views = np.array([[one + 2.0 * rng.standard_normal((200, 12)) for one in shared] for _ in range(2)])
    np.save("z.npy", np.concatenate(views, axis=1))
    np.save("E.npy", np.eye(12) + 0.01 * np.arange(3)[:, None, None])
    np.save("one.npy", views[0])
    np.save("other.npy", views[1])
    assert run("diagnose z.npy --forecast 100 --every 10 --head E.npy --out out --no-plots") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Forecast to step 100 by the 2-feature theory, from 3 records, steps 0 to 20" in said
    assert "rank correlation of such a peak with the true one was" in said and "Brier score" in said
    kept = json.loads((desk / "out" / "diagnose.json").read_text())["forecast"]
    wanted = dynlab.fit_theory(np.load("z.npy"), head=np.load("E.npy"), steps=[0, 10, 20]).forecast(100)
    assert kept == json.loads(json.dumps(wanted.as_json() | {"text": wanted.text})) and kept["peak"] > 0.0
    assert run("diagnose one.npy --target other.npy --forecast 100 --every 10 --out two --no-plots") == 0
    assert json.loads((desk / "two" / "diagnose.json").read_text())["forecast"]["unit"] == kept["unit"]
    capsys.readouterr()
    for words, why in (
        ("one.npy --forecast 100", "two views of each input, row by row: these correlate by"),
        ("g.npy --forecast 100", "a stack (T, N, m) of two steps or more"),
        ("z.npy --forecast 5 --every 10", "--forecast 5: must be an integer >= 11"),
        ("z.npy --forecast 50 --every 0", "--every 0"),
    ):
        assert run(f"diagnose {words}") == 2
        told = capsys.readouterr().err
        assert why in told and told.count("\n") == 1, told


def test_without_out_nothing_is_written(desk, capsys):
    before = sorted(desk.iterdir())
    assert run("diagnose z.npy --quiet") == 0
    assert capsys.readouterr().out == "" and sorted(desk.iterdir()) == before


def test_the_name_is_a_function_before_and_after_the_command_was_loaded(desk):
    """The command's module bears the function's name: calling the module calls it."""
    module = __main__.module_of("diagnose")
    for function in (module, module.diagnose, dynlab.diagnose):
        assert isinstance(function("z.npy"), EmbeddingDiagnosis)


BAD = {
    "none.npy": "none.npy: does not exist",
    "z.npy --head g.npy": "--head g.npy: must be 6 x 6, a row for each output of z, or a stack of such; found: (120, 6)",
    "z.npy --target E.npy": "--target E.npy: must be of z's shape (120, 6); found: (6, 6)",
    "z.npy --labels E.npy": "--labels E.npy: must be one for each row of z; found: (6, 6)",
    "nan.npy": "Z nan.npy: must be finite numbers (rows count from 0); found: 1 of 3 rows holds nan or "
    "infinity, the first is row 1",
    "objects.npy": "Z objects.npy: must be an array of numbers: this one holds objects",
    "text.npy": "text.npy: cannot be read",
    "empty.npy": "empty.npy: is empty",
    "z.txt": "Z z.txt: must be a file of npy, npz, csv, parquet, safetensors",
    "z.npy --out full": "--out full: holds other files; must be a new or an empty folder",
    "z.npy --out ''": "--out '': must be the name of a folder",
    "''": "Z '': must be the name of a file",
    "z.npy --hed E.npy": "did you mean --head?",
}


@pytest.mark.parametrize("words", BAD)
def test_errors_are_one_line(words, desk, capsys):
    np.save("nan.npy", np.array([[1.0, 2.0], [np.nan, 1.0], [1.0, 2.0]]))
    np.save("objects.npy", np.array([[None, 1.0], [2.0, 3.0]]), allow_pickle=True)
    (desk / "text.npy").write_text("not an array at all")
    (desk / "empty.npy").write_bytes(b"")
    (desk / "full").mkdir()
    (desk / "full" / "mine").write_text("precious")
    before = sorted(desk.rglob("*"))
    try:
        status = run(f"diagnose {words}")
    except SystemExit as stopped:
        status = stopped.code
    told = capsys.readouterr()
    assert status == 2 and told.out == "" and told.err.count("\n") == 1
    assert told.err.startswith("dynlab.diagnose: error: ") and BAD[words] in told.err, told.err
    assert sorted(desk.rglob("*")) == before


CHANGES = (remarks.STOP, remarks.HEAD, remarks.FASTER, remarks.SLOWER, remarks.CENTRE)


def test_what_is_to_be_changed_first_is_an_option_of_pretrain():
    """The options are taken by the command and mean what is said; the setting of PyTorch is in words."""
    wanted = {
        "STOP": {"stop_gradient": "target"}, "HEAD": {"head": "off-diagonal", "head_start": "identity"},
        "FASTER": {"head_lr": 1.0, "head_decay": 0.0}, "SLOWER": {"lr": 0.0003}, "CENTRE": {"projector_norm": "batch"},
    }  # fmt: skip
    for name, settings in wanted.items():
        change = getattr(remarks, name)
        made = pretrain.settings_of(pretrain.parser().parse_args(shlex.split(change.options)))
        assert isinstance(made, Pretraining) and {key: getattr(made, key) for key in settings} == settings
        assert change.torch and "--" not in change.torch
    assert len(wanted) == len(CHANGES)


@pytest.fixture
def watched(desk):
    """The folder of a monitor whose z collapses while its head grows."""
    rng = np.random.default_rng(0)
    with dynlab.Monitor("watched", quiet=True) as monitor, pytest.warns(UserWarning, match="way to collapse"):
        for step in range(0, 300, 10):
            z = rng.standard_normal((64, 1)) * np.ones(6) + 0.9 ** (step / 10) * rng.standard_normal((64, 6))
            head = np.eye(6) + 0.001 * step * np.eye(6, k=1)
            monitor.update(step, z, head, loss=1.0 - 0.001 * step)
    return desk / "watched"


def test_explain_says_what_it_knows_of_a_monitor(watched, capsys):
    assert run("explain watched") == 0
    said = " ".join(capsys.readouterr().out.split())
    words = (
        "a monitored training loop, step 290, 30 records of 64 rows of 6 outputs; finished", "COLLAPSED: ",
        ", medians of the last 5 records (rank below 2 ever since step", "Rank of z: ", "The loss, 0.71, does not tell",
        "Head: entries off the diagonal have norm", "The monitor warned at step",
        "The settings of this loop are not known, so no cause is named.",
    )  # fmt: skip
    for part in words:
        assert part in said, part
    assert run("explain watched --at 10") == 0
    early = capsys.readouterr().out
    assert "step 10, 2 records" in early and "COLLAPSED" not in early and "warned" not in early


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--try", "--try True: must be left out for a folder of dynlab.Monitor"),
        ("--head none", "--head none: must be left out for a folder of dynlab.Monitor"),
        ("--at 1e9", "--at 1e9: must be at most 290"),
    ],
)
def test_options_that_do_not_fit_a_monitor(watched, words, message, capsys):
    assert explain.main([str(watched), *words.split()]) == 2
    assert message in capsys.readouterr().err


DAMAGE = {
    "no metrics": ("metrics.csv", None, "metrics.csv: is missing"),
    "heading alone": ("metrics.csv", 1, "has no line yet"),
    "no records": ("monitor.jsonl", None, "monitor.jsonl: is missing"),
    "words": ("monitor.jsonl", "words\n", "monitor.jsonl: is damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_of_a_monitor_is_one_line(watched, name, capsys):
    file, left, message = DAMAGE[name]
    path = watched / file
    text = path.read_text()
    path.unlink()
    if left is not None:
        path.write_text(left if isinstance(left, str) else "".join(text.splitlines(keepends=True)[:left]))
    assert run("explain watched") == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and message in told.err


def test_explain_of_a_monitor_names_a_command_that_there_is(watched, capsys):
    run("explain watched")
    advised = re.search(r"dynlab (diagnose z.npy --head E.npy) says", " ".join(capsys.readouterr().out.split()))[1]
    assert run(advised) == 0 and "Change first" in capsys.readouterr().out

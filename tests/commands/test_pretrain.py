"""Pretraining, evaluation and the contest of heads as commands, on small pictures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numba
import numpy as np
import pandas as pd
import pytest

from dynlab.images import layers, settings
from dynlab.images.data import datasets
from dynlab.images.settings import REPRESENTATIONS, Pretraining, pretraining
from dynlab.images.training import run_folder, train
from dynlab.images.worth import representations
from tests.images import small
from tests.waiting import HANGS, until

SMALL = ["--encoder", "demo", "--projector", "16,8", "--batch", "16", "--steps", "24", "--record", "4", "--knn-every", "2"]
RUN = [sys.executable, "-m", "tests.images.small", "dynlab.pretrain", *SMALL, "--data", "nowhere", "--every", "5"]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)


def run(*words, module="dynlab.pretrain"):
    return small.command(module, list(words))


def pretrain(out, *words):
    return run(*SMALL, "--data", "nowhere", "--no-plots", "--out", str(out), *words)


def test_a_run_fills_its_folder(tmp_path, capsys):
    assert run(*SMALL, "--data", "nowhere", "--out", str(tmp_path / "x")) == 0
    folder = tmp_path / "x"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"run.json", "metrics.csv", "times.csv", "weights.npz", "curves.png", "curves.pdf", "checkpoints"}
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["step"].tolist() == [1, 4, 8, 12, 16, 20, 24]
    unknown = ["knn", "entropy_mean", "entropy"]  # the latter two of DINO alone
    assert np.isfinite(metrics.drop(columns=unknown)).all().all() and metrics["entropy"].isna().all()
    assert metrics.loc[metrics["knn"].notna(), "step"].tolist() == [12, 24]  # every second epoch of 6 steps
    assert (metrics["head_norm"].diff()[1:] != 0.0).all()
    facts = json.loads((folder / "run.json").read_text())
    assert facts["status"] == "finished" and facts["pictures"] == 96
    assert Pretraining(**facts["settings"]) == run_folder.settings_of(folder)
    assert "24 steps" in capsys.readouterr().out


def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert subprocess.run([*RUN, "--no-plots", "--out", str(whole)], timeout=HANGS).returncode == 0
    again = [*RUN, "--no-plots", "--out", str(cut)]
    for lines in (2, 5):  # killed once before and once after the first checkpoint
        process = subprocess.Popen(again, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        metrics = cut / "metrics.csv"
        until(lambda: metrics.is_file() and metrics.read_bytes().count(b"\n") >= lines, process)  # noqa: B023
        process.kill()
        process.communicate()
        again = [*RUN, "--no-plots", "--out", str(cut), "--resume"]
    assert subprocess.run(again, timeout=HANGS).returncode == 0
    for name in ("metrics.csv", "weights.npz"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert len(list((cut / "checkpoints").iterdir())) == run_folder.KEPT


def test_checkpoint_holds_all_that_the_next_step_depends_on():
    data = small.small_set(96, 0)
    for given in (
        {"head": "off-diagonal", "target": "average", "optimiser": "adam"},
        {"head": "directpred", "optimiser": "sgd", "normalisation": "batch"},
        {"head": "mlp", "optimiser": "lars"},
        {"loss": "dino", "optimiser": "sgd"},
        {"encoder": "patch", "hidden": 2, "activation": "relu", "neurons": 3, "projector": (), "normalisation": "batch"},
    ):
        one = pretraining("demo", **{"batch": 16, "projector": (16, 8), "steps": 12} | given)
        first, second = (train.Trainer(one, data, layers) for _ in range(2))
        for step in range(7):
            first.step(step)
        second.restore(first.state())
        for step in range(7, 9):
            first.step(step)
            second.step(step)
        here, there = first.state(), second.state()
        assert here.keys() == there.keys()
        for name, value in here.items():
            assert np.array_equal(value, there[name]), (given, name)


COMBINATIONS = [
    {"head": head, "normalisation": kind} for head in settings.PICTURE_HEADS for kind in settings.PICTURE_NORMALISATIONS
] + [
    {"loss": "barlow-twins"}, {"loss": "vicreg"}, {"loss": "simclr"}, {"loss": "dino", "target_momentum": 1.0},
    {"target": "average", "target_momentum": 1.0},
    {"stop_gradient": "none"}, {"stop_gradient": "online", "head": "none"}, {"decorrelation": 0.1}, {"projector": ()},
    {"encoder": "patch", "lr": 1e-5}, {"encoder": "patch", "hidden": 3, "activation": "relu3", "lr": 1e-5},
    {"head": "linear", "head_start": "random"},
]  # fmt: skip


@pytest.mark.parametrize("given", COMBINATIONS, ids=lambda given: "-".join(map(str, given.values())))
def test_gradient_of_a_whole_step(given):
    """The change of the loss along the gradient of each part, in float64; what the gradient is stopped at is held."""
    one = pretraining("demo", **{"batch": 16, "projector": (16, 8), "steps": 3} | given)
    trainer = train.Trainer(one, small.small_set(96, 0), layers, "float64")
    views = np.empty(trainer.x.shape, np.float32)

    def fill(step):
        trainer.x, keep = views, trainer.x
        type(trainer)._views(trainer, step)
        trainer.x = keep if keep.dtype == np.float64 else np.empty(views.shape)
        trainer.x[:] = views

    trainer._views = fill
    trainer.step(0)
    trainer.optimisers = {name: Still() for name in trainer.optimisers}
    kept = {name: value.copy() for name, value in trainer.objective.state.items()}
    trainer.step(1)
    held = trainer.z.copy()
    for name, part in trainer.trained.items():
        slope, start = part.gradients.copy(), part.parameters.copy()
        length = float(np.linalg.norm(slope))
        assert np.isfinite(length) and length > 0.0
        values = []
        for sign in (1.0, -1.0):
            part.parameters[:] = start + sign * 1e-7 * slope / length
            values.append(loss_of_views(trainer, held, kept))
        part.parameters[:] = start
        assert (values[0] - values[1]) / 2e-7 == pytest.approx(length, rel=1e-5), name


class Still:
    """An optimiser that moves nothing."""

    def step(self, parameters, gradients, rate):
        pass


def loss_of_views(trainer, held, state):
    """The loss of the views in x, by the parts that are tested elsewhere, `held` (2B, m) on the side that is stopped."""
    one = trainer.settings
    z = trainer.networks.forward(trainer.x, groups=2)[1]
    online = trainer.head.forward(held if one.stop_gradient == "online" else z, trainer.online)
    goal = held if one.stop_gradient == "target" else z
    if trainer.target is not None:
        goal = trainer.target.forward(trainer.x, groups=2)[1]
    for name, value in state.items():
        trainer.objective.state[name][:] = value
    trainer.objective.step(online, goal, trainer.d_online, None)
    if trainer.decorrelation is not None:
        trainer.decorrelation.step(z, trainer.d_z, trainer.objective.value)
    return one.loss_weight * trainer.objective.loss()


def test_off_diagonal_head_never_touches_its_diagonal():
    one = pretraining("demo", batch=16, projector=(16, 8), steps=20, head_decay=0.1)
    trainer = train.Trainer(one, small.small_set(96, 0), layers)
    for step in range(20):
        trainer.step(step)
    assert np.array_equal(np.diagonal(trainer.head.matrix), np.ones(8, np.float32))
    assert trainer.head.norm_and_asymmetry()[0] > 0.0


def test_refusals_are_one_line(tmp_path, capsys):
    place = tmp_path / "x"
    assert pretrain(place) == 0
    capsys.readouterr()
    cases = [
        ((), 2, "; --resume (in Python resume=True) goes on with it"),
        (("--resume", "--lr", "0.5"), 2, "--lr 0.5: must be 0.003, as in the run that is resumed"),
    ]
    for words, status, said in cases:
        assert pretrain(place, *words) == status
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert pretrain(place, "--resume") == 0
    assert "finished already" in capsys.readouterr().out
    for words, said in [
        (("--head", "of-diagonal"), "--head of-diagonal: must be one of"),
        (("--loss", "simclr", "--head", "linear"), '--head linear: must be "none" with loss "simclr"'),
        (("--projector", "12,x"), "--projector 12,x: must be widths with commas"),
        (("--batch", "97"), "--batch 97: must be an integer <= 96"),
        (("--recipe", "dmo"), "--recipe dmo: must be one of"),
        (("--device", "gpu"), "--device gpu: must be one of"),
        (("--resume",), "holds no run"),
    ]:
        assert pretrain(tmp_path / "y", *words) == 2, words
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "y").exists()


def test_damaged_checkpoint_is_named(tmp_path, capsys):
    place = tmp_path / "x"
    assert pretrain(place, "--every", "5") == 0
    facts = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    last = sorted((place / "checkpoints").iterdir())[-1]
    contents = bytearray(last.read_bytes())
    contents[len(contents) // 2] ^= 1
    last.write_bytes(contents)
    capsys.readouterr()
    assert pretrain(place, "--resume") == 1
    error = capsys.readouterr().err
    before = sorted((place / "checkpoints").iterdir())[-2]
    assert f"{last}: is damaged; remove it to go on from {before.name}" in error and error.count("\n") == 1
    last.unlink()  # as the line says
    kept = (place / "metrics.csv").read_bytes(), (place / "weights.npz").read_bytes()
    assert pretrain(place, "--resume") == 0 and "going on from step" in capsys.readouterr().out
    assert ((place / "metrics.csv").read_bytes(), (place / "weights.npz").read_bytes()) == kept


def test_a_run_goes_on_with_its_own_pictures_alone(tmp_path, capsys, monkeypatch):
    """As many pictures with another pixel, or another label, are others; those beyond --limit are not looked at."""
    place = tmp_path / "x"
    assert pretrain(place, "--every", "5", "--limit", "64") == 0
    facts = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    own = small.small_set(96, 0)
    assert facts["content"] == own.content(64) != own.content(63) != own.content()
    for part in ("pictures", "labels"):
        for at, status in ((63, 1), (64, 0)):
            other = replace(own, **{part: getattr(own, part).copy()})
            array = getattr(other, part)
            array[at] = (array[at] + 1) % 2
            monkeypatch.setattr(small, "small_set", lambda *_, made=other: made)
            (place / "run.json").write_text(json.dumps(facts | {"status": "running"}))
            capsys.readouterr()
            assert pretrain(place, "--resume", "--no-verify") == status, (part, at)
            error = capsys.readouterr().err
            line = "belongs to a run with other pictures; give those of that run, or another folder"
            assert (line in error and error.count("\n") == 1) == bool(status), error


def test_two_runs_into_one_folder(tmp_path, capsys):
    from dynlab.tools.files import growing_folder

    with growing_folder(tmp_path / "x"):
        assert pretrain(tmp_path / "x") == 2
    assert "another run is writing there" in capsys.readouterr().err


FULL = """
import resource, signal, sys
from dynlab.images.training.train import Trainer
from tests.images.small import command

def step(self, number, whole=Trainer.step):
    whole(self, number)
    if number == 3:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))

Trainer.step = step
raise SystemExit(command(sys.argv[1], sys.argv[2:]))
"""


def test_full_disk_is_one_line_and_the_run_can_be_gone_on_with(tmp_path):
    """A limit on the size of files, set when the kernels are compiled, stands for the disk: the checkpoint does not fit."""
    words = RUN[3:] + ["--no-plots", "--out", str(tmp_path / "x")]
    found = subprocess.run([sys.executable, "-c", FULL, *words], capture_output=True, text=True, timeout=HANGS)
    assert found.returncode == 1, found.stderr
    assert found.stderr.strip().count("\n") == 0 and "File too large" in found.stderr
    assert not list((tmp_path / "x").rglob("*.partial"))
    assert subprocess.run([*RUN, "--no-plots", "--out", str(tmp_path / "x"), "--resume"], timeout=HANGS).returncode == 0


def test_interrupted_run_says_so_and_keeps_its_folder(tmp_path):
    process = subprocess.Popen([*RUN, "--steps", "100000", "--out", str(tmp_path / "x")], stderr=subprocess.PIPE, text=True)
    until((tmp_path / "x" / "metrics.csv").is_file, process)
    process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    assert process.returncode == 130 and error.strip().count("\n") == 0
    assert json.loads((tmp_path / "x" / "run.json").read_text())["status"] == "running"


def test_evaluate(tmp_path, capsys):
    place = tmp_path / "x"
    assert pretrain(place) == 0
    capsys.readouterr()
    assert run(str(place), module="dynlab.evaluate") == 0
    told = capsys.readouterr()
    facts = json.loads((place / "evaluate.json").read_text())
    names = [row["representation"] for row in facts["rows"]]
    assert names == list(REPRESENTATIONS)
    assert all("weighted kNN" in row["knn"]["protocol"] for row in facts["rows"])
    assert told.out.count("multinomial logistic regression") == 1  # one protocol, which holds for all
    assert "\nC chosen: encoder " in told.out and ", pixels " in told.out
    # The random encoder is the one that the run started from, and features do not depend on how pictures are grouped.
    of_run = run_folder.settings_of(place)
    pictures = small.small_set(40, 1).pictures
    found = representations.networks_of(of_run, pictures, layers)
    start = train.Trainer(of_run, small.small_set(96, 0), layers).networks
    assert np.array_equal(found.encoder.parameters, start.encoder.parameters)
    whole = representations.features_of(found, pictures, of_run)[0]
    assert np.allclose(whole[7:9], representations.features_of(found, pictures[7:9], of_run)[0], atol=1e-5)
    assert run(str(tmp_path), module="dynlab.evaluate") == 2
    assert "holds no run of dynlab.pretrain" in capsys.readouterr().err


def test_contest(tmp_path, capsys):
    out = tmp_path / "heads"
    words = ["--recipe", "demo", "--steps", "12", "--batch", "16", "--out", str(out), "--data", "nowhere"]
    words += ["--heads", "none,off-diagonal,linear:random", "--seeds", "2"]
    assert run(*words, module="dynlab.heads") == 0
    told = capsys.readouterr().out
    assert "off-diagonal" in told and "random encoder" in told and "rank of z" in told
    names = {path.name for path in out.iterdir()}
    assert {"accuracy.png", "head_curves.png", "heads.csv", "runs.csv", "heads.json"} <= names
    table = pd.read_csv(out / "heads.csv", keep_default_na=False)
    assert len(table) == 2 * (2 * 3 + 1)
    before = (out / "heads.csv").read_bytes()
    assert run(*words, module="dynlab.heads") == 0  # nothing is made again
    assert (out / "heads.csv").read_bytes() == before
    assert run(*words, "--lr", "0.1", module="dynlab.heads") == 2
    assert "which batch-none-seed0 has not" in capsys.readouterr().err


def test_threads_are_those_asked_for(tmp_path):
    before = numba.get_num_threads()
    try:
        assert pretrain(tmp_path / "x", "--threads", "1") == 0
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


def test_one_channel(tmp_path):
    given = ("--dataset", "fashion-mnist", "--augmentation", "simsiam-cifar10")  # its mean is of three channels
    assert pretrain(tmp_path / "x", *given) == 0
    assert run(str(tmp_path / "x"), "--of", "encoder,pixels", "--quiet", module="dynlab.evaluate") == 0

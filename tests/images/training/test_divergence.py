"""Training that comes to numbers which are not finite, or collapses: what is kept, what is said, what goes on."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pandas as pd
import pytest

from dynlab import heads
from dynlab.explanation.explanation import explain
from dynlab.images import layers, losses
from dynlab.images.comparison import runs as the_runs
from dynlab.images.data import datasets
from dynlab.images.settings import Pretraining
from dynlab.images.training import run_folder, train
from dynlab.images.verdict import NotFinite, verdict_of
from dynlab.images.worth import accuracy
from dynlab.images.worth.spectrum import shape
from dynlab.tools import checkpoint
from tests.images import small

SMALL = ["--data", "nowhere", "--encoder", "demo", "--projector", "16,8", "--batch", "16", "--steps", "20", "--no-plots"]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)


def pretrain(place, *words):
    return small.command("dynlab.pretrain", [*SMALL, "--out", str(place), *words])


def arrays_of(place):
    """All arrays of all checkpoints in a folder, by step and name."""
    facts = run_folder.run_of(place)
    settings = {"settings": facts["settings"], "pictures": [facts["pictures"], facts["content"]]}
    found = {path.stem: checkpoint.load(path, settings) for path in (place / "checkpoints").glob("*.npz")}
    return {(step, name): array for step, kept in found.items() for name, array in kept.items()}


DIVERGING = {
    "the loss grows": ["--loss", "vicreg", "--optimiser", "sgd", "--lr", "1e3", "--record", "5"],
    "nothing is recorded in between": ["--optimiser", "sgd", "--lr", "1e30", "--record", "1000", "--every", "5"],
    "the last update": ["--optimiser", "sgd", "--lr", "1e45", "--steps", "1", "--record", "1000"],
    "nearest neighbours": ["--optimiser", "sgd", "--lr", "1e30", "--record", "1000", "--knn-every", "1"],
    "the moving average": ["--optimiser", "sgd", "--lr", "1e35", "--target", "average", "--record", "1000", "--every", "2"],
}


@pytest.mark.parametrize("name", DIVERGING)
def test_divergence_is_told_as_one(tmp_path, capsys, name):
    place = tmp_path / "x"
    assert pretrain(place, "--quiet", *DIVERGING[name]) == 1
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0 and line.startswith("dynlab.pretrain: step ") and line.endswith(" are not finite")
    status = run_folder.run_of(place)["status"]
    assert status == "stopped: " + line.removeprefix("dynlab.pretrain: ")
    for where, array in arrays_of(place).items():
        assert array.dtype.kind != "f" or np.isfinite(array).all(), where
    metrics = pd.read_csv(place / "metrics.csv")
    assert np.isfinite(metrics[["loss", "rank", "sd", "unit_sd"]].to_numpy(dtype=float)).all()
    text = explain(place).text
    assert "DIVERGED: step " in text and "NO COLLAPSE" not in text and "--lr" in text
    assert small.command("dynlab.evaluate", [str(place), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "the run was stopped at step" in told


LOSSES = ("similarity", "barlow-twins", "vicreg", "simclr", "dino")


@pytest.mark.parametrize("seed", range(8))
def test_drawn_rates_leave_only_finite_numbers(tmp_path, capsys, seed):
    """Any rate, optimiser and loss: the run ends or is stopped, and whatever it wrote is finite."""
    draw = np.random.default_rng(seed)
    place, rate = tmp_path / "x", 10.0 ** draw.uniform(0.0, 45.0)
    optimiser = draw.choice(["sgd", "adam", "lars"])
    words = ["--optimiser", optimiser, "--lr", f"{rate:.3e}", "--loss", LOSSES[seed % len(LOSSES)]]
    numbers = ["--steps", "8", "--record", str(draw.integers(1, 9)), "--every", str(draw.integers(1, 5)), "--knn-every", "1"]
    status = pretrain(place, "--quiet", *words, *numbers)
    said, stopped = capsys.readouterr().err, run_folder.run_of(place)["status"]
    if status == 0:
        assert stopped == "finished" and said == ""
        assert all(np.isfinite(array).all() for array in run_folder.read_weights(place).values())
    else:
        assert status == 1 and said == f"dynlab.pretrain: {stopped.removeprefix('stopped: ')}\n"
        assert "DIVERGED" in explain(place).text and not (place / "weights.npz").exists()
    assert all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays_of(place).values())
    assert np.isfinite(pd.read_csv(place / "metrics.csv")[["loss", "rank", "sd"]].to_numpy(dtype=float)).all()


def test_the_last_finite_checkpoint_is_kept(tmp_path, capsys):
    """A state that is spoilt between two checkpoints: the one before stays and is finite; resumed, the same line."""
    place, spoilt = tmp_path / "x", train.Trainer.step

    def step(self, number):
        spoilt(self, number)
        if number == 8:
            self.networks.encoder.parameters[3] = np.nan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Trainer, "step", step)
        assert pretrain(place, "--quiet", "--every", "4", "--record", "1000") == 1
        assert capsys.readouterr().err == "dynlab.pretrain: step 12: weights are not finite\n"
        assert {step for step, _ in arrays_of(place)} == {"step-000000000004", "step-000000000008"}
        assert pretrain(place, "--quiet", "--resume") == 1  # the next checkpoint of this call is a whole epoch away
        assert "are not finite" in capsys.readouterr().err
    assert pretrain(place, "--quiet", "--resume") == 0  # unspoilt, it goes on from what was kept
    assert run_folder.run_of(place)["status"] == "finished"


def test_the_contest_goes_on_without_the_head_that_diverged(tmp_path, capsys, monkeypatch):
    of_entry = the_runs.of_entry

    def fast(settings, normalisation, head, seed):
        made = of_entry(settings, normalisation, head, seed)
        return made if head != "none" else Pretraining(**{**made.plain(), "lr": 1e30, "optimiser": "sgd"})

    monkeypatch.setattr(the_runs, "of_entry", fast)
    words = ["--recipe", "demo", "--steps", "12", "--batch", "16", "--data", "nowhere", "--out", str(tmp_path / "c")]
    words += ["--heads", "none,off-diagonal", "--normalisations", "length", "--quiet"]
    for _ in range(2):  # the second time nothing is trained again
        assert small.command("dynlab.heads", words) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert line.startswith("dynlab.heads: length-none-seed0 diverged: step ") and line.endswith("not finite\n")
        table = pd.read_csv(tmp_path / "c" / "heads.csv", keep_default_na=False)
        assert set(table["head"]) == {"off-diagonal", "random encoder"}
        facts = json.loads((tmp_path / "c" / "heads.json").read_text())
        assert len(facts["diverged"]) == 1
    only = [*words[:-5], "--heads", "none", "--normalisations", "length"]
    assert small.command("dynlab.heads", only) == 1  # no head is left; the table is that of random networks


def test_heads_have_their_published_training():
    one = heads.check(heads.parser().parse_args(["--recipe", "demo"]))
    targets = {}
    for head in ("directpred", "directcopy", "directpred:same", "off-diagonal", "mlp:average", "linear:random"):
        made = the_runs.of_entry(one, "length", head, 0)
        targets[head] = (made.head, made.target, made.target_momentum if made.target == "average" else None, made.head_start)
    assert targets == {
        "directpred": ("directpred", "average", 0.996, "identity"),
        "directcopy": ("directcopy", "average", 0.996, "identity"),
        "directpred:same": ("directpred", "same", None, "identity"),
        "off-diagonal": ("off-diagonal", "same", None, "identity"),
        "mlp:average": ("mlp", "average", 0.996, "identity"),
        "linear:random": ("linear", "same", None, "random"),
    }


class Still:
    """In place of a trainer, for a run that is only told lines."""

    epoch_steps, total = 100, 2000


def told(tmp_path, capsys, settings, lines, known=()):
    """What a run says on standard error while it records these lines, after those that it knew."""
    run = run_folder.Run(tmp_path, settings, Still(), None, False, 0.0)
    run.known = list(known)
    for numbers in lines:
        run.step = numbers["step"]
        numbers = {"lr": 0.1, "head_asymmetry": math.nan} | numbers
        found = {name: numbers.get(name, math.nan) for name in run_folder.METRIC_COLUMNS}
        run._add(found, {name: io.StringIO() for name in (run_folder.METRICS, run_folder.TIMES)})
    return capsys.readouterr().err.splitlines()


def test_a_collapse_is_told_once_and_not_in_the_first_steps(tmp_path, capsys):
    poor = [line(step, rank=1.2, correlation=0.95) for step in range(25, 400, 25)]
    said = told(tmp_path, capsys, LENGTH, [line(1), *poor])
    assert len(said) == 1 and said[0].startswith("step 100: collapsed: rank 1.2, mean correlation 0.95")
    assert said[0].endswith(f"(dynlab explain {tmp_path})")
    assert told(tmp_path, capsys, LENGTH, [line(1), *(line(step) for step in range(25, 400, 25))]) == []
    huge = told(tmp_path, capsys, LENGTH, [line(1), line(25, head_norm=3.7e29)])
    assert len(huge) == 1 and huge[0].startswith("step 25: diverged: ")


def line(step=400, **numbers):
    plain = {"loss": 1.0, "rank": 20.0, "correlation": 0.3, "sd": 1.0, "unit_sd": 0.12, "entropy_mean": 4.0, "entropy": 2.0}
    return {"step": step, **plain, "head_norm": 1.0, **numbers}


LENGTH = Pretraining()
BATCH = Pretraining(normalisation="batch")
VICREG = Pretraining(loss="vicreg", head="none", stop_gradient="none")
DINO = Pretraining(loss="dino", head="none", target="average")
VERDICTS = [
    (LENGTH, {}, "healthy"), (LENGTH, {"rank": 1.6}, "collapsed"), (LENGTH, {"rank": 1.6, "step": 50}, "dip"),
    (LENGTH, {"unit_sd": 0.01}, "collapsed"), (BATCH, {"unit_sd": 0.01}, "healthy"), (LENGTH, {"sd": 0.01}, "healthy"),
    (VICREG, {"sd": 0.01}, "collapsed"), (VICREG, {"sd": 0.9}, "healthy"), (VICREG, {"unit_sd": 0.01}, "healthy"),
    (DINO, {"entropy_mean": 4.15, "entropy": 4.14}, "collapsed"),  # uniform for all pictures
    (DINO, {"entropy_mean": 0.02, "entropy": 0.01}, "collapsed"),  # the same output for all pictures
    (LENGTH, {"head_norm": 3.7e29}, "diverged"), (LENGTH, {"sd": 1e10, "step": 20, "rank": 1.0, "loss": 0.0}, "diverged"),
    (LENGTH, {"loss": math.nan}, "diverged"), (LENGTH, {"rank": 2.5}, "unclear"),
    (LENGTH, {"sd": math.nan, "unit_sd": math.nan, "entropy": math.nan}, "healthy"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "numbers", "wanted"), VERDICTS)
def test_verdicts_rest_on_what_the_loss_sees(settings, numbers, wanted):
    lines = [line(1), *(line(100 + i) for i in range(3)), line(**numbers)]
    assert verdict_of(settings, lines) == wanted


def test_spread_by_hand():
    """Rows 3 e_1 and 4 e_2, half of each: sd 3/2 and 2; at unit length 1/2 and 1/2. One direction: 0."""
    z = np.tile([[3.0, 0.0], [0.0, 4.0]], (5, 1))
    assert accuracy.spread(z) == pytest.approx((1.75, 0.5), rel=1e-14)
    assert accuracy.spread(1e30 * z.astype(np.float32)) == pytest.approx((1.75e30, 0.5), rel=1e-6)
    assert accuracy.spread(1e-30 * z.astype(np.float32)) == pytest.approx((1.75e-30, 0.5), rel=1e-6)
    same = np.arange(1.0, 11.0)[:, None] * np.array([[1.0, -2.0, 2.0]])
    deviation = math.sqrt(99.0 / 12.0)  # of 1 ... 10
    assert accuracy.spread(same) == pytest.approx((deviation * 5.0 / 3.0, 0.0), abs=1e-14)
    assert accuracy.spread(np.zeros((4, 3))) == (0.0, 0.0)
    directions = np.random.default_rng(0).normal(size=(20000, 64))
    assert accuracy.spread(directions)[1] == pytest.approx(1.0 / 8.0, rel=0.01)  # 1/sqrt(m)


def test_entropies_of_dino_by_hand():
    """m = 8, a teacher sure of one of two outputs, half of the pictures each: H(mean) = log 2, each 0; flat: both log 8."""
    sure = np.zeros((8, 8))
    sure[::2, 0] = sure[1::2, 5] = 100.0
    for target, wanted in ((sure, (math.log(2.0), 0.0)), (np.full((8, 8), 3.0), (math.log(8.0), math.log(8.0)))):
        loss = losses.make("dino", {}, layers, 8, 8, "float64")
        loss.step(np.zeros((8, 8)), target, np.empty((8, 8)))
        assert loss.entropies() == pytest.approx(wanted, abs=1e-12)
    assert np.isnan(losses.make("simclr", {}, layers, 8, 8).entropies()).all()


def test_dino_is_measured_without_the_offset_of_a_row():
    """Independent outputs under a large common offset: alike as they are, not as the loss sees them."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(4000, 16)) + 10.0 * rng.normal(size=(4000, 1))
    assert shape(z).rank < 1.3 and shape(z).mean_abs_correlation > 0.95
    seen = shape(losses.seen("dino", z))
    assert seen.rank > 14.0 and seen.mean_abs_correlation < 0.1  # of 15 at most: each row sums to 0
    assert losses.seen("simclr", z) is z


def test_not_finite_names_what():
    NotFinite.check("weights", np.ones(3), np.arange(3))
    with pytest.raises(NotFinite, match="^weights are not finite$"):
        NotFinite.check("weights", np.ones(3), np.array([1.0, np.inf]))

"""Training of hidden units on minibatches: steps as defined, near the exact descent, the same after a stop, its files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab import Model, Trajectory
from dynlab.command_line import minibatches
from dynlab.population.dense.dense_descent import dense_start
from dynlab.population.moments import LEARNT
from dynlab.population.order_parameters import own_units
from dynlab.population.starts import draw_start
from dynlab.run import main, sampled_parser
from dynlab.samples.minibatch import minibatch_gradient
from dynlab.samples.overlay import distance, exponent, order_parameters
from dynlab.samples.train import follow
from dynlab.settings.training import Training
from dynlab.tools import checkpoint
from dynlab.tools.checks import SettingError
from tests.samples.naive_optimisers import moved

MODEL = Model(activation="relu", patches=4, feature_patches=2, hidden=2)
DIM, ETA, READOUT_RATE = 10, 0.05, 0.4
START = draw_start(MODEL, DIM, 0, 0)
GIVEN = {"eta": ETA, "batch": 16, "dim": DIM, "seed": 3}


def by_hand(model, training, start, optimiser, steps, data=None):
    """The run in plain steps: weights, readout and head after all."""
    weights, head, readout = dense_start(model, start, DIM, GIVEN["seed"]), np.eye(2), start.readout.copy()
    target, behind, memory = weights.copy(), readout.copy(), {}
    for step in range(steps):
        given = {"batch": GIVEN["batch"], "seed": GIVEN["seed"], "step": step, "data": data, "readout": readout}
        if training.target == "average":
            given |= {"target_weights": target, "target_readout": behind}
        found = minibatch_gradient(model, training, weights, head, **given)
        weights = weights - ETA * moved(optimiser, memory, "weights", found.d_weights, step + 1)
        head = head - ETA * training.eta_head * moved(optimiser, memory, "head", found.d_head, step + 1)
        if model.readout != "fixed":
            readout = readout - ETA * READOUT_RATE * moved(optimiser, memory, "readout", found.d_readout, step + 1)
        target = target + ETA * training.target_rate * (weights - target)
        behind = behind + ETA * training.target_rate * (readout - behind)
    return weights, readout, head


@pytest.mark.parametrize(("optimiser", "data"), [("sgd", None), ("momentum", 50), ("adam", None)])
@pytest.mark.parametrize("rule", ["own", "shared", "fixed"])
@pytest.mark.parametrize(
    "training",
    [Training(), Training(head="linear", target="average", symmetric=True, weight_decay=0.1, head_decay=0.2)],
    ids=["paper", "byol"],
)
def test_steps_are_as_defined(optimiser, data, rule, training):
    model = replace(MODEL, readout=rule)
    training = replace(training, eta_head=0.6, readout_rate=READOUT_RATE)
    start = draw_start(model, DIM, 0, 0)
    run = follow(model, training, start, steps=7, optimiser=optimiser, data=data, **GIVEN)
    weights, readout, head = by_hand(model, training, start, optimiser, 7, data)
    assert np.allclose(run.signal[-1], weights[:, :2], rtol=0, atol=1e-12)
    assert np.allclose(run.noise_gram[-1], weights[:, 2:] @ weights[:, 2:].T, rtol=0, atol=1e-12)
    assert np.allclose(run.head[-1], head, rtol=0, atol=1e-12)
    assert np.allclose(run.readout[-1], readout, rtol=0, atol=1e-12)
    assert (run.readout[-1] == start.readout).all() == (rule == "fixed")
    assert (run.readout[:, ~own_units(model)] == 0.0).all()
    assert run.settings["readout_rate"] == READOUT_RATE and run.status == "until"


def test_every_switch_trains():
    for changes in (
        {"stop_gradient": "none"}, {"normalisation": "length"}, {"normalisation": "scale"}, {"decorrelation": 0.1},
        {"objective": "barlow-twins", "head": "none", "stop_gradient": "none"}, {"head": "symmetric"},
        {"objective": "vicreg", "head": "none", "stop_gradient": "none"}, {"normalisation": "none", "weight_decay": 0.1},
        {"head": "directpred"}, {"stop_gradient": "online", "head": "none"},
    ):  # fmt: skip
        run = follow(MODEL, Training(**changes), START, steps=3, **GIVEN)
        assert run.success and np.isfinite(run.frame.to_numpy()).all(), changes
        assert not np.array_equal(run.readout[-1], run.readout[0])


def test_simulate_gives_the_same_trajectory_and_saves(tmp_path):
    training = Training(eta_head=0.2, readout_rate=0.5)
    run = dynlab.simulate(MODEL, START, method="sgd", training=training, steps=9, **GIVEN)
    again = follow(MODEL, training, START, steps=9, **GIVEN)
    assert run.frame.equals(again.frame)
    run.save(tmp_path / "run.csv")
    read = Trajectory.load(tmp_path / "run.csv")
    assert read.frame.equals(run.frame) and np.array_equal(read.readout, run.readout)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_same_bits_for_any_threads(precision):
    given = GIVEN | {"batch": 600, "steps": 5, "precision": precision}
    runs = [follow(MODEL, Training(), START, threads=n, **given) for n in (1, 2)]
    assert runs[0].frame.equals(runs[1].frame)


@pytest.mark.parametrize("stop", [1, 12, 30])
def test_resumed_at_any_step(tmp_path, stop):
    class Stop(Exception):
        pass

    def stop_there(step):
        if step == stop:
            raise Stop

    given = GIVEN | {"steps": 31, "optimiser": "adam", "checkpoints": tmp_path, "every": 3}
    training = Training(target="average", head="directpred")
    with pytest.raises(Stop):
        follow(MODEL, training, START, progress=stop_there, **given)
    whole = follow(MODEL, training, START, **given | {"checkpoints": None})
    assert follow(MODEL, training, START, **given).frame.equals(whole.frame)
    with pytest.raises(checkpoint.CheckpointError, match="belongs to a run with other start"):
        other = replace(START, readout=2.0 * START.readout)
        follow(MODEL, training, other, **given)


def test_the_distance_to_the_descent_falls_with_the_root_of_the_batch():
    """From one start; the readout's entries are among what is compared, and the exact descent has the same rate for them."""
    model, training = replace(MODEL, noise=0.3), Training(eta_head=1.0, readout_rate=READOUT_RATE)
    start = draw_start(model, DIM, 0, 1)
    exact = dynlab.simulate(model, start, method="descent", eta=ETA, steps=20, training=training)
    far = {}
    for batch in (64, 512):
        given = {"eta": ETA, "steps": 20, "batch": batch, "dim": DIM}
        runs = [follow(model, training, start, seed=seed, **given) for seed in range(16)]
        far[batch] = np.array([distance(run, exact) for run in runs])
    assert order_parameters(exact).shape[1] == 8 + 10 + 2 + 4
    moved_by = np.linalg.norm(order_parameters(exact)[-1] - order_parameters(exact)[0])
    assert np.sqrt((far[512] ** 2).mean()) < 0.15 * moved_by
    slope, error = exponent(far)
    assert error < 0.12 and -0.7 < slope < -0.35
    other = dynlab.simulate(model, start, method="descent", eta=ETA, steps=20, training=replace(training, readout_rate=1.0))
    assert distance(runs[0], other) > 1.4 * far[512].max()


def test_events_are_those_of_what_outputs_carry():
    lines = []
    run = follow(MODEL, Training(), START, steps=60, times=ETA * np.arange(1, 61), watcher=lines.append, **GIVEN)
    first = np.flatnonzero((run.carried > LEARNT).any((1, 2)))[0]
    assert run.events["first"] == run.time[first]
    shares = run.carried[0].max(0)
    assert lines[0].endswith(f"features {shares[0]:.3f} {shares[1]:.3f}") and "output rank" in lines[0]
    assert not any("turns to feature" in line for line in lines)


def test_a_step_that_is_too_long_is_told():
    run = follow(replace(MODEL, activation="cubic"), Training(), START, **GIVEN | {"eta": 1e200, "steps": 9})
    assert run.status == "not finite" and "overflow" in run.settings["stopped"]
    assert np.isfinite(run.frame.drop(columns="loss").to_numpy()).all()


SMALL = "--method sgd --patches 4 --feature-patches 2 --dim 8 --batch 16 --steps 12 --seeds 2 --activation relu".split()


def test_the_command_writes_what_outputs_do(tmp_path, capsys):
    words = [
        *SMALL,
        "--hidden",
        "2",
        "--readout",
        "shared",
        "--readout-rate",
        "0.5",
        "--quiet",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main(words) == 0
    summary, table = (pd.read_csv(tmp_path / "a" / f"{name}.csv") for name in ("summary", "trajectory"))
    assert (summary["distance"] > 0.0).all() and summary["rank"].between(1.0, 2.0).all()
    ends = table[(table["batch"] == 16) & (table["head"] == "none")].groupby("seed").last()
    size = np.sqrt((ends[[f"readout_{j}_{h}" for j in (1, 2) for h in (1, 2, 3, 4)]] ** 2).sum(axis=1)).mean()
    assert summary.set_index("head")["readout"]["none"] == pytest.approx(size, rel=1e-12)
    assert set(table["batch"]) == {0, 16} and (tmp_path / "a" / "overlay.png").is_file()
    start = table[table["time"] == 0.0]
    assert start.groupby("head")["readout_1_3"].nunique().eq(1).all() and (start["readout_1_3"] != 0.0).all()


def test_a_sweep_has_hidden_units_as_an_axis():
    plan = {
        "command": "sgd",
        "settings": {"activation": "relu", "dim": 8, "batch": 8, "steps": 3},
        "grid": {"hidden": [1, 2]},
    }
    found = dynlab.sweep(plan).frame
    assert (found["status"] == "finished").all() and np.isfinite(found["rank"]).all()
    assert found["rank"].nunique() == 2 and np.isfinite(found["readout"].to_numpy()).tolist() == [False, True]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hidden 0", "hidden=0: must be an integer >= 1"),
        ("--hidden 4", "dim=8: must be an integer >= 10 (features + hidden units)"),
        ("--readout-rate 2", "readout_rate=2.0: must be left out for a model without hidden units"),
        ("--hidden 2 --readout-rate 0", "readout_rate=0: must be a finite number > 0"),
        ("--hidden 2 --device cuda", "device='cuda': must be cpu or auto with hidden units"),
    ],
)
def test_bad_input_is_one_line(words, message):
    with pytest.raises(SettingError) as error:
        minibatches.check(sampled_parser().parse_args([*SMALL, *words.split()]))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 5}, "dim=5: must be an integer >= 6 (features + hidden units)"),
        ({"device": "cuda"}, "device='cuda': must be cpu or auto with hidden units"),
        (
            {"start": draw_start(replace(MODEL, hidden=1), DIM, 0, 0)},
            "start='signal of shape (2, 2)': must be of shape (4, 2)",
        ),
    ],
)
def test_bad_calls_are_one_line(changes, message):
    with pytest.raises(SettingError) as error:
        follow(MODEL, Training(), changes.pop("start", START), **{**GIVEN, "steps": 2, **changes})
    assert message in str(error.value) and "\n" not in str(error.value)

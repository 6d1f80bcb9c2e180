"""Training on minibatches: steps as defined, near the exact descent, the same after a kill, stopped with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab import Model, Trajectory
from dynlab.population.dense.dense_descent import dense_start
from dynlab.population.moments import MERGED
from dynlab.population.starts import draw_start
from dynlab.samples import progress_lines
from dynlab.samples.minibatch import minibatch_gradient
from dynlab.samples.overlay import distance, exponent
from dynlab.samples.train import follow
from dynlab.settings.training import Training
from dynlab.tools import checkpoint
from tests import ROOT
from tests.samples.naive_optimisers import moved
from tests.waiting import HANGS, until

MODEL = Model(patches=4, feature_patches=2)
DIM, ETA = 10, 0.05
START = draw_start(MODEL, DIM, 0, 0)
GIVEN = {"eta": ETA, "batch": 16, "dim": DIM, "seed": 3}


def test_the_start_has_the_order_parameters():
    weights = dense_start(MODEL, START, DIM, 1)
    found = dynlab.OrderParameters.from_weights(MODEL, weights)
    assert np.array_equal(found.signal, START.signal) and np.allclose(found.noise_gram, START.noise_gram, atol=1e-14)


def by_hand(training, optimiser, steps, data=None):
    """The run in plain steps: weights and head after each."""
    weights, head = dense_start(MODEL, START, DIM, GIVEN["seed"]), np.eye(2)
    target, memory = weights.copy(), {}

    for step in range(steps):
        behind = target if training.target == "average" else None
        more = {"batch": GIVEN["batch"], "seed": GIVEN["seed"], "step": step, "data": data}
        _, d_weights, d_head = minibatch_gradient(MODEL, training, weights, head, behind, **more)
        weights = weights - ETA * moved(optimiser, memory, "weights", d_weights, step + 1)
        head = head - ETA * training.eta_head * moved(optimiser, memory, "head", d_head, step + 1)
        target = (1 - ETA * training.target_rate) * target + ETA * training.target_rate * weights
    return weights, head


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize(
    "training",
    [Training(), Training(head="linear", target="average", symmetric=True, weight_decay=0.1, head_decay=0.2)],
    ids=["paper", "byol"],
)
@pytest.mark.parametrize("data", [None, 50])
def test_steps_are_as_defined(optimiser, training, data):
    training = replace(training, eta_head=0.6)
    run = follow(MODEL, training, START, steps=7, optimiser=optimiser, data=data, **GIVEN)
    weights, head = by_hand(training, optimiser, 7, data)
    assert np.allclose(run.signal[-1], weights[:, :2], rtol=0, atol=1e-12)
    assert np.allclose(run.noise_gram[-1], weights[:, 2:] @ weights[:, 2:].T, rtol=0, atol=1e-12)
    assert np.allclose(run.head[-1], head, rtol=0, atol=1e-12)
    assert run.time.tolist() == [ETA * step for step in range(8)] and run.status == "until"


@pytest.mark.parametrize("head", ["directpred", "directcopy"])
def test_the_head_follows_the_moving_correlation(head):
    run = follow(MODEL, Training(head=head), START, steps=5, **GIVEN)
    assert run.success and not np.array_equal(run.head[-1], run.head[0])


def test_every_switch_trains():
    for changes in (
        {"stop_gradient": "none"}, {"normalisation": "length"}, {"normalisation": "scale"}, {"decorrelation": 0.1},
        {"objective": "barlow-twins", "head": "none", "stop_gradient": "none"}, {"head": "symmetric"},
        {"objective": "vicreg", "head": "none", "stop_gradient": "none"}, {"normalisation": "none", "weight_decay": 0.1},
    ):  # fmt: skip
        run = follow(MODEL, Training(**changes), START, steps=3, **GIVEN)
        assert run.success and np.isfinite(run.loss).all(), changes
        assert run.settings["training"] == Training(**changes).changed()


def test_simulate_gives_the_same_trajectory_and_saves(tmp_path):
    run = dynlab.simulate(MODEL, START, method="sgd", steps=20, eta=ETA, batch=16, dim=DIM, seed=3, eta_head=0.02)
    again = follow(MODEL, Training(eta_head=0.02), START, steps=20, **GIVEN)
    assert run.frame.equals(again.frame)
    run.save(tmp_path / "run.csv")
    assert Trajectory.load(tmp_path / "run.csv").frame.equals(run.frame)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_same_bits_for_any_threads(precision):
    given = GIVEN | {"batch": 600, "steps": 5, "precision": precision}
    runs = [follow(MODEL, Training(), START, threads=n, **given) for n in (1, 2)]
    assert runs[0].frame.equals(runs[1].frame)


def test_the_distance_to_the_descent_falls_with_the_root_of_the_batch():
    model, eta, steps = Model(patches=8, feature_patches=4), 0.02, 20
    start = draw_start(model, 8, 0, 3)
    exact = dynlab.simulate(model, start, method="descent", eta=eta, steps=steps, eta_head=1.0)
    far = {}
    for batch in (128, 1024):
        given = {"eta": eta, "steps": steps, "batch": batch, "dim": 8}
        runs = [follow(model, Training(eta_head=1.0), start, seed=seed, **given) for seed in range(32)]
        far[batch] = np.array([distance(run, exact) for run in runs])
    slope, error = exponent(far)
    assert error < 0.06 and -0.6 < slope < -0.4


# --- stops ---


def test_overflow_is_stopped_with_step_and_reason(tmp_path):
    given = GIVEN | {"eta": 1e200}
    run = follow(MODEL, Training(), START, steps=9, checkpoints=tmp_path, every=1, **given)
    assert run.status == "not finite" and run.settings["stopped"].startswith(f"step {run.steps}: ")
    assert "overflow" in run.settings["stopped"] and run.steps < 9
    assert np.isfinite(run.frame.to_numpy()).all()
    kept = sorted(tmp_path.glob("step-*.npz"))
    assert len(kept) <= 2
    for path in kept:
        with np.load(path) as file:
            assert np.isfinite(file["state_weights"]).all()


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("rate", [1e31, 1e60])
def test_no_checkpoint_holds_what_is_not_finite(tmp_path, optimiser, rate):
    """Memories of optimisers and the moving average count, too: a second moment that overflows stops Adam silently."""
    training = Training(head="none", eta_head=0.0, normalisation="none", target="average")
    given = GIVEN | {"eta": rate, "optimiser": optimiser}
    run = follow(MODEL, training, START, steps=9, checkpoints=tmp_path, every=1, **given)
    assert run.status == "not finite" and run.settings["stopped"].startswith(f"step {run.steps}: ")
    for path in tmp_path.glob("step-*.npz"):
        with np.load(path) as file:
            parts = [name for name in file.files if file[name].dtype.kind == "f" and name != "state_marks"]
            assert parts and all(np.isfinite(file[name]).all() for name in parts), parts


def test_zero_variance_is_stopped():
    start = dynlab.OrderParameters(np.zeros((2, 2)), np.diag([1.0, 0.0]))
    run = follow(MODEL, Training(), start, steps=9, **GIVEN)
    assert run.settings["stopped"].startswith("step 0: an output has zero variance over the batch")
    assert len(run.time) == 1 and run.status == "not finite"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch=1: must be an integer >= 2"),
        ({"dim": 3}, "dim=3: must be an integer >= 4"),
        ({"eta": 0.0}, "eta=0.0: must be a finite number > 0"),
        ({"steps": 0}, "steps=0: must be an integer >= 1"),
        ({"optimiser": "lamb"}, "optimiser='lamb': must be one of sgd, momentum, adam"),
        ({"data": 5}, "data=5: must be an integer >= 16"),
        ({"resume": "step-1.npz"}, "resume='step-1.npz': must be left out without checkpoints"),
        ({"until": 3.0}, "until=3.0: must be left out for method"),
        ({"method": "flow"}, 'batch=16: must be left out for method "flow"'),
    ],
)
def test_bad_input_is_one_line(changes, message):
    with pytest.raises(ValueError) as error:
        dynlab.simulate(MODEL, START, **{"method": "sgd", **GIVEN, **changes})
    assert message in str(error.value) and "\n" not in str(error.value)


# --- checkpoints ---

SCRIPT = """
import sys
from tests.samples.test_train import *
run = follow(MODEL, Training(target="average", head="directpred"), START, steps=STEPS, checkpoints=sys.argv[1], every=7,
             optimiser="adam", data=40, watcher=lambda line: print(line, flush=True), **GIVEN)
run.save(sys.argv[2])
"""
STEPS = 2500


def test_killed_and_resumed_is_the_same_bytes(tmp_path):
    """kill -9 once; the next life finishes. The trajectory's file equals that of a run that was left alone."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start(folder, out):
        words = [sys.executable, "-c", SCRIPT, str(tmp_path / folder), str(tmp_path / out)]
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    assert start("whole", "whole.csv").wait(HANGS) == 0
    process = start("killed", "killed.csv")
    until(lambda: bool(list((tmp_path / "killed").glob("step-*.npz"))), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(HANGS) == -signal.SIGKILL and not (tmp_path / "killed.csv").exists()
    assert start("killed", "killed.csv").wait(HANGS) == 0
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("stop", [1, 5, 12, 30])
def test_resumed_at_any_step(tmp_path, stop):
    class Stop(Exception):
        pass

    def stop_there(step):
        if step == stop:
            raise Stop

    given = GIVEN | {"steps": 31, "optimiser": "momentum", "checkpoints": tmp_path, "every": 3}
    with pytest.raises(Stop):
        follow(MODEL, Training(), START, progress=stop_there, **given)
    whole = follow(MODEL, Training(), START, **given | {"checkpoints": None})
    assert follow(MODEL, Training(), START, **given).frame.equals(whole.frame)


def a_folder(tmp_path):
    given = GIVEN | {"steps": 10, "checkpoints": tmp_path, "every": 3}
    whole = follow(MODEL, Training(), START, **given)
    return given, whole, sorted(tmp_path.glob("step-*.npz"))


def test_the_last_two_are_kept(tmp_path):
    _, _, kept = a_folder(tmp_path)
    assert [path.name for path in kept] == ["step-000000000006.npz", "step-000000000009.npz"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_is_refused_and_the_one_before_offered(tmp_path):
    given, whole, kept = a_folder(tmp_path)
    sound = kept[-1].read_bytes()
    for place in range(0, len(sound), 97):
        wrong = bytearray(sound)
        wrong[place] ^= 1
        kept[-1].write_bytes(wrong)
        with pytest.raises(checkpoint.CheckpointError, match="is damaged") as error:
            checkpoint.load(kept[-1], {})
        assert str(error.value).count("\n") == 0 and str(kept[-1]) in str(error.value)
    kept[-1].write_bytes(sound[: len(sound) // 2])
    said = f"{kept[-1].name}: is damaged; remove it to go on from {kept[0].name}"
    with pytest.raises(checkpoint.CheckpointError, match=said):
        follow(MODEL, Training(), START, **given)
    assert follow(MODEL, Training(), START, resume=kept[0].name, **given).frame.equals(whole.frame)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    given, _, _ = a_folder(tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="belongs to a run with other seed;"):
        follow(MODEL, Training(), START, **given | {"seed": 4})
    with pytest.raises(ValueError, match="resume='step-1.npz': must be a checkpoint"):
        follow(MODEL, Training(), START, resume="step-1.npz", **given)


# --- warnings ---


def test_lines_and_the_warning_on_the_way_to_collapse():
    model = Model(patches=8, feature_patches=4)
    start = dynlab.OrderParameters([[1.0, 0.0], [0.9, 0.1]], np.eye(2) * 0.5)
    for head, outcome in (("none", "the strong feature only"), ("off-diagonal", "feature")):
        lines = []
        follow(model, Training(head=head), start, steps=30, watcher=lines.append, **GIVEN | {"batch": 64})
        assert lines[0].startswith("step 0: loss ") and "output rank" in lines[0] and "head 0.00e+00" in lines[0]
        (warned,) = [line for line in lines if "every neuron turns to feature 1" in line]
        assert "the theory expects from here: " in warned and outcome in warned
        rank = float(warned.split("of effective rank ")[1].split()[0])
        assert ("on the way to collapse" in warned) == (rank < MERGED)
        assert ("no collapse to come" in warned) == (rank >= MERGED)
        assert head != "none" or rank < 1.01
        assert all("\n" not in line for line in lines)
    lines = []
    follow(MODEL, Training(), START, steps=5, watcher=lines.append, **GIVEN)
    assert not any("collapse" in line for line in lines)


def test_no_theory_is_said(tmp_path):
    start = dynlab.OrderParameters([[1.0, 0.0], [0.9, 0.1]], np.eye(2) * 0.5)
    lines = []
    follow(MODEL, Training(weight_decay=0.1), start, steps=2, watcher=lines.append, **GIVEN)
    assert "the theory expects from here: nothing that is known in closed form" in " ".join(lines)
    assert "perhaps on the way to collapse: every" in " ".join(lines)


@pytest.mark.parametrize(
    ("collapses", "words"),
    [(True, "on the way to collapse"), (False, "no collapse to come"), (None, "perhaps on the way to collapse")],
)
def test_the_warning_says_what_the_theory_says(collapses, words, monkeypatch):
    monkeypatch.setattr(progress_lines, "expected", lambda *_: (collapses, "so and so"))
    line = progress_lines.warning(MODEL, Training(), {}, 7, 0, np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), np.eye(2))
    said = "every neuron turns to feature 1 (squared cosines 0.50 1.00); the theory expects from here: so and so"
    assert line == f"step 7: {words}: {said}"


def test_opposite_signs_turn_to_one_feature_for_odd_activations_only():
    opposite = np.array([[1.0, 0.0, 0.1], [-1.0, 0.0, 0.1]])
    assert progress_lines.turning(Model(activation="cubic"), opposite) == 0
    assert progress_lines.turning(Model(activation="relu"), opposite) is None
    assert progress_lines.turning(Model(activation="relu"), np.abs(opposite)) == 0

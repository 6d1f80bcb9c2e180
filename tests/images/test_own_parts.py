"""Encoders and losses from outside the package: the examples of the page run, what is wrong is refused by its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import dynlab
from dynlab import SettingError, evaluate, explain, export
from dynlab.images import layers, own_parts
from dynlab.images.networks.encoder_and_projector import Networks
from dynlab.images.settings import OWN_ENCODERS, OWN_LOSSES, Pretraining, pretraining
from dynlab.images.training.train import Trainer
from dynlab.images.verdict import output_count
from tests.images import small

PAGE = (Path(dynlab.__file__).parent / "docs" / "own_parts.md").read_text(encoding="utf-8")
ENCODER, LOSS, USED = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """What a test registers is forgotten after it."""
    kept = dict(OWN_ENCODERS), dict(OWN_LOSSES)
    yield
    for table, before in zip((OWN_ENCODERS, OWN_LOSSES), kept, strict=True):
        table.clear()
        table.update(before)


def run(text: str) -> dict:
    names: dict = {}
    exec(compile(text, "own_parts.md", "exec"), names)
    return names


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = small.small_set(120, 0)
    np.savez("pictures.npz", pictures=np.repeat(np.repeat(made.pictures, 2, 1), 2, 2), labels=made.labels)  # 32 x 32
    run(ENCODER), run(LOSS), run(USED)
    said = capsys.readouterr().out
    assert "12 steps" in said and "encoder tanh_layers" in said
    assert json.loads(Path("runs/own/run.json").read_text())["status"] == "finished"
    assert evaluate.main(["runs/own", "--of", "encoder,random encoder,z"]) == 0
    assert export.main(["runs/own", "--format", "npz"]) == 0
    held = np.load("runs/own/encoder.npz")
    assert {name: held[name].shape for name in held} == {"first": (3072, 32), "shift": (32,), "second": (32, 16)}
    first = OWN_ENCODERS["tanh_layers"].start((32, 32, 3), np.random.default_rng((0, 0)))
    assert not np.array_equal(held["first"], first["first"].astype(np.float32))
    OWN_ENCODERS.clear()
    capsys.readouterr()
    assert explain.main(["runs/own"]) == 2 and "encoder='tanh_layers': must be one of" in capsys.readouterr().err


def settings(**given):
    return pretraining("demo", **({"batch": 16, "projector": (16, 8), "steps": 4, "augmentation": "demo"} | given))


def test_a_registered_twin_of_a_built_in_loss_trains_alike():
    """Distances of unit rows are those of `similarity`, by length: the same gradients, and weights but for rounding."""

    def twin(online, target):
        long = np.linalg.norm(online, axis=1, keepdims=True)
        u, v = online / long, target / np.linalg.norm(target, axis=1, keepdims=True)
        gap = u - v
        slope = 2 * gap / len(gap)
        return (gap**2).sum(1).mean(), (slope - u * (slope * u).sum(1, keepdims=True)) / long

    dynlab.register_loss("twin", twin, towards=True)
    ends = []
    for loss in ("similarity", "twin"):
        trainer = Trainer(
            settings(loss=loss, head="linear", target="average", optimiser="sgd", lr=0.1), small.small_set(96, 0), layers
        )
        for step in range(4):
            trainer.step(step)
        ends.append((trainer.objective.loss(), trainer.weights()["encoder_parameters"]))
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-4)
    assert np.abs(ends[1][1] - ends[0][1]).max() < 1e-4 * np.abs(ends[0][1]).max()


def test_both_views_have_the_gradient_of_a_loss_of_two():
    names = run(LOSS)
    objective = own_parts.OwnLoss(OWN_LOSSES["cosines"], own_parts.LossSettings(), layers, 10, 3, "float64")
    z = np.random.default_rng(0).standard_normal((10, 3))
    d_z = np.empty_like(z)
    value = float(objective.step(z, z, d_z)[0])
    known, d_a, d_b = names["cosines"](z[:5], z[5:])
    assert value == known and np.array_equal(d_z, np.concatenate([d_a, d_b]))
    towards = own_parts.OwnLoss(OWN_LOSSES["distance"], own_parts.LossSettings(), layers, 10, 3, "float64")
    g, d_target = np.random.default_rng(1).standard_normal((10, 3)), np.ones((10, 3))
    value = float(towards.step(z, g, d_z, d_target)[0])
    swapped = np.concatenate([g[5:], g[:5]])  # view 1 goes towards the target's view 2
    assert value == pytest.approx(((z - swapped) ** 2).sum(1).mean(), rel=1e-14)
    assert np.allclose(d_z, 2 * (z - swapped) / 10, rtol=1e-14) and not d_target.any()


def test_an_encoder_of_ones_own_is_a_network():
    run(ENCODER)
    networks = Networks(settings(encoder="tanh_layers", projector=()), 3, layers)
    again = Networks(settings(encoder="tanh_layers", projector=()), 3, layers)
    assert np.array_equal(networks.encoder.parameters, again.encoder.parameters) and networks.outputs == 16
    assert output_count(settings(encoder="tanh_layers", projector=())) == 16
    assert networks.encoder.decays.sum() == 24 * 24 * 3 * 32 + 32 * 16 and len(networks.encoder.segments) == 3
    trainer = Trainer(settings(encoder="tanh_layers", optimiser="lars"), small.small_set(96, 0), layers)
    state = trainer.state()
    for step in range(3):
        trainer.step(step)
    ahead = trainer.weights()["encoder_parameters"].copy()
    trainer.restore(state)
    for step in range(3):
        trainer.step(step)
    assert np.array_equal(trainer.weights()["encoder_parameters"], ahead)


def linear(**changed):
    """An encoder of one product, some of its functions changed."""
    made = {
        "start": lambda shape, rng: {"w": rng.standard_normal((int(np.prod(shape)), 4))},
        "forward": lambda p, x: (x.reshape(len(x), -1) @ p["w"], x.reshape(len(x), -1)),
        "backward": lambda p, kept, d: {"w": kept.T @ d},
    }
    return made | changed


def in_place(p, x):
    x *= 2.0
    return x.reshape(len(x), -1) @ p["w"], x.reshape(len(x), -1)


def only_double(p, x):
    flat = x.reshape(len(x), -1)
    return flat @ p["w"] * (x.dtype == np.float64), flat


def normed(p, x):
    y = x.reshape(len(x), -1) @ p["w"]
    return y - y.mean(0), x.reshape(len(x), -1)


PRODUCT = {"w": (192, 4)}
WRONG = {
    "sign": ({"backward": lambda p, kept, d: {"w": -kept.T @ d}}, "backward='mine': must be the gradient: along a"),
    "part": (
        {"backward": lambda p, kept, d: {"w": 1.0001 * kept.T @ d}},
        "must be the gradient: along a direction of 'w'",
    ),
    "shape": ({"backward": lambda p, kept, d: {"w": d.T @ kept}}, f"returns arrays {PRODUCT}; it returns {{'w': (4, 192)}}"),
    "name": ({"backward": lambda p, kept, d: {"v": kept.T @ d}}, "it returns {'v': (192, 4)}"),
    "batch": ({"forward": normed}, "forward='mine': must be a function of each picture by itself"),
    "place": ({"forward": in_place}, "must be functions that leave x and the parameters as they are"),
    "random": ({"start": lambda shape, rng: {"w": np.random.default_rng().standard_normal((192, 4))}}, "called twice alike"),
    "alone": ({"forward": lambda p, x: x.reshape(len(x), -1) @ p["w"]}, "must be a function that returns (y, kept)"),
    "list": ({"start": lambda shape, rng: [1.0]}, "start='mine': must be a function that returns {name: array of floats}"),
    "nan": ({"start": lambda shape, rng: {"w": np.full((192, 4), np.nan)}}, "a function that returns finite numbers"),
    "half": ({"forward": only_double}, "gives the same in float32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_encoder_that_is_wrong_is_refused(case):
    functions, message = WRONG[case]
    with pytest.raises(SettingError) as refused:
        dynlab.register_encoder("mine", **linear(**functions))
    assert message in str(refused.value) and "\n" not in str(refused.value) and "mine" not in OWN_ENCODERS


def gap(a, b):
    return ((a - b) ** 2).mean(), 2 * (a - b) / a.size


def half_of(a, b):
    return gap(a, b)[0], gap(a, b)[1] / 2, -gap(a, b)[1]


WRONG_LOSSES = {
    "factor": (half_of, False, "the gradient: along a direction of the first array it gives"),
    "sign": (lambda a, b: (*gap(a, b), gap(a, b)[1]), False, "along a direction of the second array"),
    "two": (gap, False, "must be one that returns (value, d_a, d_b), the gradients of the shape of their arrays"),
    "three": (lambda a, b: (*gap(a, b), gap(a, b)[1]), True, "must be one that returns (value, d_online)"),
    "rows": (lambda a, b: (((a - b) ** 2).mean(1), 2 * (a - b)), True, "must be one that returns (value, d_online)"),
    "place": (lambda a, b: (gap(a, b)[0], np.subtract(a, b, out=a) * 2 / a.size), True, "leaves its arrays as they are"),
}


@pytest.mark.parametrize("case", WRONG_LOSSES)
def test_a_loss_that_is_wrong_is_refused(case):
    function, towards, message = WRONG_LOSSES[case]
    with pytest.raises(SettingError) as refused:
        dynlab.register_loss("mine", function, towards=towards)
    assert message in str(refused.value) and "\n" not in str(refused.value) and "mine" not in OWN_LOSSES


def test_names_and_what_goes_together():
    run(ENCODER), run(LOSS)
    with pytest.raises(SettingError, match="another: other functions are registered under it"):
        dynlab.register_encoder("tanh_layers", **linear())
    with pytest.raises(SettingError, match="another: another function is registered under it"):
        dynlab.register_loss("cosines", gap, towards=True)
    same = linear()
    assert dynlab.register_encoder("mine", **same) is dynlab.register_encoder("mine", **same)
    with pytest.raises(SettingError, match="another: patch, demo"):
        dynlab.register_encoder("demo", **linear())
    with pytest.raises(SettingError, match="a word"):
        dynlab.register_loss("my loss", gap, towards=True)
    with pytest.raises(SettingError, match='head=\'linear\': must be "none" with loss "cosines", which has no head'):
        Pretraining(loss="cosines", head="linear", stop_gradient="none")
    assert pretraining(loss="cosines").stop_gradient == "none" and pretraining(loss="distance").head == "off-diagonal"
    with pytest.raises(SettingError, match='must be "target" with loss "distance", which has no gradient for that side'):
        Pretraining(loss="distance", stop_gradient="none")
    with pytest.raises(SettingError, match="encoder='tanh_layers': must be one that is built in, or the device cpu"):
        Networks(settings(encoder="tanh_layers"), 3, object())

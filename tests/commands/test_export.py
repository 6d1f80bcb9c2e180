"""Weights out and in by the commands: what is exported is evaluated as its run is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dynlab import evaluate, export, pretrain
from dynlab.images import layers
from dynlab.images.data import datasets
from dynlab.images.networks.head import MlpHead
from tests import naive_tensors as naive
from tests.images import small

SMALL = [
    "--encoder",
    "demo",
    "--projector",
    "16,8",
    "--batch",
    "16",
    "--steps",
    "4",
    "--knn-every",
    "0",
    "--data",
    "nowhere",
]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load", small.load)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path):
    assert pretrain.main([*SMALL, "--no-plots", "--quiet", "--out", "x"]) == 0
    return tmp_path / "x"


def test_exported_and_evaluated_it_is_worth_what_its_run_is(run, capsys):
    assert export.main(["x"]) == 0 and export.main(["x", "--format", "npz", "--out", "mine.npz"]) == 0
    assert "x/encoder.safetensors: 18 arrays, " in capsys.readouterr().out
    assert evaluate.main(["x", "--of", "encoder,random encoder", "--quiet"]) == 0
    known = json.loads((run / "evaluate.json").read_text())["rows"]
    for words in (["--weights", "x/encoder.safetensors", "--out", "one"], ["--weights", "mine.npz"]):
        given = [
            *words,
            "--encoder",
            "demo",
            "--augmentation",
            "demo",
            "--data",
            "nowhere",
            "--of",
            "encoder,random encoder",
        ]
        assert evaluate.main(given) == 0
    capsys.readouterr()
    for place in ("one", "runs/evaluate-mine"):
        assert json.loads((run.parent / place / "evaluate.json").read_text())["rows"] == known
        assert (run.parent / place / "spectrum.csv").read_bytes() == (run / "spectrum.csv").read_bytes()


def test_hidden_units_go_out_and_in(tmp_path, capsys):
    units = ["--hidden", "3", "--activation", "relu", "--neurons", "5", "--patch-side", "4"]
    words = [*SMALL, "--projector", "none", "--encoder", "patch", "--normalisation", "batch", *units]
    assert pretrain.main([*words, "--no-plots", "--quiet", "--out", "h"]) == 0 and export.main(["h", "--format", "npz"]) == 0
    shapes = {name: array.shape for name, array in np.load(tmp_path / "h" / "encoder.npz").items()}
    assert shapes == {"0.weight": (15, 3, 4, 4), "3.weight": (5, 15)}
    which = ["--of", "encoder", "--quiet"]
    assert evaluate.main(["h", *which]) == 0
    known = json.loads((tmp_path / "h" / "evaluate.json").read_text())["rows"]
    given = [
        "--weights",
        "h/encoder.npz",
        "--encoder",
        "patch",
        "--augmentation",
        "demo",
        "--data",
        "nowhere",
        "--out",
        "one",
    ]
    assert evaluate.main([*given, *units, *which]) == 0
    assert json.loads((tmp_path / "one" / "evaluate.json").read_text())["rows"] == known
    assert evaluate.main([*given, *which, "--out", "two"]) == 2  # 64 outputs of one unit
    assert "0.weight has shape (15, 3, 4, 4), and must have (64, 3, 4, 4)" in capsys.readouterr().err


def test_parts_have_their_names_before_them(run):
    assert export.main(["x", "--parts", "encoder,projector,head", "--quiet"]) == 0
    found = naive.read(run / "encoder-projector-head.safetensors")
    weights = np.load(run / "weights.npz")
    assert np.array_equal(found["head.weight"], weights["head_parameters"].reshape(8, 8))
    assert found["encoder.0.weight"].shape == (32, 3, 3, 3) and found["projector.3.weight"].shape == (8, 16)
    assert {name.partition(".")[0] for name in found} == {"encoder", "projector", "head"}
    assert export.main(["x", "--parts", "head", "--format", "npz", "--quiet"]) == 0
    assert np.load(run / "head.npz")["weight"].shape == (8, 8)


def test_what_is_told_of_weights_from_elsewhere(run, capsys):
    assert export.main(["x", "--format", "npz", "--quiet"]) == 0
    held = dict(np.load(run / "encoder.npz"))
    np.savez("mine.npz", **{f"backbone.{name}": array for name, array in held.items()}, **{"fc.weight": np.zeros(2)})
    words = ["--weights", "mine.npz", "--encoder", "demo", "--data", "nowhere", "--of", "encoder"]
    assert evaluate.main(words) == 0
    said = capsys.readouterr().err
    assert "not used: fc.weight" in said
    assert "mean 0.4914 0.4822 0.4465, deviation 0.247 0.2435 0.2616 (augmentation simsiam-cifar10)" in said
    np.savez("mine.npz", **{name: array for name, array in held.items() if name != "3.weight"})
    assert evaluate.main([*words, "--out", "again", "--quiet"]) == 2
    assert "mine.npz: 3.weight is missing: not the names of this network" in capsys.readouterr().err


REFUSED = {
    "evaluate": "RUN None: must be the folder of a run, or left out with --weights FILE --encoder NAME",
    "evaluate x --encoder demo": "--encoder demo: must be left out with RUN, which has its own",
    "evaluate x --weights a.npz --encoder demo": "RUN x: must be left out with --weights",
    "evaluate --weights a.npz": "--encoder None: must be the name of the network that --weights are of",
    "evaluate --weights a.pt --encoder demo": "--weights a.pt: must be a file of safetensors or npz",
    "evaluate --weights a.npz --encoder demo --of z": "--of z: must be some of encoder, random encoder, pixels, with commas",
    "evaluate --weights a.npz --encoder demos": "--encoder demos: must be one of patch, demo, convnet, resnet18",
    "export x --parts heads": "--parts heads: must be some of encoder, projector, head, with commas",
    "export x --out y.npz": "--out y.npz: must be a name that ends in .safetensors",
    "export nowhere": "nowhere: holds no run of dynlab.pretrain",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_is_one_line(words, capsys):
    name, *rest = words.split()
    assert {"evaluate": evaluate, "export": export}[name].main(rest) == 2
    said = capsys.readouterr().err
    assert REFUSED[words] in said and said.count("\n") == 1


def test_an_mlp_head_is_exported_as_a_sequential(tmp_path):
    """Linear, batch norm over the batch, relu, linear: of what is exported, by NumPy, as the head answers at its start."""
    assert (
        pretrain.main(
            [*SMALL, "--head", "mlp", "--head-hidden", "12", "--lr", "1e-12", "--no-plots", "--quiet", "--out", "y"]
        )
        == 0
    )
    assert export.main(["y", "--parts", "head", "--format", "npz", "--quiet"]) == 0
    with np.load("y/head.npz") as file:
        held = {name: file[name].astype(np.float64) for name in file.files}
    shapes = {"0.weight": (12, 8), "1.weight": (12,), "1.bias": (12,), "3.weight": (8, 12), "3.bias": (8,)}
    assert {name: array.shape for name, array in held.items()} == shapes
    z = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
    wanted = []
    for view in np.split(z.astype(np.float64), 2):
        inner = view @ held["0.weight"].T
        inner = (inner - inner.mean(0)) / np.sqrt(inner.var(0) + 1e-5) * held["1.weight"] + held["1.bias"]
        wanted.append(np.maximum(inner, 0.0) @ held["3.weight"].T + held["3.bias"])
    head = MlpHead(8, layers, hidden=12, seed=0)
    found = head.forward(z, np.empty((32, 8), np.float32))
    assert found == pytest.approx(np.concatenate(wanted), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("given", [["--projector", "none"], ["--loss", "dino", "--prototypes", "9"]])
def test_a_part_that_there_is_not_is_left_out(given, capsys):
    words = [word for word in SMALL if word not in ("--projector", "16,8")] if "--projector" in given else SMALL
    given = [*given, "--head", "none", "--target", "average"] if "--loss" in given else given
    assert pretrain.main([*words, *given, "--no-plots", "--quiet", "--out", "y"]) == 0
    part = {"--projector": "projector", "--loss": "head"}[given[0]]
    assert export.main(["y", "--parts", f"encoder,{part}", "--quiet"]) == 2
    assert f"without {part}: " in capsys.readouterr().err
    assert export.main(["y", "--parts", "encoder", "--quiet"]) == 0


def test_what_is_said_otherwise_does(run, capsys):
    assert export.main(["x", "--quiet"]) == 0
    whole = ["--weights", "x/encoder.safetensors", "--encoder", "demo", "--data", "nowhere", "--of", "encoder", "--quiet"]
    for words, message in (
        (["x", *whole], "RUN x: must be left out with --weights"),
        (["x", "--dataset", "mnist"], "--dataset mnist: must be left out with RUN, which has its own"),
        ([word for word in whole if word not in ("--encoder", "demo")], "the name of the network that --weights are of"),
    ):
        assert evaluate.main(words) == 2
        assert message in capsys.readouterr().err
    assert evaluate.main(whole) == 0 and evaluate.main(["x", "--of", "encoder", "--quiet"]) == 0

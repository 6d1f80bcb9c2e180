"""Small cases of every function on pictures, for numba's simulator: run by test_images_simulator.py in a process of its own.

    python -m tests.images.cuda.cases layers|cuda FILE [words of a name]

writes (name, results by name or what went wrong, seconds) of each case into the file, one after another.
"""

from __future__ import annotations

import pickle
import sys
import time
import traceback
from functools import partial
from importlib import import_module

from benchmarks import cuda_images as parts


def small_training(ops, steps, deep=False, **settings):
    """Steps of a trainer: views of 4 x 4 from pictures of 8 x 8, four a batch; deep: all layers of resnet18."""
    from unittest.mock import patch

    from dynlab.images.data.augment import Augmentation
    from dynlab.images.networks import encoders
    from dynlab.images.networks.nodes import BatchNorm, Convolution, Linear, MeanPool, Patches, Residual
    from dynlab.images.settings import Pretraining

    views = {"demo": Augmentation(size=4, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2)}
    inner = (Convolution(8, 3, 2), BatchNorm(relu=True), Convolution(8), BatchNorm())
    layers = [Patches(2), Linear(7, bias=False), BatchNorm(relu=True), MeanPool()]
    if deep:
        shortcut = (Convolution(8, 1, 2), BatchNorm())
        layers = [Convolution(4), BatchNorm(relu=True), Residual(inner, shortcut), MeanPool()]
    made = {"batch": 4, "encoder": "demo", "augmentation": "demo", "projector": (6, 5), "epochs": 4} | settings
    if made["encoder"] == "patch":
        layers = encoders.encoder("patch", **encoders.patch_settings(Pretraining(**made)))
    with (
        patch("dynlab.images.data.augment.PRESETS", views),
        patch("dynlab.images.networks.encoders.encoder", lambda *_, **settings: layers),
    ):  # fmt: skip
        return parts.training(ops, Pretraining(**made), 12, 8, 3, steps)


ALONE = {"head": "none", "stop_gradient": "none"}
TRAININGS = [
    ("off-diagonal", 1, {"deep": True}),
    ("batch, linear, sgd", 3, {"normalisation": "batch", "head": "linear", "optimiser": "sgd"}),
    ("mlp, decorrelation", 1, {"head": "mlp", "decorrelation": 0.1, "optimiser": "sgd"}),
    ("directpred, both sides", 1, {"head": "directpred", "stop_gradient": "none"}),
    ("barlow-twins", 1, {"loss": "barlow-twins", "optimiser": "sgd", **ALONE}),
    ("vicreg", 1, {"loss": "vicreg", "optimiser": "sgd", **ALONE}),
    ("simclr, lars", 1, {"loss": "simclr", "optimiser": "lars", **ALONE}),
    ("dino", 2, {"loss": "dino", "target": "average", "head": "none"}),
    ("hidden units", 1, {"encoder": "patch", "patch_side": 2, "neurons": 3, "hidden": 2, "activation": "relu",
                         "projector": (), "normalisation": "batch"}),
    ("dino whole", 1, {"loss": "dino", "target": "average", "head": "none", "prototypes": 6, "local_views": 1}),
]  # fmt: skip


def cases():
    """(name, function, its arguments after ops)."""
    double = "float64"
    single = [
        ("matmul small", parts.matmul, (20, 8, 8)), ("matmul narrow", parts.matmul, (40, 8, 12)),
        ("matmul wide", parts.matmul, (24, 20, 8)), ("matmul odd", parts.matmul, (17, 9, 7)),
        ("matmul late", parts.matmul, (16, 8, 8, False, False, False, "float32", 1)),
        ("matmul accumulate", parts.matmul, (17, 12, 4, False, False, True)),
        ("matmul transpose a small", parts.matmul, (20, 12, 11, True)),
        ("matmul transpose a", parts.matmul, (20, 8, 37, True)),
        ("matmul transpose a wide", parts.matmul, (20, 20, 19, True)),
        ("matmul transpose a odd", parts.matmul, (7, 5, 33, True, False, True)),
        ("matmul transpose b small", parts.matmul, (20, 12, 8, False, True)),
        ("matmul transpose b wide", parts.matmul, (40, 20, 8, False, True)),
        ("matmul transpose b odd", parts.matmul, (17, 9, 7, False, True)),
        ("matmul float64", parts.matmul, (8, 8, 8, False, False, False, double)),
        ("matmul transpose a float64", parts.matmul, (8, 8, 8, True, False, False, double)),
        ("matmul transpose b float64", parts.matmul, (8, 8, 8, False, True, False, double)),
        ("convolution 3x3", parts.convolution, (2, 5, 4, 4, 8, 3, 1)),
        ("convolution 3x3 wide", parts.convolution, (2, 5, 4, 12, 12, 3, 1)),
        ("convolution 3x3 small", parts.convolution, (1, 3, 4, 8, 12, 3, 1)),
        ("convolution 3x3 stride 2", parts.convolution, (2, 5, 6, 4, 8, 3, 2)),
        ("convolution 1x1 stride 2", parts.convolution, (2, 5, 6, 4, 12, 1, 2)),
        ("convolution 1x1", parts.convolution, (1, 3, 4, 4, 4, 1, 1)),
        ("convolution first", parts.convolution, (2, 4, 5, 3, 8, 3, 1)),
        ("convolution one channel", parts.convolution, (2, 4, 5, 1, 4, 3, 2)),
        ("convolution odd float64", parts.convolution, (2, 3, 5, 3, 5, 3, 2, double)),
        ("batch norm", parts.batch_norm, (24, 5, 2, False)), ("batch norm relu", parts.batch_norm, (22, 3, 2, True, True)),
        ("batch norm residual", parts.batch_norm, (66, 9, 1, True, True, True)),
        ("batch norm far mean", parts.batch_norm, (30, 4, 3, True, False, False, "float32", 300.0)),
        ("batch norm float64", parts.batch_norm, (22, 3, 2, True, True, True, double)),
        ("pointwise", parts.pointwise, ((5, 7),)), ("pools", parts.pool, (2, 5, 4, 3, 3, 2)),
        ("pools of 2", parts.pool, (1, 4, 4, 2, 2, 2)), ("rows", parts.rows, (10, 11)),
        ("rows float64", parts.rows, (9, 5, double)),
        ("moments", parts.moments, (7,)), ("updates", parts.updates, (101, 5)),
        ("augmentation demo", parts.augmentation, ("demo", 6, 9, 3, 7)),
        ("augmentation simsiam", parts.augmentation, ("simsiam-cifar10", 5, 8, 3, 6)),
        ("augmentation paper", parts.augmentation, ("paper", 4, 12, 3, 8)),
        ("augmentation grey", parts.augmentation, ("paper", 4, 6, 1, 7)),
        ("augmentation solarised", partial(parts.augmentation, solarise=0.7), ("paper", 4, 6, 3, 7)),
    ]  # fmt: skip
    return single + [("training " + name, partial(small_training, **more), (steps,)) for name, steps, more in TRAININGS]


def main() -> None:
    """Run the cases whose names hold a word: on the CPU, or (simulator) on what stands for a device; write their results."""
    where, file, *wanted = sys.argv[1:]
    ops = import_module(f"dynlab.images.{where}")
    with open(file, "wb") as out:
        for name, function, arguments in cases():
            if all(word in name for word in wanted):
                started = time.perf_counter()
                try:
                    found = {key: ops.to_host(array) for key, array in function(ops, *arguments).items()}
                except Exception:
                    found = traceback.format_exc(limit=-4)
                pickle.dump((name, found, time.perf_counter() - started), out)


if __name__ == "__main__":
    main()

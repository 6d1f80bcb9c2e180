"""Pictures on a CUDA device: every function beside its CPU twin, then timings beside PyTorch on the same card.

    python -m benchmarks.cuda_images [--quick] [--out FILE]

Parity prints the largest difference over the largest number of the CPU's result. Timings are by events after a warm-up, on
random numbers; PyTorch runs in float32 with tf32 off, its convolutions in both layouts, of which the faster one counts. What
fails is reported, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

import numpy as np

SINGLE, DOUBLE = 2e-5, 1e-11  # errors above these, relative to the largest number, are marked


def normal(seed, *shape, dtype="float32"):
    """Random numbers, the same for every namespace of functions."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def matmul(ops, m, n, k, transpose_a=False, transpose_b=False, accumulate=False, dtype="float32", offset=0):
    """out = [out +] op(a) op(b); offset: numbers by which b begins late in its memory."""
    a = ops.to_device(normal(1, *((k, m) if transpose_a else (m, k)), dtype=dtype))
    shape = (n, k) if transpose_b else (k, n)
    b = ops.to_device(normal(2, offset + k * n, dtype=dtype))[offset:].reshape(*shape)
    out = ops.to_device(normal(3, m, n, dtype=dtype))
    return {"out": ops.matmul(a, b, out, transpose_a, transpose_b, accumulate)}


def convolution(ops, n, h, w, c_in, c_out, k, stride, dtype="float32"):
    """A convolution and its two derivatives."""
    shape = (n, ops.output_size(h, stride), ops.output_size(w, stride), c_out)
    x, weights = ops.to_device(normal(1, n, h, w, c_in, dtype=dtype)), ops.to_device(normal(2, k, k, c_in, c_out, dtype=dtype))
    d_out, out = ops.to_device(normal(3, *shape, dtype=dtype)), ops.to_device(normal(4, *shape, dtype=dtype))
    d_x, d_w = (ops.to_device(normal(5, *array.shape, dtype=dtype)) for array in (x, weights))
    work = ops.convolution_work(x.shape, weights.shape, stride, dtype)
    return {
        "out": ops.convolve(x, weights, stride, out, work),
        "d_x": ops.convolve_backward_data(d_out, weights, stride, d_x, work),
        "d_w": ops.convolve_backward_weights(x, d_out, stride, d_w, work),
    }


def batch_norm(ops, rows, c, groups, affine=True, relu=False, residual=False, dtype="float32", offset=3.0):
    """Batch norm, its derivative, the running statistics and inference."""
    x, d_out, r = (ops.to_device(normal(seed, rows, c, dtype=dtype) + shift) for seed, shift in ((1, offset), (2, 0), (3, 0)))
    scale, shift, d_scale, d_shift = (ops.to_device(normal(seed, c, dtype=dtype)) if affine else None for seed in range(4, 8))
    out, d_x, d_r, inferred = (ops.zeros((rows, c), dtype) for _ in range(4))
    mean, inverse = ops.zeros((groups, c), dtype), ops.zeros((groups, c), dtype)
    running = ops.zeros((c,), dtype), ops.to_device(np.ones(c, dtype))
    side, d_side = (r, d_r) if residual else (None, None)
    ops.batch_norm(x, groups, scale, shift, 1e-5, out, mean, inverse, relu, side)
    ops.update_running(mean, inverse, 1e-5, rows // groups, 0.1, *running)
    ops.batch_norm_backward(d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, relu, d_side)
    ops.batch_norm_inference(x, *running, scale, shift, 1e-5, inferred, relu, side)
    found = {"out": out, "mean": mean, "inverse": inverse, "running_mean": running[0], "running_variance": running[1]}
    found |= {"d_x": d_x, "inferred": inferred} | ({"d_residual": d_r} if residual else {})
    return found | ({"d_scale": d_scale, "d_shift": d_shift} if affine else {})


def pointwise(ops, shape, dtype="float32"):
    """relu, cube, relu_cube with their derivatives; add, axpy, mix, scale, fill, difference, copy."""
    x, y = ops.to_device(normal(1, *shape, dtype=dtype)), ops.to_device(normal(2, *shape, dtype=dtype))
    found = {}
    for name in ("relu", "cube", "relu_cube"):
        found[name] = getattr(ops, name)(x, ops.zeros(shape, dtype))
        found[name + "_backward"] = getattr(ops, name + "_backward")(y, x, ops.zeros(shape, dtype))
    found["add"] = ops.add(x, y, ops.zeros(shape, dtype))
    found["axpy"] = ops.axpy(0.3, x, ops.to_device(normal(2, *shape, dtype=dtype)))
    found["mix"] = ops.mix(0.03, x, ops.to_device(normal(2, *shape, dtype=dtype)))
    found["scale"] = ops.scale(ops.to_device(normal(1, *shape, dtype=dtype)), 0.7)
    found["fill"] = ops.fill(ops.zeros(shape, dtype), 0.3)
    found["difference"] = ops.difference(x, y, 0.7, ops.zeros(shape, dtype))
    found["copy"] = ops.copy(x, ops.zeros(shape, dtype))
    return found


def pool(ops, n, h, w, c, size, stride, dtype="float32"):
    """Pools and patches with their derivatives."""
    x = ops.to_device(normal(1, n, h, w, c, dtype=dtype))
    shape = (n, (h - size) // stride + 1, (w - size) // stride + 1, c)
    argmax, cut = ops.zeros(shape, "uint8"), (n, h // size, w // size, size * size * c)
    found = {"max": ops.max_pool(x, size, stride, ops.zeros(shape, dtype), argmax), "argmax": argmax}
    d_out = ops.to_device(normal(2, *shape, dtype=dtype))
    found["max_back"] = ops.max_pool_backward(d_out, argmax, size, stride, ops.to_device(normal(3, n, h, w, c, dtype=dtype)))
    found["patches"] = ops.patches(x, size, ops.zeros(cut, dtype))
    found["patches_back"] = ops.patches_backward(
        ops.to_device(normal(4, *cut, dtype=dtype)), size, ops.to_device(normal(3, n, h, w, c, dtype=dtype))
    )
    for total in (False, True):
        found[f"mean {total}"] = ops.mean_pool(x, ops.zeros((n, c), dtype), total)
        d_mean = ops.to_device(normal(5, n, c, dtype=dtype))
        found[f"mean_back {total}"] = ops.mean_pool_backward(d_mean, ops.zeros((n, h, w, c), dtype), total)
    return found


def rows(ops, n, c, dtype="float32"):
    """What losses do with outputs (n, c)."""
    host = normal(1, n, c, dtype=dtype)
    host[n // 2] = 0.0
    x, y = ops.to_device(host), ops.to_device(normal(2, n, c, dtype=dtype))
    bias, lengths, logs, means = ops.to_device(normal(3, c, dtype=dtype)), *(ops.zeros((k,), dtype) for k in (n, n, c))
    unit, d_x = ops.zeros((n, c), dtype), ops.zeros((n, c), dtype)
    found = {"unit": ops.unit_length(x, unit, lengths), "lengths": lengths}
    found["unit_back"] = ops.unit_length_backward(y, unit, lengths, d_x)
    found["bias"] = ops.add_bias(ops.to_device(host), bias)
    found["sums"] = ops.column_sums(x, ops.zeros((c,), dtype))
    found["centred"] = ops.centre_columns(y, means, ops.zeros((n, c), dtype))
    found["means"] = means
    found["swapped"] = ops.swap_views(x[: n // 2 * 2], ops.zeros((n // 2 * 2, c), dtype))
    found["softmax"] = ops.softmax(y, bias, 0.3, ops.zeros((n, c), dtype), logs)
    found["logs"] = logs
    value = ops.zeros((1,), "float64")
    ops.add_product(x, y, 0.3, value)
    ops.add_sum(logs, 0.01, value)
    found["value"] = value
    return found


def moments(ops, m, dtype="float32"):
    """Losses of second moments (m, m), and a softmax of rows without their diagonal."""
    c = normal(1, 2 * m, m, dtype=dtype)
    c, found = c.T @ c, {}
    for name, numbers in (("off_diagonal", (0.3,)), ("barlow", (0.005,)), ("vicreg", (25.0, 1.0, 1e-4))):
        own, value = ops.to_device(c), ops.zeros((1,), "float64")
        getattr(ops, name + "_moments")(own, 0.3 / m, *numbers, value)
        found |= {name: own, name + " value": value}
    own, logs = ops.set_diagonal(ops.to_device(c), -float("inf")), ops.zeros((m,), dtype)
    found["softmax"] = ops.softmax(own, None, 2.0 * m, own, logs)
    return found | {"logs": logs}


def updates(ops, size, outputs, dtype="float32"):
    """Three steps of each optimiser, and the projection of a head's gradient."""
    found, decays = {}, ops.to_device((np.arange(size) % 3 > 0).astype(np.uint8))
    edges = [0, size // 5, size // 2, size]
    layout, adapts = ops.lars_layout(edges), ops.to_device(np.array([1, 0, 1], np.uint8))
    for name in ("sgd", "nesterov", "adam", "lars"):
        p = ops.to_device(normal(1, size, dtype=dtype))
        kept = [ops.zeros((size,), dtype) for _ in range(2)]
        for step in range(3):
            g = ops.to_device(normal(10 + step, size, dtype=dtype))
            if name == "adam":
                ops.adam_step(p, g, *kept, decays, 0.01, 0.1, (0.9, 0.999), 1e-8, step + 1)
            elif name == "lars":
                ops.lars_step(p, g, kept[0], decays, layout, adapts, 0.01, 0.1, 0.9, 0.5)
            else:
                ops.sgd_step(p, g, kept[0], decays, 0.01, 0.1, 0.9, name == "nesterov")
        found |= {name: p, name + " memory": kept[0]}
    for rule in range(5):
        found[f"head {rule}"] = ops.project_head_gradient(rule, ops.to_device(normal(4, outputs, outputs, dtype=dtype)))
    return found


def augmentation(ops, name, count, side, channels, size=None, **more):
    """Views of pictures by the settings of that name."""
    from dataclasses import replace

    from dynlab.images.augment import PRESETS

    settings = replace(PRESETS[name], **({} if size is None else {"size": size}), **more)
    generator = np.random.default_rng(5)
    pictures = ops.to_device(generator.integers(0, 256, (2 * count, side, side, channels), np.uint8))
    indices = ops.to_device(generator.permutation(2 * count)[:count])
    out = ops.zeros((count, settings.size, settings.size, channels))
    return {"view": ops.augment(pictures, indices, settings, 7, 3, 1, out)}


def training(ops, settings, count, side, channels, steps):
    """Losses, outputs and parameters of some steps of a whole training run."""
    from dynlab.images.datasets import ImageSet
    from dynlab.images.train import Trainer

    generator = np.random.default_rng(6)
    pictures = generator.integers(0, 256, (count, side, side, channels), np.uint8)
    trainer = Trainer(settings, ImageSet(pictures, None, "made up", ()), ops)
    losses = []
    for step in range(steps):
        trainer.step(step)
        losses.append(trainer.objective.loss())
    found = {f"optimiser {name}": part.parameters for name, part in trainer.trained.items()}
    return found | {"losses": np.array(losses), "z": trainer.z, "gradients": trainer.networks.encoder.gradients}


def cases(quick=False) -> list:
    """(name, function, its arguments after ops) of what parity runs on a card."""
    found = [
        ("matmul", matmul, (512, 384, 256)), ("matmul, odd", matmul, (131, 77, 53)),
        ("matmul, narrow", matmul, (1024, 64, 128)), ("matmul, late", matmul, (128, 64, 64, False, False, False, "float32", 1)),
        ("matmul, accumulate", matmul, (256, 128, 300, False, False, True)),
        ("matmul, transpose a", matmul, (384, 256, 1024, True)), ("matmul, transpose a, odd", matmul, (77, 53, 1111, True)),
        ("matmul, transpose a, accumulate", matmul, (64, 64, 2048, True, False, True)),
        ("matmul, transpose b", matmul, (512, 384, 256, False, True)),
        ("matmul, transpose b, odd", matmul, (131, 77, 53, False, True)),
        ("matmul, float64", matmul, (131, 77, 53, False, False, False, "float64")),
        ("matmul, transpose a, float64", matmul, (131, 77, 53, True, False, False, "float64")),
        ("matmul, transpose b, float64", matmul, (131, 77, 53, False, True, False, "float64")),
        ("convolution 3x3", convolution, (8, 32, 32, 64, 64, 3, 1)),
        ("convolution 3x3, stride 2", convolution, (8, 32, 32, 64, 128, 3, 2)),
        ("convolution 1x1, stride 2", convolution, (8, 32, 32, 64, 128, 1, 2)),
        ("convolution, first", convolution, (16, 32, 32, 3, 64, 3, 1)),
        ("convolution, first, stride 2", convolution, (16, 24, 24, 3, 32, 3, 2)),
        ("convolution, one channel", convolution, (16, 28, 28, 1, 32, 3, 1)),
        ("convolution, odd", convolution, (5, 13, 9, 20, 36, 3, 2)),
        ("convolution, odd, plain", convolution, (5, 13, 9, 7, 11, 3, 1)),
        ("convolution, float64", convolution, (5, 13, 9, 7, 11, 3, 2, "float64")),
        ("convolution 1x1, float64", convolution, (5, 13, 9, 7, 11, 1, 1, "float64")),
        ("batch norm, plain", batch_norm, (2048, 64, 2, False)), ("batch norm, relu", batch_norm, (2048, 64, 2, True, True)),
        ("batch norm, residual", batch_norm, (6000, 128, 2, True, True, True)),
        ("batch norm, odd", batch_norm, (633, 37, 3, True, True, True)),
        ("batch norm, far mean", batch_norm, (4096, 32, 1, True, False, False, "float32", 1000.0)),
        ("batch norm, float64", batch_norm, (633, 37, 3, True, True, True, "float64")),
        ("pointwise", pointwise, ((17, 13, 11),)), ("pointwise, float64", pointwise, ((17, 13, 11), "float64")),
        ("pools", pool, (5, 13, 9, 7, 3, 2)), ("pools, 2x2", pool, (8, 8, 8, 64, 2, 2)),
        ("rows", rows, (257, 67)), ("rows, 1024 x 64", rows, (1024, 64)), ("rows, float64", rows, (257, 67, "float64")),
        ("moments", moments, (64,)), ("moments, odd", moments, (67,)), ("moments, float64", moments, (67, "float64")),
        ("updates", updates, (100_003, 64)), ("updates, float64", updates, (1003, 7, "float64")),
        ("augmentation demo", augmentation, ("demo", 512, 32, 3)),
        ("augmentation simsiam-cifar10", augmentation, ("simsiam-cifar10", 512, 32, 3)),
        ("augmentation paper", augmentation, ("paper", 64, 96, 3)), ("augmentation, grey", augmentation, ("demo", 128, 28, 1)),
    ]  # fmt: skip
    return found[:1] + found[13:14] + found[24:25] + found[-4:-3] if quick else found


def runs(quick=False) -> list:
    """Training runs to compare: settings by name."""
    from dynlab.images.settings import Pretraining

    more = {"epochs": 1, "batch": 32, "record": 1, "knn_every": 0}
    demo = {"encoder": "demo", "augmentation": "demo", "projector": (128, 64), **more}
    alone = {"head": "none", "stop_gradient": "none"}
    found = [
        ("length", {}), ("batch", {"normalisation": "batch"}), ("mlp", {"head": "mlp"}),
        ("directpred", {"head": "directpred"}), ("barlow-twins", {"loss": "barlow-twins", **alone}),
        ("vicreg", {"loss": "vicreg", **alone}), ("simclr", {"loss": "simclr", **alone}),
        ("dino", {"loss": "dino", "target": "average", "head": "none"}),
        ("average, lars, decorrelation", {"target": "average", "optimiser": "lars", "decorrelation": 0.1}),
        ("patch, sgd", {"encoder": "patch", "optimiser": "sgd", "lr": 1e-4}),
    ]  # fmt: skip
    made = [(f"training, {name}", Pretraining(**(demo | own))) for name, own in found[: 1 if quick else None]]
    if not quick:
        made.append(("training, convnet", Pretraining(**(demo | {"encoder": "convnet"}))))
        made.append(("training, resnet18", Pretraining(**(demo | {"encoder": "resnet18", "batch": 8}))))
    return made


def difference(reference, found) -> float:
    """The largest difference over the largest number of the reference."""
    reference, found = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if reference.shape != found.shape:
        raise ValueError(f"shapes {reference.shape} and {found.shape}")
    size = np.max(np.abs(reference), initial=0.0)
    gap = np.max(np.abs(np.where(reference == found, 0.0, reference - found)), initial=0.0)
    return float(gap / size) if size > 0.0 else float(gap)


def errors_of(function, arguments) -> dict[str, float]:
    """The difference between CPU and device of each result of a case."""
    from dynlab.images import cuda as device
    from dynlab.images import layers

    def on(ops):
        return {name: ops.to_host(array) for name, array in function(ops, *arguments).items()}

    reference, found = on(layers), on(device)
    return {name: difference(reference[name], found[name]) for name in reference}


def say(line: str) -> None:
    print(line, flush=True)


def guarded(found: dict, name: str, work) -> None:
    """found[name] = work(), or what went wrong."""
    started = time.perf_counter()
    try:
        found[name] = work()
    except Exception as failure:
        found[name] = {"failed": f"{type(failure).__name__}: {failure}"[:500]}
        say(f"FAILED {name}: {found[name]['failed']}")
        traceback.print_exc(limit=-3)
    if isinstance(found[name], dict):
        found[name]["seconds"] = round(time.perf_counter() - started, 2)


def parity(quick=False) -> dict:
    """Each function on the card against its CPU twin: case -> result -> relative difference."""
    found: dict = {}
    for name, function, arguments in cases(quick):

        def work(name=name, function=function, arguments=arguments):
            errors = errors_of(function, arguments)
            worst = max(errors, key=errors.get)
            bound = DOUBLE if "float64" in arguments else SINGLE
            # A view may round the side of a crop differently where exp differs by a unit in the last place.
            mark = "" if errors[worst] <= bound else "   <-- LARGE"
            say(f"{name:<36}{errors[worst]:9.1e}  ({worst}){mark}")
            return errors

        guarded(found, name, work)
    for name, settings in runs(quick):

        def work(name=name, settings=settings):
            errors = errors_of(training, (settings, 4 * settings.batch, 32, 3, 3))
            say(f"{name:<36}" + ", ".join(f"{key} {value:.1e}" for key, value in errors.items()))
            return errors

        guarded(found, name, work)
    return found

"""Pictures on a CUDA device: every function beside its CPU twin, then timings beside PyTorch on the same card.

    python -m benchmarks.cuda_images [--quick] [--out FILE]        (python -m benchmarks.cuda --sections images --anyway)

Parity: the largest difference over the largest number of the CPU's result. Timings are by events after a warm-up, on random
numbers; PyTorch runs in float32 with tf32 off, its convolutions in both layouts, of which the faster one counts; `share` is
the ratio of speeds. What fails is reported, and the rest goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.cuda import Check

# Largest differences, relative to the largest number: of functions, and of losses of training runs (and of their gradients
# after some steps, ten times that).
SINGLE, DOUBLE, TRAINED = 2e-5, 1e-11, 1e-3
# A mean 1000 standard deviations away is itself rounded by half a unit in its last place, 2^-24 * 1000 of a deviation.
FAR = 1000.0 * 2.0**-24


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
    x, weights = (
        ops.to_device(normal(1, n, h, w, c_in, dtype=dtype)),
        ops.to_device(normal(2, k, k, c_in, c_out, dtype=dtype)),
    )
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
    x, d_out, r = (
        ops.to_device(normal(seed, rows, c, dtype=dtype) + shift) for seed, shift in ((1, offset), (2, 0), (3, 0))
    )
    scale, shift, d_scale, d_shift = (
        ops.to_device(normal(seed, c, dtype=dtype)) if affine else None for seed in range(4, 8)
    )
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
    bias = ops.to_device(normal(3, c, dtype=dtype))
    lengths, logs, means = (ops.zeros((k,), dtype) for k in (n, n, c))
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
    goal = ops.to_device(np.abs(normal(4, n, c, dtype=dtype)) * (np.arange(c) % 3 > 0).astype(dtype))
    ops.add_cross_entropy(goal, y, 0.3, logs, 0.01, value)
    even = n // 2 * 2
    ops.add_pair_gaps(ops.to_device(normal(5, even, even, dtype=dtype)), 0.01, value)
    ops.add_product(x, y, 0.3, value)
    ops.add_sum(logs, 0.01, value)
    found["value"] = value
    return found


def moments(ops, m, dtype="float32"):
    """Losses of second moments (m, m), and a softmax of rows without their diagonal."""
    c = normal(1, 2 * m, m, dtype=dtype)
    c, found = c.T @ c, dict[str, Any]()
    for name, numbers in (("off_diagonal", (0.3,)), ("barlow", (0.005,)), ("vicreg", (25.0, 1.0, 1e-4))):
        own, value = ops.to_device(c), ops.zeros((1,), "float64")
        getattr(ops, name + "_moments")(own, 0.3 / m, *numbers, value)
        found |= {name: own, name + " value": value}
    own, logs = ops.set_diagonal(ops.to_device(c), -float("inf")), ops.zeros((m,), dtype)
    found["softmax"] = ops.softmax(own, None, 2.0 * m, own, logs)
    return found | {"logs": logs}


def updates(ops, size, outputs, dtype="float32"):
    """Three steps of each optimiser, and the projection of a head's gradient."""
    found, decays = dict[str, Any](), ops.to_device((np.arange(size) % 3 > 0).astype(np.uint8))
    edges = [0, size // 5, size // 2, size]
    layout, adapts = ops.lars_layout(edges), ops.to_device(np.array([1, 0, 1], np.uint8))
    for name in ("sgd", "nesterov", "adam", "lars", "lars clipped"):
        p = ops.to_device(normal(1, size, dtype=dtype))
        kept = [ops.zeros((size,), dtype) for _ in range(2)]
        for step in range(3):
            g = ops.to_device(normal(10 + step, size, dtype=dtype))
            if name == "adam":
                ops.adam_step(p, g, *kept, decays, 0.01, 0.1, (0.9, 0.999), 1e-8, step + 1)
            elif name.startswith("lars"):
                most = 0.4 if name == "lars clipped" else np.inf
                ops.lars_step(p, g, kept[0], decays, layout, adapts, 0.01, 0.1, 0.9, 0.5, most)
            else:
                ops.sgd_step(p, g, kept[0], decays, 0.01, 0.1, 0.9, name == "nesterov")
        found |= {name: p, name + " memory": kept[0]}
    for rule in range(5):
        found[f"head {rule}"] = ops.project_head_gradient(rule, ops.to_device(normal(4, outputs, outputs, dtype=dtype)))
    return found


def augmentation(ops, name, count, side, channels, size=None, **more):
    """Views of pictures by the settings of that name."""
    from dataclasses import replace

    from dynlab.images.data.augment import PRESETS

    settings = replace(PRESETS[name], **({} if size is None else {"size": size}), **more)
    generator = np.random.default_rng(5)
    pictures = ops.to_device(generator.integers(0, 256, (2 * count, side, side, channels), np.uint8))
    indices = ops.to_device(generator.permutation(2 * count)[:count])
    out = ops.zeros((count, settings.size, settings.size, channels))
    return {"view": ops.augment(pictures, indices, settings, 7, 3, 1, out)}


def training(ops, settings, count, side, channels, steps):
    """Losses, outputs and parameters of some steps of a whole training run."""
    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.training.train import Trainer

    generator = np.random.default_rng(6)
    pictures = generator.integers(0, 256, (count, side, side, channels), np.uint8)
    trainer = Trainer(settings, ImageSet(pictures, None, "made up", ()), ops)
    losses = []
    for step in range(steps):
        trainer.step(step)
        losses.append(trainer.objective.loss())
    found = {f"optimiser {name}": part.parameters for name, part in trainer.trained.items()}
    return found | {"losses": np.array(losses), "z": trainer.z, "gradients": trainer.networks.encoder.gradients}


QUICK = ("matmul", "convolution 3x3", "batch norm, relu", "augmentation demo")


def cases(quick=False) -> list:
    """(name, function, its arguments after ops) of what parity runs on a card."""
    found = [
        ("matmul", matmul, (512, 384, 256)), ("matmul, odd", matmul, (131, 77, 53)),
        ("matmul, narrow", matmul, (1024, 64, 128)), ("matmul, many rows", matmul, (9000, 64, 132)),
        ("matmul, many columns", matmul, (1500, 1000, 132)),
        ("matmul, late", matmul, (128, 64, 64, False, False, False, "float32", 1)),
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
        ("augmentation paper", augmentation, ("paper", 64, 96, 3)),
        ("augmentation, grey", augmentation, ("demo", 128, 28, 1)),
    ]  # fmt: skip
    return [case for case in found if case[0] in QUICK] if quick else found


def runs(quick=False) -> list:
    """Training runs to compare: settings by name."""
    from dynlab.images.settings import Pretraining

    more: dict[str, Any] = {"epochs": 1, "batch": 32, "record": 1, "knn_every": 0}
    more["optimiser"] = "sgd"  # Adam's first steps follow the signs of gradients, also where these should be zero
    demo = {"encoder": "demo", "augmentation": "demo", "projector": (128, 64), **more}
    alone = {"head": "none", "stop_gradient": "none"}
    found: list[tuple[str, dict[str, Any]]] = [
        ("length, adam", {"optimiser": "adam"}), ("batch", {"normalisation": "batch"}), ("mlp", {"head": "mlp"}),
        ("directpred", {"head": "directpred"}), ("barlow-twins", {"loss": "barlow-twins", **alone}),
        ("vicreg", {"loss": "vicreg", **alone}), ("simclr", {"loss": "simclr", **alone}),
        ("dino", {"loss": "dino", "target": "average", "head": "none"}),
        ("average, lars, decorrelation", {"target": "average", "optimiser": "lars", "decorrelation": 0.1}),
        ("patch", {"encoder": "patch", "lr": 1e-4}),
        ("hidden units", {"encoder": "patch", "hidden": 4, "activation": "relu", "lr": 1e-4}),
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


def parity(size="full") -> Iterator[Check]:
    """Each function on the device against its CPU twin, then training runs."""
    quick = size != "full"
    for name, function, arguments in cases(quick):
        single = FAR if 1000.0 in arguments else SINGLE
        limit = DOUBLE if "float64" in arguments else single
        yield _checked(name, function, arguments, lambda key, limit=limit: limit)
    for name, settings in runs(quick):
        bounds = {"losses": TRAINED, "gradients": 10 * TRAINED}
        # Parameters are told, not judged: Adam's steps follow the signs of gradients that should be zero.
        arguments = settings, 4 * settings.batch, 32, 3, 3
        yield _checked(name, training, arguments, lambda key, bounds=bounds: bounds.get(key, np.inf))


def _checked(name, function, arguments, bound) -> Check:
    started = time.perf_counter()
    try:
        errors = errors_of(function, arguments)
    except Exception as failure:
        return Check(name, False, _failed(failure))
    holds = all(error <= bound(key) for key, error in errors.items())
    return Check(name, holds, {key: float(f"{error:.1e}") for key, error in errors.items()} | _seconds(started))


def _failed(failure) -> dict:
    traceback = failure.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = f"{traceback.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno}"
    return {"failed": f"{type(failure).__name__}: {failure}"[:600], "at": place}


def _seconds(started) -> dict:
    return {"seconds": round(time.perf_counter() - started, 2)}


def guarded(work) -> dict:
    """What work() returns, or what went wrong; with the seconds that it took, compiling included."""
    started = time.perf_counter()
    try:
        found = work()
    except Exception as failure:
        found = _failed(failure)
    return found | _seconds(started)


def elapsed(work, synchronise, event, between, least=0.05) -> float:
    """Milliseconds of work(): the median of five groups of calls, each of about `least` seconds, after a warm-up."""
    work()
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    count = max(1, min(200, int(least / max(time.perf_counter() - started, 1e-6))))
    groups = []
    for _ in range(5):
        begin, end = event(), event()
        begin.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        groups.append(between(begin, end) / count)
    return float(np.median(groups))


def ours(work) -> float:
    """Milliseconds of work() by the events of numba."""
    from dynlab.machine.gpu import cuda

    return elapsed(work, cuda.synchronize, cuda.event, cuda.event_elapsed_time)


def theirs(work) -> float:
    """Milliseconds of work() by the events of PyTorch."""
    import torch

    return elapsed(
        work, torch.cuda.synchronize, lambda: torch.cuda.Event(enable_timing=True), lambda a, b: a.elapsed_time(b)
    )


def strict_torch():
    """PyTorch with float32 meaning float32."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch


def compared(flops, own, other) -> dict:
    """Milliseconds and TFLOP/s of both, and the ratio of speeds."""
    return {
        "ms": own, "tflops": flops / own * 1e-9, "torch_ms": other, "torch_tflops": flops / other * 1e-9,
        "share": other / own,
    }  # fmt: skip


PRODUCTS = (
    (4096, 4096, 4096, False, False), (4096, 4096, 4096, True, False), (4096, 4096, 4096, False, True),
    (1024, 128, 512, False, False), (128, 64, 1024, True, False),
)  # fmt: skip
# Of resnet18: side of the picture, channels in and out, side of the kernel, stride.
CONVOLUTIONS = (
    (32, 64, 64, 3, 1), (32, 64, 128, 3, 2), (16, 128, 128, 3, 1), (16, 128, 256, 3, 2), (8, 256, 256, 3, 1),
    (8, 256, 512, 3, 2), (4, 512, 512, 3, 1), (32, 64, 128, 1, 2), (32, 3, 64, 3, 1),
)  # fmt: skip
SGD = {"optimiser": "sgd", "lr": 0.03, "weight_decay": 5e-4}
# Encoder, batch, augmentation, further settings, steps that are timed.
STEPS: tuple[tuple[str, int, str, dict[str, Any], int], ...] = (
    ("resnet18", 512, "simsiam-cifar10", SGD, 8),
    ("demo", 128, "demo", {}, 50),
    ("convnet", 256, "demo", {}, 50),
)


def timings(size="full") -> Iterator[tuple[str, dict]]:
    """Products of matrices, training steps, convolutions."""
    few = 1 if size != "full" else None
    for m, n, k, transpose_a, transpose_b in PRODUCTS[:few]:
        name = f"matmul {m} x {n} x {k}{', a transposed' * transpose_a}{', b transposed' * transpose_b}"
        yield name, guarded(lambda given=(m, n, k, transpose_a, transpose_b): time_product(*given))
    for given in STEPS[:few]:
        yield f"step of {given[0]}, batch {given[1]}", guarded(lambda given=given: time_step(*given))
    for shape in CONVOLUTIONS[:few]:
        side, c_in, c_out, k, stride = shape
        found = guarded(lambda shape=shape: time_convolution(256, *shape))
        label = f"convolution {k} x {k}, {c_in} to {c_out} channels, {side} x {side}, stride {stride}"
        for part in ("forward", "data", "weights"):
            yield f"{label}: {part}", found.get(part, found)


def time_product(m, n, k, transpose_a, transpose_b) -> dict:
    """`matmul` beside torch.matmul."""
    from dynlab.images.cuda import dense as the_dense
    from dynlab.images.cuda.memory import empty, to_device

    torch = strict_torch()
    a, b = normal(1, *((k, m) if transpose_a else (m, k))), normal(2, *((n, k) if transpose_b else (k, n)))
    own = to_device(a), to_device(b), empty((m, n))
    x, y = torch.tensor(a, device="cuda"), torch.tensor(b, device="cuda")
    x, y, out = x.T if transpose_a else x, y.T if transpose_b else y, torch.empty((m, n), device="cuda")
    mine = ours(lambda: the_dense.matmul(*own, transpose_a, transpose_b))
    return compared(2.0 * m * n * k, mine, theirs(lambda: torch.matmul(x, y, out=out)))


def time_convolution(batch, side, c_in, c_out, k, stride) -> dict:
    """A convolution beside cuDNN: forward, by data, by weights."""
    from dynlab.images.cuda.convolution import (
        convolution_work,
        convolve,
        convolve_backward_data,
        convolve_backward_weights,
        output_size,
    )
    from dynlab.images.cuda.memory import empty, to_device

    torch = strict_torch()
    after = output_size(side, stride)
    x, w, d_out = normal(1, batch, side, side, c_in), normal(2, k, k, c_in, c_out), normal(3, batch, after, after, c_out)
    own = [to_device(array) for array in (x, w, d_out)]
    out, d_x, d_w = (empty(shape) for shape in (d_out.shape, x.shape, w.shape))
    work = convolution_work(x.shape, w.shape, stride)
    mine = {
        "forward": ours(lambda: convolve(own[0], own[1], stride, out, work)),
        "data": ours(lambda: convolve_backward_data(own[2], own[1], stride, d_x, work)),
        "weights": ours(lambda: convolve_backward_weights(own[0], own[2], stride, d_w, work)),
    }
    best = dict.fromkeys(mine, float("inf"))
    for layout in (torch.contiguous_format, torch.channels_last):
        tx, td = (torch.tensor(a.transpose(0, 3, 1, 2).copy(), device="cuda").to(memory_format=layout) for a in (x, d_out))
        tw = torch.tensor(w.transpose(3, 2, 0, 1).copy(), device="cuda").to(memory_format=layout)
        for name, call in torch_calls(torch, tx, tw, td, stride, k // 2).items():
            best[name] = min(best[name], theirs(call))
    flops = 2.0 * batch * after * after * k * k * c_in * c_out
    return {name: compared(flops, mine[name], best[name]) for name in mine}


def torch_calls(torch, x, w, d_out, stride, padding) -> dict:
    """PyTorch's calls for a convolution and its derivatives."""

    def back(mask):
        sizes = [stride] * 2, [padding] * 2, [1, 1]
        return torch.ops.aten.convolution_backward(d_out, x, w, None, *sizes, False, [0, 0], 1, mask)

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=padding),
        "data": lambda: back([True, False, False]), "weights": lambda: back([False, True, False]),
    }  # fmt: skip


class Watched:
    """The functions of a device, each timed by events when it is called."""

    def __init__(self, ops):
        from dynlab.machine.gpu import cuda

        self._ops, self._cuda, self.calls = ops, cuda, []

    def __getattr__(self, name):
        function = getattr(self._ops, name)
        if name in ("empty", "zeros", "to_device", "to_host", "output_size", "convolution_work", "lars_layout"):
            return function

        def timed(*arguments, **named):
            begin, end = self._cuda.event(), self._cuda.event()
            begin.record()
            made = function(*arguments, **named)
            end.record()
            self.calls.append((name, begin, end))
            return made

        return timed

    def totals(self) -> dict:
        """Milliseconds by function, the longest first."""
        self._cuda.synchronize()
        found: dict = {}
        for name, begin, end in self.calls:
            found[name] = found.get(name, 0.0) + self._cuda.event_elapsed_time(begin, end)
        return {name: round(ms, 3) for name, ms in sorted(found.items(), key=lambda item: -item[1])}


def time_step(encoder, batch, views, more, steps) -> dict:
    """Whole training steps, host and device together; where the time of one goes by function (with its launches)."""
    from dynlab.images import cuda as ops
    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.settings import Pretraining
    from dynlab.images.training.train import Trainer
    from dynlab.machine.gpu import cuda

    pictures = np.random.default_rng(0).integers(0, 256, (5120, 32, 32, 3), np.uint8)
    settings = Pretraining(encoder=encoder, batch=batch, augmentation=views, epochs=100, **more)
    trainer = Trainer(settings, ImageSet(pictures, None, "made up", ()), ops)
    for step in range(3):
        trainer.step(step)
    cuda.synchronize()
    started = time.perf_counter()
    for step in range(3, 3 + steps):
        trainer.step(step)
    queued = (time.perf_counter() - started) / steps
    cuda.synchronize()
    seconds = (time.perf_counter() - started) / steps
    found = {"ms": 1e3 * seconds, "host_ms": 1e3 * queued, "images_per_second": batch / seconds}
    found["loss"] = trainer.objective.loss()
    watched = Watched(ops)
    trainer = Trainer(settings, ImageSet(pictures, None, "made up", ()), watched)
    for step in range(2):
        watched.calls.clear()
        trainer.step(step)
    return found | {"functions": watched.totals()}


def main() -> int:
    from benchmarks import cuda

    parser = argparse.ArgumentParser(prog="benchmarks.cuda_images", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few cases")
    parser.add_argument("--out", help="file for the numbers (default cuda_images.json)", default="cuda_images.json")
    arguments = parser.parse_args()
    size = "quick" if arguments.quick else "full"
    return cuda.main(["--sections", "images", "--size", size, "--anyway", "--out", arguments.out])


if __name__ == "__main__":
    sys.exit(main())

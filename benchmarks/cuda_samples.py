"""Minibatch gradients on a CUDA device against the CPU: bits of draws, gradients of many trainings; then milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cuda import Check, timed, wall
from dynlab import Model, Training
from dynlab.machine import gpu
from dynlab.samples import cuda as device
from dynlab.samples import gradient, kernels

CASES = {
    "cubic": (Model(), Training(), "float64"), "relu": (Model(activation="relu"), Training(), "float64"),
    "relu3": (Model(activation="relu3"), Training(head="none"), "float64"),
    "single": (Model(), Training(), "float32"),
    "linear head": (Model(neurons=4), Training(head="linear"), "float64"),
    "eight neurons": (Model(neurons=8), Training(), "float64"),
    "average, both ways": (Model(mask="independent"), Training(target="average", symmetric=True), "float64"),
    "unit length": (Model(), Training(normalisation="length"), "float64"),
    "vicreg": (Model(), Training(objective="vicreg", head="none", stop_gradient="none"), "float64"),
}  # fmt: skip
LIMITS = {"float64": 1e-11, "float32": 1e-4}
SHAPES = {"tiny": (13, 9), "quick": (1000, 100), "full": (4001, 333)}
TIMED = {
    "tiny": (), "quick": ((4096, 16), (4096, 1000)), "full": ((4096, 16), (4096, 1000), (65536, 100), (65536, 1000)),
}  # fmt: skip


def problem(model, training, batch, dim, precision, data=None):
    """A minibatch of the CPU, one of the device, and weights, head, target for both."""
    rng = np.random.default_rng(0)
    m = model.neurons
    weights, target = rng.normal(size=(2, m, dim)) / np.sqrt(dim)
    weights[:, :2] += 0.5 * rng.normal(size=(m, 2))
    head = np.eye(m) + (0.0 if training.head == "none" else 0.1) * rng.normal(size=(m, m)) * (1 - np.eye(m))
    target = target if training.target == "average" else None
    source = gradient.Source(3, data)
    kinds = gradient.Minibatch, device.DeviceMinibatch
    twins = tuple(kind(model, training, dim, batch, source, precision) for kind in kinds)
    return *twins, (weights, head, target)


def draws(precision: str, size: str) -> Check:
    """The normals of some patches, bit by bit."""
    batch, dim = (5, 9) if size == "tiny" else (200, 1000)
    work = gradient.Minibatch(Model(), Training(), dim, batch, gradient.Source(2**40 + 7), precision)
    numbers, patches = work._numbers(12345), 16
    width = work.blocks * gradient.PRECISIONS[precision][1]
    out = gpu.to_device(np.zeros((batch, patches, width), work.dtype))
    threads = batch * patches * work.blocks
    order = np.arange(batch)
    device.fill[gpu.blocks_for(threads, device.BLOCK), device.BLOCK](gpu.to_device(numbers), gpu.to_device(order), out)
    found, expected = gpu.to_host(out), np.zeros((batch, patches, width), work.dtype)
    keys = int(numbers[kernels.KEY_0]), int(numbers[kernels.KEY_1])
    for s in range(batch):
        for p in range(patches):
            kernels.fill_patch(p, s, 12345, *keys, work.blocks, expected[s, p])
    return Check(f"draws_{precision}", np.array_equal(found, expected), {
        "numbers": found.size, "differ": int((found != expected).sum())})  # fmt: skip


def compare(name: str, size: str, data=None) -> Check:
    """Loss and gradients of one training, fresh samples or a fixed set."""
    model, training, precision = CASES[name]
    here, there, state = problem(model, training, *SHAPES[size], precision, data)
    a, b = here.gradient(5, *state), there.gradient(5, *state)
    again = there.gradient(5, *state)
    numbers = {
        "loss": abs(a.loss - b.loss) / abs(a.loss),
        "d_weights": float(np.abs(a.d_weights - b.d_weights).max() / np.abs(a.d_weights).max()),
        "d_head": float(np.abs(a.d_head - b.d_head).max() / max(np.abs(a.d_head).max(), 1.0)),
        "same_again": bool(np.array_equal(b.d_weights, again.d_weights)),
    }
    good = numbers["same_again"] and max(numbers["loss"], numbers["d_weights"], numbers["d_head"]) < LIMITS[precision]
    return Check(f"minibatch_{name}{'' if data is None else '_fixed set'}", good, numbers)


def parity(size: str) -> Iterator[Check]:
    """Draws, then trainings."""
    for precision in ("float64", "float32"):
        yield draws(precision, size)
    for name in CASES:
        yield compare(name, size)
    yield compare("cubic", size, 3 * SHAPES[size][0])


def timings(size: str) -> Iterator[tuple[str, dict]]:
    """A gradient by the clock, here and there; its kernels by events; the like of PyTorch where it is installed."""
    for precision in ("float64", "float32"):
        for batch, dim in TIMED[size]:
            here, there, state = problem(Model(), Training(), batch, dim, precision)
            took: dict[str, Any] = {"device_milliseconds": wall(partial(there.gradient, 5, *state))}
            took["kernels_milliseconds"] = kernel_times(there, state)
            if batch * dim <= 5_000_000:
                took["cpu_milliseconds"] = wall(partial(here.gradient, 5, *state), 3)
            took["torch_milliseconds"] = torch_time(batch, dim, precision)
            yield f"minibatch, batch {batch}, dim {dim}, {precision}", took


def kernel_times(there, state) -> dict:
    """Median milliseconds of the two passes that draw."""
    weights, _, _ = state
    numbers, order = there._forward(5, weights, weights)
    forward = timed(lambda: there._forward(5, weights, weights))
    backward = timed(lambda: there._back(numbers, order))
    return {"forward": forward["median"], "backward": backward["median"]}


def torch_time(batch, dim, precision) -> dict | str:
    """The same step in PyTorch on the device: normals drawn and kept, batch normalisation, autograd; or why not."""
    try:
        import torch

        if not torch.cuda.is_available():
            return "no torch with CUDA"
    except ImportError:
        return "no torch"
    dtype = getattr(torch, precision)
    patches, size = 12, torch.finfo(dtype).bits // 8
    if batch * patches * dim * size > 2e10:
        return "not tried: too large to keep"
    w = torch.randn(2, dim, dtype=dtype, device="cuda", requires_grad=True)
    e = torch.eye(2, dtype=dtype, device="cuda")

    def step():
        x = torch.randn(batch, patches, dim, dtype=dtype, device="cuda")
        online = ((x[:, : patches // 2] @ w.T) ** 3).sum(1) @ e.T
        with torch.no_grad():
            goal = ((x[:, patches // 2 :] @ w.T) ** 3).sum(1)
            goal = (goal - goal.mean(0)) / goal.std(0, correction=0)
        online = (online - online.mean(0)) / online.std(0, correction=0)
        w.grad = None
        ((online - goal) ** 2).sum(1).mean().backward()
        torch.cuda.synchronize()

    return wall(step)

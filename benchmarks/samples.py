"""Minibatch steps: checked against PyTorch on the same samples, then timed beside it and beside the draws alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.machine import difference, installed, number, shown, side_by_side, spread, timed_if_right, verified
from dynlab import Model
from dynlab.machine import jit
from dynlab.samples import kernels
from dynlab.samples.generator import samples
from dynlab.samples.gradient import PRECISIONS, Minibatch, Source, _pool
from dynlab.settings.training import Training
from tests.samples import naive_batch

DIM, BATCH, THREADS = 1024, 4096, 2
REPEATS = 7
GOAL_RATIO, GOAL_SHARE = 5.0, 0.4


@jit.kernel
def draw_alone(patches, first, blocks, out):
    """Nothing but the draws of so many patches, one after another into the same row."""
    for sample in range(first, first + patches):
        if out.itemsize == 4:
            kernels.fill_normals_32(blocks, 0, sample, 0, 1, 2, out)
        else:
            kernels.fill_normals(blocks, 0, sample, 0, 1, 2, out)


class Torch:
    """The same step in PyTorch, with care.

    Noise patches only, in one preallocated buffer filled in place by its own generator; two matrix products; feature patches
    without d-vectors; autograd.
    """

    def __init__(self, model, precision, batch):
        import torch

        self.torch, self.model, self.batch = torch, model, batch
        torch.set_num_threads(THREADS)
        self.kind = getattr(torch, precision)
        self.noise = torch.empty(batch, model.patches - model.feature_patches, DIM - model.features, dtype=self.kind)
        self.strengths = torch.tensor(model.strengths, dtype=self.kind)

    def draw(self):
        """Noise, feature, sign, and how the views share the noise patches and the feature patches."""
        torch, model = self.torch, self.model
        self.noise.normal_()
        feature = torch.randint(model.features, (self.batch,))
        sign = 2.0 * torch.randint(2, (self.batch,)).to(self.kind) - 1.0
        half = torch.rand(self.batch, model.patches).argsort(1) < model.patches // 2
        return feature, sign, half[:, model.feature_patches :], half[:, : model.feature_patches].sum(1)

    def phi(self, u):
        return u**3 if self.model.activation == "cubic" else self.torch.relu(u)

    def gradient(self, weights, head, drawn):
        """Loss, dL/dw, dL/dE (off its diagonal)."""
        torch, model = self.torch, self.model
        feature, sign, kept, shown = drawn
        w = weights.clone().requires_grad_()
        e = head.clone().requires_grad_()
        u = model.noise * (self.noise.view(-1, self.noise.shape[2]) @ w[:, model.features :].T).view(*kept.shape, -1)
        own = self.phi((sign * self.strengths[feature])[:, None] * w[:, : model.features].T[feature])
        kept, shown = kept[:, :, None].to(self.kind), shown[:, None].to(self.kind)
        values = self.phi(u)
        first = (values * kept).sum(1) + shown * own
        second = (values.detach() * (1.0 - kept)).sum(1) + (model.feature_patches - shown) * own.detach()
        out = first @ e.T
        a, b = ((x - x.mean(0)) / x.std(0, correction=0) for x in (out, second))
        loss = ((a - b) ** 2).sum(1).mean()
        loss.backward()
        return float(loss.detach()), w.grad, e.grad * (1.0 - torch.eye(len(head), dtype=self.kind))

    def step(self, weights, head):
        return self.gradient(weights, head, self.draw())


TOLERANCES = {"float64": 1e-10, "float32": 1e-3}


def compared(work, weights, head, right) -> dict[str, tuple[float, float]]:
    """{name: (found, allowed)} of the step's loss and gradients from the right ones, relative to the largest of each."""
    ours = work.gradient(0, weights, head)
    pairs = zip(("loss", "dL/dw", "dL/dE"), (ours.loss, ours.d_weights, ours.d_head), right, strict=True)
    allowed = TOLERANCES[np.dtype(work.dtype).name]
    return {name: (difference(got, want, float(np.abs(want).max())), allowed) for name, got, want in pairs}


def check(model, precision, dim=24, batch=12) -> dict:
    """Refuse to time a wrong gradient: against loops and complex steps on the same few samples."""
    rng = np.random.default_rng(0)
    weights, head = rng.standard_normal((2, dim)) / dim**0.5, np.array([[1.0, 0.1], [-0.2, 1.0]])
    work = Minibatch(model, Training(), dim, batch, Source(0), precision, THREADS)
    made = samples(model, dim, batch, precision=precision)
    *right, d_head = naive_batch.gradient(model, Training(), made.patches, made.view, weights, head)
    right = *right, d_head * (1.0 - np.eye(2))
    return verified(f"samples {precision}, against loops", compared(work, weights, head, right))


def check_torch(model, precision, weights, head, batch=64) -> dict:
    """The same against PyTorch, at the size that is timed."""
    import torch

    work = Minibatch(model, Training(), DIM, batch, Source(0), precision, THREADS)
    made = samples(model, DIM, batch, precision=precision)
    peer = Torch(model, precision, batch)
    shows = (made.patches[:, :, : model.features] != 0).any(2)
    for i in range(batch):
        peer.noise[i] = torch.tensor(made.patches[i][~shows[i]][:, model.features :] / model.noise)
    first = made.view == 0
    kept = torch.tensor(np.array([row[~some] for row, some in zip(first, shows, strict=True)]))
    drawn = torch.tensor(made.feature), torch.tensor(made.sign).to(peer.kind), kept, torch.tensor((first & shows).sum(1))
    theirs = peer.gradient(torch.tensor(weights).to(peer.kind), torch.tensor(head).to(peer.kind), drawn)
    right = [np.asarray(part) for part in theirs]
    return verified(f"samples {precision}, against PyTorch", compared(work, weights, head, right))


def speed(precision: str, repeats: int, batch: int) -> dict:
    """Steps a second, the draws' limit, and PyTorch's where it is installed."""
    began = time.perf_counter()
    model, rng = Model(), np.random.default_rng(0)
    weights, head = rng.standard_normal((2, DIM)) / DIM**0.5, np.array([[1.0, 0.1], [-0.2, 1.0]])
    work = Minibatch(model, Training(), DIM, batch, Source(0), precision, THREADS)
    dtype, per_block, _ = PRECISIONS[precision]
    rows = [np.empty(work.blocks * per_block, dtype) for _ in range(THREADS)]
    patches = batch * (model.patches - model.feature_patches)
    row: dict[str, Any] = {"precision": precision, "batch": batch, "dim": DIM, "differences": check(model, precision)}

    def limit():
        list(_pool(THREADS).map(lambda k: draw_alone(patches // THREADS, k * patches, work.blocks, rows[k]), range(THREADS)))

    runs = {"step": lambda: work.gradient(1, weights, head), "draws": limit}
    if installed("PyTorch"):
        import torch

        row["differences_torch"] = check_torch(model, precision, weights, head)
        peer = Torch(model, precision, batch)
        given = [torch.tensor(part).to(peer.kind) for part in (weights, head)]
        runs["torch"] = lambda: peer.step(*given)
    seconds = {name: np.array(values) for name, values in side_by_side(runs, repeats).items()}
    row |= {
        "steps_per_second": spread(1.0 / seconds["step"]),
        "draws_per_second": spread(patches * rows[0].size / seconds["draws"]),
        "share_of_draws": spread(seconds["draws"] / seconds["step"]), "goal_share": GOAL_SHARE,
    }  # fmt: skip
    text = f"samples {precision}: {shown(row['steps_per_second'])} steps a second, "
    text += f"{100 * row['share_of_draws']['median']:.0f} % of the draws alone"
    if "torch" in seconds:
        row |= {"torch_steps_per_second": spread(1.0 / seconds["torch"])}
        row |= {"torch_ratio": spread(seconds["torch"] / seconds["step"]), "goal_ratio": GOAL_RATIO}
        text += f"; PyTorch {number(row['torch_steps_per_second']['median'])}, {shown(row['torch_ratio'], 2)} times"
    print(f"{text} ({time.perf_counter() - began:.0f} s)", flush=True)
    return row


def run(quick: bool = False) -> list:
    """Both precisions."""
    return [timed_if_right(speed, precision, 2 if quick else REPEATS, 512 if quick else BATCH) for precision in PRECISIONS]

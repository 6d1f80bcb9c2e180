"""Training steps of encoders on pictures: parity with PyTorch, then seconds a step beside it and the memory of both.

A step is the forward and backward pass of encoder and projector on one batch of two views, and Adam; PyTorch runs in its own
layout and with channels last, of which the faster counts. Both use the same threads, in turn, in one process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.machine import difference as largest
from benchmarks.machine import installed, number, shown, spread, timed_if_right, verified
from dynlab.machine import jit

THREADS = 2
CASES = {"demo": (256, 24, 31), "convnet": (256, 32, 9), "resnet18": (64, 32, 5)}  # rows, size of pictures, repeats
GOALS = {"demo": 1.0, "convnet": 1.0, "resnet18": 0.5}
TOLERANCE, STEP = 1e-4, 1e-3
RATE, BETA_1, BETA_2, EPS = 1e-3, 0.9, 0.999, 1e-8


@jit.kernel
def adam(step, parameters, gradients, first, second):
    """One step of Adam (Kingma & Ba 2015) on flat vectors."""
    scale, root = RATE / (1.0 - BETA_1**step), np.sqrt(1.0 - BETA_2**step)
    for i in range(len(parameters)):
        g = gradients[i]
        first[i] += (1.0 - BETA_1) * (g - first[i])
        second[i] += (1.0 - BETA_2) * (g * g - second[i])
        parameters[i] -= scale * first[i] / (np.sqrt(second[i]) / root + EPS)


class Ours:
    """The step of dynlab; the loss is sum(z weights), whose gradient by z is a constant."""

    def __init__(self, name, rows, size):
        import numba

        from dynlab.images import layers
        from dynlab.images.networks import encoders
        from dynlab.images.networks.network import Network

        numba.set_num_threads(THREADS)
        self.encoder = Network(encoders.encoder(name), (size, size, 3), layers)
        self.projector = Network(encoders.projector(), self.encoder.output_shape, layers)
        self.encoder.initialise(0)
        self.projector.initialise(0, 1)
        self.networks = self.encoder, self.projector
        self.moments = [(np.zeros_like(net.parameters), np.zeros_like(net.parameters)) for net in self.networks]
        rng = np.random.default_rng(0)
        self.x = np.empty((rows, size, size, 3), np.float32)
        self.draw(0)
        self.weights = rng.standard_normal((rows, 64)).astype(np.float32) / rows
        self.steps = 0

    def draw(self, seed):
        """Another batch."""
        self.x[...] = np.random.default_rng(seed).standard_normal(self.x.shape)

    def gradient(self, groups=2):
        """z, having filled both networks' gradients."""
        z = self.projector.forward(self.encoder.forward(self.x, groups), groups)
        self.encoder.backward(self.projector.backward(self.weights, True))
        return z

    def __call__(self):
        self.gradient()
        self.steps += 1
        for net, moments in zip(self.networks, self.moments, strict=True):
            adam(self.steps, net.parameters, net.gradients, *moments)


class Torch:
    """The same step in PyTorch on the same weights; statistics over all rows at once, which is the faster way."""

    def __init__(self, ours, channels_last):
        import torch

        from benchmarks import torch_networks

        torch.set_num_threads(THREADS)
        self.torch, self.flat = torch, torch_networks.flat
        self.encoder, self.projector = (torch_networks.twin(net) for net in ours.networks)
        self.weights = torch.from_numpy(ours.weights)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = self.encoder.to(memory_format=self.layout)
        self.take(ours.x)
        self.parameters = [*self.encoder.parameters(), *self.projector.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, RATE)

    def take(self, x):
        """The batch x, in this layout."""
        self.x = self.torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def gradient(self):
        self.optimiser.zero_grad()
        z = self.projector(self.encoder(self.x))
        (z * self.weights).sum().backward()
        return z

    def __call__(self):
        self.gradient()
        self.optimiser.step()


def difference(a, b):
    """|a - b| / |b| in the Euclidean norm."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def directional(name, ours) -> dict:
    """Refuse a wrong gradient with no peer at hand: the loss's change along the gradient itself, by a central difference.

    In float32 and across kinks of relu, so to a few hundredths only; parity with PyTorch is held to TOLERANCE.
    """
    ours.draw(0)
    ours.gradient()
    gradients = [net.gradients.copy() for net in ours.networks]
    held = [net.parameters.copy() for net in ours.networks]
    size = float(np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients)))
    losses = []
    for sign in (1.0, -1.0):
        for net, start, g in zip(ours.networks, held, gradients, strict=True):
            net.parameters[...] = start + np.float32(sign * STEP / size) * g
        losses.append(float(np.sum(ours.gradient().astype(np.float64) * ours.weights)))
    for net, start in zip(ours.networks, held, strict=True):
        net.parameters[...] = start
    slope = (losses[0] - losses[1]) / (2.0 * STEP)
    return verified(f"images {name}", {"gradient, against a difference": (largest(slope, size), 0.05)})


def parity(name, ours, peers, draws=3):
    """Relative differences of z, of the encoder's and of the projector's gradient from PyTorch's; refused if too large.

    In float32 a unit at the kink of a relu may fall on either side, and then a gradient differs by about the root of one
    over the number of units. That is chance, for PyTorch's own two layouts alike. So the middle one of a few batches
    counts, and what the two layouts differ by is allowed beyond TOLERANCE.
    """
    found, own = [], []
    for draw in range(draws):
        ours.draw(draw)
        answers = [[ours.gradient(groups=1), *(net.gradients for net in ours.networks)]]
        for peer in peers:
            peer.take(ours.x)
            z, modules = peer.gradient(), (peer.encoder, peer.projector)
            pairs = zip(ours.networks, modules, strict=True)
            gradients = [peer.flat([p.grad for p in module.parameters()], net) for net, module in pairs]
            answers.append([z.detach().numpy(), *gradients])
        found.append([difference(a, b) for a, b in zip(answers[0], answers[1], strict=True)])
        own.append([difference(a, b) for a, b in zip(answers[2], answers[1], strict=True)])
    middle, layouts = np.median(found, axis=0).tolist(), np.median(own, axis=0).tolist()
    parts = zip(("z", "encoder's gradient", "projector's gradient"), middle, layouts, strict=True)
    verified(f"images {name}, against PyTorch", {part: (a, max(TOLERANCE, 3.0 * b)) for part, a, b in parts})
    return {"dynlab": middle, "torch layouts": layouts}


def clock(runs, repeats):
    """Wall and processor seconds of each repeat, in turn."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    return wall, processor


def speed(name, repeats, with_memory=True):
    """Milliseconds a step, the ratio to the faster layout of PyTorch where it is installed, and what memory steps take."""
    rows, size, _ = CASES[name]
    ours = Ours(name, rows, size)
    runs = {"dynlab": ours}
    row = {"encoder": name, "rows": rows, "size": size, "goal_ratio": GOALS[name], "differences": directional(name, ours)}
    peers = {}
    if installed("PyTorch"):
        peers = {"torch": Torch(ours, False), "torch channels last": Torch(ours, True)}
        row["parity"] = parity(name, ours, list(peers.values()))
    wall, processor = clock(runs | peers, repeats)
    row["ms"] = {key: spread(1e3 * np.array(values)) for key, values in wall.items()}
    row["processor_ms"] = {key: float(np.median(values)) * 1e3 for key, values in processor.items()}
    text = f"images {name}: {shown(row['ms']['dynlab'])} ms a step of {row['rows']} rows"
    if peers:
        best = min(peers, key=lambda key: row["ms"][key]["median"])
        row |= {"fastest_peer": best, "ratio": spread(np.array(wall[best]) / np.array(wall["dynlab"]))}
        text += f"; PyTorch {shown(row['ms'][best])} ms, {shown(row['ratio'], 2)} times (goal {row['goal_ratio']:.1f})"
    if with_memory:
        row["memory_MiB"] = memory(name)
        text += "; MiB " + ", ".join(f"{k} {v:.0f}" for k, v in row["memory_MiB"].items())
    used = ", ".join(f"{key} {number(value)}" for key, value in row["processor_ms"].items())
    print(f"{text}; processor ms {used}", flush=True)
    return row


def memory(name):
    """MiB that steps add to the process at their peak, each in a process of its own."""
    found = {}
    for who in ("dynlab", "torch", "torch channels last") if find_spec("torch") else ("dynlab",):
        words = [sys.executable, "-m", "benchmarks.images", name, who]
        found[who] = float(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def _peak(name, who):
    rows, size, _ = CASES[name]
    step: Any = Ours(name, rows, size)
    if who != "dynlab":
        import torch.nn.functional  # noqa: F401

        before = largest_memory()
        step = Torch(step, who.endswith("last"))
    else:
        small = Ours(name, 4, size)  # compiled code is not what is asked for
        small()
        before = largest_memory()
    for _ in range(4):
        step()
    return (largest_memory() - before) / 1024


def largest_memory() -> int:
    """KiB that this program held at its peak. Linux counts into getrusage's what the process was before it began."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(quick=False) -> list:
    """All encoders; quick: the smallest, without its memory."""
    if quick:
        return [timed_if_right(speed, "demo", 2, False)]
    return [timed_if_right(speed, name, repeats) for name, (_, _, repeats) in CASES.items()]


if __name__ == "__main__":
    print(_peak(sys.argv[1], sys.argv[2]))

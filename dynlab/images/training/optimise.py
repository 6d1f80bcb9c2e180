"""Optimisers over flat parameter vectors.

An optimiser holds what it remembers in `state`, a dict of flat arrays where the layers compute, and in `count` the steps
taken; `save` and `load` turn both into host arrays and back. `decays` (P,) uint8 says which entries weight decay acts on
(not those of norms and biases); decay is added to the gradient, except by AdamW (see `dynlab.formulas.updates`, which has
the equations).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from dynlab.images.settings import LARS_RATES, PICTURE_OPTIMISERS
from dynlab.tools.checks import choice, real, require


class Optimiser:
    """What the optimisers share; `names` are those of their memories, each (P,) and zero at the start."""

    names: tuple[str, ...] = ()

    def __init__(self, parameters, decays, ops, weight_decay: float = 0.0):
        self.ops = ops
        self.size, self.dtype = parameters.shape[0], parameters.dtype
        found = decays.shape[0]
        require(found == self.size, "decays", f"{found} entries", f"{self.size} of them, as the parameters")
        self.decays = ops.to_device(np.asarray(ops.to_host(decays), np.uint8))
        self.weight_decay = real("weight_decay", weight_decay, at_least=0.0)
        self.state = {name: ops.zeros((self.size,), self.dtype) for name in self.names}
        self.count = 0

    def step(self, parameters, gradients, rate: float) -> None:
        """Change the parameters (P,) in place, given their gradients (P,) and the rate of this step."""
        self.count += 1
        self._step(parameters, gradients, rate)

    def _step(self, parameters, gradients, rate: float) -> None:
        raise NotImplementedError

    def save(self) -> dict[str, np.ndarray]:
        """All that the next steps depend on, as host arrays."""
        return {name: self.ops.to_host(array) for name, array in self.state.items()} | {"count": np.array(self.count)}

    def load(self, saved) -> None:
        """Go on from what `save` returned."""
        for name, array in self.state.items():
            require(name in saved, "optimiser", sorted(saved), f"a state that holds {name!r}")
            found = np.asarray(saved[name])
            require(found.shape == (self.size,), name, f"of shape {found.shape}", f"of shape ({self.size},)")
            self.ops.copy(self.ops.to_device(found.astype(self.dtype)), array)
        self.count = int(saved["count"])


class Sgd(Optimiser):
    """Stochastic gradient descent with momentum, v = mu v + g, p -= rate v (PyTorch's convention), optionally Nesterov's."""

    names = ("velocity",)

    def __init__(self, parameters, decays, ops, weight_decay=0.0, momentum=0.9, nesterov=False):
        super().__init__(parameters, decays, ops, weight_decay)
        self.momentum, self.nesterov = real("momentum", momentum, at_least=0.0), bool(nesterov)

    def _step(self, parameters, gradients, rate):
        self.ops.sgd_step(
            parameters, gradients, self.state["velocity"], self.decays, rate, self.weight_decay, self.momentum, self.nesterov
        )


class Adam(Optimiser):
    """Adam with bias correction (Kingma & Ba 2015); weight decay is part of the gradient, as in torch.optim.Adam."""

    names = ("first", "second")

    def __init__(self, parameters, decays, ops, weight_decay=0.0, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, decays, ops, weight_decay)
        require(len(betas) == 2 and all(0.0 <= b < 1.0 for b in betas), "betas", betas, "two numbers in [0, 1)")
        self.betas, self.eps = tuple(float(b) for b in betas), real("eps", eps, at_least=0.0)

    def _step(self, parameters, gradients, rate):
        self._by_moments(parameters, gradients, rate, self.weight_decay)

    def _by_moments(self, parameters, gradients, rate, decay):
        first, second = self.state["first"], self.state["second"]
        self.ops.adam_step(parameters, gradients, first, second, self.decays, rate, decay, self.betas, self.eps, self.count)


class AdamW(Adam):
    """Adam with weight decay of its own (Loshchilov & Hutter 2019): p <- p - rate decay p, then Adam's step without decay.

    The first is a step of plain descent on decay |p|^2/2, whose gradient beside the decay is zero.
    """

    def __init__(self, parameters, decays, ops, weight_decay=0.0, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, decays, ops, weight_decay, betas, eps)
        self._nothing, self._spare = (ops.zeros((self.size,), self.dtype) for _ in range(2))

    def _step(self, parameters, gradients, rate):
        if self.weight_decay > 0.0:
            self.ops.sgd_step(parameters, self._nothing, self._spare, self.decays, rate, self.weight_decay, 0.0, False)
        self._by_moments(parameters, gradients, rate, 0.0)


class Lars(Optimiser):
    """Layer-wise rates (You, Gitman & Ginsburg 2017) on tensors given by `segments`, as `Network.segments` lists them.

    Tensors of which nothing decays (norms, biases) keep the ratio 1, which makes them plain SGD with momentum. rates:
    "scaled", where a tensor's rate is the rate times its ratio, or "clipped", where it is the smaller of the two.
    """

    names = ("velocity",)

    def __init__(
        self, parameters, decays, ops, segments, weight_decay=0.0, momentum=0.9, trust=0.001, rates="scaled"
    ):  # fmt: skip
        super().__init__(parameters, decays, ops, weight_decay)
        self.momentum, self.trust = real("momentum", momentum, at_least=0.0), real("trust", trust, above=0.0)
        self.clipped = choice("rates", rates, LARS_RATES) == "clipped"
        spans = [(start, stop) for _, start, stop, _ in segments]
        edges = [0] + [stop for _, stop in spans]
        tiled = all(start == before for (start, _), before in zip(spans, edges, strict=False)) and edges[-1] == self.size
        require(tiled, "segments", spans, f"intervals that follow one another from 0 to {self.size}")
        mask = ops.to_host(self.decays)
        self.adapts = ops.to_device(np.array([mask[start:stop].any() for start, stop in spans], np.uint8))
        self.layout = ops.lars_layout(edges)

    def _step(self, parameters, gradients, rate):
        clipped = self.clipped and rate > 0.0
        trust, most = (self.trust / rate, 1.0) if clipped else (self.trust, math.inf)
        self.ops.lars_step(
            parameters, gradients, self.state["velocity"], self.decays, self.layout, self.adapts, rate, self.weight_decay,
            self.momentum, trust, most,
        )  # fmt: skip


def make(name: str, parameters, decays, ops, segments=(), **settings) -> Optimiser:
    """The optimiser of that name; segments: for "lars" alone."""
    choice("optimiser", name, PICTURE_OPTIMISERS)
    if name == "lars":
        return Lars(parameters, decays, ops, segments, **settings)
    return {"sgd": Sgd, "adam": Adam, "adamw": AdamW}[name](parameters, decays, ops, **settings)


def clip_gradients(parts: Iterable[Any], most: float, ops: Any) -> float:
    """Scale the gradients of parts down where their common norm is above `most` (Pascanu et al. 2013); return that norm.

    Of networks and heads, anything with flat `gradients`. A norm that is no number changes nothing.
    """
    slopes = [part.gradients for part in parts]
    total = ops.zeros((1,), "float64")
    for slope in slopes:
        row = slope.reshape(1, -1)
        ops.add_product(row, row, 1.0, total)
    norm = math.sqrt(float(ops.to_host(total)[0]))
    if most < norm < math.inf:
        for slope in slopes:
            ops.scale(slope, most / norm)
    return norm

"""Networks of layers: parameters in one flat vector, forward and backward passes that allocate nothing after the first.

A layer is a small frozen description (`dynlab.images.networks.nodes`). Forward and backward are pairs of functions of `ops`
(`dynlab.images.layers` on the CPU): a network only slices, reshapes and keeps order, so it runs wherever its ops do.

**Start.** Convolutions: normal, variance 2 / (k k c_out) (He et al. 2015 by outputs, as in their residual networks);
linear layers: uniform in +-1 / sqrt(inputs), weights and biases, or (start="normal") normal with variance 1 / inputs, as the
theory has it; readouts: normal, variance 1 / units that an output sums over; norms: scale 1, shift 0. Numbers are drawn by
counting (`dynlab.machine.rng`): number i of a segment of a stream under a seed is the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from dynlab.images.networks.nodes import (
    Activation,
    BatchNorm,
    Chain,
    Convolution,
    Linear,
    MaxPool,
    MeanPool,
    Patches,
    Readout,
    Residual,
)
from dynlab.images.networks.workspace import Workspace
from dynlab.machine import jit, rng
from dynlab.tools.checks import integer, require

__all__ = [
    "Activation",
    "BatchNorm",
    "Convolution",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Network",
    "Patches",
    "Readout",
    "Residual",
]

DOMAIN_START = 6  # of `dynlab.machine.rng`: where networks start

_draws = jit.compile_module(rng, entries=("fill_normals", "philox"))
_fill_normals, _philox = _draws.fill_normals, _draws.philox


@jit.kernel
def _normals(c1, c2, c3, k0, k1, out):
    _fill_normals(len(out) // 2, c1, c2, c3, k0, k1, out)


@jit.kernel
def _uniforms(c1, c2, c3, k0, k1, out):
    """In (-1, 1)."""
    for i in range(len(out)):
        a, b, _, _ = _philox(i, c1, c2, c3, k0, k1)
        out[i] = 2.0 * ((np.float64((a << 21) | (b >> 11)) + 0.5) * 2.0**-53) - 1.0


def start_values(law, size, count, seed, stream, segment):
    """count numbers in float64: size times N(0, 1) ("normal") or U(-1, 1) ("uniform"), or size itself ("constant").

    size: a number, or (count,) of them.
    """
    if law == "constant":
        return np.full(count, size)
    out = np.empty(count + count % 2)
    fill = _normals if law == "normal" else _uniforms
    fill(segment + rng.DOMAIN * DOMAIN_START, stream, 0, *rng.key_of(seed), out)
    return size * out[:count] + 0.0  # no negative zeros where a size is 0


class Network:
    """A chain of layers for inputs (n, *input_shape).

    parameters, gradients (P,), buffers (running statistics), decays (P,) uint8: flat vectors where ops compute; decays is 1
    for weights, 0 for norms and biases. segments: [(name, start, stop, shape)] of parameters; buffer_segments alike.
    """

    def __init__(self, layers: Sequence, input_shape: Sequence[int], ops, dtype: str = "float32"):
        self.layers, self.input_shape, self.ops, self.dtype = tuple(layers), tuple(input_shape), ops, dtype
        require(len(self.layers) > 0, "layers", self.layers, "at least one")
        self._chain = Chain(self.layers, self.input_shape)
        self.output_shape = self._chain.out_shape
        leaves = self._chain.leaves()
        self._laws, decays = [], []
        self.segments: list[tuple] = []
        self.buffer_segments: list[tuple] = []
        self._fresh: list[np.ndarray] = []
        for leaf in leaves:
            for name, shape, decay, law, size in leaf.segments:
                self.segments.append(_segment(self.segments, f"{leaf.name}.{name}", shape))
                self._laws.append((law, size))
                decays.append(np.full(prod(shape), decay, np.uint8))
            for name, shape, value in leaf.statistics:
                self.buffer_segments.append(_segment(self.buffer_segments, f"{leaf.name}.{name}", shape))
                self._fresh.append(np.full(prod(shape), value, dtype))
        count = self.segments[-1][2] if self.segments else 0
        self.parameters, self.gradients = ops.zeros((count,), dtype), ops.zeros((count,), dtype)
        self.buffers = ops.to_device(np.concatenate([np.empty(0, dtype), *self._fresh]))
        self.decays = ops.to_device(np.concatenate([np.empty(0, np.uint8), *decays]))
        parameters, gradients = _views(self.parameters, self.segments), _views(self.gradients, self.segments)
        buffers = _views(self.buffers, self.buffer_segments)
        for leaf in leaves:
            leaf.bind(parameters, gradients, buffers)
        self._chain.bind(ops)
        self._spaces: dict = {}
        self._last = None

    def initialise(self, seed: int, stream: int = 0) -> None:
        """Start anew: parameters as the module says, running statistics mean 0 and variance 1.

        seed in [0, 2^64); networks of one run that should not start alike have different streams.
        """
        seed, stream = integer("seed", seed, at_least=0, at_most=2**64 - 1), integer("stream", stream, at_least=0)
        values = np.empty(self.parameters.shape, self.dtype)
        for i, ((_, start, stop, _), (law, size)) in enumerate(zip(self.segments, self._laws, strict=True)):
            values[start:stop] = start_values(law, size, stop - start, seed, stream, i)
        self.ops.copy(self.ops.to_device(values), self.parameters)
        self.ops.copy(self.ops.to_device(np.concatenate([np.empty(0, self.dtype), *self._fresh])), self.buffers)

    def forward(self, x, groups: int = 1, training: bool = True):
        """y (n, *output_shape), in a workspace: it lasts until the next pass with as many rows.

        groups: consecutive parts of the rows that have batch statistics of their own. training=False: running statistics.
        x is kept for the backward pass and must not change before it.
        """
        require(tuple(x.shape[1:]) == self.input_shape, "x", tuple(x.shape), f"of shape (n, *{self.input_shape})")
        require(str(x.dtype) == self.dtype, "x", str(x.dtype), self.dtype)
        require(x.shape[0] > 0 and x.shape[0] % groups == 0, "x", tuple(x.shape), f"rows in {groups} equal groups")
        key = (x.shape[0], bool(training))
        if key not in self._spaces:
            self._spaces[key] = Workspace(self.ops, self.dtype)
        space = self._spaces[key]
        space.training = bool(training)
        space.start("forward")
        self._last, self._rows = (space if training else None), x.shape[0]
        y = self._chain.forward(space, x, groups)
        space.finish()
        return y

    def backward(self, d_y, need_input_gradient: bool = False):
        """Fill gradients from d_y = dL/dy of the last forward pass (in training); dL/dx where asked for, else None.

        d_y is not changed. dL/dx lasts until the next pass with as many rows.
        """
        if self._last is None:
            raise RuntimeError("backward: needs a forward pass in training before it")
        wanted = (self._rows, *self.output_shape)
        fits = tuple(d_y.shape) == wanted and str(d_y.dtype) == self.dtype
        require(fits, "d_y", tuple(d_y.shape), f"{self.dtype} of shape {wanted}")
        self._last.start(f"backward {bool(need_input_gradient)}")
        d_x = self._chain.backward(self._last, d_y, bool(need_input_gradient))
        self._last.finish()
        return d_x

    def release(self) -> None:
        """Give the memory of all workspaces back."""
        self._spaces.clear()
        self._last = None


def _segment(before, name, shape):
    start = before[-1][2] if before else 0
    return name, start, start + prod(shape), tuple(shape)


def _views(flat, segments):
    return iter([flat[start:stop].reshape(shape) for _, start, stop, shape in segments])

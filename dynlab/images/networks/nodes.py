"""Layers: small frozen descriptions, and of each the node that a network makes of it.

A node knows its shapes (of one row), says what parameters and running statistics it needs, and holds views of them once it
is bound. forward(space, x, groups) and backward(space, d_out, need) are pairs: backward fills the gradients by the
parameters and returns dL/dx (None unless `need`). A node may overwrite d_out where the workspace owns it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from dynlab.settings.model import READOUTS
from dynlab.tools.checks import choice, integer, require

POINTWISE_KINDS = ("relu", "cubic", "relu3")


@dataclass(frozen=True)
class Convolution:
    """Square kernel (1 or 3), padding kernel // 2, no bias: (h, w, c) -> ((h - 1) // stride + 1, ..., channels)."""

    channels: int
    kernel: int = 3
    stride: int = 1


@dataclass(frozen=True)
class BatchNorm:
    """Each channel (of the rows and all places) by its mean and variance; then scale and shift, and relu, where wanted.

    momentum: the weight of a batch in the running statistics.
    """

    relu: bool = False
    affine: bool = True
    eps: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class Linear:
    """(inputs,) -> (outputs,), or alike at each place of a picture; start: "uniform" or "normal"."""

    outputs: int
    bias: bool = True
    start: str = "uniform"


@dataclass(frozen=True)
class Readout:
    """(outputs H,) -> (outputs,): sums over hidden units by weights a ~ N(0, 1/number of units that an output sums over).

    readout: "own" units, unit h of output j being number j H + h, a 0 elsewhere; "shared": all of them; "fixed": own ones,
    whose a stays as it starts.
    """

    outputs: int
    readout: str = "own"
    bias: ClassVar[bool] = False


@dataclass(frozen=True)
class Activation:
    """relu, cubic (z^3) or relu3 (max(0, z)^3)."""

    kind: str = "relu"


@dataclass(frozen=True)
class MeanPool:
    """(h, w, c) -> (c,): means over the places, or (total) sums."""

    total: bool = False


@dataclass(frozen=True)
class MaxPool:
    """Maxima of windows of size x size, without padding."""

    size: int = 2
    stride: int = 2


@dataclass(frozen=True)
class Patches:
    """(h, w, c) -> (h // size, w // size, size size c): squares that do not overlap."""

    size: int


@dataclass(frozen=True)
class Residual:
    """relu(inner(x) + shortcut(x)); inner ends in a BatchNorm without relu; no shortcut: x itself."""

    inner: tuple
    shortcut: tuple = ()


class LayerNode:
    """A layer with its shapes, for one kind of layer each below.

    `bind` gives it its views of the flat vectors of parameters, gradients and running statistics, `bind_ops` the functions
    it computes with. forward(space, x, groups) takes rows x and returns its output, in memory of the workspace `space`;
    groups: the parts of the rows that have batch statistics of their own. backward(space, d_out, need) takes
    dL/d(output), fills the gradients of the parameters, and returns dL/dx where `need` asks for it.
    """

    make: Callable[[], tuple[int, ...]]  # of each kind: what a node needs, and the shape of its output

    def __init__(self, layer, shape, name):
        self.layer, self.shape, self.name = layer, tuple(shape), name
        self.segments, self.statistics = [], []  # (name, shape, decays, law, size) and (name, shape, value)
        self.out_shape = self.make()

    def bind(self, parameters, gradients, buffers):
        self.p = {key: next(parameters) for key, *_ in self.segments}
        self.d = {key: next(gradients) for key, *_ in self.segments}
        self.running = {key: next(buffers) for key, *_ in self.statistics}

    def bind_ops(self, ops):
        self.ops = ops

    def leaves(self):
        return [self]


class _Convolution(LayerNode):
    """Windows of the picture times the kernel, as a matrix product whose layout `ops.convolution_work` keeps."""

    def make(self):
        h, w, c = self.shape
        layer, k = self.layer, self.layer.kernel
        require(k in (1, 3), "kernel", k, "1 or 3")
        sizes = {name: integer(name, getattr(layer, name), at_least=1) for name in ("stride", "channels")}
        self.layer = layer = replace(layer, **sizes)
        shape = (k, k, c, layer.channels)
        self.segments = [("weight", shape, 1, "normal", sqrt(2.0 / (k * k * layer.channels)))]
        return ((h - 1) // layer.stride + 1, (w - 1) // layer.stride + 1, layer.channels)

    def _work(self, space, rows):
        shapes = (rows, *self.shape), self.p["weight"].shape
        return space.scratch(self, self.ops.convolution_work, *shapes, self.layer.stride, space.dtype)

    def forward(self, space, x, groups):
        rows = x.shape[0]
        self.x = x
        out = space.result(self, (rows, *self.out_shape))
        return self.ops.convolve(x, self.p["weight"], self.layer.stride, out, self._work(space, rows))

    def backward(self, space, d_out, need):
        rows, stride = d_out.shape[0], self.layer.stride
        work = self._work(space, rows)
        self.ops.convolve_backward_weights(self.x, d_out, stride, self.d["weight"], work)
        if not need:
            return None
        d_x = space.take(self, "d_x", (rows, *self.shape))
        return self.ops.convolve_backward_data(d_out, self.p["weight"], stride, d_x, work)


class _BatchNorm(LayerNode):
    """Normalised by the batch in training, by running statistics otherwise; a relu and a residual can be fused in."""

    fuse = False  # a residual is added before the relu: set by the node that holds this one

    def make(self):
        c = self.shape[-1]
        if self.layer.affine:
            self.segments = [("scale", (c,), 0, "constant", 1.0), ("shift", (c,), 0, "constant", 0.0)]
        self.statistics = [("mean", (c,), 0.0), ("variance", (c,), 1.0)]
        return self.shape

    def forward(self, space, x, groups, residual=None):
        layer, ops, c = self.layer, self.ops, self.shape[-1]
        rows, self.groups = prod(x.shape[:-1]), groups
        self.relu = layer.relu or self.fuse
        out = space.result(self, x.shape)
        flat, flat_out = x.reshape(rows, c), out.reshape(rows, c)
        residual = None if residual is None else residual.reshape(rows, c)
        scale, shift = self.p.get("scale"), self.p.get("shift")
        mean, variance = self.running["mean"], self.running["variance"]
        if space.training:
            self.x, self.out = flat, flat_out
            self.mean = space.keep(self, "mean", (groups, c))
            self.inverse = space.keep(self, "inverse", (groups, c))
            ops.batch_norm(flat, groups, scale, shift, layer.eps, flat_out, self.mean, self.inverse, self.relu, residual)
            ops.update_running(self.mean, self.inverse, layer.eps, rows // groups, layer.momentum, mean, variance)
        else:
            ops.batch_norm_inference(flat, mean, variance, scale, shift, layer.eps, flat_out, self.relu, residual)
        return out

    def backward(self, space, d_out, need, d_residual=None):
        """With d_residual, an array for dL/dresidual. dL/dx takes the place of d_out where that may be overwritten."""
        d_x = d_out if space.owns(d_out) else space.take(self, "d_x", d_out.shape)
        flat = d_out.reshape(self.x.shape)
        flat_x = flat if d_x is d_out else d_x.reshape(self.x.shape)
        d_residual = None if d_residual is None else d_residual.reshape(self.x.shape)
        self.ops.batch_norm_backward(
            flat, self.x, self.out, self.groups, self.mean, self.inverse, self.p.get("scale"),
            flat_x, self.d.get("scale"), self.d.get("shift"), self.relu, d_residual,
        )  # fmt: skip
        return d_x


class _Linear(LayerNode):
    """A matrix product of rows, and a bias where there is one."""

    def make(self):
        inputs, outputs = self.shape[-1], integer("outputs", self.layer.outputs, at_least=1)
        law = choice("start", self.layer.start, ("uniform", "normal"))
        size = 1.0 / sqrt(inputs)
        self.segments = [("weight", (inputs, outputs), 1, law, size)]
        if self.layer.bias:
            self.segments.append(("bias", (outputs,), 0, law, size))
        return (*self.shape[:-1], outputs)

    def forward(self, space, x, groups):
        self.x = x
        out = space.result(self, (*x.shape[:-1], self.out_shape[-1]))
        flat = out.reshape(-1, out.shape[-1])
        self.ops.matmul(x.reshape(-1, x.shape[-1]), self.p["weight"], flat)
        if self.layer.bias:
            self.ops.add_bias(flat, self.p["bias"])
        return out

    def backward(self, space, d_out, need):
        flat, x = d_out.reshape(-1, d_out.shape[-1]), self.x.reshape(-1, self.x.shape[-1])
        self.ops.matmul(x, flat, self.d["weight"], transpose_a=True)
        if self.layer.bias:
            self.ops.column_sums(flat, self.d["bias"])
        if not need:
            return None
        d_x = space.take(self, "d_x", self.x.shape)
        self.ops.matmul(flat, self.p["weight"], d_x.reshape(x.shape), transpose_b=True)
        return d_x


class _Readout(_Linear):
    """The product of `_Linear` with a matrix that is 0 outside an output's own units, and whose gradient is."""

    def make(self):
        inputs, outputs = self.shape[-1], integer("outputs", self.layer.outputs, at_least=1)
        choice("readout", self.layer.readout, READOUTS)
        require(inputs % outputs == 0, "outputs", outputs, f"a divisor of {inputs}, the number of units")
        own = np.kron(np.eye(outputs), np.ones((inputs // outputs, 1)))
        self.used = np.ones_like(own) if self.layer.readout == "shared" else own
        sizes = self.used / np.sqrt(self.used[:, 0].sum())
        self.segments = [("weight", own.shape, int(self.layer.readout != "fixed"), "normal", sizes.ravel())]
        return (*self.shape[:-1], outputs)

    def bind_ops(self, ops):
        self.ops = ops
        self.mask = ops.to_device(self.used.astype(str(self.p["weight"].dtype)))

    def backward(self, space, d_out, need):
        slope = self.d["weight"]
        d_x = super().backward(space, d_out, need)
        if self.layer.readout == "fixed":
            self.ops.fill(slope, 0.0)
        elif self.layer.readout == "own":
            self.ops.relu_backward(slope, self.mask, slope)  # what is at places whose mask is above 0
        return d_x


class _Activation(LayerNode):
    """phi of every number."""

    def make(self):
        choice("kind", self.layer.kind, POINTWISE_KINDS)
        return self.shape

    def _pair(self):
        ops = self.ops
        return {
            "relu": (ops.relu, ops.relu_backward),
            "cubic": (ops.cube, ops.cube_backward),
            "relu3": (ops.relu_cube, ops.relu_cube_backward),
        }[self.layer.kind]

    def forward(self, space, x, groups):
        self.x = x
        return self._pair()[0](x, space.result(self, x.shape))

    def backward(self, space, d_out, need):
        d_x = d_out if space.owns(d_out) else space.take(self, "d_x", d_out.shape)
        return self._pair()[1](d_out, self.x, d_x) if need else None


class _MeanPool(LayerNode):
    """The places of a picture summed up, and divided by their number unless `total`."""

    def make(self):
        return self.shape[-1:]

    def forward(self, space, x, groups):
        return self.ops.mean_pool(x, space.result(self, (x.shape[0], *self.out_shape)), self.layer.total)

    def backward(self, space, d_out, need):
        d_x = space.take(self, "d_x", (d_out.shape[0], *self.shape)) if need else None
        return self.ops.mean_pool_backward(d_out, d_x, self.layer.total) if need else None


class _MaxPool(LayerNode):
    """The largest number of every window; the gradient goes to where it was found."""

    def make(self):
        h, w, c = self.shape
        stride = integer("stride", self.layer.stride, at_least=1)
        size = integer("size", self.layer.size, at_least=1, at_most=min(h, w, 15))
        self.layer = replace(self.layer, size=size, stride=stride)
        return ((h - size) // stride + 1, (w - size) // stride + 1, c)

    def forward(self, space, x, groups):
        out = space.result(self, (x.shape[0], *self.out_shape))
        self.argmax = space.keep(self, "argmax", out.shape, "uint8")
        return self.ops.max_pool(x, self.layer.size, self.layer.stride, out, self.argmax)

    def backward(self, space, d_out, need):
        if not need:
            return None
        d_x = space.take(self, "d_x", (d_out.shape[0], *self.shape))
        return self.ops.max_pool_backward(d_out, self.argmax, self.layer.size, self.layer.stride, d_x)


class _Patches(LayerNode):
    """Squares of a picture as rows, for a `Linear` at each."""

    def make(self):
        h, w, c = self.shape
        size = integer("size", self.layer.size, at_least=1, at_most=min(h, w))
        return (h // size, w // size, size * size * c)

    def forward(self, space, x, groups):
        return self.ops.patches(x, self.layer.size, space.result(self, (x.shape[0], *self.out_shape)))

    def backward(self, space, d_out, need):
        d_x = space.take(self, "d_x", (d_out.shape[0], *self.shape)) if need else None
        return self.ops.patches_backward(d_out, self.layer.size, d_x) if need else None


class Chain:
    """Nodes one after the other."""

    def __init__(self, layers, shape, name=""):
        self.nodes: list[Any] = []
        for i, layer in enumerate(layers):
            make: Any = NODES.get(type(layer), getattr(layer, "node", None))
            require(make is not None, "layer", layer, "one of " + ", ".join(kind.__name__ for kind in NODES))
            self.nodes.append(make(layer, shape, f"{name}{i}.{type(layer).__name__.lower()}"))
            shape = self.nodes[-1].out_shape
        self.out_shape = tuple(shape)

    def leaves(self):
        """The nodes that may have parameters, in order."""
        return [leaf for node in self.nodes for leaf in node.leaves()]

    def bind(self, ops):
        """Tell the nodes that only hold others what computes."""
        for node in self.nodes:
            node.bind_ops(ops)

    def forward(self, space, x, groups, last=None):
        """last: further arguments of the last node."""
        for i, node in enumerate(self.nodes):
            more = last if last and i == len(self.nodes) - 1 else {}
            out = node.forward(space, x, groups, **more)
            if i > 0:
                space.done(x)
            x = out
        return x

    def backward(self, space, d_out, need, last=None):
        for i in reversed(range(len(self.nodes))):
            more = last if last and i == len(self.nodes) - 1 else {}
            d_x = self.nodes[i].backward(space, d_out, need or i > 0, **more)
            if d_x is not d_out:
                space.give(d_out)
            d_out = d_x
        return d_out


class _Residual(LayerNode):
    """Two chains added, the relu after the sum fused into the BatchNorm that ends the inner one."""

    def make(self):
        self.inner = Chain(self.layer.inner, self.shape, f"{self.name}.inner.")
        self.shortcut = Chain(self.layer.shortcut, self.shape, f"{self.name}.shortcut.")
        last: Any = self.inner.nodes[-1] if self.inner.nodes else None
        fits = isinstance(last, _BatchNorm) and not last.layer.relu and self.inner.out_shape == self.shortcut.out_shape
        require(fits, "Residual", self.layer, "an inner part ending in BatchNorm(relu=False) and a shortcut of its shape")
        last.fuse = True
        return self.inner.out_shape

    def leaves(self):
        return self.inner.leaves() + self.shortcut.leaves()

    def bind_ops(self, ops):
        self.ops = ops
        self.inner.bind(ops)
        self.shortcut.bind(ops)

    def forward(self, space, x, groups):
        side = self.shortcut.forward(space, x, groups)
        out = self.inner.forward(space, x, groups, {"residual": side})
        if side is not x:
            space.done(side)
        return out

    def backward(self, space, d_out, need):
        d_side = space.take(self, "d_side", d_out.shape)
        d_x = self.inner.backward(space, d_out, need, {"d_residual": d_side})
        d_shortcut = self.shortcut.backward(space, d_side, need)
        if need:
            self.ops.add(d_x, d_shortcut, d_x)
        space.give(d_shortcut)
        return d_x


NODES = {
    Convolution: _Convolution,
    BatchNorm: _BatchNorm,
    Linear: _Linear,
    Readout: _Readout,
    Activation: _Activation,
    MeanPool: _MeanPool,
    MaxPool: _MaxPool,
    Patches: _Patches,
    Residual: _Residual,
}

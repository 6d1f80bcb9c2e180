r"""Layers over time: convolutions in one dimension as products over unfolded frames, and pooling by mean and deviation.

**Frames.** x (n, T, c) -> (n, T', k c), T' = (T - 1)//stride + 1:

    out[i, t, j c + q] = x[i, stride t + (j - k//2) dilation, q],      0 outside of the recording,

so that a `Linear` after it is a convolution with kernel k (Waibel et al. 1989: a time-delay network). Zero is the mean of
standardised features. Its derivative adds each entry of dL/dout to the frame it came from.

**Statistics.** (n, T, c) -> (n, 2 c): mean m and deviation s = sqrt(mean (x - m)^2 + EPS) over time (Snyder et al. 2018).
With d_m, d_s their gradients, dL/dx_t = d_m/T + d_s (x_t - m)/(T s): the sum over t of x_t - m, which would come with
dm/dx, is zero. Both are defined for any T >= 1.

Each recording of a batch is one thread's: the same bits for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from numba import prange

from dynlab.images.networks.nodes import LayerNode
from dynlab.machine import jit
from dynlab.tools.checks import integer, require

EPS = 1e-5


@jit.parallel
def unfold(x, kernel, stride, dilation, out):
    """out (n, T', kernel c) from x (n, T, c)."""
    n, length, c = x.shape
    for i in prange(n):
        for t in range(out.shape[1]):
            for j in range(kernel):
                s = stride * t + (j - kernel // 2) * dilation
                inside = 0 <= s < length
                for q in range(c):
                    out[i, t, j * c + q] = x[i, s, q] if inside else 0
    return out


@jit.parallel
def unfold_backward(d_out, kernel, stride, dilation, d_x):
    """d_x (n, T, c) from d_out (n, T', kernel c)."""
    n, length, c = d_x.shape
    for i in prange(n):
        for s in range(length):
            for q in range(c):
                d_x[i, s, q] = 0
        for t in range(d_out.shape[1]):
            for j in range(kernel):
                s = stride * t + (j - kernel // 2) * dilation
                if 0 <= s < length:
                    for q in range(c):
                        d_x[i, s, q] += d_out[i, t, j * c + q]
    return d_x


@jit.parallel
def statistics_pool(x, out):
    """out (n, 2 c): means, then deviations, of x (n, T, c) over T."""
    n, length, c = x.shape
    for i in prange(n):
        for q in range(2 * c):
            out[i, q] = 0
        for t in range(length):
            for q in range(c):
                out[i, q] += x[i, t, q]
        for q in range(c):
            out[i, q] /= length
        for t in range(length):
            for q in range(c):
                gap = x[i, t, q] - out[i, q]
                out[i, c + q] += gap * gap
        for q in range(c):
            out[i, c + q] = sqrt(out[i, c + q] / length + EPS)
    return out


@jit.parallel
def statistics_pool_backward(d_out, x, out, d_x):
    """d_x (n, T, c) from d_out (n, 2 c), x and what `statistics_pool` made of it."""
    n, length, c = x.shape
    for i in prange(n):
        for t in range(length):
            for q in range(c):
                gap = (x[i, t, q] - out[i, q]) / out[i, c + q]
                d_x[i, t, q] = (d_out[i, q] + d_out[i, c + q] * gap) / length
    return d_x


class _Frames(LayerNode):
    """Unfolds; whatever computes the rest, this is computed here."""

    def make(self):
        require(len(self.shape) == 2, "shape", self.shape, "(frames, channels)")
        layer = self.layer
        self.numbers = tuple(integer(name, getattr(layer, name), at_least=1) for name in ("kernel", "stride", "dilation"))
        length, c = self.shape
        return (length - 1) // layer.stride + 1, layer.kernel * c

    def forward(self, space, x, groups):
        return unfold(x, *self.numbers, space.result(self, (x.shape[0], *self.out_shape)))

    def backward(self, space, d_out, need):
        return (
            unfold_backward(d_out, *self.numbers, space.take(self, "d_x", (d_out.shape[0], *self.shape))) if need else None
        )


class _StatisticsPool(LayerNode):
    """Mean and deviation over time."""

    def make(self):
        require(len(self.shape) == 2, "shape", self.shape, "(frames, channels)")
        return (2 * self.shape[1],)

    def forward(self, space, x, groups):
        self.x, self.out = x, statistics_pool(x, space.result(self, (x.shape[0], *self.out_shape)))
        return self.out

    def backward(self, space, d_out, need):
        d_x = space.take(self, "d_x", self.x.shape) if need else None
        return statistics_pool_backward(d_out, self.x, self.out, d_x) if need else None


@dataclass(frozen=True)
class Frames:
    """(T, c) -> ((T - 1)//stride + 1, kernel c): each frame with those around it."""

    node: ClassVar[Any] = _Frames
    kernel: int = 3
    stride: int = 1
    dilation: int = 1


@dataclass(frozen=True)
class StatisticsPool:
    """(T, c) -> (2 c,): mean and deviation over time."""

    node: ClassVar[Any] = _StatisticsPool

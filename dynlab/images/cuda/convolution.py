"""Convolutions and their two derivatives on a CUDA device: the twin of `dynlab.images.layers.convolution`.

A place of the result and a tap have one place of the picture, or none: tables of places (int32, shared by all layers of one
geometry) make all three functions the products of `products`:

    forward     rows: terms (tap, c_in), taps in their order
    data        rows: for each of stride^2 classes of places the terms (tap, c_out) of the taps that reach it, weights across
    weights     sums: terms are the places, rows (tap, c_in)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dynlab.images.cuda import products
from dynlab.images.cuda.memory import empty, launch, to_device
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda


def output_size(size: int, stride: int) -> int:
    """Rows or columns of the result, for a picture with `size` of them; padding k // 2 makes it the same for all k."""
    return (size - 1) // stride + 1


def _places(count, rows, columns, height, width, stride, offsets, out):
    """out (taps, count): where tap t of place p = (i, y, x) looks in pictures of height x width; -1 outside."""
    at = cuda.grid(1)
    if at < count * offsets.shape[0]:
        t, p = at // count, at % count
        i, y, x = p // (rows * columns), p // columns % rows, p % columns
        v, u = stride * y + offsets[t, 0], stride * x + offsets[t, 1]
        inside = 0 <= v and v < height and 0 <= u and u < width
        out[at] = (i * height + v) * width + u if inside else -1


def _targets(count, rows, columns, height, width, stride, first, second, out):
    """out (count,): place (i, y, x) of a class is (i, stride y + first, stride x + second) of the picture."""
    p = cuda.grid(1)
    if p < count:
        i, y, x = p // (rows * columns), p // columns % rows, p % columns
        out[p] = (i * height + stride * y + first) * width + stride * x + second


places, targets = gpu.kernel()(_places), gpu.kernel()(_targets)


@lru_cache(maxsize=64)
def _table(n, rows, columns, height, width, stride, offsets):
    count = n * rows * columns
    out = empty((max(len(offsets) * count, 1),), np.int32)
    if offsets:
        taps = to_device(np.array(offsets, np.int64))
        launch(places, len(offsets) * count, count, rows, columns, height, width, stride, taps, out)
    return out


@lru_cache(maxsize=64)
def _target_table(n, rows, columns, height, width, stride, first, second):
    out = empty((n * rows * columns,), np.int32)
    launch(targets, n * rows * columns, n * rows * columns, rows, columns, height, width, stride, first, second, out)
    return out


@lru_cache(maxsize=64)
def _taps(numbers):
    return to_device(np.array(numbers if numbers else (0,), np.int32))


class ConvolutionWork:
    """Tables of the three functions for one set of shapes."""

    def __init__(self, x_shape, w_shape, stride):
        (n, h, w, self.c_in), (k, _, _, self.c_out) = x_shape, w_shape
        rows, columns, pad = output_size(h, stride), output_size(w, stride), k // 2
        self.count, self.tap_count = n * rows * columns, k * k
        offsets = tuple((a - pad, b - pad) for a in range(k) for b in range(k))
        self.taps, self.table = _taps(tuple(range(k * k))), _table(n, rows, columns, h, w, stride, offsets)
        self.classes = []  # (places, taps, their number, table, targets)
        if stride == 1:
            # Tap a of the derivative looks where tap k - 1 - a of the convolution does.
            self.classes = [(self.count, _taps(tuple(reversed(range(k * k)))), k * k, self.table, None)]
            return
        for r in range(min(stride, h)):
            for s in range(min(stride, w)):
                reach = [
                    (a, b) for a in range(k) for b in range(k)
                    if (r + pad - a) % stride == 0 and (s + pad - b) % stride == 0
                ]  # fmt: skip
                away = tuple(((r + pad - a) // stride, (s + pad - b) // stride) for a, b in reach)
                own = output_size(h - r, stride), output_size(w - s, stride)
                self.classes.append((
                    n * own[0] * own[1], _taps(tuple(a * k + b for a, b in reach)), len(reach),
                    _table(n, *own, rows, columns, 1, away), _target_table(n, *own, h, w, stride, r, s),
                ))  # fmt: skip


@lru_cache(maxsize=64)
def _work(x_shape, w_shape, stride):
    return ConvolutionWork(x_shape, w_shape, stride)


def convolution_work(x_shape, w_shape, stride, dtype="float32"):
    """Tables for the three functions below, for these shapes; layers of one geometry share them."""
    return _work(tuple(map(int, x_shape)), tuple(map(int, w_shape)), int(stride))


def convolve(x, w, stride, out, work):
    """out = the convolution of x with w."""
    products.rows(x, w, out, work.count, work.c_out, work.c_in, table=work.table, taps=work.taps, tap_count=work.tap_count)
    return out


def convolve_backward_data(d_out, w, stride, d_x, work):
    """d_x = dL/dx from d_out = dL/dout."""
    for count, taps, tap_count, table, target in work.classes:
        products.rows(
            d_out, w, d_x, count, work.c_in, work.c_out, across=True, table=table, taps=taps, tap_count=tap_count,
            targets=target,
        )  # fmt: skip
    return d_x


def convolve_backward_weights(x, d_out, stride, d_w, work):
    """d_w = dL/dw from d_out = dL/dout."""
    products.sums(x, d_out, d_w, work.tap_count * work.c_in, work.c_out, work.c_in, work.count, table=work.table)
    return d_w

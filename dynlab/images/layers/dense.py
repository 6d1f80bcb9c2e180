"""Matrix products and row-wise functions of dense layers, forward and backward in pairs.

Matrices are (rows, columns), rows the samples. All functions fill what they are given and allocate nothing of its size.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import prange

from dynlab.images.layers import products
from dynlab.machine import jit

_ONE_TAP = np.zeros((1, 2), np.int64)


@cache
def _zeros(count, dtype):
    return np.zeros(count, dtype)


def matmul(a, b, out, transpose_a=False, transpose_b=False, accumulate=False):
    """out = op(a) op(b), or out += op(a) op(b), with op the identity or the transpose (of one of the two at most).

    Each entry is a sum in an order of its own, whatever the number of threads (`dynlab.images.layers.products`).
    """
    (rows, terms), (others, outputs) = (a.T if transpose_a else a).shape, (b.T if transpose_b else b).shape
    if terms != others or out.shape != (rows, outputs) or not a.dtype == b.dtype == out.dtype:
        raise ValueError(f"matmul: {a.shape} {a.dtype} and {b.shape} {b.dtype} do not make {out.shape} {out.dtype}")
    if transpose_a and transpose_b:
        raise ValueError("matmul: one transpose at most")
    if accumulate:
        out += matmul(a, b, np.empty_like(out), transpose_a, transpose_b)
        return out
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if not out.flags.c_contiguous:
        out[...] = matmul(a, b, np.empty(out.shape, out.dtype), transpose_a, transpose_b)
        return out
    width = products.panel_width(out.dtype)
    if transpose_a:
        geometry = np.array([1, 1, terms, 1, terms, rows, rows, 1, 1, terms, outputs, 1, 0, 0], np.int64)
        parts = products.parts(rows * outputs, terms)
        aside = np.empty((parts, rows, -(-outputs // width) * width), out.dtype)
        products.accumulate_places(a.reshape(-1), _zeros(rows, out.dtype), geometry, _ONE_TAP, b, aside)
        products.fold(aside, out)
        return out
    return multiply_packed(a, packed(b, transpose_b), out)


class Packed(NamedTuple):
    """A matrix (terms, outputs) as the right side of products, see `products.pack`: of a part of its columns, the first
    panels alone."""

    panels: np.ndarray
    terms: int
    outputs: int

    def first_columns(self, outputs):
        """The first columns as a matrix of their own, in the same memory."""
        width = products.panel_width(self.panels.dtype)
        return Packed(self.panels[: -(-outputs // width) * width * self.terms], self.terms, outputs)

    def columns_turned(self, low, high):
        """The columns low to high - 1 as rows, contiguous."""
        width = products.panel_width(self.panels.dtype)
        some = self.panels.reshape(-1, self.terms, width)[low // width : -(-high // width)]
        turned = some.transpose(0, 2, 1).reshape(-1, self.terms)
        start = low - low // width * width
        return turned[start : start + high - low]


def packed(b, transpose=False):
    """b, or its transpose, as `multiply_packed` takes it: for a matrix that stands on the right of many products."""
    terms, outputs = (b.T if transpose else b).shape
    width = products.panel_width(b.dtype)
    panels = np.empty(-(-outputs // width) * width * terms, b.dtype)
    if transpose:
        products.pack_transposed(b.reshape(1, 1, *b.shape), _ONE_TAP, panels)
    else:
        products.pack(b, panels)
    return Packed(panels, terms, outputs)


def multiply_packed(a, b, out, first=0):
    """out (rows, outputs) = a b, b of `packed`, a the columns first, first + 1, ... of a contiguous matrix: as many as b has
    terms."""
    rows, wide = a.shape
    if first + b.terms > wide or out.shape != (rows, b.outputs) or not a.dtype == b.panels.dtype == out.dtype:
        given = f"{a.shape} {a.dtype} from {first} on and ({b.terms}, {b.outputs}) {b.panels.dtype}"
        raise ValueError(f"multiply_packed: {given} do not make {out.shape} {out.dtype}")
    geometry = np.array([1, 1, rows, 1, rows, wide, b.terms, 1, 1, rows, b.outputs, 1, 0, 0], np.int64)
    source, none = a.reshape(-1)[first:], _zeros(b.terms, out.dtype)
    products.gather_places(source, none, geometry, _ONE_TAP, b.panels, out.reshape(-1))
    return out


def add_bias(x, bias):
    """x (n, c) += bias (c,)."""
    x += bias
    return x


def column_sums(x, out):
    """out (c,) = sums of x (n, c) over its rows."""
    np.sum(x, axis=0, out=out)
    return out


def axpy(a, x, y):
    """y += a x, of one shape; a a number."""
    y += a * x
    return y


def mix(rate, x, y):
    """y <- (1 - rate) y + rate x: one step of a moving average."""
    y *= 1.0 - rate
    y += rate * x
    return y


def unit_length(x, out, lengths):
    """out = x / |x| by rows, lengths (n,) = |x|; a row of zeros stays zero.

    Squares are of x over the largest entry of its row, so that none is too large or too small for a number.
    """
    _unit_length(x, out, lengths)
    return out


@jit.parallel
def _unit_length(x, out, lengths):
    for i in prange(x.shape[0]):
        top = 0.0
        for j in range(x.shape[1]):
            top = max(top, abs(np.float64(x[i, j])))
        top = top if top > 0.0 else 1.0
        total = 0.0
        for j in range(x.shape[1]):
            share = x[i, j] / top
            total += share * share
        length = np.sqrt(total)
        inverse = 1.0 / length if length > 0.0 else 1.0
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] / top * inverse
        lengths[i] = top * length


def unit_length_backward(d_out, out, lengths, d_x):
    """dL/dx of `unit_length`: the part of dL/d_out across out, divided by the length; 0 for a row of zeros."""
    _unit_length_backward(d_out, out, lengths, d_x)
    return d_x


@jit.kernel
def _unit_length_backward(d_out, out, lengths, d_x):
    for i in range(out.shape[0]):
        along = 0.0
        for j in range(out.shape[1]):
            along += np.float64(d_out[i, j]) * out[i, j]
        length = np.float64(lengths[i])
        inverse = 0.0 if length == 0.0 else 1.0 / length
        for j in range(out.shape[1]):
            d_x[i, j] = (d_out[i, j] - along * out[i, j]) * inverse

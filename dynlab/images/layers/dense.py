"""Matrix products and row-wise functions of dense layers, forward and backward in pairs.

Matrices are (rows, columns), rows the samples. All functions fill what they are given and allocate nothing of its size.
"""

from __future__ import annotations

import numpy as np


def matmul(a, b, out, transpose_a=False, transpose_b=False, accumulate=False):
    """out = op(a) op(b), or out += op(a) op(b), with op the identity or the transpose."""
    left = a.T if transpose_a else a
    right = b.T if transpose_b else b
    if accumulate:
        out += left @ right
    else:
        np.matmul(left, right, out=out)
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
    """out = x / |x| by rows, lengths (n,) = |x|; a row of zeros stays zero."""
    np.sqrt(np.einsum("ij,ij->i", x, x), out=lengths)
    np.divide(x, np.where(lengths > 0.0, lengths, 1.0)[:, None], out=out)
    return out


def unit_length_backward(d_out, out, lengths, d_x):
    """dL/dx of `unit_length`: the part of dL/d_out across out, divided by the length; 0 for a row of zeros."""
    along = np.einsum("ij,ij->i", d_out, out)
    np.multiply(out, -along[:, None], out=d_x)
    d_x += d_out
    d_x *= np.where(lengths > 0.0, 1.0 / np.where(lengths > 0.0, lengths, 1.0), 0.0)[:, None]
    return d_x

"""Sums, means and maxima over places of a picture, and cutting it into patches."""

from __future__ import annotations

import numpy as np


def mean_pool(x, out, total=False):
    """out (n, c) = means (or sums: total) of x (n, h, w, c) over the places."""
    np.sum(x, axis=(1, 2), out=out)
    if not total:
        out /= x.shape[1] * x.shape[2]
    return out


def mean_pool_backward(d_out, d_x, total=False):
    """d_x (n, h, w, c) from d_out (n, c)."""
    d_x[...] = d_out[:, None, None, :]
    if not total:
        d_x /= d_x.shape[1] * d_x.shape[2]
    return d_x


def max_pool(x, size, stride, out, argmax):
    """out (n, h', w', c) = maxima over windows of size x size, h' = (h - size) // stride + 1.

    argmax, uint8 and shaped like out: which place of the window it was, row by row; of equal ones the first.
    """
    n, height, width, _ = out.shape
    for k in range(size * size):
        a, b = divmod(k, size)
        part = x[:, a : a + (height - 1) * stride + 1 : stride, b : b + (width - 1) * stride + 1 : stride]
        if k == 0:
            out[...] = part
            argmax[...] = 0
        else:
            larger = part > out
            argmax[larger] = k
            np.copyto(out, part, where=larger)
    return out


def max_pool_backward(d_out, argmax, size, stride, d_x):
    """d_x (n, h, w, c): each d_out goes to where its maximum was."""
    n, height, width, _ = d_out.shape
    d_x[...] = 0.0
    for k in range(size * size):
        a, b = divmod(k, size)
        part = d_x[:, a : a + (height - 1) * stride + 1 : stride, b : b + (width - 1) * stride + 1 : stride]
        part += d_out * (argmax == k)
    return d_x


def patches(x, size, out):
    """out (n, h // size, w // size, size * size * c): x cut into squares that do not overlap; a rest is left out."""
    n, rows, columns, _ = out.shape
    squares = x[:, : rows * size, : columns * size].reshape(n, rows, size, columns, size, x.shape[3])
    out.reshape(n, rows, columns, size, size, x.shape[3])[...] = squares.transpose(0, 1, 3, 2, 4, 5)
    return out


def patches_backward(d_out, size, d_x):
    """d_x (n, h, w, c): each entry back where it was; 0 in the rest."""
    n, rows, columns, _ = d_out.shape
    d_x[...] = 0.0
    for a in range(size):
        for b in range(size):
            first = (a * size + b) * d_x.shape[3]
            d_x[:, a : rows * size : size, b : columns * size : size] = d_out[..., first : first + d_x.shape[3]]
    return d_x

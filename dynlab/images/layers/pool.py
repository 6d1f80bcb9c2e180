"""Sums, means and maxima over places of a picture, and cutting it into patches."""

from __future__ import annotations

import numpy as np
from numba import prange

from dynlab.machine import jit


@jit.parallel
def _mean_pool(x, out, factor):
    n, height, width, c = x.shape
    for i in prange(n):
        for k in range(c):
            out[i, k] = 0
        for a in range(height):
            for b in range(width):
                for k in range(c):
                    out[i, k] += x[i, a, b, k]
        for k in range(c):
            out[i, k] *= factor


@jit.parallel
def _mean_pool_backward(d_out, d_x, factor):
    n, height, width, c = d_x.shape
    for i in prange(n):
        for a in range(height):
            for b in range(width):
                for k in range(c):
                    d_x[i, a, b, k] = d_out[i, k] * factor


def _factor(x, total):
    return x.dtype.type(1.0 if total else 1.0 / (x.shape[1] * x.shape[2]))


def mean_pool(x, out, total=False):
    """out (n, c) = means (or sums: total) of x (n, h, w, c) over the places."""
    _mean_pool(x, out, _factor(x, total))
    return out


def mean_pool_backward(d_out, d_x, total=False):
    """d_x (n, h, w, c) from d_out (n, c)."""
    _mean_pool_backward(d_out, d_x, _factor(d_x, total))
    return d_x


@jit.parallel
def max_pool(x, size, stride, out, argmax):
    """out (n, h', w', c) = maxima over windows of size x size, h' = (h - size) // stride + 1.

    argmax, uint8 and shaped like out: which place of the window it was, row by row; of equal ones the first. A value that
    is not a number counts as the largest.
    """
    n, height, width, c = out.shape
    for i in prange(n):
        for y in range(height):
            for z in range(width):
                for k in range(c):
                    best, where = x[i, y * stride, z * stride, k], 0
                    for p in range(1, size * size):
                        value = x[i, y * stride + p // size, z * stride + p % size, k]
                        if value > best or (value != value and best == best):
                            best, where = value, p
                    out[i, y, z, k] = best
                    argmax[i, y, z, k] = where
    return out


@jit.parallel
def max_pool_backward(d_out, argmax, size, stride, d_x):
    """d_x (n, h, w, c): each d_out goes to where its maximum was."""
    n, height, width, c = d_out.shape
    for i in prange(n):
        for y in range(d_x.shape[1]):
            for z in range(d_x.shape[2]):
                for k in range(c):
                    d_x[i, y, z, k] = 0
        for y in range(height):
            for z in range(width):
                for k in range(c):
                    p = np.int64(argmax[i, y, z, k])
                    d_x[i, y * stride + p // size, z * stride + p % size, k] += d_out[i, y, z, k]
    return d_x


@jit.parallel
def patches(x, size, out):
    """out (n, h // size, w // size, size * size * c): x cut into squares that do not overlap; a rest is left out."""
    n, rows, columns, _ = out.shape
    c = x.shape[3]
    for i in prange(n):
        for y in range(rows):
            for z in range(columns):
                for a in range(size):
                    for k in range(size * c):
                        out[i, y, z, a * size * c + k] = x[i, y * size + a, z * size + k // c, k % c]
    return out


@jit.parallel
def patches_backward(d_out, size, d_x):
    """d_x (n, h, w, c): each entry back where it was; 0 in the rest."""
    n, rows, columns, _ = d_out.shape
    c = d_x.shape[3]
    for i in prange(n):
        for y in range(d_x.shape[1]):
            for z in range(d_x.shape[2]):
                for k in range(c):
                    inside = y // size < rows and z // size < columns
                    place = (y % size * size + z % size) * c + k
                    d_x[i, y, z, k] = d_out[i, y // size, z // size, place] if inside else 0
    return d_x

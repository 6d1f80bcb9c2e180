"""Sums, means and maxima over places, and patches, on a CUDA device: the twin of `dynlab.images.layers.pool`.

A thread a number of the result (backward: of the gradient by the picture, which gathers what reaches it).
"""

from __future__ import annotations

from dynlab.images.cuda.memory import launch
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda


def _mean_pool(x, out, factor):
    at = cuda.grid(1)
    n, height, width, c = x.shape
    if at < n * c:
        i, k = at // c, at % c
        total = x.dtype.type(0)
        for a in range(height):
            for b in range(width):
                total += x[i, a, b, k]
        out[i, k] = total * factor


def _mean_pool_backward(d_out, d_x, factor):
    at = cuda.grid(1)
    n, height, width, c = d_x.shape
    if at < n * height * width * c:
        k, place = at % c, at // c
        d_x[place // (height * width), place // width % height, place % width, k] = (
            d_out[place // (height * width), k] * factor
        )


def _max_pool(x, size, stride, out, argmax):
    at = cuda.grid(1)
    n, height, width, c = out.shape
    if at < n * height * width * c:
        k, z, y = at % c, at // c % width, at // (c * width) % height
        i = at // (c * width * height)
        best, where = x[i, y * stride, z * stride, k], 0
        for p in range(1, size * size):
            value = x[i, y * stride + p // size, z * stride + p % size, k]
            if value > best or (value != value and best == best):
                best, where = value, p
        out[i, y, z, k] = best
        argmax[i, y, z, k] = where


def _max_pool_backward(d_out, argmax, size, stride, d_x):
    """Windows that hold a place, in their order: those whose maximum it was."""
    at = cuda.grid(1)
    n, height, width, c = d_x.shape
    if at < n * height * width * c:
        k, z, y = at % c, at // c % width, at // (c * width) % height
        i = at // (c * width * height)
        total = d_x.dtype.type(0)
        for v in range(max(0, (y - size) // stride + 1), min(d_out.shape[1], y // stride + 1)):
            for u in range(max(0, (z - size) // stride + 1), min(d_out.shape[2], z // stride + 1)):
                if argmax[i, v, u, k] == (y - v * stride) * size + z - u * stride:
                    total += d_out[i, v, u, k]
        d_x[i, y, z, k] = total


def _patches(x, size, out):
    at = cuda.grid(1)
    n, rows, columns, length = out.shape
    c = x.shape[3]
    if at < n * rows * columns * length:
        k, z, y = at % length, at // length % columns, at // (length * columns) % rows
        i = at // (length * columns * rows)
        out[i, y, z, k] = x[i, y * size + k // (size * c), z * size + k // c % size, k % c]


def _patches_backward(d_out, size, d_x):
    at = cuda.grid(1)
    n, height, width, c = d_x.shape
    if at < n * height * width * c:
        k, z, y = at % c, at // c % width, at // (c * width) % height
        i = at // (c * width * height)
        value = d_x.dtype.type(0)
        if y // size < d_out.shape[1] and z // size < d_out.shape[2]:
            value = d_out[i, y // size, z // size, (y % size * size + z % size) * c + k]
        d_x[i, y, z, k] = value


_kernel = gpu.kernel()
mean_pool_kernel, mean_pool_back, max_pool_kernel, max_pool_back, patches_kernel, patches_back = (
    _kernel(f) for f in (_mean_pool, _mean_pool_backward, _max_pool, _max_pool_backward, _patches, _patches_backward)
)


def _factor(x, total):
    return x.dtype.type(1.0 if total else 1.0 / (x.shape[1] * x.shape[2]))


def mean_pool(x, out, total=False):
    """out (n, c) = means (or sums: total) of x (n, h, w, c) over the places."""
    launch(mean_pool_kernel, out.size, x, out, _factor(x, total))
    return out


def mean_pool_backward(d_out, d_x, total=False):
    """d_x (n, h, w, c) from d_out (n, c)."""
    launch(mean_pool_back, d_x.size, d_out, d_x, _factor(d_x, total))
    return d_x


def max_pool(x, size, stride, out, argmax):
    """out (n, h', w', c) = maxima over windows of size x size, h' = (h - size) // stride + 1.

    argmax, uint8 and shaped like out: which place of the window it was, row by row; of equal ones the first. A value that
    is not a number counts as the largest.
    """
    launch(max_pool_kernel, out.size, x, size, stride, out, argmax)
    return out


def max_pool_backward(d_out, argmax, size, stride, d_x):
    """d_x (n, h, w, c): each d_out goes to where its maximum was."""
    launch(max_pool_back, d_x.size, d_out, argmax, size, stride, d_x)
    return d_x


def patches(x, size, out):
    """out (n, h // size, w // size, size * size * c): x cut into squares that do not overlap; a rest is left out."""
    launch(patches_kernel, out.size, x, size, out)
    return out


def patches_backward(d_out, size, d_x):
    """d_x (n, h, w, c): each entry back where it was; 0 in the rest."""
    launch(patches_back, d_x.size, d_out, size, d_x)
    return d_x

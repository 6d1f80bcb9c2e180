"""Batch normalisation of (rows, c): each of `groups` consecutive parts of the rows by its own mean and variance.

    out = [relu](scale (x - mean) inverse + shift [+ residual]),      inverse = 1 / sqrt(variance + eps),

variance the biased one (Ioffe & Szegedy 2015). scale and shift may be None: no affine map.

Sums over rows are made in chunks, whose size depends on the shape alone, and added in order in float64. A chunk's squares
are about its own mean; chunks are put together after Chan, Golub & LeVeque (1983), so nothing cancels where a mean is large
against its deviation. Squares that are no numbers of x's type (deviations beyond 1e19 or below 1e-15 in float32) are made in
float64.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from dynlab.machine import jit

SMALL, LARGE = 1e-30, 1e37  # mean and sum of squares between which single precision holds all squares that matter
NUMBERS = 16384  # of a chunk, about: it stays in the processor's nearest caches


@jit.inner
def _chunk_rows(rows, c):
    """Rows of a chunk: a multiple of 4."""
    return min(max(NUMBERS // c // 4 * 4, 4), (rows + 3) // 4 * 4)


@jit.inner
def _moments(x, low, high, mean, square):
    """Means over the rows low ... high - 1, and the sums of squares about them; (c,) each."""
    c = x.shape[1]
    for k in range(c):
        mean[k] = 0
        square[k] = 0
    whole = low + (high - low) // 4 * 4
    for r in range(low, whole, 4):
        for k in range(c):
            mean[k] += (x[r, k] + x[r + 1, k]) + (x[r + 2, k] + x[r + 3, k])
    for r in range(whole, high):
        for k in range(c):
            mean[k] += x[r, k]
    for k in range(c):
        mean[k] /= x.dtype.type(high - low)
    for r in range(low, whole, 4):
        for k in range(c):
            m = mean[k]
            a, b, d, e = x[r, k] - m, x[r + 1, k] - m, x[r + 2, k] - m, x[r + 3, k] - m
            square[k] += (a * a + b * b) + (d * d + e * e)
    for r in range(whole, high):
        for k in range(c):
            a = x[r, k] - mean[k]
            square[k] += a * a
    _again(x, low, high, mean, square)


@jit.inner
def _again(x, low, high, mean, square):
    """The sums of squares in float64 of those columns where a square may have been too large or too small for x's type."""
    for k in range(x.shape[1]):
        if not SMALL * (high - low) < square[k] < LARGE:
            total = 0.0
            for r in range(low, high):
                away = np.float64(x[r, k]) - mean[k]
                total += away * away
            square[k] = total


@jit.inner
def _together(means, squares, rows, chunk, eps, mean, inverse):
    """Mean and 1 / sqrt(variance + eps) of one group from those of its chunks (chunks, c)."""
    chunks, c = means.shape
    for k in range(c):
        total = 0.0
        for j in range(chunks):
            total += min(chunk, rows - j * chunk) * np.float64(means[j, k])
        middle = total / rows
        spread = 0.0
        for j in range(chunks):
            away = np.float64(means[j, k]) - middle
            spread += np.float64(squares[j, k]) + min(chunk, rows - j * chunk) * away * away
        mean[k] = middle
        inverse[k] = 1.0 / np.sqrt(spread / rows + eps)


@jit.inner
def _apply(x, low, high, mean, factor, shift, out, relu, residual, add):
    """Rows low ... high - 1 of out = [relu]((x - mean) factor + shift [+ residual])."""
    c = x.shape[1]
    zero = x.dtype.type(0)
    if add and relu:
        for r in range(low, high):
            for k in range(c):
                y = (x[r, k] - mean[k]) * factor[k] + shift[k] + residual[r, k]
                out[r, k] = zero if y <= zero else y
    elif relu:
        for r in range(low, high):
            for k in range(c):
                y = (x[r, k] - mean[k]) * factor[k] + shift[k]
                out[r, k] = zero if y <= zero else y
    elif add:
        for r in range(low, high):
            for k in range(c):
                out[r, k] = (x[r, k] - mean[k]) * factor[k] + shift[k] + residual[r, k]
    else:
        for r in range(low, high):
            for k in range(c):
                out[r, k] = (x[r, k] - mean[k]) * factor[k] + shift[k]


@jit.parallel
def _forward(x, groups, scale, shift, eps, out, mean, inverse, relu, residual, add):
    rows, c = x.shape[0] // groups, x.shape[1]
    chunk = _chunk_rows(rows, c)
    chunks = (rows + chunk - 1) // chunk
    means, squares = np.empty((groups * chunks, c), x.dtype), np.empty((groups * chunks, c))
    factor = np.empty((groups, c), x.dtype)
    for task in prange(groups * chunks):
        start = task // chunks * rows
        low, high = start + task % chunks * chunk, start + min((task % chunks + 1) * chunk, rows)
        _moments(x, low, high, means[task], squares[task])
    for g in range(groups):
        part = slice(g * chunks, (g + 1) * chunks)
        _together(means[part], squares[part], rows, chunk, eps, mean[g], inverse[g])
        for k in range(c):
            factor[g, k] = inverse[g, k] * scale[k]
    for task in prange(groups * chunks):
        g = task // chunks
        low, high = g * rows + task % chunks * chunk, g * rows + min((task % chunks + 1) * chunk, rows)
        _apply(x, low, high, mean[g], factor[g], shift, out, relu, residual, add)


@jit.parallel
def _inference(x, mean, factor, shift, out, relu, residual, add):
    chunk = _chunk_rows(x.shape[0], x.shape[1])
    for task in prange((x.shape[0] + chunk - 1) // chunk):
        _apply(x, task * chunk, min((task + 1) * chunk, x.shape[0]), mean, factor, shift, out, relu, residual, add)


@jit.inner
def _backward_sums(d_out, x, out, low, high, mean, relu, total, along):
    """Sums over rows of g and of g (x - mean), with g = d_out where out > 0, or everywhere; (c,) each."""
    c = x.shape[1]
    zero = x.dtype.type(0)
    for k in range(c):
        total[k] = 0
        along[k] = 0
    whole = low + (high - low) // 2 * 2
    for r in range(low, whole, 2):
        if relu:
            for k in range(c):
                a = d_out[r, k] if out[r, k] > zero else zero
                b = d_out[r + 1, k] if out[r + 1, k] > zero else zero
                total[k] += a + b
                along[k] += a * (x[r, k] - mean[k]) + b * (x[r + 1, k] - mean[k])
        else:
            for k in range(c):
                a, b = d_out[r, k], d_out[r + 1, k]
                total[k] += a + b
                along[k] += a * (x[r, k] - mean[k]) + b * (x[r + 1, k] - mean[k])
    for r in range(whole, high):
        for k in range(c):
            a = zero if relu and not out[r, k] > zero else d_out[r, k]
            total[k] += a
            along[k] += a * (x[r, k] - mean[k])


@jit.inner
def _backward_rows(d_out, x, out, low, high, mean, factor, middle, slope, d_x, d_residual, how):
    """d_x = factor (g - middle - (x - mean) slope), d_residual = g.

    how: relu, add (whether there is a residual), same (whether d_x is d_out). That is spelt out, as loops whose arrays may
    overlap are not vectorised.
    """
    relu, add, same = how
    c = x.shape[1]
    zero = x.dtype.type(0)
    for r in range(low, high):
        if add:
            for k in range(c):
                d_residual[r, k] = zero if relu and not out[r, k] > zero else d_out[r, k]
            for k in range(c):
                d_x[r, k] = factor[k] * (d_residual[r, k] - middle[k] - (x[r, k] - mean[k]) * slope[k])
        elif relu and same:
            for k in range(c):
                g = d_x[r, k] if out[r, k] > zero else zero
                d_x[r, k] = factor[k] * (g - middle[k] - (x[r, k] - mean[k]) * slope[k])
        elif relu:
            for k in range(c):
                g = d_out[r, k] if out[r, k] > zero else zero
                d_x[r, k] = factor[k] * (g - middle[k] - (x[r, k] - mean[k]) * slope[k])
        elif same:
            for k in range(c):
                d_x[r, k] = factor[k] * (d_x[r, k] - middle[k] - (x[r, k] - mean[k]) * slope[k])
        else:
            for k in range(c):
                d_x[r, k] = factor[k] * (d_out[r, k] - middle[k] - (x[r, k] - mean[k]) * slope[k])


@jit.parallel
def _backward(d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, d_residual, how):
    rows, c = x.shape[0] // groups, x.shape[1]
    chunk = _chunk_rows(rows, c)
    chunks = (rows + chunk - 1) // chunk
    totals, alongs = np.empty((groups * chunks, c), x.dtype), np.empty((groups * chunks, c), x.dtype)
    middle, slope, factor = np.empty((groups, c), x.dtype), np.empty((groups, c), x.dtype), np.empty((groups, c), x.dtype)
    for task in prange(groups * chunks):
        g = task // chunks
        low, high = g * rows + task % chunks * chunk, g * rows + min((task % chunks + 1) * chunk, rows)
        _backward_sums(d_out, x, out, low, high, mean[g], how[0], totals[task], alongs[task])
    for k in range(c):
        all_total, all_along = 0.0, 0.0
        for g in range(groups):
            total, along = 0.0, 0.0
            for j in range(g * chunks, (g + 1) * chunks):
                total += totals[j, k]
                along += alongs[j, k]
            along *= inverse[g, k]
            all_total += total
            all_along += along
            middle[g, k] = total / rows
            slope[g, k] = along / rows * inverse[g, k]
            factor[g, k] = inverse[g, k] * scale[k]
        d_scale[k] = all_along
        d_shift[k] = all_total
    for task in prange(groups * chunks):
        g = task // chunks
        low, high = g * rows + task % chunks * chunk, g * rows + min((task % chunks + 1) * chunk, rows)
        _backward_rows(d_out, x, out, low, high, mean[g], factor[g], middle[g], slope[g], d_x, d_residual, how)


def _or(array, x, value):
    """The array, or where it is None (c,) times a value."""
    return np.full(x.shape[1], value, x.dtype) if array is None else array


def batch_norm(x, groups, scale, shift, eps, out, mean, inverse, relu=False, residual=None):
    """out (rows, c), and the statistics mean and inverse (groups, c)."""
    scale, shift, add = _or(scale, x, 1), _or(shift, x, 0), residual is not None
    _forward(x, groups, scale, shift, eps, out, mean, inverse, relu, residual if add else x, add)
    return out


def batch_norm_backward(d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, relu=False, d_residual=None):
    """d_x = dL/dx, d_scale and d_shift (c,) and d_residual from d_out = dL/dout; d_x may be d_out, the very same array.

    With g = d_out where out > 0 (all of it without relu) and y = (x - mean) inverse: d_shift = sum g, d_scale = sum g y,
    d_x = scale inverse (g - mean(g) - y mean(g y)), d_residual = g. d_scale and d_shift are None without an affine map.
    """
    scale, d_scale, d_shift, add = _or(scale, x, 1), _or(d_scale, x, 0), _or(d_shift, x, 0), d_residual is not None
    aside = d_residual if add else out
    how = relu, add, d_x is d_out
    _backward(d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, aside, how)
    return d_x


def batch_norm_inference(x, mean, variance, scale, shift, eps, out, relu=False, residual=None):
    """The same map with given statistics, mean and variance (c,)."""
    factor = (_or(scale, x, 1) / np.sqrt(variance + eps)).astype(x.dtype)
    add = residual is not None
    _inference(x, mean, factor, _or(shift, x, 0), out, relu, residual if add else x, add)
    return out


@jit.kernel
def update_running(mean, inverse, eps, rows, momentum, running_mean, running_variance):
    """Move the running statistics (c,) by `momentum` towards those of each group in turn; rows: those of one group.

    The variance is unbiased here: rows / (rows - 1) of the one that normalises.
    """
    for g in range(mean.shape[0]):
        for k in range(mean.shape[1]):
            variance = (1.0 / np.float64(inverse[g, k]) ** 2 - eps) * (rows / max(rows - 1, 1))
            running_mean[k] += momentum * (mean[g, k] - running_mean[k])
            running_variance[k] += momentum * (variance - running_variance[k])

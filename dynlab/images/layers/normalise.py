"""Batch normalisation of (rows, c): each of `groups` consecutive parts of the rows by its own mean and variance.

    out = [relu](scale (x - mean) inverse + shift [+ residual]),      inverse = 1 / sqrt(variance + eps),

variance the biased one (Ioffe & Szegedy 2015). scale and shift may be None: no affine map.
"""

from __future__ import annotations

import numpy as np


def _affine(x, mean, inverse, scale, shift, out, relu, residual):
    np.subtract(x, mean, out=out)
    out *= inverse if scale is None else inverse * scale
    if shift is not None:
        out += shift
    if residual is not None:
        out += residual
    if relu:
        np.maximum(out, 0.0, out=out)


def batch_norm(x, groups, scale, shift, eps, out, mean, inverse, relu=False, residual=None):
    """out (rows, c), and the statistics mean and inverse (groups, c)."""
    rows = x.shape[0] // groups
    for g in range(groups):
        part = slice(g * rows, (g + 1) * rows)
        mean[g] = x[part].mean(axis=0, dtype=np.float64)
        inverse[g] = 1.0 / np.sqrt(x[part].var(axis=0, dtype=np.float64) + eps)
        _affine(
            x[part], mean[g], inverse[g], scale, shift, out[part], relu, None if residual is None else residual[part]
        )
    return out


def batch_norm_backward(
    d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, relu=False, d_residual=None
):
    """d_x = dL/dx, d_scale and d_shift (c,) and d_residual from d_out = dL/dout; d_x may be d_out itself.

    With g = d_out where out > 0 (all of it without relu) and y = (x - mean) inverse: d_shift = sum g, d_scale = sum g y,
    d_x = scale inverse (g - mean(g) - y mean(g y)), d_residual = g. d_scale and d_shift are None without an affine map.
    """
    rows = x.shape[0] // groups
    if d_scale is not None:
        d_scale[...] = 0.0
        d_shift[...] = 0.0
    for i in range(groups):
        part = slice(i * rows, (i + 1) * rows)
        g = np.where(out[part] > 0.0, d_out[part], 0.0) if relu else d_out[part].copy()
        y = (x[part] - mean[i]) * inverse[i]
        total, along = g.sum(axis=0), (g * y).sum(axis=0)
        if d_scale is not None:
            d_scale += along
            d_shift += total
        if d_residual is not None:
            d_residual[part] = g
        factor = inverse[i] if scale is None else inverse[i] * scale
        d_x[part] = factor * (g - total / rows - y * (along / rows))
    return d_x


def batch_norm_inference(x, mean, variance, scale, shift, eps, out, relu=False, residual=None):
    """The same map with given statistics, mean and variance (c,)."""
    inverse = (1.0 / np.sqrt(variance + eps)).astype(x.dtype)
    _affine(x, mean, inverse, scale, shift, out, relu, residual)
    return out


def update_running(mean, inverse, eps, rows, momentum, running_mean, running_variance):
    """Move the running statistics (c,) by `momentum` towards those of each group in turn; rows: those of one group.

    The variance is unbiased here: rows / (rows - 1) of the one that normalises.
    """
    for g in range(mean.shape[0]):
        variance = (1.0 / (inverse[g] * inverse[g]) - eps) * (rows / max(rows - 1, 1))
        running_mean += momentum * (mean[g] - running_mean)
        running_variance += momentum * (variance - running_variance)

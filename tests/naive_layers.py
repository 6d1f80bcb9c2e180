"""Layers as loops over places and channels: shares no code with dynlab and imports nothing of it."""

import numpy as np


def size_after(size, stride):
    return len(range(0, size, stride))


def taps(h, w, k, stride):
    """(y, x, a, b, row, column): which entry of the picture meets tap (a, b) at place (y, x); those inside only."""
    for y in range(size_after(h, stride)):
        for x in range(size_after(w, stride)):
            for a in range(k):
                for b in range(k):
                    row, column = stride * y + a - k // 2, stride * x + b - k // 2
                    if 0 <= row < h and 0 <= column < w:
                        yield y, x, a, b, row, column


def convolve(x, w, stride):
    n, h, width, _ = x.shape
    out = np.zeros((n, size_after(h, stride), size_after(width, stride), w.shape[3]))
    for i in range(n):
        for y, z, a, b, row, column in taps(h, width, w.shape[0], stride):
            out[i, y, z] += x[i, row, column].astype(float) @ w[a, b].astype(float)
    return out


def convolve_gradients(x, w, d_out, stride):
    """dL/dx, dL/dw."""
    n, h, width, _ = x.shape
    d_x, d_w = np.zeros(x.shape), np.zeros(w.shape)
    for i in range(n):
        for y, z, a, b, row, column in taps(h, width, w.shape[0], stride):
            d_x[i, row, column] += w[a, b].astype(float) @ d_out[i, y, z].astype(float)
            d_w[a, b] += np.outer(x[i, row, column].astype(float), d_out[i, y, z].astype(float))
    return d_x, d_w


def batch_norm(x, groups, scale, shift, eps, relu, residual):
    """out, mean, variance (groups, c), channel by channel."""
    rows, c = x.shape
    out, means, variances = np.zeros((rows, c)), np.zeros((groups, c)), np.zeros((groups, c))
    part = rows // groups
    for g in range(groups):
        for k in range(c):
            values = [float(x[r, k]) for r in range(g * part, (g + 1) * part)]
            mean = sum(values) / part
            variance = sum((v - mean) ** 2 for v in values) / part
            means[g, k], variances[g, k] = mean, variance
            for j, value in enumerate(values):
                r = g * part + j
                y = (value - mean) / (variance + eps) ** 0.5
                y = y if scale is None else float(scale[k]) * y + float(shift[k])
                y += 0.0 if residual is None else float(residual[r, k])
                out[r, k] = max(y, 0.0) if relu else y
    return out, means, variances


def max_pool(x, size, stride):
    n, h, w, c = x.shape
    out = np.zeros((n, (h - size) // stride + 1, (w - size) // stride + 1, c))
    for place in np.ndindex(out.shape):
        i, y, z, k = place
        out[place] = max(x[i, y * stride + a, z * stride + b, k] for a in range(size) for b in range(size))
    return out


def patch_features(x, w, size, phi):
    """f_j = sum over squares of phi(<w_j, square>)."""
    out = np.zeros((len(x), w.shape[1]))
    for i in range(len(x)):
        for y in range(x.shape[1] // size):
            for z in range(x.shape[2] // size):
                square = x[i, y * size : (y + 1) * size, z * size : (z + 1) * size].reshape(-1)
                for j in range(w.shape[1]):
                    out[i, j] += phi(float(square @ w[:, j]))
    return out


def hidden_features(x, w, a, size, phi):
    """f_j = sum over units h of a[j, h] times the sum over squares of phi(<w_h, square>); any numbers, complex ones too."""
    out = np.zeros((len(x), len(a)), complex)
    for i in range(len(x)):
        for y in range(x.shape[1] // size):
            for z in range(x.shape[2] // size):
                square = x[i, y * size : (y + 1) * size, z * size : (z + 1) * size].reshape(-1)
                for j in range(len(a)):
                    for h in range(w.shape[1]):
                        out[i, j] += a[j, h] * phi(complex(square @ w[:, h]))
    return out

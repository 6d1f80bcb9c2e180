"""Convolutions with square kernels of 1 or 3, padding k // 2, and their two derivatives.

Images are (n, h, w, c_in), weights (k, k, c_in, c_out), results (n, h', w', c_out) with h' = (h - 1) // stride + 1:

    out[i, y, x, o] = sum_{a, b, c} x[i, stride y + a - k // 2, stride x + b - k // 2, c] w[a, b, c, o],

terms outside of the picture being zero.
"""

from __future__ import annotations

import numpy as np


def output_size(size: int, stride: int) -> int:
    """Rows or columns of the result, for a picture with `size` of them; padding k // 2 makes it the same for all k."""
    return (size - 1) // stride + 1


def _windows(shape, k, stride):
    """For each tap (a, b): slices of the result, and of the picture, that meet there."""
    _, height, width, _ = shape
    pad = k // 2
    for a in range(k):
        for b in range(k):
            spans = []
            for size, tap in ((height, a - pad), (width, b - pad)):
                first = -(-max(0, -tap) // stride)
                last = min(output_size(size, stride), (size - 1 - tap) // stride + 1)
                spans.append((slice(first, last), slice(first * stride + tap, (last - 1) * stride + tap + 1, stride)))
            yield a, b, spans[0], spans[1]


def convolution_work(x_shape, w_shape, stride, dtype="float32"):
    """Scratch for the three functions below, for these shapes."""
    n, h, w, _ = x_shape
    k, _, c_in, _ = w_shape
    return np.zeros((n, output_size(h, stride), output_size(w, stride), k * k * c_in), dtype)


def _columns(x, w, stride, work):
    c = x.shape[3]
    k = w.shape[0]
    work[...] = 0.0
    for a, b, (rows, source_rows), (columns, source_columns) in _windows(x.shape, k, stride):
        work[:, rows, columns, (a * k + b) * c : (a * k + b + 1) * c] = x[:, source_rows, source_columns]
    return work.reshape(-1, k * k * c)


def convolve(x, w, stride, out, work):
    """out = the convolution of x with w."""
    np.matmul(_columns(x, w, stride, work), w.reshape(-1, w.shape[3]), out=out.reshape(-1, w.shape[3]))
    return out


def convolve_backward_data(d_out, w, stride, d_x, work):
    """d_x = dL/dx from d_out = dL/dout."""
    k, _, c, outputs = w.shape
    np.matmul(d_out.reshape(-1, outputs), w.reshape(-1, outputs).T, out=work.reshape(-1, k * k * c))
    d_x[...] = 0.0
    for a, b, (rows, source_rows), (columns, source_columns) in _windows(d_x.shape, k, stride):
        d_x[:, source_rows, source_columns] += work[:, rows, columns, (a * k + b) * c : (a * k + b + 1) * c]
    return d_x


def convolve_backward_weights(x, d_out, stride, d_w, work):
    """d_w = dL/dw from d_out = dL/dout."""
    columns = _columns(x, d_w, stride, work)
    outputs = d_w.shape[3]
    np.matmul(columns.T, d_out.reshape(-1, outputs), out=d_w.reshape(-1, outputs))
    return d_w

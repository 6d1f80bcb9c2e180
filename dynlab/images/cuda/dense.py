"""Matrix products and row-wise functions of dense layers on a CUDA device: the twin of `dynlab.images.layers.dense`."""

from __future__ import annotations

import numpy as np

from dynlab.images.cuda import products
from dynlab.images.cuda.memory import flat, launch, ordered_sum, scratch
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

LANES, LINES = (4, 2) if gpu.SIMULATED else (32, 8)  # threads of a block: columns, rows
SQUAD = 8 if gpu.SIMULATED else 64  # threads that share a row
CHUNKS = 4 if gpu.SIMULATED else 128
SHORTEST = 4 if gpu.SIMULATED else 64  # rows of a chunk at least
_squad_room, _room = SQUAD, LANES * LINES
float64 = np.float64


def matmul(a, b, out, transpose_a=False, transpose_b=False, accumulate=False):
    """out = op(a) op(b), or out += op(a) op(b), with op the identity or the transpose (of one of the two at most).

    Each entry is a sum in an order that the shapes alone decide.
    """
    rows, columns = out.shape
    if transpose_a:
        products.sums(a, b, out, rows, columns, rows, a.shape[0], accumulate)
    else:
        products.rows(a, b, out, rows, columns, a.shape[1], transpose_b, accumulate)
    return out


def _add_bias(x, columns, bias):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] += bias[i % columns]


def _column_parts(x, chunk, parts):
    """parts (chunks, c), float64: sums over the chunk's rows of x (n, c)."""
    t, line = cuda.threadIdx.x, cuda.threadIdx.y
    k = cuda.blockIdx.y * LANES + t
    n, c = x.shape
    store = cuda.shared.array(_room, float64)
    total = 0.0
    if k < c:
        for r in range(cuda.blockIdx.x * chunk + line, min((cuda.blockIdx.x + 1) * chunk, n), LINES):
            total += float64(x[r, k])
    store[line * LANES + t] = total
    cuda.syncthreads()
    if line == 0 and k < c:
        for i in range(1, LINES):
            total += store[i * LANES + t]
        parts[cuda.blockIdx.x * c + k] = total


def _column_fold(parts, chunks, factor, out):
    """out (c,) = factor times the sums of the parts (chunks, c), in their order."""
    k = cuda.grid(1)
    c = out.shape[0]
    if k < c:
        total = 0.0
        for j in range(chunks):
            total += parts[j * c + k]
        out[k] = factor * total


def _axpy(a, x, y):
    i = cuda.grid(1)
    if i < y.shape[0]:
        y[i] += a * x[i]


def _mix(keep, rate, x, y):
    i = cuda.grid(1)
    if i < y.shape[0]:
        y[i] = y[i] * keep + rate * x[i]


def _unit_length(x, out, lengths):
    """A block a row; squares are of x over the largest entry of the row."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_squad_room, float64)
    sums = cuda.shared.array(_squad_room, float64)
    top = 0.0
    for j in range(t, x.shape[1], SQUAD):
        top = max(top, abs(float64(x[i, j])))
    store[t] = top
    cuda.syncthreads()
    for j in range(SQUAD):
        top = max(top, store[j])
    top = top if top > 0.0 else 1.0
    total = 0.0
    for j in range(t, x.shape[1], SQUAD):
        share = float64(x[i, j]) / top
        total += share * share
    sums[t] = total
    cuda.syncthreads()
    length = ordered_sum(sums, SQUAD) ** 0.5
    inverse = 1.0 / length if length > 0.0 else 1.0
    for j in range(t, x.shape[1], SQUAD):
        out[i, j] = float64(x[i, j]) / top * inverse
    if t == 0:
        lengths[i] = top * length


def _unit_length_backward(d_out, out, lengths, d_x):
    """A block a row."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_squad_room, float64)
    total = 0.0
    for j in range(t, out.shape[1], SQUAD):
        total += float64(d_out[i, j]) * float64(out[i, j])
    store[t] = total
    cuda.syncthreads()
    along = ordered_sum(store, SQUAD)
    length = float64(lengths[i])
    inverse = 0.0 if length == 0.0 else 1.0 / length
    for j in range(t, out.shape[1], SQUAD):
        d_x[i, j] = (d_out[i, j] - along * out[i, j]) * inverse


_kernel = gpu.kernel()
add_bias_kernel, column_parts, column_fold = _kernel(_add_bias), _kernel(_column_parts), _kernel(_column_fold)
axpy_kernel, mix_kernel = _kernel(_axpy), _kernel(_mix)
unit_length_kernel, unit_length_backward_kernel = _kernel(_unit_length), _kernel(_unit_length_backward)


def add_bias(x, bias):
    """x (n, c) += bias (c,)."""
    launch(add_bias_kernel, x.size, flat(x), bias.shape[0], bias)
    return x


def column_sums(x, out, factor=1.0):
    """out (c,) = sums of x (n, c) over its rows, or `factor` times them."""
    n, c = x.shape
    chunk = max(SHORTEST, -(-n // CHUNKS))
    chunks = -(-n // chunk)
    parts = scratch("columns", chunks * c, float64)
    column_parts[(chunks, -(-c // LANES)), (LANES, LINES)](x, chunk, parts)
    launch(column_fold, c, parts, chunks, float(factor), out)
    return out


def axpy(a, x, y):
    """y += a x, of one shape; a a number."""
    launch(axpy_kernel, y.size, y.dtype.type(a), flat(x), flat(y))
    return y


def mix(rate, x, y):
    """y <- (1 - rate) y + rate x: one step of a moving average."""
    real = y.dtype.type
    launch(mix_kernel, y.size, real(1.0 - rate), real(rate), flat(x), flat(y))
    return y


def unit_length(x, out, lengths):
    """out = x / |x| by rows, lengths (n,) = |x|; a row of zeros stays zero."""
    unit_length_kernel[x.shape[0], SQUAD](x, out, lengths)
    return out


def unit_length_backward(d_out, out, lengths, d_x):
    """dL/dx of `unit_length`: the part of dL/d_out across out, divided by the length; 0 for a row of zeros."""
    unit_length_backward_kernel[out.shape[0], SQUAD](d_out, out, lengths, d_x)
    return d_x

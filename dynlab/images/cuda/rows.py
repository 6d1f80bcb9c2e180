"""What the losses need of outputs (rows, c) and of their second moments, on a CUDA device: the twin of `layers.rows`.

Sums over all entries are made in float64 by blocks over fixed shares of the entries, then by one block over the blocks.
"""

from __future__ import annotations

import math

import numpy as np

from dynlab.images.cuda.dense import column_sums
from dynlab.images.cuda.memory import flat, launch, ordered_sum, scratch
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

SQUAD = 8 if gpu.SIMULATED else 64  # threads of a block that sums
SHARES = 3 if gpu.SIMULATED else 256  # blocks of it
OFF_DIAGONAL, BARLOW, VICREG = 0, 1, 2
_room = SQUAD
float64 = np.float64


def _fill(x, number):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] = number


def _scale(x, factor):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] *= factor


def _less_columns(x, columns, means, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        out[i] = x[i] - means[i % columns]


def _swap_halves(x, out):
    i = cuda.grid(1)
    half = x.shape[0] // 2
    if i < half:
        out[i] = x[half + i]
        out[half + i] = x[i]


def _difference(x, y, factor, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        out[i] = (x[i] - y[i]) * factor


def _product_parts(x, y, square, parts):
    """parts (blocks,) = sums over the block's share of x y, or (square False) of x."""
    t = cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    total = 0.0
    for i in range(cuda.blockIdx.x * SQUAD + t, x.shape[0], cuda.gridDim.x * SQUAD):
        total += float64(x[i]) * float64(y[i]) if square else float64(x[i])
    store[t] = total
    cuda.syncthreads()
    if t == 0:
        parts[cuda.blockIdx.x] = ordered_sum(store, SQUAD)


def _add_parts(parts, count, factor, value):
    """value[0] += factor times the sum of the parts: one block."""
    t = cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    total = 0.0
    for i in range(t, count, SQUAD):
        total += parts[i]
    store[t] = total
    cuda.syncthreads()
    if t == 0:
        value[0] += factor * ordered_sum(store, SQUAD)


def _set_diagonal(x, number):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i, i] = number


def _softmax(x, shift, shifted, temperature, out, logs):
    """A block a row: differences in float64 before anything is divided."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    sums = cuda.shared.array(_room, float64)
    best = -math.inf
    for j in range(t, x.shape[1], SQUAD):
        value = float64(x[i, j]) - float64(shift[j]) if shifted else float64(x[i, j])
        best = best if value <= best else value
    store[t] = best
    cuda.syncthreads()
    for j in range(SQUAD):
        best = best if store[j] <= best else store[j]
    total = 0.0
    for j in range(t, x.shape[1], SQUAD):
        value = float64(x[i, j]) - float64(shift[j]) if shifted else float64(x[i, j])
        power = logs.dtype.type(math.exp(logs.dtype.type((value - best) / temperature)))
        out[i, j] = power
        total += float64(power)
    sums[t] = total
    cuda.syncthreads()
    total = ordered_sum(sums, SQUAD)
    share = 1.0 / total
    for j in range(t, x.shape[1], SQUAD):
        out[i, j] *= share
    if t == 0:
        logs[i] = math.log(total)


def _row_gaps(goal, given, x, temperature, logs, parts):
    """parts (rows,): logs + sum_j goal_j (max - x_j)/temperature; not given: max - x at the other view. A block a row."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    sums = cuda.shared.array(_room, float64)
    best = -math.inf
    for j in range(t, x.shape[1], SQUAD):
        value = float64(x[i, j])
        best = best if value <= best else value
    store[t] = best
    cuda.syncthreads()
    for j in range(SQUAD):
        best = best if store[j] <= best else store[j]
    total = 0.0
    if given:
        for j in range(t, x.shape[1], SQUAD):
            if goal[i, j] != 0:
                total += float64(goal[i, j]) * (best - float64(x[i, j]))
    sums[t] = total
    cuda.syncthreads()
    if t == 0:
        if given:
            parts[i] = float64(logs[i]) + ordered_sum(sums, SQUAD) / temperature
        else:
            half = x.shape[0] // 2
            parts[i] = best - float64(x[i, i + half if i < half else i - half])


def _moments(kind, c, factor, first, second, eps, parts):
    """Entries of c (m, m), flat, become derivatives; parts (blocks,) = what the block's share adds to the value.

    first, second: weight of the off-diagonal entries; of VICReg variance and covariance, each over m.
    """
    t = cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    size = c.shape[0] * c.shape[0]
    m = c.shape[0]
    total = 0.0
    for at in range(cuda.blockIdx.x * SQUAD + t, size, cuda.gridDim.x * SQUAD):
        i, j = at // m, at % m
        own = factor * float64(c[i, j])
        slope = 0.0
        if kind == VICREG:
            if i == j:
                deviation = math.sqrt(own + eps)
                if deviation < 1.0:
                    total += first * (1.0 - deviation)
                    if deviation > 0.0:
                        slope = -0.5 * first * factor / deviation
            else:
                total += second * own * own
                slope = 2.0 * second * factor * own
        elif i == j:
            if kind == BARLOW:
                total += (1.0 - own) * (1.0 - own)
                slope = -2.0 * factor * (1.0 - own)
        else:
            total += second * own * own
            slope = 2.0 * second * factor * own
        c[i, j] = slope
    store[t] = total
    cuda.syncthreads()
    if t == 0:
        parts[cuda.blockIdx.x] = ordered_sum(store, SQUAD)


_kernel = gpu.kernel()
fill_kernel, scale_kernel, less_columns, swap_halves, difference_kernel, product_parts, add_parts, diagonal_kernel = (
    _kernel(f) for f in (_fill, _scale, _less_columns, _swap_halves, _difference, _product_parts, _add_parts, _set_diagonal)
)
softmax_kernel, moments, row_gaps = _kernel(_softmax), _kernel(_moments), _kernel(_row_gaps)


def fill(x, number):
    """Every entry of x = number."""
    launch(fill_kernel, x.size, flat(x), x.dtype.type(number))
    return x


def scale(x, factor):
    """x *= factor, a number."""
    launch(scale_kernel, x.size, flat(x), x.dtype.type(factor))
    return x


def centre_columns(x, means, out):
    """out = x (n, c) less the means (c,) of its columns."""
    column_sums(x, means, 1.0 / x.shape[0])
    launch(less_columns, x.size, flat(x), x.shape[1], means, flat(out))
    return out


def swap_views(x, out):
    """out = the rows of x (2B, c) with those of the other view in their place."""
    launch(swap_halves, x.size // 2, flat(x), flat(out))
    return out


def difference(x, y, factor, out):
    """out = factor (x - y), of one shape; out may be either."""
    launch(difference_kernel, x.size, flat(x), flat(y), x.dtype.type(factor), flat(out))
    return out


def _summed(x, y, square, factor, value):
    count = min(SHARES, gpu.blocks_for(x.size, SQUAD))
    parts = scratch("shares", count, float64)
    product_parts[count, SQUAD](x, y, square, parts)
    add_parts[1, SQUAD](parts, count, float(factor), value)
    return value


def add_product(x, y, factor, value):
    """value += factor sum x y over all entries, summed in float64."""
    return _summed(flat(x), flat(y), True, factor, value)


def add_sum(x, factor, value):
    """value += factor sum x (n,), summed in float64."""
    return _summed(x, x, False, factor, value)


def set_diagonal(x, number):
    """The diagonal of x (n, n) = number."""
    launch(diagonal_kernel, x.shape[0], x, x.dtype.type(number))
    return x


def softmax(x, shift, temperature, out, logs):
    """out = softmax(y/temperature) by rows, y = x - shift; logs (n,) = log sum_j exp((y_ij - max_j y_ij)/temperature).

    shift (c,) or None. Entries of minus infinity get none. out may be x.
    """
    shifted = shift is not None
    softmax_kernel[x.shape[0], SQUAD](x, shift if shifted else logs, shifted, float(temperature), out, logs)
    return out


def _gaps(goal, x, temperature, logs, factor, value):
    parts = scratch("shares", x.shape[0], float64)
    given = goal is not None
    row_gaps[x.shape[0], SQUAD](goal if given else x, given, x, float(temperature), logs if given else x[0], parts)
    add_parts[1, SQUAD](parts, x.shape[0], float(factor), value)


def add_cross_entropy(goal, x, temperature, logs, factor, value):
    """value += factor sum_i - sum_j goal_ij log softmax(x/temperature)_ij; goal (n, c): shares; logs: of `softmax`."""
    _gaps(goal, x, temperature, logs, factor, value)


def add_pair_gaps(x, factor, value):
    """value += factor sum_i (max_k x_ik - x_ii'), i' the other view of i: x (2B, 2B)."""
    _gaps(None, x, 1.0, None, factor, value)


def _of_moments(kind, c, factor, first, second, eps, value):
    count = min(SHARES, gpu.blocks_for(c.size, SQUAD))
    parts = scratch("shares", count, float64)
    moments[count, SQUAD](kind, c, float(factor), float(first), float(second), float(eps), parts)
    add_parts[1, SQUAD](parts, count, 1.0, value)


def off_diagonal_moments(c, factor, weight, value):
    """Of C = factor c (m, m): value += weight sum_{i != j} C_ij^2; c becomes its derivative by c (0 on the diagonal)."""
    _of_moments(OFF_DIAGONAL, c, factor, 0.0, weight, 0.0, value)


def barlow_moments(c, factor, weight, value):
    """Of C = factor c (m, m): value += sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2; c becomes its derivative by c."""
    _of_moments(BARLOW, c, factor, 0.0, weight, 0.0, value)


def vicreg_moments(c, factor, variance, covariance, eps, value):
    """Of C = factor c (m, m), a covariance: value += variance/m sum_i max(0, 1 - sqrt(C_ii + eps)) + covariance/m
    sum_{i != j} C_ij^2; c becomes its derivative by c (with no slope of the hinge where C_ii + eps is 0).
    """
    m = c.shape[0]
    _of_moments(VICREG, c, factor, variance / m, covariance / m, eps, value)

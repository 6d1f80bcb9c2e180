"""Batch normalisation on a CUDA device: the twin of `dynlab.images.layers.normalise`.

    out = [relu](scale (x - mean) inverse + shift [+ residual]),      inverse = 1 / sqrt(variance + eps)

A block has LANES columns and LINES rows of threads. Sums over rows are made in float64: by the threads of a block over a
chunk of rows, then by the lines of a block over the chunks; all in an order that the shapes alone decide. Variances are
about the first row of the group, and so cancel by a factor of at most the square of that row's distance from the mean, in
deviations, which is less than the number of rows: nothing in float64.
"""

from __future__ import annotations

import numpy as np

from dynlab.images.cuda.memory import flat, launch, scratch
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

LANES, LINES = (4, 2) if gpu.SIMULATED else (32, 8)
BLOCKS = 8 if gpu.SIMULATED else 1024  # that sums and maps try to have
SHORTEST = 4 if gpu.SIMULATED else 64  # rows of a chunk at least
_room = LANES * LINES
float64 = np.float64


def _moments(x, rows, chunk, sums, squares):
    """sums, squares (groups, chunks, c), float64: of x less the first row of its group, over the chunk's rows."""
    t, line, j, g = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x, cuda.blockIdx.z
    k, c = cuda.blockIdx.y * LANES + t, x.shape[1]
    store = cuda.shared.array(_room, float64)
    other = cuda.shared.array(_room, float64)
    total, square = 0.0, 0.0
    if k < c:
        first = x[g * rows, k]
        for r in range(g * rows + j * chunk + line, g * rows + min((j + 1) * chunk, rows), LINES):
            away = float64(x[r, k]) - float64(first)
            total += away
            square += away * away
    store[line * LANES + t] = total
    other[line * LANES + t] = square
    cuda.syncthreads()
    if line == 0 and k < c:
        for i in range(1, LINES):
            total += store[i * LANES + t]
            square += other[i * LANES + t]
        at = (g * cuda.gridDim.x + j) * c + k
        sums[at] = total
        squares[at] = square


def _statistics(x, rows, chunks, eps, sums, squares, mean, inverse):
    """mean, inverse (groups, c) from the sums of the chunks."""
    t, line, g = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.y
    k, c = cuda.blockIdx.x * LANES + t, x.shape[1]
    store = cuda.shared.array(_room, float64)
    other = cuda.shared.array(_room, float64)
    total, square = 0.0, 0.0
    if k < c:
        for j in range(line, chunks, LINES):
            total += sums[(g * chunks + j) * c + k]
            square += squares[(g * chunks + j) * c + k]
    store[line * LANES + t] = total
    other[line * LANES + t] = square
    cuda.syncthreads()
    if line == 0 and k < c:
        for i in range(1, LINES):
            total += store[i * LANES + t]
            square += other[i * LANES + t]
        middle = total / rows
        variance = square / rows - middle * middle
        variance = 0.0 if variance < 0.0 else variance
        mean[g, k] = float64(x[g * rows, k]) + middle
        inverse[g, k] = 1.0 / (variance + eps) ** 0.5


def _map(x, rows, chunk, statistics, is_variance, eps, affine, scale_and_shift, out, relu, add, residual):
    """out = [relu]((x - mean) factor + shift [+ residual]); statistics: mean, and inverse or variance, (groups, c) both."""
    (mean, second), (scale, shift) = statistics, scale_and_shift
    t, line, j, g = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x, cuda.blockIdx.z
    k = cuda.blockIdx.y * LANES + t
    if k < x.shape[1]:
        factor = second[g, k]
        if is_variance:
            factor = 1.0 / (float64(factor) + eps) ** 0.5
        middle, gain, offset = mean[g, k], mean.dtype.type(factor), mean.dtype.type(0)
        if affine:
            gain = mean.dtype.type(factor * scale[k])
            offset = shift[k]
        zero = mean.dtype.type(0)
        for r in range(g * rows + j * chunk + line, g * rows + min((j + 1) * chunk, rows), LINES):
            y = (x[r, k] - middle) * gain + offset
            if add:
                y += residual[r, k]
            out[r, k] = zero if relu and y <= zero else y


def _slopes(d_out, x, out, rows, chunk, mean, relu, sums, alongs):
    """sums, alongs (groups, chunks, c), float64: of g and g (x - mean) over the chunk's rows, g = d_out where out > 0."""
    t, line, j, g = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x, cuda.blockIdx.z
    k, c = cuda.blockIdx.y * LANES + t, x.shape[1]
    store = cuda.shared.array(_room, float64)
    other = cuda.shared.array(_room, float64)
    total, along = 0.0, 0.0
    if k < c:
        middle = mean[g, k]
        for r in range(g * rows + j * chunk + line, g * rows + min((j + 1) * chunk, rows), LINES):
            slope = float64(d_out[r, k])
            if relu and not out[r, k] > 0:
                slope = 0.0  # type: ignore[assignment]  # float64 here is the device's
            total += slope
            along += slope * float64(x[r, k] - middle)
    store[line * LANES + t] = total
    other[line * LANES + t] = along
    cuda.syncthreads()
    if line == 0 and k < c:
        for i in range(1, LINES):
            total += store[i * LANES + t]
            along += other[i * LANES + t]
        at = (g * cuda.gridDim.x + j) * c + k
        sums[at] = total
        alongs[at] = along


def _gather_slopes(groups, rows, chunks, sums, alongs, inverse, affine, scale, numbers, d_scale, d_shift):
    """numbers (3, groups, c): factor, mean of g, mean of g y times inverse; d_scale and d_shift over all groups."""
    t, line = cuda.threadIdx.x, cuda.threadIdx.y
    k, c = cuda.blockIdx.x * LANES + t, inverse.shape[1]
    store = cuda.shared.array(_room, float64)
    other = cuda.shared.array(_room, float64)
    all_total, all_along = 0.0, 0.0
    for g in range(groups):
        total, along = 0.0, 0.0
        if k < c:
            for j in range(line, chunks, LINES):
                total += sums[(g * chunks + j) * c + k]
                along += alongs[(g * chunks + j) * c + k]
        store[line * LANES + t] = total
        other[line * LANES + t] = along
        cuda.syncthreads()
        if line == 0 and k < c:
            for i in range(1, LINES):
                total += store[i * LANES + t]
                along += other[i * LANES + t]
            own = float64(inverse[g, k])
            along *= own
            all_total += total
            all_along += along
            numbers[g * c + k] = inverse[g, k] * scale[k] if affine else inverse[g, k]
            numbers[(groups + g) * c + k] = total / rows
            numbers[(2 * groups + g) * c + k] = along / rows * own
        cuda.syncthreads()
    if line == 0 and k < c and affine:
        d_scale[k] = all_along
        d_shift[k] = all_total


def _map_back(d_out, x, out, groups, rows, chunk, mean, numbers, d_x, relu, add, d_residual):
    """d_x = factor (g - middle - (x - mean) slope), d_residual = g."""
    t, line, j, group = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x, cuda.blockIdx.z
    k, c = cuda.blockIdx.y * LANES + t, x.shape[1]
    if k < c:
        zero = mean.dtype.type(0)
        centre, factor = mean[group, k], numbers[group * c + k]
        middle, slope = numbers[(groups + group) * c + k], numbers[(2 * groups + group) * c + k]
        for r in range(group * rows + j * chunk + line, group * rows + min((j + 1) * chunk, rows), LINES):
            own = d_out[r, k]
            if relu and not out[r, k] > zero:
                own = zero
            if add:
                d_residual[r, k] = own
            d_x[r, k] = factor * (own - middle - (x[r, k] - centre) * slope)


def _update_running(mean, inverse, eps, rows, momentum, running_mean, running_variance):
    k = cuda.grid(1)
    if k < mean.shape[1]:
        for g in range(mean.shape[0]):
            variance = (1.0 / float64(inverse[g, k]) ** 2 - eps) * (rows / max(rows - 1, 1))
            running_mean[k] += momentum * (mean[g, k] - running_mean[k])
            running_variance[k] += momentum * (variance - running_variance[k])


_kernel = gpu.kernel()
moments, statistics, apply_statistics, slopes, gather_slopes, apply_back, running = (
    _kernel(f) for f in (_moments, _statistics, _map, _slopes, _gather_slopes, _map_back, _update_running)
)


def _layout(x, groups):
    """(rows of a group, rows of a chunk, chunks, strips of columns)."""
    rows, strips = x.shape[0] // groups, -(-x.shape[1] // LANES)
    chunks = max(1, min(BLOCKS // (groups * strips), -(-rows // SHORTEST)))
    chunk = -(-rows // chunks)
    return rows, chunk, -(-rows // chunk), strips


def batch_norm(x, groups, scale, shift, eps, out, mean, inverse, relu=False, residual=None):
    """out (rows, c), and the statistics mean and inverse (groups, c)."""
    rows, chunk, chunks, strips = _layout(x, groups)
    room = groups * chunks * x.shape[1]
    aside = scratch("moments", 2 * room, float64)
    sums, squares = aside[:room], aside[room:]
    block = LANES, LINES
    moments[(chunks, strips, groups), block](x, rows, chunk, sums, squares)
    statistics[(strips, groups), block](x, rows, chunks, float(eps), sums, squares, mean, inverse)
    _apply(x, groups, mean, inverse, False, eps, scale, shift, out, relu, residual)
    return out


def _apply(x, groups, mean, second, is_variance, eps, scale, shift, out, relu, residual):
    rows, chunk, chunks, strips = _layout(x, groups)
    affine, add, none = scale is not None, residual is not None, flat(mean)
    apply_statistics[(chunks, strips, groups), (LANES, LINES)](
        x, rows, chunk, (mean, second), is_variance, float(eps), affine, (scale, shift) if affine else (none, none), out,
        bool(relu), add, residual if add else x,
    )  # fmt: skip


def batch_norm_backward(d_out, x, out, groups, mean, inverse, scale, d_x, d_scale, d_shift, relu=False, d_residual=None):
    """d_x = dL/dx, d_scale and d_shift (c,) and d_residual from d_out = dL/dout; d_x may be d_out itself.

    With g = d_out where out > 0 (all of it without relu) and y = (x - mean) inverse: d_shift = sum g, d_scale = sum g y,
    d_x = scale inverse (g - mean(g) - y mean(g y)), d_residual = g. d_scale and d_shift are None without an affine map.
    """
    rows, chunk, chunks, strips = _layout(x, groups)
    c, affine, add = x.shape[1], scale is not None, d_residual is not None
    room, block, none = groups * chunks * c, (LANES, LINES), flat(mean)
    aside, numbers = scratch("moments", 2 * room, float64), scratch("slopes", 3 * groups * c, x.dtype)
    sums, alongs = aside[:room], aside[room:]
    slopes[(chunks, strips, groups), block](d_out, x, out, rows, chunk, mean, bool(relu), sums, alongs)
    given = [array if affine else none for array in (scale, d_scale, d_shift)]
    gather_slopes[strips, block](groups, rows, chunks, sums, alongs, inverse, affine, given[0], numbers, *given[1:])
    apply_back[(chunks, strips, groups), block](
        d_out, x, out, groups, rows, chunk, mean, numbers, d_x, bool(relu), add, d_residual if add else d_x
    )
    return d_x


def batch_norm_inference(x, mean, variance, scale, shift, eps, out, relu=False, residual=None):
    """The same map with given statistics, mean and variance (c,)."""
    c = x.shape[1]
    _apply(x, 1, mean.reshape(1, c), variance.reshape(1, c), True, eps, scale, shift, out, relu, residual)
    return out


def update_running(mean, inverse, eps, rows, momentum, running_mean, running_variance):
    """Move the running statistics (c,) by `momentum` towards those of each group in turn; rows: those of one group.

    The variance is unbiased here: rows / (rows - 1) of the one that normalises.
    """
    launch(running, mean.shape[1], mean, inverse, float(eps), int(rows), float(momentum), running_mean, running_variance)

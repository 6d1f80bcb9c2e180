"""Products through tables of addresses: what convolutions and matrix products have in common.

A *place* is a row of a result: of a picture (i, y, x), of a matrix its row. The geometry of a product is 14 integers:

    n, rows, columns              the places (i, q, r)
    height, width, channels       of the source's pictures
    count, step                   so many numbers are read at each tap, from (i, step q + dy, step r + dx) on
    target height, width, channels, target step, first row, first column:   place (i, q, r) stands in the target at
                                  (i, target step q + first row, target step r + first column)

and (dy, dx) are the taps' offsets, (T, 2). A tap outside of the source's picture reads zeros.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from dynlab.images.layers import tiles
from dynlab.machine import jit

HEIGHT, SUM_HEIGHT = tiles.HEIGHT, tiles.SUM_HEIGHT
TASK = 40 * HEIGHT  # places of a task
PACK_ROWS = 32  # of weights packed at a time
BLOCK = 256  # places of one call of a tile of the weights' gradient
OUTSIDE = 1 << 40  # a row that is in no picture
_gather = tiles.gather
_a1, _a2, _a3, _a4, _a5, _a6, _a7, _a8, _a9 = (tiles.accumulate.get(height, tiles.accumulate[1]) for height in range(1, 10))
TASKS_WANTED = 16
SPLIT_NUMBERS = 1 << 20  # the parts of a sum over places hold no more numbers than this together (or are one)
MOST_PARTS = 16


def panel_width(dtype) -> int:
    """Columns of a panel of packed weights."""
    return tiles.panel(np.dtype(dtype).itemsize)


def parts(numbers: int, places: int) -> int:
    """In how many parts a sum over places is made, for a result of so many numbers."""
    return int(min(max(SPLIT_NUMBERS // max(numbers, 1), 1), MOST_PARTS, max(places // 256, 1)))


@jit.parallel
def _pack(w, packed, width):
    total, outputs = w.shape
    whole = outputs // width
    for task in prange((total + PACK_ROWS - 1) // PACK_ROWS):
        for row in range(task * PACK_ROWS, min((task + 1) * PACK_ROWS, total)):
            for j in range(whole):
                start = (j * total + row) * width
                for o in range(width):
                    packed[start + o] = w[row, j * width + o]
            if whole * width < outputs:
                start = (whole * total + row) * width
                for o in range(width):
                    packed[start + o] = w[row, whole * width + o] if whole * width + o < outputs else 0.0


def pack(w, packed):
    """Weights (K, outputs) as panels (outputs / width, K, width), the last filled up with zeros."""
    _pack(w, packed, panel_width(w.dtype))
    return packed


@jit.parallel
def _pack_transposed(w, taps, packed, width):
    inputs, outputs = w.shape[2], w.shape[3]
    panels = (inputs + width - 1) // width
    for task in prange(panels * len(taps)):
        j, t = task // len(taps), task % len(taps)
        a, b = taps[t, 0], taps[t, 1]
        for i in range(width):
            c = j * width + i
            if c < inputs:
                for o in range(outputs):
                    packed[(task * outputs + o) * width + i] = w[a, b, c, o]
            else:
                for o in range(outputs):
                    packed[(task * outputs + o) * width + i] = 0.0


def pack_transposed(w, taps, packed):
    """Weights (k, k, inputs, outputs) as panels (inputs / width, taps, outputs, width)."""
    _pack_transposed(w, taps, packed, panel_width(w.dtype))
    return packed


@jit.parallel
def add_margin(x, out):
    """Copy pictures x into the middle of out, whose margin stays as it is; returns out."""
    pad = (out.shape[1] - x.shape[1]) // 2
    for i in prange(x.shape[0]):
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                for c in range(x.shape[3]):
                    out[i, row + pad, column + pad, c] = x[i, row, column, c]
    return out


@jit.inner
def _addresses(first, many, base, zero, item, geometry, offsets, table):
    """table[tap, p] for the places p = first, first + 1, ... (many of them); a place beyond the last reads zeros."""
    rows, columns = geometry[1], geometry[2]
    tall, wide, channels, step = geometry[3], geometry[4], geometry[5] * item, geometry[7]
    last = geometry[0] * rows * columns
    origin, ys, xs = np.empty(many, np.int64), np.empty(many, np.int64), np.empty(many, np.int64)
    i, q, r = first // (rows * columns), first // columns % rows, first % columns
    for p in range(many):
        ys[p] = step * q if first + p < last else -OUTSIDE
        xs[p] = step * r
        origin[p] = base + ((i * tall + step * q) * wide + step * r) * channels
        r += 1
        if r == columns:
            r = 0
            q += 1
            if q == rows:
                q = 0
                i += 1
    for t in range(len(offsets)):
        dy, dx = offsets[t, 0], offsets[t, 1]
        shift = (dy * wide + dx) * channels
        for p in range(many):
            y, x = ys[p] + dy, xs[p] + dx
            inside = (y >= 0) & (y < tall) & (x >= 0) & (x < wide)
            table[t, p] = origin[p] + shift if inside else zero


@jit.inner
def _targets(first, many, base, item, geometry, table):
    """table[p] = address of place first + p in the result, 0 beyond the last."""
    rows, columns = geometry[1], geometry[2]
    tall, wide, channels = geometry[8], geometry[9], geometry[10]
    step, row, column = geometry[11], geometry[12], geometry[13]
    last = geometry[0] * rows * columns
    for p in range(many):
        place = first + p
        if place < last:
            i, q, r = place // (rows * columns), place // columns % rows, place % columns
            table[p] = base + ((i * tall + step * q + row) * wide + step * r + column) * channels * item
        else:
            table[p] = 0


@jit.inner
def _gather_task(first, panels, low, high, source, zeros, geometry, offsets, packed, out, width):
    """Places [first, first + TASK) and panels [low, high)."""
    count, channels = geometry[6], geometry[10]
    item = source.itemsize
    tiles_here = min(TASK, geometry[0] * geometry[1] * geometry[2] - first + HEIGHT - 1) // HEIGHT
    taps = len(offsets)
    table = np.empty((max(taps, 1), tiles_here * HEIGHT), np.int64)
    tap_step = tiles_here * HEIGHT * 8
    targets = np.empty(tiles_here * HEIGHT, np.int64)
    aside = np.empty((HEIGHT, width), out.dtype)
    asides = np.empty(HEIGHT, np.int64)
    for i in range(HEIGHT):
        asides[i] = aside.ctypes.data + i * width * item
    _addresses(first, tiles_here * HEIGHT, source.ctypes.data, zeros.ctypes.data, item, geometry, offsets, table)
    _targets(first, tiles_here * HEIGHT, out.ctypes.data, item, geometry, targets)
    for j in range(low, high):
        weights = packed.ctypes.data + j * taps * count * width * item
        whole = (j + 1) * width <= channels
        for tile in range(tiles_here):
            here = table.ctypes.data + tile * HEIGHT * 8
            if whole and targets[tile * HEIGHT + HEIGHT - 1] != 0:
                into = targets.ctypes.data + tile * HEIGHT * 8
                _gather(source[0], here, tap_step, taps, count, weights, into, j * width * item)
                continue
            _gather(source[0], here, tap_step, taps, count, weights, asides.ctypes.data, 0)
            for i in range(HEIGHT):
                if targets[tile * HEIGHT + i] != 0:
                    start = (targets[tile * HEIGHT + i] - out.ctypes.data) // item + j * width
                    for o in range(min(width, channels - j * width)):
                        out[start + o] = aside[i, o]


@jit.parallel
def _gather_places(source, zeros, geometry, offsets, packed, out, width, wanted):
    places = geometry[0] * geometry[1] * geometry[2]
    panels = (geometry[10] + width - 1) // width
    chunks = (places + TASK - 1) // TASK
    groups = min(panels, max(wanted // max(chunks, 1), 1))
    for task in prange(chunks * groups):
        chunk, group = task // groups, task % groups
        low, high = group * panels // groups, (group + 1) * panels // groups
        _gather_task(chunk * TASK, panels, low, high, source, zeros, geometry, offsets, packed, out, width)


def gather_places(source, zeros, geometry, offsets, packed, out):
    """out at each place = sum over taps of source at the tap (count numbers) times the tap's weights; flat arrays.

    zeros: at least `count` of them. packed: panels of (T count) rows.
    """
    _gather_places(source, zeros, geometry, offsets, packed, out, panel_width(out.dtype), TASKS_WANTED)


@jit.inner
def _tile(height, number, table, offset, rows, right, right_step, target, target_step):
    if height == 8:
        _a8(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 1:
        _a1(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 2:
        _a2(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 3:
        _a3(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 4:
        _a4(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 5:
        _a5(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 6:
        _a6(number, table, offset, rows, right, right_step, target, target_step)
    elif height == 7:
        _a7(number, table, offset, rows, right, right_step, target, target_step)
    else:
        _a9(number, table, offset, rows, right, right_step, target, target_step)


@jit.inner
def _pack_block(first, many, j, right, width, aside):
    """aside (many, width) = panel j of rows first, first + 1, ... of right, filled up with zeros."""
    used = min(width, right.shape[1] - j * width)
    for p in range(many):
        for o in range(used):
            aside[p, o] = right[first + p, j * width + o]
        for o in range(used, width):
            aside[p, o] = 0.0


@jit.inner
def _accumulate_block(span, pairs, source, zeros, geometry, offsets, right, sums, width, table, aside):
    """Add places to sums (T count, outputs); span: the first place, how many; pairs: low, high, for (panel, tap) between."""
    (first, many), (low, high) = span, pairs
    count, taps = geometry[6], len(offsets)
    item = source.itemsize
    stride = sums.shape[1] * item
    packed = -1
    _addresses(first, many, source.ctypes.data, zeros.ctypes.data, item, geometry, offsets, table)
    for pair in range(low, high):
        j, t = pair // taps, pair % taps
        if j != packed:
            _pack_block(first, many, j, right, width, aside)
            packed = j
        c = 0
        while c < count:
            rest = count - c
            height = SUM_HEIGHT + 1 if rest == SUM_HEIGHT + 1 else min(rest, SUM_HEIGHT)
            target = sums.ctypes.data + (t * count + c) * stride + j * width * item
            rows, columns = table.ctypes.data + t * BLOCK * 8, aside.ctypes.data
            _tile(height, source[0], rows, c * item, many, columns, width * item, target, stride)
            c += height


@jit.parallel
def _accumulate_places(source, zeros, geometry, offsets, right, sums, width, wanted):
    places = right.shape[0]
    parts = sums.shape[0]
    count, taps = geometry[6], len(offsets)
    pairs = taps * ((right.shape[1] + width - 1) // width)
    groups = min(pairs, (wanted + parts - 1) // parts)
    for task in prange(parts * groups):
        part, group = task // groups, task % groups
        low, high = group * pairs // groups, (group + 1) * pairs // groups
        for pair in range(low, high):
            j, t = pair // taps, pair % taps
            for c in range(count):
                for o in range(j * width, min((j + 1) * width, sums.shape[2])):
                    sums[part, t * count + c, o] = 0.0
        table = np.empty((taps, BLOCK), np.int64)
        aside = np.empty((BLOCK, width), right.dtype)
        first, last = part * places // parts, (part + 1) * places // parts
        while first < last:
            many = min(BLOCK, last - first)
            span, taken = (first, many), (low, high)
            _accumulate_block(span, taken, source, zeros, geometry, offsets, right, sums[part], width, table, aside)
            first += many


def accumulate_places(source, zeros, geometry, offsets, right, sums):
    """sums (parts, T count, outputs) = sums over places of (source at the tap)^T right (places, outputs).

    Each part has its share of the places. The outputs of sums are filled up to whole panels.
    """
    _accumulate_places(source, zeros, geometry, offsets, right, sums, panel_width(right.dtype), TASKS_WANTED)


@jit.parallel
def fold(sums, out):
    """out (rows, outputs) = the parts of sums (parts, rows, at least outputs), added in order."""
    for row in prange(out.shape[0]):
        for o in range(out.shape[1]):
            out[row, o] = sums[0, row, o]
        for part in range(1, sums.shape[0]):
            for o in range(out.shape[1]):
                out[row, o] += sums[part, row, o]

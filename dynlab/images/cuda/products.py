r"""Matrix products by tiles in shared memory, of matrices or of pictures seen through taps: two kernels do them all.

    rows    out[p, o] = sum_{t, c} a[place(t, p), c] b(t, c, o)          a product; a convolution; its derivative by the data
    sums    out[(t, c), o] = sum_p a[place(t, p), c] b[p, o]             a transposed product; the derivative by the weights

with place(t, p) read from a table (int32; -1: zeros), or p itself with one tap. b lies as (tap, c, o), or as (tap, o, c)
("across").

A block makes a tile of out, each thread 4 x 4 entries of up to four such parts of it, a sum each in a register. The terms
come in slices of DEPTH: while a slice is worked on, the next one is on its way from memory to registers, and from there into
the other half of the shared memory, so that one barrier a slice is enough. All of a slice is read in fours ("quads": arrays
whose rows are multiples of four numbers, at addresses that are multiples of 16 bytes); any other shapes take the plain
variant, which reads numbers one by one.

`sums` splits its terms into parts, whose number depends on the shapes alone, which `fold` adds in order: an entry is a sum
in one order, whatever the schedule of the blocks.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dynlab.images.cuda.memory import aligned, flat, launch, scratch
from dynlab.images.cuda.slices import (
    DEPTH,
    PAD,
    block_threads,
    lines_of_rows,
    lines_of_sums,
    look_under_tap,
    put_rows,
    put_sums,
    rows_in_quads,
    rows_one_by_one,
    sums_in_quads,
    sums_one_by_one,
)
from dynlab.machine import gpu
from dynlab.machine.gpu import ALIGNMENT, cuda, load4, store4

# rows and columns of a tile, and how often 4 of each a thread has
WIDE = (16, 16, 2, 1) if gpu.SIMULATED else (128, 128, 2, 2)
NARROW = (16, 8, 1, 1) if gpu.SIMULATED else (128, 64, 2, 1)
SMALL = (8, 16, 1, 1) if gpu.SIMULATED else (32, 32, 1, 1)  # where there would be too few tiles
PLAIN = (16, 8, 1, 1) if gpu.SIMULATED else (64, 64, 1, 1)
FILLED = 8 if gpu.SIMULATED else 512  # blocks that `sums` tries to have
FEW = 3 if gpu.SIMULATED else 64  # tiles below which they are small
LONG = 16 if gpu.SIMULATED else 2048  # terms that make `sums` of a few rows as much work as many rows
SHORTEST = 8 if gpu.SIMULATED else 256  # terms of a part at least


def _multiply(shape, real):
    """The device function that adds a slice's products to a thread's sums."""
    rows, columns, over, across = shape
    lead_a, lead_b = rows + PAD, columns + PAD
    step_a, step_b, high, wide = rows // over, columns // across, 4 * over, 4 * across

    def multiply(tile_a, tile_b, at_a, at_b, total):
        left = cuda.local.array(high, real)
        right = cuda.local.array(wide, real)
        for k in range(DEPTH):
            for r in range(over):
                left[4 * r], left[4 * r + 1], left[4 * r + 2], left[4 * r + 3] = load4(
                    tile_a, at_a + k * lead_a + r * step_a
                )
            for r in range(across):
                right[4 * r], right[4 * r + 1], right[4 * r + 2], right[4 * r + 3] = load4(
                    tile_b, at_b + k * lead_b + r * step_b
                )
            for i in range(4 * over):
                for j in range(4 * across):
                    total[i * 4 * across + j] += left[i] * right[j]

    return gpu.inner(multiply, True)


def _finish(shape, quads):
    """The device function that writes a thread's sums; row(i) of the tile goes to `target` of it."""
    rows, columns, over, across = shape
    step_a, step_b = rows // over, columns // across

    def finish(total, out, first_row, first_column, row_count, column_count, targets, mapped, accumulate):
        for i in range(4 * over):
            row = first_row + i // 4 * step_a + i % 4
            if row < row_count:
                target = targets[row] if mapped else row
                for r in range(across):
                    column = first_column + r * step_b
                    at = target * column_count + column
                    base = (i * across + r) * 4
                    if quads:
                        if column < column_count:
                            v0, v1, v2, v3 = total[base], total[base + 1], total[base + 2], total[base + 3]
                            if accumulate:
                                o0, o1, o2, o3 = load4(out, at)
                                v0, v1, v2, v3 = v0 + o0, v1 + o1, v2 + o2, v3 + o3
                            store4(out, at, v0, v1, v2, v3)
                    else:
                        for j in range(4):
                            if column + j < column_count:
                                value = total[base + j]
                                if accumulate:
                                    value += out[at + j]
                                out[at + j] = value

    return gpu.inner(finish, True)


def _make_rows(shape, real, quads, gathered, across_b):
    """The kernel `rows` for one shape of tiles; see the module."""
    rows, columns, over, across = shape
    size_a, size_b = DEPTH * (rows + PAD), DEPTH * (columns + PAD)
    _, _, passes_a, passes_b, in_line = lines_of_rows(shape)
    room_a, room_b, hold_a, hold_b, entries = 2 * size_a, 2 * size_b, 4 * passes_a, 4 * passes_b, 16 * over * across
    multiply, finish = _multiply(shape, real), _finish(shape, quads)
    look, put = look_under_tap(shape, gathered), put_rows(shape, across_b)
    read = (rows_in_quads if quads else rows_one_by_one)(shape, real, gathered, across_b)
    zero = real(0.0)

    def kernel(a, table, taps, b, targets, out, row_count, column_count, depth, tap_count, mapped, accumulate):
        tile_a = cuda.shared.array(room_a, real, ALIGNMENT)
        tile_b = cuda.shared.array(room_b, real, ALIGNMENT)
        total = cuda.local.array(entries, real)
        next_a = cuda.local.array(hold_a, real)
        next_b = cuda.local.array(hold_b, real)
        places = cuda.local.array(passes_a, np.int32)
        t = cuda.threadIdx.x
        first_row, first_column = cuda.blockIdx.x * rows, cuda.blockIdx.y * columns
        own_row, own_column = t // (columns // (4 * across)) * 4, t % (columns // (4 * across)) * 4
        quad, line = t % (DEPTH // 4) * 4, t // (DEPTH // 4)
        at = first_row, first_column, quad, line, t % in_line * 4, t // in_line
        given, sizes = (a, table, taps, b), (row_count, column_count, depth, tap_count)
        for i in range(entries):
            total[i] = zero
        # In quads a slice is a chunk of one tap, otherwise of the terms of all of them.
        chunks = (depth + DEPTH - 1) // DEPTH if quads else (depth * tap_count + DEPTH - 1) // DEPTH
        steps = chunks * tap_count if quads else chunks
        tap, chunk = 0, 0
        for i in range(passes_a):
            places[i] = -1
        if tap < tap_count:
            look(table, tap, row_count, first_row + line, places)
        for step in range(steps + 1):
            if step < steps:
                read(given, sizes, at, places, tap, chunk, next_a, next_b)
                chunk += 1
                if quads and chunk == chunks:
                    tap, chunk = tap + 1, 0
                    if tap < tap_count:  # asked for a slice ahead
                        look(table, tap, row_count, first_row + line, places)
            if step > 0:
                half = (step + 1) & 1
                multiply(tile_a, tile_b, half * size_a + own_row, half * size_b + own_column, total)
            if step < steps:
                put(tile_a, tile_b, step & 1, at, next_a, next_b)
            cuda.syncthreads()
        finish(
            total, out, first_row + own_row, first_column + own_column, row_count, column_count, targets, mapped, accumulate
        )

    return kernel


def _make_sums(shape, real, quads, gathered):
    """The kernel `sums` for one shape of tiles; see the module."""
    rows, columns, over, across = shape
    size_a, size_b = DEPTH * (rows + PAD), DEPTH * (columns + PAD)
    in_a, in_b, lines_a, _, passes_a, passes_b = lines_of_sums(shape)
    room_a, room_b, hold_a, hold_b, entries = 2 * size_a, 2 * size_b, 4 * passes_a, 4 * passes_b, 16 * over * across
    multiply, finish, put = _multiply(shape, real), _finish(shape, quads), put_sums(shape)
    read = (sums_in_quads if quads else sums_one_by_one)(shape, real, gathered)
    zero = real(0.0)

    def kernel(a, table, b, out, row_count, column_count, depth, term_count, part, accumulate):
        tile_a = cuda.shared.array(room_a, real, ALIGNMENT)
        tile_b = cuda.shared.array(room_b, real, ALIGNMENT)
        total = cuda.local.array(entries, real)
        next_a = cuda.local.array(hold_a, real)
        next_b = cuda.local.array(hold_b, real)
        places = cuda.local.array(passes_a, np.int32)
        t = cuda.threadIdx.x
        first_row, first_column = cuda.blockIdx.x * rows, cuda.blockIdx.y * columns
        own_row, own_column = t // (columns // (4 * across)) * 4, t % (columns // (4 * across)) * 4
        for i in range(entries):
            total[i] = zero
        start = cuda.blockIdx.z * part
        stop = min(start + part, term_count)
        steps = (stop - start + DEPTH - 1) // DEPTH
        row, line_a = first_row + t % in_a * 4, t // in_a
        tap = row // depth if gathered else np.int64(0)
        at = row, first_column + t % in_b * 4, line_a, t // in_b, tap, row - tap * depth
        given, sizes = (a, table, b), (row_count, column_count, depth, term_count)
        for i in range(passes_a):
            p = start + line_a + i * lines_a
            places[i] = -1
            if quads and p < stop and line_a + i * lines_a < DEPTH and row < row_count:
                places[i] = table[tap * term_count + p] if gathered else p
        for step in range(steps + 1):
            if step < steps:
                read(given, sizes, at, start + step * DEPTH, stop, places, next_a, next_b)
            if step > 0:
                half = (step + 1) & 1
                multiply(tile_a, tile_b, half * size_a + own_row, half * size_b + own_column, total)
            if step < steps:
                put(tile_a, tile_b, step & 1, t, next_a, next_b)
            cuda.syncthreads()
        # Each part is a matrix of its own, below the one before.
        base = cuda.blockIdx.z * row_count
        finish(
            total, out, base + first_row + own_row, first_column + own_column, base + row_count, column_count, table, False,
            accumulate,
        )  # fmt: skip

    return kernel


def _fold(parts, count, out, accumulate):
    """out (n,) = the sums over the first axis of parts (count, n), flat, in their order; or out += them."""
    i = cuda.grid(1)
    if i < out.shape[0]:
        total = parts[i]
        for j in range(1, count):
            total += parts[j * out.shape[0] + i]
        out[i] = out[i] + total if accumulate else total


@cache
def rows_kernel(shape, real, quads, gathered, across_b):
    """The compiled kernel: `_make_rows`."""
    made = _make_rows(shape, real, quads, gathered, across_b)
    words = "quads" if quads else "plain", "gathered" if gathered else "matrix", "across" if across_b else "along"
    made.__qualname__ = f"rows {shape[0]}x{shape[1]} {' '.join(words)}"
    return gpu.kernel(contract=True, max_registers=128)(made)


@cache
def sums_kernel(shape, real, quads, gathered):
    """The compiled kernel: `_make_sums`."""
    made = _make_sums(shape, real, quads, gathered)
    words = "quads" if quads else "plain", "gathered" if gathered else "matrix"
    made.__qualname__ = f"sums {shape[0]}x{shape[1]} {' '.join(words)}"
    return gpu.kernel(contract=True, max_registers=128)(made)


fold = gpu.kernel()(_fold)


def _chosen(dtype, rows, columns, quads):
    """The shape of tiles for so many rows and columns, and whether all is read in fours."""
    if not quads or dtype != np.float32:
        return PLAIN, False
    shape = WIDE if columns > NARROW[1] else NARROW
    return (SMALL if tiles(shape, rows, columns) < FEW else shape), True


def tiles(shape, rows, columns) -> int:
    """How many tiles a matrix has."""
    return -(-rows // shape[0]) * -(-columns // shape[1])


def in_quads(arrays, *widths) -> bool:
    """Whether rows of these widths, in these arrays, begin at multiples of 16 bytes."""
    return all(width % 4 == 0 for width in widths) and all(aligned(array) for array in arrays)


def rows(a, b, out, row_count, column_count, depth, across=False, accumulate=False, table=None, taps=None, tap_count=1,
         targets=None):  # fmt: skip
    """Launch `rows`: out (row_count or more, column_count); table int32 (tap_count, row_count), taps and targets int32."""
    shape, quads = _chosen(out.dtype, row_count, column_count, in_quads((a, b, out), depth, column_count))
    kernel = rows_kernel(shape, out.dtype.type, quads, table is not None, across)
    a, b, out = flat(a), flat(b), flat(out)
    none = _nothing()
    given = [none if array is None else array for array in (table, taps, targets)]
    grid = -(-row_count // shape[0]), -(-column_count // shape[1])
    kernel[grid, block_threads(shape)](
        a, given[0], given[1], b, given[2], out, row_count, column_count, depth, tap_count, targets is not None, accumulate
    )


def parts_of(shape, row_count, column_count, term_count) -> tuple[int, int]:
    """(number of parts, terms of each) into which `sums` splits its terms."""
    parts = max(1, min(FILLED // tiles(shape, row_count, column_count), term_count // SHORTEST))
    length = -(-term_count // (parts * DEPTH)) * DEPTH
    return -(-term_count // length), length


def sums(a, b, out, row_count, column_count, depth, term_count, accumulate=False, table=None):
    """Launch `sums` and `fold`: out (row_count, column_count); table int32 (taps, term_count)."""
    quads = in_quads((a, b, out), depth, column_count)
    shape, quads = _chosen(out.dtype, row_count * max(1, term_count // LONG), column_count, quads)
    kernel = sums_kernel(shape, out.dtype.type, quads, table is not None)
    parts, length = parts_of(shape, row_count, column_count, term_count)
    size = row_count * column_count
    a, b, out = flat(a), flat(b), flat(out)
    table = _nothing() if table is None else table
    grid = -(-row_count // shape[0]), -(-column_count // shape[1]), parts
    whole = parts == 1
    aside = out if whole else scratch("parts", parts * size, out.dtype)
    kernel[grid, block_threads(shape)](
        a, table, b, aside, row_count, column_count, depth, term_count, length, accumulate and whole
    )
    if not whole:
        launch(fold, size, aside, parts, out, accumulate)


@cache
def _nothing():
    return gpu.to_device(np.zeros(1, np.int32))

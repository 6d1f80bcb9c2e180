"""Slices of the products in `dynlab.images.cuda.products`: how the threads of a block read one and put it where all see it.

A slice is DEPTH terms of all rows of a tile and of all its columns. Each function here makes the device function for one
shape of tiles (rows, columns, and how often four of each a thread has).
"""

from __future__ import annotations

import numpy as np

from dynlab.machine import gpu
from dynlab.machine.gpu import load4, store4

DEPTH = 4 if gpu.SIMULATED else 16
PAD = 4  # numbers between lines of a tile: transposed stores then meet fewer common banks


def block_threads(shape) -> int:
    """Threads of a block of such tiles."""
    rows, columns, over, across = shape
    return rows // (4 * over) * (columns // (4 * across))


def lines_of_rows(shape):
    """How all threads read a slice for `rows`: lines of a (and of b across) and of b that a pass reads, the passes, and how
    many threads share a line of b."""
    rows, columns, _, _ = shape
    count, in_line = block_threads(shape), columns // 4
    lines_a, lines_b = count // (DEPTH // 4), count // in_line
    return lines_a, lines_b, rows // lines_a if rows > lines_a else 1, max(1, columns * DEPTH // 4 // count), in_line


def look_under_tap(shape, gathered):
    """The device function that asks where a thread's lines of a look under a tap."""
    lines_a, _, passes_a, _, _ = lines_of_rows(shape)

    def look(table, tap, row_count, first, places):
        for i in range(passes_a):
            row = first + i * lines_a
            if row < row_count:
                places[i] = table[tap * row_count + row] if gathered else row

    return gpu.inner(look, True)


def rows_in_quads(shape, real, gathered, across_b):
    """The device function that reads a slice for `rows`, four numbers at a time: chunk number `step` of a tap.

    given: a, table, taps, b. sizes: rows, columns, depth, taps. at: first row and column of the block, then of the thread
    the quad and line of a, the column and line of b.
    """
    lines_a, lines_b, passes_a, passes_b, _ = lines_of_rows(shape)
    columns, zero = shape[1], real(0.0)

    def read(given, sizes, at, places, tap, step, next_a, next_b):
        a, _, taps, b = given
        _, column_count, depth, _ = sizes
        _, first_column, quad, line, column, line_b = at
        c = step * DEPTH + quad
        inside = c < depth
        for i in range(passes_a):
            place = np.int64(places[i])
            x0, x1, x2, x3 = zero, zero, zero, zero
            if inside and place >= 0:
                x0, x1, x2, x3 = load4(a, place * depth + c)
            next_a[4 * i], next_a[4 * i + 1], next_a[4 * i + 2], next_a[4 * i + 3] = x0, x1, x2, x3
        which = np.int64(taps[tap]) if gathered else np.int64(0)
        for i in range(passes_b):
            x0, x1, x2, x3 = zero, zero, zero, zero
            if across_b:
                o = first_column + line + i * lines_a
                if inside and o < column_count and line + i * lines_a < columns:
                    x0, x1, x2, x3 = load4(b, (which * column_count + o) * depth + c)
            else:
                k = step * DEPTH + line_b + i * lines_b
                if k < depth and first_column + column < column_count and line_b + i * lines_b < DEPTH:
                    x0, x1, x2, x3 = load4(b, (which * depth + k) * column_count + first_column + column)
            next_b[4 * i], next_b[4 * i + 1], next_b[4 * i + 2], next_b[4 * i + 3] = x0, x1, x2, x3

    return gpu.inner(read, True)


def rows_one_by_one(shape, real, gathered, across_b):
    """The same for any shapes: slice number `step` of all taps' terms together."""
    lines_a, lines_b, passes_a, passes_b, _ = lines_of_rows(shape)
    zero = real(0.0)

    def read(given, sizes, at, places, tap, step, next_a, next_b):
        a, table, taps, b = given
        row_count, column_count, depth, tap_count = sizes
        first_row, first_column, quad, line, column, line_b = at
        for i in range(passes_a):
            row = first_row + line + i * lines_a
            for j in range(4):
                k = step * DEPTH + quad + j
                its = k // depth
                next_a[4 * i + j] = zero
                if its < tap_count and row < row_count:
                    place = np.int64(table[its * row_count + row]) if gathered else np.int64(row)
                    if place >= 0:
                        next_a[4 * i + j] = a[place * depth + k - its * depth]
        for i in range(passes_b):
            for j in range(4):
                if across_b:
                    k, o = step * DEPTH + quad + j, first_column + line + i * lines_a
                else:
                    k, o = step * DEPTH + line_b + i * lines_b, first_column + column + j
                its = k // depth
                next_b[4 * i + j] = zero
                if its < tap_count and o < column_count:
                    which = np.int64(taps[its]) if gathered else np.int64(0)
                    if across_b:
                        next_b[4 * i + j] = b[(which * column_count + o) * depth + k - its * depth]
                    else:
                        next_b[4 * i + j] = b[(which * depth + k - its * depth) * column_count + o]

    return gpu.inner(read, True)


def put_rows(shape, across_b):
    """The device function that stores what was read for `rows` in a half of the shared memory."""
    rows, columns, _, _ = shape
    lines_a, lines_b, passes_a, passes_b, _ = lines_of_rows(shape)
    lead_a, lead_b = rows + PAD, columns + PAD
    size_a, size_b = DEPTH * lead_a, DEPTH * lead_b

    def put(tile_a, tile_b, half, place, next_a, next_b):
        _, _, quad, line, column, line_b = place
        for i in range(passes_a):
            at = half * size_a + quad * lead_a + line + i * lines_a
            if line + i * lines_a < rows:
                for j in range(4):
                    tile_a[at + j * lead_a] = next_a[4 * i + j]
        for i in range(passes_b):
            if across_b:
                if line + i * lines_a < columns:
                    at = half * size_b + quad * lead_b + line + i * lines_a
                    for j in range(4):
                        tile_b[at + j * lead_b] = next_b[4 * i + j]
            elif line_b + i * lines_b < DEPTH:
                at = half * size_b + (line_b + i * lines_b) * lead_b + column
                store4(tile_b, at, next_b[4 * i], next_b[4 * i + 1], next_b[4 * i + 2], next_b[4 * i + 3])

    return gpu.inner(put, True)


def lines_of_sums(shape):
    """How all threads read a slice for `sums`: threads a line and lines a pass, of a and of b, and the passes."""
    rows, columns, _, _ = shape
    in_a, in_b = rows // 4, columns // 4
    lines_a, lines_b = block_threads(shape) // in_a, block_threads(shape) // in_b
    return in_a, in_b, lines_a, lines_b, max(1, DEPTH // lines_a), max(1, DEPTH // lines_b)


def sums_in_quads(shape, real, gathered):
    """The device function that reads a slice for `sums`, four numbers at a time, from term `begin` on.

    given: a, table, b. sizes: rows, columns, depth, terms. at: row and column of the thread, its lines of a and of b, its
    tap and the place in it. places: where the lines of this slice look, which are asked for a slice ahead.
    """
    _, _, lines_a, lines_b, passes_a, passes_b = lines_of_sums(shape)
    zero = real(0.0)

    def read(given, sizes, at, begin, stop, places, next_a, next_b):
        a, table, b = given
        row_count, column_count, depth, term_count = sizes
        row, column, line_a, line_b, tap, c = at
        for i in range(passes_a):
            place = np.int64(places[i])
            x0, x1, x2, x3 = zero, zero, zero, zero
            if place >= 0:
                x0, x1, x2, x3 = load4(a, place * depth + c)
            p = begin + DEPTH + line_a + i * lines_a
            places[i] = -1
            if p < stop and line_a + i * lines_a < DEPTH and row < row_count:
                places[i] = table[tap * term_count + p] if gathered else p
            next_a[4 * i], next_a[4 * i + 1], next_a[4 * i + 2], next_a[4 * i + 3] = x0, x1, x2, x3
        for i in range(passes_b):
            p = begin + line_b + i * lines_b
            x0, x1, x2, x3 = zero, zero, zero, zero
            if p < stop and line_b + i * lines_b < DEPTH and column < column_count:
                x0, x1, x2, x3 = load4(b, p * column_count + column)
            next_b[4 * i], next_b[4 * i + 1], next_b[4 * i + 2], next_b[4 * i + 3] = x0, x1, x2, x3

    return gpu.inner(read, True)


def sums_one_by_one(shape, real, gathered):
    """The same for any shapes."""
    _, _, lines_a, lines_b, passes_a, passes_b = lines_of_sums(shape)
    zero = real(0.0)

    def read(given, sizes, at, begin, stop, places, next_a, next_b):
        a, table, b = given
        row_count, column_count, depth, term_count = sizes
        row, column, line_a, line_b, _, _ = at
        for i in range(passes_a):
            p = begin + line_a + i * lines_a
            inside = p < stop and line_a + i * lines_a < DEPTH
            for j in range(4):
                next_a[4 * i + j] = zero
                if inside and row + j < row_count:
                    its = (row + j) // depth if gathered else np.int64(0)
                    place = np.int64(table[its * term_count + p]) if gathered else np.int64(p)
                    if place >= 0:
                        next_a[4 * i + j] = a[place * depth + row + j - its * depth]
        for i in range(passes_b):
            p = begin + line_b + i * lines_b
            inside = p < stop and line_b + i * lines_b < DEPTH
            for j in range(4):
                next_b[4 * i + j] = zero
                if inside and column + j < column_count:
                    next_b[4 * i + j] = b[p * column_count + column + j]

    return gpu.inner(read, True)


def put_sums(shape):
    """The device function that stores what was read for `sums` in a half of the shared memory."""
    rows, columns, _, _ = shape
    in_a, in_b, lines_a, lines_b, passes_a, passes_b = lines_of_sums(shape)
    lead_a, lead_b = rows + PAD, columns + PAD
    size_a, size_b = DEPTH * lead_a, DEPTH * lead_b

    def put(tile_a, tile_b, half, t, next_a, next_b):
        quad_a, line_a, quad_b, line_b = t % in_a * 4, t // in_a, t % in_b * 4, t // in_b
        for i in range(passes_a):
            if line_a + i * lines_a < DEPTH:
                at = half * size_a + (line_a + i * lines_a) * lead_a + quad_a
                store4(tile_a, at, next_a[4 * i], next_a[4 * i + 1], next_a[4 * i + 2], next_a[4 * i + 3])
        for i in range(passes_b):
            if line_b + i * lines_b < DEPTH:
                at = half * size_b + (line_b + i * lines_b) * lead_b + quad_b
                store4(tile_b, at, next_b[4 * i], next_b[4 * i + 1], next_b[4 * i + 2], next_b[4 * i + 3])

    return gpu.inner(put, True)

"""The largest entries of every row, and the votes of those neighbours: the kernels of the weighted kNN."""

from __future__ import annotations

import numba
import numpy as np

from dynlab.machine import jit


@jit.inner
def _sift(values, places, at, size):
    """Restore the heap below `at`: the root is the worst kept, the smallest value and, of equals, the latest place."""
    value, place = values[at], places[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            values[other] < values[child] or (values[other] == values[child] and places[other] > places[child])
        ):
            child = other
        if value < values[child] or (value == values[child] and place > places[child]):
            break
        values[at], places[at] = values[child], places[child]
        at = child
    values[at], places[at] = value, place


@jit.parallel
def largest(rows, k, values, places):
    """Fill values, places (n, k) with the k largest of every row (n, N), N >= k, in no order; the first of equals."""
    for i in numba.prange(rows.shape[0]):
        row, best, where = rows[i], values[i], places[i]
        for j in range(k):
            best[j], where[j] = row[j], j
        for j in range(k // 2, -1, -1):
            _sift(best, where, j, k)
        for j in range(k, len(row)):
            if row[j] > best[0]:
                best[0], where[0] = row[j], j
                _sift(best, where, 0, k)


@jit.kernel
def votes(values, places, labels, temperature, scores):
    """Fill scores (n, classes) with sums over the neighbours of each class, in float64, of exp((value - the row's largest)/
    temperature)."""
    scores[:] = 0.0
    for i in range(len(values)):
        top = np.float64(values[i].max())
        for j in range(values.shape[1]):
            scores[i, labels[places[i, j]]] += np.exp((values[i, j] - top) / temperature)

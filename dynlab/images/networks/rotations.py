r"""Spectra of small positive semidefinite matrices by rotations: the same bits on any number of threads.

One-sided (Hestenes 1958): pairs of rows of S are turned until all are orthogonal. Rows of V^T S with V orthogonal are then
lambda_i v_i, the eigenvectors times their eigenvalues. Rows lie side by side in memory, so that this is several times faster
than `dynlab.formulas.head_rules.jacobi_spectrum`, which turns columns too (and serves complex steps). LAPACK is faster
still where nothing else runs, but its threads wait for one another where cores are shared. Eigenvalues are exact to
rounding of the largest.
"""

from __future__ import annotations

import numpy as np

from dynlab.machine import jit

SWEEPS = 40
ORTHOGONAL, NOTHING = 1e-15, 1e-15  # cosine of two rows that are not turned; share of the longest row that is zero


@jit.reduction
def _product(x, y):
    total = 0.0
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@jit.inner
def _turn(x, y, c, s):
    for k in range(len(x)):
        u, v = x[k], y[k]
        x[k] = c * u - s * v
        y[k] = s * u + c * v


@jit.kernel
def _orthogonalise(rows, squares):
    """Turn rows (m, m) until they are orthogonal; squares (m,): their squared lengths."""
    m = len(rows)
    for _ in range(SWEEPS):
        for p in range(m):
            squares[p] = _product(rows[p], rows[p])
        floor = NOTHING * NOTHING * squares.max()
        still = True
        for p in range(m):
            for q in range(p + 1, m):
                first, second = squares[p], squares[q]
                off = _product(rows[p], rows[q])
                if first <= floor or second <= floor or off * off <= ORTHOGONAL * ORTHOGONAL * first * second:
                    continue
                still = False
                gap = second - first
                root = np.sqrt(gap * gap + 4.0 * off * off)
                t = 2.0 * off / (gap + root if gap >= 0.0 else gap - root)
                c = 1.0 / np.sqrt(1.0 + t * t)
                _turn(rows[p], rows[q], c, t * c)
                squares[p], squares[q] = first - t * off, second + t * off
        if still:
            break


def psd_spectrum(matrix) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (m,), smallest first, and eigenvectors, the columns of (m, m), of a finite positive semidefinite matrix.

    A column whose eigenvalue is zero to rounding is zero.
    """
    rows = np.array(matrix, np.float64, order="C")
    largest = np.abs(rows).max()
    if not largest > 0.0:
        return np.zeros(len(rows)), np.zeros_like(rows)
    rows /= largest
    squares = np.empty(len(rows))
    _orthogonalise(rows, squares)
    values = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    order = np.argsort(values, kind="stable")
    values, rows = values[order], rows[order]
    found = values > NOTHING * values[-1]
    rows = np.where(found[:, None], rows, 0.0) / np.where(found, values, 1.0)[:, None]
    return largest * np.where(found, values, 0.0), rows.T

"""What the losses need of outputs (rows, c) and of their second moments (m, m), beyond the dense layers.

Rows are the two views of B pictures, view 1 in the first half and view 2 in the second. Losses are added up in `value`
(1,) float64, which stays where the layers compute: every function that names it adds to it.
"""

from __future__ import annotations

import numpy as np

from dynlab.machine import jit


def fill(x, number):
    """Every entry of x = number."""
    x[...] = number
    return x


def scale(x, factor):
    """x *= factor, a number."""
    x *= factor
    return x


def centre_columns(x, means, out):
    """out = x (n, c) less the means (c,) of its columns, which are found and taken off in float64."""
    _centre(x, means, out)
    return out


@jit.kernel
def _centre(x, means, out):
    total = np.zeros(x.shape[1])
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total[j] += x[i, j]
    total /= x.shape[0]
    for j in range(x.shape[1]):
        means[j] = total[j]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - total[j]


def swap_views(x, out):
    """out = the rows of x (2B, c) with those of the other view in their place."""
    half = len(x) // 2
    out[:half] = x[half:]
    out[half:] = x[:half]
    return out


def difference(x, y, factor, out):
    """out = factor (x - y), of one shape; out may be either."""
    np.subtract(x, y, out=out)
    out *= factor
    return out


def add_product(x, y, factor, value):
    """value += factor sum x y over all entries, summed in float64."""
    value[0] += factor * np.einsum("ij,ij->", x, y, dtype=np.float64)
    return value


def add_sum(x, factor, value):
    """value += factor sum x (n,), summed in float64."""
    value[0] += factor * np.sum(x, dtype=np.float64)
    return value


def set_diagonal(x, number):
    """The diagonal of x (n, n) = number."""
    np.fill_diagonal(x, number)
    return x


def softmax(x, shift, temperature, out, logs):
    """out = softmax(y/temperature) by rows, y = x - shift; logs (n,) = log sum_j exp((y_ij - max_j y_ij)/temperature).

    shift (c,) or None. Differences are taken in float64 before anything is divided, so that what all entries of a row have
    in common changes nothing. Entries of minus infinity get none. out may be x.
    """
    _exponents(x, np.zeros(1) if shift is None else shift, shift is not None, float(temperature), out)
    np.exp(out, out=out)
    _normalise_rows(out, logs)
    return out


@jit.kernel
def _exponents(x, shift, shifted, temperature, out):
    """out = (y - the largest of its row)/temperature, y = x - shift; what is not a number stays so."""
    for i in range(x.shape[0]):
        top = -np.inf
        for j in range(x.shape[1]):
            y = np.float64(x[i, j]) - (shift[j] if shifted else 0.0)
            top = top if y <= top else y
        for j in range(x.shape[1]):
            y = np.float64(x[i, j]) - (shift[j] if shifted else 0.0)
            out[i, j] = (y - top) / temperature


@jit.kernel
def _normalise_rows(x, logs):
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
        share = 1.0 / total
        for j in range(x.shape[1]):
            x[i, j] *= share
        logs[i] = np.log(total)


@jit.kernel
def add_cross_entropy(goal, x, temperature, logs, factor, value):
    """value += factor sum_i - sum_j goal_ij log softmax(x/temperature)_ij; goal (n, c): shares; logs: of `softmax`.

    A row is logs_i + sum_j goal_ij (max_k x_ik - x_ij)/temperature, as its shares sum to one: no term is negative.
    """
    total = 0.0
    for i in range(x.shape[0]):
        top = -np.inf
        for j in range(x.shape[1]):
            y = np.float64(x[i, j])
            top = top if y <= top else y
        below = 0.0
        for j in range(x.shape[1]):
            if goal[i, j] != 0.0:
                below += goal[i, j] * (top - x[i, j])
        total += logs[i] + below / temperature
    value[0] += factor * total


@jit.kernel
def add_pair_gaps(x, factor, value):
    """value += factor sum_i (max_k x_ik - x_ii'), i' the other view of i: x (2B, 2B)."""
    total, half = 0.0, x.shape[0] // 2
    for i in range(x.shape[0]):
        top = -np.inf
        for j in range(x.shape[1]):
            y = np.float64(x[i, j])
            top = top if y <= top else y
        total += top - x[i, i + half if i < half else i - half]
    value[0] += factor * total


@jit.kernel
def off_diagonal_moments(c, factor, weight, value):
    """Of C = factor c (m, m): value += weight sum_{i != j} C_ij^2; c becomes its derivative by c (0 on the diagonal)."""
    total = 0.0
    for i in range(len(c)):
        for j in range(len(c)):
            own = factor * c[i, j] if i != j else 0.0
            total += own * own
            c[i, j] = 2.0 * weight * factor * own
    value[0] += weight * total


@jit.kernel
def barlow_moments(c, factor, weight, value):
    """Of C = factor c (m, m): value += sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2; c becomes its derivative by c."""
    total = 0.0
    for i in range(len(c)):
        for j in range(len(c)):
            own = factor * c[i, j]
            if i == j:
                total += (1.0 - own) * (1.0 - own)
                c[i, j] = -2.0 * factor * (1.0 - own)
            else:
                total += weight * own * own
                c[i, j] = 2.0 * weight * factor * own
    value[0] += total


@jit.kernel
def vicreg_moments(c, factor, variance, covariance, eps, value):
    """Of C = factor c (m, m), a covariance: value += variance/m sum_i max(0, 1 - sqrt(C_ii + eps)) + covariance/m
    sum_{i != j} C_ij^2; c becomes its derivative by c (with no slope of the hinge where C_ii + eps is 0).
    """
    total, m = 0.0, len(c)
    for i in range(m):
        for j in range(m):
            own = factor * c[i, j]
            if i == j:
                deviation = np.sqrt(own + eps)
                below = deviation < 1.0
                total += variance / m * (1.0 - deviation) if below else 0.0
                c[i, j] = -0.5 * variance / m * factor / deviation if below and deviation > 0.0 else 0.0
            else:
                total += covariance / m * own * own
                c[i, j] = 2.0 * covariance / m * factor * own
    value[0] += total

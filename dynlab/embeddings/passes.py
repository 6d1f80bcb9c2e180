r"""The numbers of a cloud of rows z (n, m), in blocks of rows: two passes, however many rows there are.

First the least and the largest entry of every column. Then, with y = (z - c)/s, where s_j is the power of two above half the
width of column j and c the mean of rows spread evenly over z, the sums of y and of y y^T, so that

    Cov(y) = <y y^T> - <y><y>^T

loses nothing: <y> is small against the deviation of y, whatever the offsets of z, and no square leaves the floats, whatever
the scale. Rows at unit length u = z/|z| are summed in the same way, less the mean of those spread rows. Beyond `EXACT`
entries, blocks of float32 are multiplied in float32 and summed in float64.

What a softmax does not see is the mean a = z 1/m of a row. Without it the covariance is C Cov C, C = I - 1 1^T/m, and
1^T Cov 1/(m tr Cov) is the share of the energy that was in it; beyond `OFFSET` that difference has lost digits, and a
third pass sums rows less their means.

Sums of products are those of NumPy's BLAS, whose last digits may depend on its threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.embeddings.arrays import OnDisk
from dynlab.embeddings.given import block_rows, refuse_not_finite
from dynlab.images.worth.ranks import varying_between

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynlab.tools.types import Array

EXACT = 1 << 25  # entries up to which everything is float64
SPREAD = 2048  # rows spread evenly: for centres, and for pairs
OFFSET = 0.99  # share of the energy in the rows' means beyond which they are taken off first
TINY = 1e-25  # squared length of a row, the largest entry of z being 1, below which it is measured on its own


@dataclass(frozen=True)
class Cloud:
    """Sums over rows. covariance (m, m): in units of `unit` squared. alive (m,): columns that vary.

    unit_sd: deviation of rows at unit length, mean over columns. largest: of |z|. resolved: share of the largest eigenvalue
    below which one is of the size of rounding.
    """

    rows: int
    covariance: Array
    unit: float
    alive: np.ndarray
    unit_sd: float
    largest: float
    resolved: float


def extremes(name: str, z: Array | OnDisk) -> tuple[Array, Array]:
    """Least and largest entry (m,) of every column; SettingError where not all are finite."""
    low, high = np.full(z.shape[1], np.inf), np.full(z.shape[1], -np.inf)
    with np.errstate(invalid="ignore"):
        for part in blocks(z):
            np.minimum(low, part.min(0), out=low)
            np.maximum(high, part.max(0), out=high)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        refuse_not_finite(name, z)
    return low, high


def blocks(z: Array | OnDisk) -> Iterator[np.ndarray]:
    """Consecutive rows, a few at a time."""
    size = block_rows(z.shape[1])
    for low in range(0, z.shape[0], size):
        yield z[low : low + size]


def spread_rows(z: Array | OnDisk) -> Array:
    """At most `SPREAD` rows, spread evenly, as float64."""
    n = z.shape[0]
    places = np.arange(n) if n <= SPREAD else np.linspace(0, n - 1, SPREAD).astype(np.int64)
    return np.asarray(z[places], dtype=np.float64)


def unit_rows(rows: Array) -> Array:
    """Rows (n, m) at unit length, whatever their size; a row of zeros stays zero."""
    largest = np.abs(rows).max(1, keepdims=True)
    rows = rows / np.where(largest > 0.0, largest, 1.0)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows / np.where(length > 0.0, length, 1.0)


def cloud(name: str, z: Array | OnDisk, centred: bool = False) -> Cloud:
    """The sums; centred: of rows less their means. SettingError for nan and infinity."""
    low, high = extremes(name, z)
    n, m = z.shape
    floats = z.dtype if z.dtype.kind == "f" else np.dtype(np.float64)
    alive = varying_between(low, high, float(np.finfo(floats).eps))
    largest = float(max(-low.min(), high.max(), 0.0))
    _, power = np.frexp(0.5 * high - 0.5 * low)
    if centred:
        power = np.full(m, int(np.frexp(largest)[1]))
    power = np.clip(np.where(alive | centred, power, 0), -1000, 1000)
    single = floats.itemsize <= 4 and n * m > EXACT and int(np.abs(power).max(initial=0)) < 100 and not centred
    kind = np.float32 if single else np.float64
    gram, total, unit_sd = _sums(z, np.ldexp(1.0, -power).astype(kind), int(np.frexp(largest)[1]), kind, centred)
    covariance = gram / n - np.outer(total / n, total / n)
    if centred:
        noise = 4.0 * float(np.finfo(floats).eps) * largest * np.ldexp(1.0, -power)
        alive = np.sqrt(np.maximum(np.diagonal(covariance), 0.0)) > noise
    covariance[~alive] = 0.0
    covariance[:, ~alive] = 0.0
    top = int(power[alive].max()) if alive.any() else 0
    relative = np.ldexp(1.0, np.maximum(power - top, -500))
    resolved = 8.0 * float(np.finfo(np.float32).eps) if single else max(n, m) * float(np.finfo(np.float64).eps)
    unit = float(np.ldexp(1.0, top))
    return Cloud(n, covariance * np.outer(relative, relative), unit, alive, unit_sd, largest, resolved)


def _sums(z: Array | OnDisk, scale: Array, power: int, kind: type, centred: bool) -> tuple[Array, Array, float]:
    """Sums of y y^T and of y, and the deviation of rows at unit length; power: of two above the largest |z|."""
    some = spread_rows(z)
    middle = (_less_mean(some, centred) * scale).mean(0).astype(kind)
    direction = unit_rows(some).mean(0).astype(kind)
    n, m = z.shape
    gram, total = np.zeros((m, m)), np.zeros(m)
    turned, squares = np.zeros(m), np.zeros(m)
    common = kind(np.ldexp(1.0, -min(max(power, -1000), 1000)))
    for part in blocks(z):
        y = _less_mean(np.asarray(part, dtype=kind), centred) * scale
        y -= middle
        ones: Array = np.ones(len(y), kind)
        gram += y.T @ y
        total += ones @ y
        np.multiply(part, common, out=y, casting="unsafe")
        lengths = np.einsum("ij,ij->i", y, y)
        if lengths.min() < TINY:
            y = unit_rows(np.asarray(part, dtype=np.float64)).astype(kind)
        else:
            y *= (1.0 / np.sqrt(lengths))[:, None]
        y -= direction
        turned += ones @ y
        squares += np.einsum("ij,ij->j", y, y)
    return gram, total, float(np.sqrt(np.maximum(squares / n - (turned / n) ** 2, 0.0)).mean())


def _less_mean(rows: Array, centred: bool) -> Array:
    return rows - rows.mean(1, keepdims=True) if centred else rows


def without_row_means(name: str, z: Array | OnDisk, found: Cloud) -> tuple[Array, float]:
    """(Covariance (m, m) of rows less their means, share of the energy that was in them), for a cloud `found` of z."""
    m = len(found.covariance)
    trace = float(np.trace(found.covariance))
    share = float(found.covariance.sum() / (m * trace)) if trace > 0.0 else 0.0
    if share > OFFSET:
        return cloud(name, z, centred=True).covariance, min(share, 1.0)
    rows = found.covariance - found.covariance.mean(0)
    return rows - rows.mean(1, keepdims=True), share


def alignment(z: Array | OnDisk, target: Array | OnDisk) -> float:
    """Mean |u - u'|^2 over rows of z and target (n, m), both at unit length: 0 where they agree (Wang & Isola 2020)."""
    extremes("target", target)
    total = 0.0
    for ours, theirs in zip(blocks(z), blocks(target), strict=True):
        gap = unit_rows(np.asarray(ours, np.float64)) - unit_rows(np.asarray(theirs, np.float64))
        total += float(np.einsum("ij,ij->", gap, gap))
    return total / z.shape[0]


def uniformity(z: Array | OnDisk) -> tuple[float, int]:
    """(log E exp(-2 |u - u'|^2), number of pairs) over all pairs of at most `SPREAD` rows spread evenly over z.

    0 where all rows point one way; -4 + 8/m or so for directions spread over the sphere (Wang & Isola 2020).
    """
    units = unit_rows(spread_rows(z))
    k = len(units)
    cosines = (units @ units.T)[np.triu_indices(k, 1)]
    return float(np.log(np.exp(-4.0 * np.maximum(1.0 - cosines, 0.0)).mean())), k * (k - 1) // 2

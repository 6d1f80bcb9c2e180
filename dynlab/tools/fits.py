"""Exponents: power laws fitted to medians and to shares over seeds, with intervals from a paired bootstrap.

The starts of an ensemble are the same in every ensemble of one seed (scaled with d), so points of a scan are
correlated; whole seeds are drawn, the same at every point, and the fit repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 400
SMALLEST = 1e-300


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(offset) x^exponent; low and high: 95 % interval of the exponent."""

    exponent: float
    low: float
    high: float
    offset: float

    def __repr__(self) -> str:
        return f"PowerLaw(exponent {self.exponent:.4g} [{self.low:.4g}, {self.high:.4g}], {self(1.0):.4g} at 1)"

    def __call__(self, x):
        return np.exp(self.offset) * np.asarray(x, dtype=float) ** self.exponent


def median_law(x, samples, seed: int = 0) -> PowerLaw:
    """Power law through the medians of positive samples (N seeds, P points) at x (P,); nan are left out."""
    samples = np.asarray(samples, dtype=float)
    logs = np.log(np.maximum(samples, SMALLEST))
    return _law(x, lambda rows: np.nanmedian(logs[rows], axis=0), len(samples), seed)


def share_law(x, events, seed: int = 0) -> PowerLaw:
    """Power law through the shares of True in events (N seeds, P points) at x (P,).

    Half an event is added to each point, so that a resample without any has a logarithm too.
    """
    events = np.asarray(events, dtype=bool)
    return _law(x, lambda rows: np.log((events[rows].sum(0) + 0.5) / (len(rows) + 1.0)), len(events), seed)


def median_interval(values, z: float = 1.96) -> tuple[float, float, float]:
    """(median, low, high) of values (N,), nan left out: interval by order statistics, of 95 % for z = 1.96 deviations."""
    values = np.sort(np.asarray(values, dtype=float)[~np.isnan(values)])
    n = len(values)
    if n == 0:
        return np.nan, np.nan, np.nan
    reach = z * np.sqrt(n) / 2.0
    low, high = int(max(np.floor(n / 2.0 - reach), 0)), int(min(np.ceil(n / 2.0 + reach), n - 1))
    return float(np.median(values)), float(values[low]), float(values[high])


def _law(x, statistic, count: int, seed: int) -> PowerLaw:
    """Weighted least squares of log y on log x; statistic(rows) gives log y (P,) of the seeds in rows."""
    log_x = np.log(np.asarray(x, dtype=float))
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(RESAMPLES)])
    spread = draws.std(0)
    weights = 1.0 / np.maximum(spread, 1e-3 * max(spread.max(), SMALLEST)) ** 2
    exponent, offset = _line(log_x, statistic(np.arange(count)), weights)
    slopes = [_line(log_x, draw, weights)[0] for draw in draws]
    low, high = np.percentile(slopes, [2.5, 97.5])
    return PowerLaw(float(exponent), float(low), float(high), float(offset))


def _line(x, y, weights) -> tuple[float, float]:
    total = weights.sum()
    middle_x, middle_y = (weights * x).sum() / total, (weights * y).sum() / total
    slope = (weights * (x - middle_x) * (y - middle_y)).sum() / (weights * (x - middle_x) ** 2).sum()
    return slope, middle_y - slope * middle_x

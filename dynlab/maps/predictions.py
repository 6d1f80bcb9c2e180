"""What the theory says of a point of a phase diagram, where it says something: cubic, two neurons, trained to rest.

Without a head each neuron runs its own race (`dynlab.population.pair.limit.share_weak`); with the head the fate of starts in
the limit d -> infinity is told by `dynlab.population.pair.limit.fate`, averaged over `STARTS` of them. The time T_1 is that
of the race at the point's dimension, the head's peak its bound sqrt(r/3) for weights of length one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.moments import LEARNT
from dynlab.population.pair import limit
from dynlab.settings.model import Model

if TYPE_CHECKING:
    from dynlab.maps.grid import Grid
    from dynlab.maps.points import MapPoint

STARTS = 4000
NEVER = {"neither": 0.0, "waiting": 0.0, "failed": 0.0}  # trained to rest
SCALE = 1e-9  # signals of the limit: only their ratios enter


def predicted(grid: Grid, measure: str, head: str) -> np.ndarray:
    """The prediction (rows, columns) for a measure of `dynlab.maps.measures`; nan where there is none."""
    return np.array([[prediction(grid.point(x, y), measure, head) for x in grid.x.values] for y in grid.y.values])


def prediction(point: MapPoint, measure: str, head: str) -> float:
    """The prediction at one point; nan where there is none."""
    model = point.model
    if model.activation != "cubic" or model.neurons != 2 or point.until is not None or not limit.has_race(model):
        return np.nan
    rate = point.eta_head if head == "off-diagonal" else 0.0
    if measure == "time":
        return float(point.dim) ** 2 * _first_time(model)
    if measure in ("peak", "bound"):
        return float(np.sqrt(rate / 3.0)) if rate > 0.0 else np.nan
    return _shares(model.weak / model.strong, rate).get(measure, np.nan)


@lru_cache(maxsize=65536)
def _shares(ratio: float, rate: float) -> dict[str, float]:
    """Shares of the outcomes at weak/strong and r; r = 0 is no head."""
    model = Model(strong=1.0, weak=ratio)
    if rate == 0.0:
        p = limit.share_weak(model)
        alone = {"only_strong": (1.0 - p) ** 2, "only_weak": p**2}
        return {"both": 2.0 * p * (1.0 - p), **alone, "merged": sum(alone.values()), **NEVER}
    signal, gram = limit.limit_starts(STARTS)
    fate = limit.fate(model, signal * SCALE, gram, rate)
    # A merged start has learnt the lender's feature alone, both, or only the other one, as its direction is.
    lone = np.where(fate.carried <= LEARNT, fate.feature, np.where(fate.carried >= 1.0 - LEARNT, 1 - fate.feature, -1))
    lone = np.where(fate.merged, lone, -1)
    shares = {"both": lone == -1, "only_strong": lone == 0, "only_weak": lone == 1, "merged": fate.merged}
    return {name: float(which.mean()) for name, which in shares.items()} | NEVER


@lru_cache(maxsize=65536)
def _first_time(model: Model) -> float:
    """Median T_1 / d^2."""
    signal, gram = limit.limit_starts(STARTS)
    times = limit.race_times(model, signal * SCALE, gram).reshape(STARTS, -1).min(1)
    return float(np.median(times)) * SCALE**4

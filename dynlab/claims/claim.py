"""What a claim is made of: the ensembles it asks for, the records it returns, the panel it draws.

A claim's module has NUMBER, NAME, `points(scale)` (the ensembles it needs) and `judge(scale, runs)` (its `Finding`).
It runs no ensembles itself: it measures those it is given. To add a claim, write such a module and name it in
`dynlab.claims`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD
from dynlab.tools import plots, show
from dynlab.tools.intervals import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dynlab.ensembles.ensemble import Ensemble

HOLDS, FAILS, OUT_OF_REACH = "holds", "fails", "out of reach"
# The paper's model at the strengths of the project's main run.
PAPER = Model(strong=1.0, weak=0.3, activation="cubic")


@dataclass(frozen=True)
class ScanPoint:
    """One ensemble of a scan: the arguments of `dynlab.ensemble`."""

    model: Model
    dim: int
    seeds: int
    head: str = "off-diagonal"
    eta_head: float = ETA_HEAD
    until: float | None = None
    seed: int = 0
    rtol: float = 1e-6

    def settings(self) -> dict:
        """As JSON holds it."""
        return asdict(self)


Runs = Mapping[ScanPoint, "Ensemble"]


@dataclass(frozen=True)
class Scale:
    """How large a run is: dimensions, seeds a point, seeds a point where shares are small, head rates."""

    dims: tuple[int, ...]
    seeds: int
    rare_seeds: int
    rates: tuple[float, ...]
    slow_seeds: int  # for relu, whose kinks cost
    seed: int = 0

    def largest(self, most: int = 10**12) -> int:
        """The largest dimension, at most `most`."""
        return max(dim for dim in self.dims if dim <= most)

    def from_dim(self, least: int) -> tuple[int, ...]:
        """The dimensions from `least` on."""
        return tuple(dim for dim in self.dims if dim >= least)


@dataclass(frozen=True)
class Record:
    """One statement with its number: a row of theorem.json and theorem.csv; `claim` and `name` say where it belongs.

    predicted, measured, low, high: numbers or None; low and high bound what was measured (95 % unless the statement
    says otherwise). verdict: "holds", "fails", or "out of reach" where the interval does not tell.
    """

    claim: int
    name: str
    statement: str
    predicted: float | None
    measured: float | None
    low: float | None
    high: float | None
    verdict: str

    def __post_init__(self):
        for name in ("predicted", "measured", "low", "high"):
            value = getattr(self, name)
            value = None if value is None or not math.isfinite(value) else float(value)
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        known = [(name, getattr(self, name)) for name in ("predicted", "measured", "low", "high")]
        numbers = [f"{name} {value:.4g}" for name, value in known if value is not None]
        return show.line("Record", [f"{self.claim} {self.name}", self.verdict, *numbers])

    def _repr_html_(self) -> str:
        return show.fields_table(self)


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of a panel with intervals from low to high, or a line through them, and its label in the legend."""

    label: str
    x: list
    y: list
    low: list | None = None
    high: list | None = None
    line: bool = False

    __repr__ = show.fields_line


@dataclass(frozen=True)
class Panel:
    """What a panel of the figure shows: title, x_label, y_label, curves, whether its axes are logarithmic (x_log, y_log).

    spread: shift in x (relative on a log axis) from one set of points to the next, so that all show.
    """

    title: str
    x_label: str
    y_label: str
    curves: list[Curve] = field(default_factory=list)
    x_log: bool = True
    y_log: bool = True
    spread: float = 0.0

    def __repr__(self) -> str:
        return show.line("Panel", [show.brief(self.title), f"{len(self.curves)} curves"])


@dataclass(frozen=True)
class Finding:
    """What became of a claim: its records, and the panel that shows them."""

    records: list[Record]
    panel: Panel

    def __repr__(self) -> str:
        verdicts = [record.verdict for record in self.records]
        counts = [f"{verdicts.count(word)} {word}" for word in (HOLDS, FAILS, OUT_OF_REACH) if word in verdicts]
        number = self.records[0].claim if self.records else "?"
        return show.line("Finding", [f"claim {number}: {len(verdicts)} statements", *counts])

    def _repr_html_(self) -> str:
        names = ("name", "statement", "predicted", "measured", "low", "high", "verdict")
        found = [[getattr(record, name) for name in names] for record in self.records]
        rows = [["" if value is None else value for value in row] for row in found]
        return show.table(rows, names, repr(self))

    def plot(self) -> Figure:
        """The claim's panel; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)


def within(low: float, high: float, least: float = -math.inf, most: float = math.inf) -> str:
    """Verdict on a number known to lie in [low, high] and claimed to lie in [least, most]."""
    if math.isnan(low) or math.isnan(high):
        return OUT_OF_REACH
    if least <= low and high <= most:
        return HOLDS
    return FAILS if high < least or low > most else OUT_OF_REACH


def agrees(predicted: float, low: float, high: float, slack: float) -> str:
    """Verdict on a number known to lie in [low, high] and predicted to be `predicted`.

    It holds only where the interval could have told: where it holds the prediction and is no wider than +-`slack`.
    """
    if math.isnan(low) or math.isnan(high) or math.isnan(predicted):
        return OUT_OF_REACH
    if not low <= predicted <= high:
        return FAILS
    return HOLDS if high - low <= 2.0 * slack else OUT_OF_REACH


def share(events) -> tuple[float, float, float]:
    """(share, low, high) of True in events (N,), with Wilson's 95 % interval."""
    count = int(events.sum())
    return count / len(events), *wilson(count, len(events))


def median_curve(label: str, x, samples) -> Curve:
    """Curve of the medians of samples, one array (N,) a point."""
    from dynlab.tools.fits import median_interval

    rows = [median_interval(values) for values in samples]
    y, low, high = (list(part) for part in zip(*rows, strict=True))
    return Curve(label, list(x), y, low, high)


def share_curve(label: str, x, events) -> Curve:
    """Curve of shares, one boolean array (N,) a point."""
    y, low, high = (list(part) for part in zip(*(share(some) for some in events), strict=True))
    return Curve(label, list(x), y, low, high)


def law_curve(law, x, name: str) -> Curve:
    """The line of a power law."""
    ends = [min(x), max(x)]
    return Curve(f"{name}$^{{{law.exponent:.3f}}}$", ends, [float(law(at)) for at in ends], line=True)

"""A forecast of the fitted theory: its numbers, and in words with how often such forecasts were right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynlab.tools import show

if TYPE_CHECKING:
    import numpy as np

    from dynlab.embeddings.theory_fit import TheoryFit

WIDTH = 100  # characters of a line
# Of `python -m benchmarks.forecasts`, runs that the rule was not chosen by; the page on forecasts has the table.
JUDGED, COLLAPSED, HEADS = 79, 25, 57
PEAK_WORTH = (
    "0.61 (0.37 to 0.78)",
    "0.90 (0.78 to 0.95)",
)  # rank correlations with the peak: forecast, norm at the last record
BRIER = "0.217 (0.165 to 0.274)", "0.217 (0.176 to 0.258)"  # of collapse: forecast, one number for all runs


@dataclass(frozen=True)
class TheoryForecast:
    """What the fitted theory says of the steps up to `until`.

    fit : `TheoryFit`. steps (n,), norms (n,) : the head's norm ||off-diag(E)||_F. peak, peak_step : its largest value and
    when; half_step : when it is half of that first. nan without a head. merged : share of the pairs whose two outputs are
    one at the end. rank : mean effective rank of the pairs there, 1 to 2. failed : pairs whose flow could not be followed,
    not counted.
    """

    fit: TheoryFit
    until: int
    steps: np.ndarray = field(repr=False)
    norms: np.ndarray = field(repr=False)
    peak: float
    peak_step: float
    half_step: float
    merged: float
    rank: float
    failed: int

    @property
    def text(self) -> str:
        """What was fitted, what it says of the head and of collapse, and how far to trust it."""
        return "\n".join(row for text in lines(self) for row in show.paragraph(text, WIDTH))

    def as_json(self) -> dict:
        """Plain values, what is not known as None."""
        fit, names = self.fit, ("peak", "peak_step", "half_step", "merged", "rank")
        known = {name: _known(getattr(self, name)) for name in names}
        found = {"strengths": list(fit.model.strengths or ()), "shared": list(fit.shared), "rest": fit.rest, "dim": fit.dim}
        rates = {"unit": fit.unit, "eta_head": fit.training.eta_head if fit.training.head_trains else None}
        return {"until": self.until, "records": fit.used, "last": fit.last} | found | rates | known | {"failed": self.failed}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def lines(found: TheoryForecast) -> list[str]:
    """The forecast in sentences."""
    fit = found.fit
    strengths = " : ".join(f"{x:.2g}" for x in fit.model.strengths or ())
    shared = ", ".join(show.percent(x) for x in fit.shared)
    out = [
        f"Forecast to step {found.until} by the {len(fit.shared)}-feature theory, from {fit.used} records, "
        f"steps {fit.first} to {fit.last}: strengths {strengths}; the views share {shared} of the outputs' variance "
        f"along these and {show.percent(fit.rest)} along all others; a step takes {fit.unit:.2g} of the flow's time."
    ]
    if fit.training.head_trains:
        late = found.peak_step >= 0.97 * found.until
        when = "is still growing at the end" if late else f"falls from step {found.peak_step:.0f} on"
        out.append(
            f"Head: at {fit.training.eta_head:.2g} times the encoder's rate the norm of its entries off the diagonal "
            f"reaches {found.peak:.3g} and {when}; half of that at step {found.half_step:.0f}. "
            f"How far to trust it: on {HEADS} runs on pictures the rank correlation of such a peak with the true one was "
            f"{PEAK_WORTH[0]}, less than that of the head's norm at the last of the records, {PEAK_WORTH[1]}."
        )
    else:
        out.append("Head: none, or none that has moved by the last of these records.")
    out.append(
        f"Collapse: in {show.percent(found.merged)} of {len(fit.starts) - found.failed} pairs the two outputs become one. "
        f"How far to trust it: as a probability that the rank of z ends below 2 this had a Brier score of {BRIER[0]} on "
        f"{JUDGED} runs, {COLLAPSED} of them collapsed; one number for all of them had {BRIER[1]}, so it tells nothing."
    )
    return out

"""What became of the starts of an ensemble, beside what the theory says of the same starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.explanation.recorded import RecordedRun
from dynlab.population.moments import LEARNT
from dynlab.population.order_parameters import draw_order_parameters
from dynlab.population.pair import limit
from dynlab.population.scaling import horizon

MOST = 4000  # starts that are drawn again for the theory


@dataclass(frozen=True)
class Shares:
    """Shares of an ensemble's starts, measured and predicted (nan where there is no theory).

    law : without a head the race law's share that learns both; with one the law (1/pi) arctan sqrt(r/3) of the merged, for
    large dimensions and small weak/strong. both_predicted, merged_predicted : of these very starts.
    """

    starts: int
    both: float
    both_low: float
    both_high: float
    merged: float
    only_strong: float
    only_weak: float
    failed: float
    law: float = np.nan
    both_predicted: float = np.nan
    merged_predicted: float = np.nan


def shares(run: RecordedRun) -> Shares | None:
    """The shares of the ensemble that a trajectory belongs to; None where there is none."""
    row = run.summary
    if row is None:
        return None
    names = ("both", "both_low", "both_high", "merged", "only_strong", "only_weak", "failed")
    measured = {name: float(row[name]) for name in names}
    settled = run.until is None or run.until > 0.01 * horizon(run.model, run.dim, run.training.start_scale)
    if run.model.activation != "cubic" or not limit.has_race(run.model) or not run.training.is_papers or not settled:
        return Shares(int(row["seeds"]), **measured)
    return Shares(int(row["seeds"]), **measured, **_theory(run, min(int(row["seeds"]), MOST)))


def _theory(run: RecordedRun, count: int) -> dict:
    drawn = [
        draw_order_parameters(run.model, run.dim, np.random.default_rng((run.seed, i)), run.training.start_scale)
        for i in range(count)
    ]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    if run.rate > 0.0:
        fate = limit.fate(run.model, signal, gram, run.rate)
        law = float(limit.share_merged_small_weak(run.rate))
        both = float(fate.learns_both(LEARNT).mean())
        return {"law": law, "both_predicted": both, "merged_predicted": float(fate.merged.mean())}
    weak = limit.share_weak(run.model)
    taken = limit.head_free_features(run.model, signal, gram)
    both = float((taken[:, 0] != taken[:, 1]).mean())
    return {"law": 2.0 * weak * (1.0 - weak), "both_predicted": both, "merged_predicted": 1.0 - both}

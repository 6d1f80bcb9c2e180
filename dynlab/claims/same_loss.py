"""Claim 8: collapsed and diverse end states have the same, lowest loss: the loss tells nothing of collapse."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import PAPER, Curve, Finding, Panel, Record, Runs, Scale, ScanPoint, within
from dynlab.claims.first_feature import main_scan
from dynlab.formulas import masks
from dynlab.population.pair.phases import end_states

NUMBER, NAME = 8, "same loss"
# Without the head, and with it; "one direction" counts every one-dimensional end state, pure or mixed.
CLASSES = {
    "collapsed, no head": ("none", ("collapsed on strong", "collapsed on weak")),
    "diverse, no head": ("none", ("diverse",)),
    "diverse, head": ("off-diagonal", ("diverse",)),
    "one direction, head": ("off-diagonal", ("collapsed on strong", "collapsed on weak", "merged")),
}

SLOW = "the borrower's noise, which the head's share of its output hides, still falls like t^(-1/2), L like t^(-3/2)"


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan with and without head, whose end states are compared."""
    return [point for pair in zip(main_scan(scale), _without(scale), strict=True) for point in pair]


def _without(scale: Scale) -> list[ScanPoint]:
    return [ScanPoint(PAPER, dim, scale.seeds, head="none", seed=scale.seed) for dim in scale.dims]


def lowest_loss(model) -> float:
    """4 - 4 E[N1 N2]/E[N1^2], two neurons with an odd activation."""
    same, across, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    return 4.0 - 4.0 * across / same


def judge(scale: Scale, runs: Runs) -> Finding:
    """Whether end states of every class have the loss that the closed form gives for all of them."""
    excess = {name: [_excess(runs, scale, dim, *which) for dim in scale.dims] for name, which in CLASSES.items()}
    records = []
    for name, by_dim in excess.items():
        values = np.concatenate(by_dim)
        if len(values):
            worst = float(values.max())
            records.append(
                Record(
                    8,
                    f"loss of end states: {name}",
                    "largest |L - (4 - 4 E[N1 N2]/E[N1^2])| of all trajectories that "
                    "came to rest, all dimensions" + (f"; {SLOW}" if name.startswith("one") else ""),
                    0.0,
                    worst,
                    float(values.min()),
                    worst,
                    within(worst, worst, most=1e-9),
                )
            )
    worst_of = {name: [float(some.max(initial=0.0)) for some in by_dim] for name, by_dim in excess.items()}
    curves = [Curve(name, list(scale.dims), [max(one, 1e-17) for one in some]) for name, some in worst_of.items()]
    return Finding(records, Panel("one loss for all end states", "dimension d", "|L - lowest loss|, worst", curves))


def _excess(runs: Runs, scale: Scale, dim: int, head: str, wanted) -> np.ndarray:
    """|L - lowest loss| of the trajectories at rest that end in the wanted classes, with or without the head."""
    (run,) = (runs[p] for p in points(scale) if p.dim == dim and p.head == head)
    chosen = np.isin(end_states(run), wanted) & (run.frame["status"] == "stationary").to_numpy()
    return np.abs(run.frame["loss_end"].to_numpy()[chosen] - lowest_loss(PAPER))

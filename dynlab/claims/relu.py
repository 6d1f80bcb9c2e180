"""Claim 10: relu (degree 1), which the theorem leaves out: what the head does there.

Whether it rescues the weak feature depends on weak/strong and on r: never at 0.3, and in some starts at 0.5 and 0.7 for a
head ten times as fast as the weights (`MAP`). Learnt is what the outputs carry: where both neurons take +-v_1 with opposite
signs the outputs have rank 2 though they say one thing.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from dynlab.claims.claim import Finding, Panel, Record, Runs, Scale, ScanPoint, share, share_curve, within
from dynlab.population.pair.phases import failed, head_distance
from dynlab.settings.model import Model
from dynlab.tools.fits import median_interval
from dynlab.tools.intervals import Pairs

NUMBER, NAME = 10, "relu"
WEAKS = (0.3, 0.6, 0.9)
DIMS = (10**3, 10**6)
RATES = (0.01, 0.1)
MORE = 0.01  # of the starts: less than that is no rescue
MAP = tuple(product((0.3, 0.5, 0.7), (10**3,), (1.0, 10.0)))  # head rates of order one, where trajectories take longest
MAP_PART = 10  # one of so many starts is followed there
EXTRA = ((0.9, 10**3, 1.0),)  # nearly equal strengths, a small dimension, a fast head: where it could help most


def _point(scale: Scale, weak: float, dim: int, rate: float | None) -> ScanPoint:
    model = Model(weak=weak, activation="relu")
    if rate is None:
        return ScanPoint(model, dim, scale.slow_seeds, head="none", seed=scale.seed)
    seeds = scale.slow_seeds // MAP_PART if (weak, dim, rate) in MAP else scale.slow_seeds
    return ScanPoint(model, dim, seeds, eta_head=rate, seed=scale.seed)


def points(scale: Scale) -> list[ScanPoint]:
    """Ensembles of relu with and without head, over weak/strong, dimensions and rates."""
    free = [(weak, dim, None) for weak, dim, _ in MAP]
    cases = [*product(WEAKS, DIMS, (None, *RATES)), *EXTRA, *free, *MAP]
    return list(dict.fromkeys(_point(scale, *case) for case in cases))


def both(run):
    """(N,) whether both features were learnt."""
    return (run.frame["outcome"] == "both").to_numpy()


def judge(scale: Scale, runs: Runs) -> Finding:
    """In how many starts the head makes relu learn both features, and by how much the head moves at all."""
    records = []
    for weak, dim, rate in [*product(WEAKS, DIMS, RATES), *EXTRA, *MAP]:
        without, found = (both(runs[_point(scale, weak, dim, some)]) for some in (None, rate))
        pairs = Pairs.of(without[: len(found)], found)
        records.append(
            Record(
                10,
                f"rescue, weak {weak:g}, d = {dim:.0e}, r = {rate:g}",
                f"relu: with the head at least {MORE:g} more of the starts learn both features (share with it less share "
                "without, of the same starts)",
                None,
                pairs.difference,
                pairs.low,
                pairs.high,
                within(pairs.low, pairs.high, MORE),
            )
        )
    # What does happen: a signal of degree 1 grows like exp(c alpha t), so the strong one is ahead by a power of d.
    for dim in DIMS:
        run = runs[_point(scale, WEAKS[0], dim, RATES[0])]
        strong = share((run.frame[["carried_1_1", "carried_2_1"]] > 0.5).all(axis=1).to_numpy())
        records.append(
            Record(
                10,
                f"both neurons take the strong feature, d = {dim:.0e}",
                f"relu, weak {WEAKS[0]:g}, r = {RATES[0]:g}: share of starts in which every neuron does",
                None,
                *strong,
                within(*strong[1:], 0.95),
            )
        )
    last = runs[_point(scale, WEAKS[0], DIMS[-1], RATES[0])]
    away = median_interval(np.where(failed(last), np.nan, head_distance(last.ends[2])))
    records.append(
        Record(
            10,
            "the head returns",
            f"relu, weak {WEAKS[0]:g}, r = {RATES[0]:g}, d = {DIMS[-1]:.0e}: median ||E - I||_F at the end",
            0.0,
            *away,
            within(*away[1:], most=1e-3),
        )
    )
    return Finding(records, _panel(scale, runs))


def _panel(scale: Scale, runs: Runs) -> Panel:
    curves = []
    for dim in DIMS:
        for rate in (None, RATES[-1]):
            label = f"{'no head' if rate is None else f'r = {rate:g}'}, d = {dim:.0e}"
            curves.append(share_curve(label, WEAKS, [both(runs[_point(scale, weak, dim, rate)]) for weak in WEAKS]))
    return Panel("relu, with and without the head", "weak/strong", "share that learns both", curves, False, False, 0.02)

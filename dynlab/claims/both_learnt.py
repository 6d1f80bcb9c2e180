"""Claim 7: with the head all features are learnt: how often, which starts fail, and the law of the failures."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import (
    PAPER,
    Curve,
    Finding,
    Panel,
    Record,
    Runs,
    Scale,
    ScanPoint,
    agrees,
    law_curve,
    share,
    share_curve,
    within,
)
from dynlab.claims.first_feature import main_scan
from dynlab.population.moments import LEARNT
from dynlab.population.pair import limit
from dynlab.population.pair.phases import failed, merged
from dynlab.settings.model import Model
from dynlab.tools.fits import share_law

NUMBER, NAME = 7, "both learnt"
RATE_DIM = 10**8
WEAKS = (0.1, 0.3, 0.5, 0.8)
LARGEST_RATE = 0.1  # of the fits


def rate_scan(scale: Scale, model: Model = PAPER) -> list[ScanPoint]:
    """A model at all head rates."""
    return [ScanPoint(model, RATE_DIM, scale.rare_seeds, eta_head=r, seed=scale.seed) for r in scale.rates]


def _models() -> dict[float, Model]:
    return {weak: PAPER if weak == PAPER.weak else Model(weak=weak, activation="cubic") for weak in WEAKS}


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan, and for every weak/strong a scan over the head's rates."""
    scans = [rate_scan(scale, model) for model in _models().values()]
    return [*main_scan(scale), *(point for scan in scans for point in scan)]


def learnt_both(run):
    """(N,) whether both features were learnt, at the ensemble's margin."""
    return (run.frame["outcome"] == "both").to_numpy()


def limit_fate(run) -> limit.Fate:
    """What the limit d -> infinity says of the ensemble's starts."""
    signal, gram, _ = run.starts
    return limit.fate(run.model, signal, gram, run.settings["eta_head"])


def judge(scale: Scale, runs: Runs) -> Finding:
    """How often both features are learnt, which starts fail as the limit says, and how the failures fall with r."""
    scan = main_scan(scale)
    scans = {weak: rate_scan(scale, model) for weak, model in _models().items()}
    top = runs[scan[-1]]
    at_top = share(learnt_both(top))
    smallest = runs[scans[PAPER.weak][0]]
    at_small = share(learnt_both(smallest))
    records = [
        Record(
            7,
            "all features at a fixed rate",
            f"share that learns both, r = {scan[-1].eta_head:g}, d = {scan[-1].dim:.0e}: tends to 1 as d grows",
            1.0,
            *at_top,
            within(*at_top[1:], 0.999),
        ),
        Record(
            7,
            "all features as the rate falls",
            f"the same share at r = {scale.rates[0]:g}, d = {RATE_DIM:.0e}: tends to 1 as r -> 0",
            1.0,
            *at_small,
            within(*at_small[1:], 0.99),
        ),
        *_laws(runs, scans),
        *_starts(runs, [point for some in scans.values() for point in some]),
    ]
    return Finding(records, _panel(runs, scans))


def _fit(runs, scan, event):
    small = [p for p in scan if p.eta_head <= LARGEST_RATE]
    return share_law([p.eta_head for p in small], np.array([event(runs[p]) for p in small]).T)


def _laws(runs, scans) -> list[Record]:
    """Exponents of both definitions of failure, for every weak/strong."""
    records = []
    for weak, scan in scans.items():
        fit = _fit(runs, scan, merged)
        records.append(
            Record(
                7,
                f"merged ~ r^c, weak {weak:g}",
                "share of starts whose outputs end with dimension one ~ r^c: 1/2 by the law of dynlab.population.pair.limit",
                0.5,
                fit.exponent,
                fit.low,
                fit.high,
                within(fit.low, fit.high, 0.4, 0.6),
            )
        )
    for weak, scan in scans.items():
        missed = _fit(runs, scan, lambda run: ~learnt_both(run))
        predicted = _fit(runs, scan, lambda run: ~limit_fate(run).learns_both(LEARNT))
        records.append(
            Record(
                7,
                f"1 - share ~ r^c, weak {weak:g}",
                "1 - share that learns both (carried by 0.05 of an output's variance) ~ r^c, "
                "predicted: the limit's fates of the same starts, fitted alike",
                predicted.exponent,
                missed.exponent,
                missed.low,
                missed.high,
                agrees(predicted.exponent, missed.low, missed.high, 0.1),
            )
        )
    last = runs[scans[WEAKS[0]][-1]]
    rate = last.settings["eta_head"]
    at_last = share(merged(last))
    law = float(limit.share_merged_small_weak(rate))
    records.append(
        Record(
            7,
            "share merged",
            f"share merged at weak {WEAKS[0]:g}, r = {rate:g}: (1/pi) arctan sqrt(r/3)",
            law,
            *at_last,
            agrees(law, *share3(merged(last)), 0.1 * law),
        )
    )
    return records


def share3(events) -> tuple[float, float]:
    """Three standard errors around a share."""
    from dynlab.tools.intervals import wilson

    return wilson(int(events.sum()), len(events), 3.0)


def _starts(runs, all_points) -> list[Record]:
    """Start by start: does the limit say which ones merge, and on which direction?"""
    said_parts, seen_parts, parts = [], [], []
    for point in all_points:
        run, answer = runs[point], limit_fate(runs[point])
        good = ~failed(run)
        said_parts.append(answer.merged[good])
        seen_parts.append(merged(run)[good])
        both = answer.merged & merged(run)
        second = run.frame[[f"cosine_{j}_{l}" for j in (1, 2) for l in (1, 2)]].to_numpy().reshape(-1, 2, 2)
        rows = np.flatnonzero(both)
        parts.append(np.abs(second[rows, answer.lender[rows], 1 - answer.feature[rows]] - answer.cosine[rows]))
    said, seen, errors = np.concatenate(said_parts), np.concatenate(seen_parts), np.concatenate(parts)
    right = share(said == seen)
    found = share(said[seen])
    off = float(np.quantile(errors, 0.95)) if len(errors) else np.nan
    return [
        Record(
            7,
            "which starts fail",
            "share of all starts whose merging the initial ratios tell: sign(A_11 A_12 A_21 "
            f"A_22) = +, |A_ok| < sqrt(r/3) |w_o| |A_ik|; all rates and strengths, d = {RATE_DIM:.0e}",
            1.0,
            *right,
            within(*right[1:], 0.99),
        ),
        Record(
            7,
            "failing starts predicted",
            "the same among the starts that do merge",
            1.0,
            *found,
            within(*found[1:], 0.95),
        ),
        Record(
            7,
            "direction of merged neurons",
            "95 % of merged starts: error of the predicted squared cosine below",
            0.0,
            off,
            off,
            off,
            within(off, off, most=0.01),
        ),
    ]


def _panel(runs, scans) -> Panel:
    curves = []
    for weak, scan in scans.items():
        curves.append(share_curve(f"merged, weak {weak:g}", [p.eta_head for p in scan], [merged(runs[p]) for p in scan]))
    scan = scans[PAPER.weak]
    curves.append(share_curve("1 - both, weak 0.3", [p.eta_head for p in scan], [~learnt_both(runs[p]) for p in scan]))
    rates = [p.eta_head for p in scan]
    law = limit.share_merged_small_weak(np.array(rates))
    curves.append(Curve(r"$\arctan(\sqrt{r/3})/\pi$", rates, law.tolist(), line=True))
    curves.append(law_curve(_fit(runs, scan, merged), rates, "r"))
    return Panel("starts that fail with the head", "r = eta_head/eta", "share of starts", curves, spread=0.12)

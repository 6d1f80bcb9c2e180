"""Claim 2, phase I: the first feature is learnt at T_1 ~ d^2, before anything else has moved."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import PAPER, Finding, Panel, Record, Runs, Scale, ScanPoint, law_curve, median_curve, within
from dynlab.population.pair.limit import fate
from dynlab.population.pair.phases import at_event, failed, head_distance, roles, times
from dynlab.population.stepping import FIRST
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 2, "phase I"
FIT = (10**3, 10**9)  # dimensions of the fits


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan: an ensemble a dimension."""
    return main_scan(scale)


def main_scan(scale: Scale) -> list[ScanPoint]:
    """The paper's model with the head in every dimension: what claims 2 to 9 look at."""
    return [ScanPoint(PAPER, dim, scale.seeds, seed=scale.seed) for dim in scale.dims]


def other_signals(run):
    """Largest signal at T_1 apart from the lender's first (N,)."""
    signal = np.abs(at_event(run, FIRST)[0])
    who = roles(run)
    signal[who.rows, who.lender, who.first] = 0.0
    return signal.max((1, 2))


def judge(scale: Scale, runs: Runs) -> Finding:
    """Whether T_1 grows as d^2 while all else is still small, and is what the limit says of each start."""
    scan = main_scan(scale)
    inside = [n for n, p in enumerate(scan) if FIT[0] <= p.dim <= FIT[1]]
    dims = [scan[n].dim for n in inside]
    columns = {
        "T_1": [np.where(failed(runs[p]), np.nan, times(runs[p])["T_1"]) for p in scan],
        "head": [head_distance(at_event(runs[p], FIRST)[2]) for p in scan],
        "others": [other_signals(runs[p]) for p in scan],
    }
    fits = {name: median_law(dims, np.array([some[n] for n in inside]).T) for name, some in columns.items()}
    top = runs[scan[-1]]
    error = np.abs(columns["T_1"][-1] / fate(PAPER, *top.starts[:2], top.settings["eta_head"]).time - 1.0)
    off = median_interval(error)
    statements = {
        "T_1": (2.0, "median T_1 ~ d^c, d = 1e3 ... 1e9", (1.9, 2.1)),
        "others": (-0.5, "at T_1 every other signal is o(1): median of the largest ~ d^c", (-0.6, -0.4)),
        "head": (-0.5, "at T_1 the head is still near I: median ||E - I||_F ~ d^c", (-np.inf, -0.25)),
    }
    records = [
        Record(
            2,
            {"T_1": "T_1", "others": "other signals at T_1", "head": "head at T_1"}[name],
            text,
            predicted,
            fits[name].exponent,
            fits[name].low,
            fits[name].high,
            within(fits[name].low, fits[name].high, *allowed),
        )
        for name, (predicted, text, allowed) in statements.items()
    ]
    records.append(
        Record(
            2,
            "T_1 of each start",
            f"T_1 = min E[n1] C/(24 b alpha^6 A^4): median relative error at d = {scan[-1].dim:.0e}",
            0.0,
            *off,
            within(*off[1:], most=0.02),
        )
    )
    curves = [median_curve("$T_1$", scale.dims, columns["T_1"]), law_curve(fits["T_1"], dims, "d")]
    return Finding(records, Panel("phase I: the first feature", "dimension d", "time $T_1$", curves))

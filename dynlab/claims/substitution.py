"""Claim 3, phase II: the head lends the first feature to the other output, in a time short beside T_1."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import PAPER, Finding, Panel, Record, Runs, Scale, ScanPoint, law_curve, median_curve, share, within
from dynlab.claims.first_feature import main_scan
from dynlab.population.pair import limit
from dynlab.population.pair.phases import at_event, rescued, roles, substitution, times
from dynlab.population.stepping import PEAK
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 3, "phase II: substitution"
FIT_FROM = 10**6


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan: what happens between T_1 and T_2."""
    return main_scan(scale)


def waiting(run):
    """(T_2 - T_1)/T_1 of the trajectories that learn both features on neurons of their own; nan otherwise (N,)."""
    at = times(run)
    return np.where(rescued(run), at["T_2"] / at["T_1"] - 1.0, np.nan)


def borrowed(run):
    """|E_oi f_il| / |f_ol| at T_2 of the same trajectories."""
    signal, _, head = at_event(run, PEAK)
    return np.where(rescued(run), substitution(PAPER, roles(run), signal, head), np.nan)


def judge(scale: Scale, runs: Runs) -> Finding:
    """How short phase II is beside T_1, whether the limit gives its length, and how much is borrowed."""
    scan = main_scan(scale)
    waits = [waiting(runs[p]) for p in scan]
    far = [n for n, p in enumerate(scan) if p.dim >= FIT_FROM]
    dims = [scan[n].dim for n in far]
    fit = median_law(dims, np.array([waits[n] for n in far]).T)
    ratios = [borrowed(runs[p]) for p in scan]
    ratio_fit = median_law(dims, np.array([ratios[n] for n in far]).T)
    known = ratios[-1][~np.isnan(ratios[-1])]
    above = share(known > 1.0)
    top = runs[scan[-1]]
    predicted = limit.substitution(PAPER, *top.starts[:2], top.settings["eta_head"]).duration
    with np.errstate(divide="ignore"):  # where substitution is over at once
        error = median_interval(np.abs(waits[-1] * times(top)["T_1"] / predicted - 1.0))
    records = [
        Record(
            3,
            "substitution is fast",
            "median (T_2 - T_1)/T_1 ~ d^c, d >= 1e6 (-3/8 for d -> infinity, -1/2 before)",
            -0.375,
            fit.exponent,
            fit.low,
            fit.high,
            within(fit.low, fit.high, most=0.0),
        ),
        Record(
            3,
            "substitution",
            f"at T_2, |E_21 f_1| > |f_2| on samples with the first feature: share of trajectories, d = {scan[-1].dim:.0e}",
            1.0,
            *above,
            within(*above[1:], 0.95),
        ),
        Record(
            3,
            "strength of substitution",
            "median |E_21 f_1|/|f_2| at T_2 ~ d^c, d >= 1e6",
            1.5,
            ratio_fit.exponent,
            ratio_fit.low,
            ratio_fit.high,
            within(ratio_fit.low, ratio_fit.high, 0.0),
        ),
        Record(
            3,
            "T_2 of each start",
            f"T_2 - T_1 is the integral of dynlab.population.pair.limit: median relative error, d = {scan[-1].dim:.0e}",
            0.0,
            *error,
            within(*error[1:], most=0.05),
        ),
    ]
    curves = [median_curve("$(T_2 - T_1)/T_1$", scale.dims, waits), law_curve(fit, dims, "d")]
    return Finding(records, Panel("phase II: substitution", "dimension d", "$(T_2 - T_1)/T_1$", curves))

"""Claim 4: the head's peak is of the size sqrt(eta_head/eta), the bound that a conservation law sets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dynlab.claims.both_learnt import rate_scan
from dynlab.claims.claim import Curve, Finding, Panel, Record, Runs, Scale, ScanPoint, law_curve, median_curve, within
from dynlab.claims.first_feature import main_scan
from dynlab.population.pair import limit
from dynlab.population.pair.phases import rescued, roles, sizes
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 4, "the head's peak"
LARGEST_RATE = 0.1
SLACK = 1e-4  # the drift of the conserved quantities at the relative accuracy 1e-6 of the flow


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan, and a scan over the head's rates."""
    return [*main_scan(scale), *rate_scan(scale)]


def peak(run):
    """max |E_jr| of trajectories that learn both features on neurons of their own; nan otherwise (N,)."""
    return np.where(rescued(run), run.frame["head_peak"], np.nan)


def noise_left(run):
    """The limit's s_b/|w_o(0)| (N,): the borrower's noise, of its start, when the second feature takes over."""
    who = roles(run)
    signal, gram, _ = run.starts
    start = sizes(signal, gram)[who.rows, who.borrower]
    return limit.substitution(run.model, signal, gram, run.settings["eta_head"]).noise / start


def _middle(scan: list[ScanPoint]) -> ScanPoint:
    """The point nearest to d = 1e6: large enough for the limit, and the rest is far above the solver's error."""
    return min(scan, key=lambda point: abs(np.log10(point.dim) - 6.0))


def judge(scale: Scale, runs: Runs) -> Finding:
    """Whether the peak grows as r^(1/2), and whether it meets its bound: as d^(-1/4), and by the limit's amount."""
    rates, scan = rate_scan(scale), main_scan(scale)
    small = [p for p in rates if p.eta_head <= LARGEST_RATE]
    fit = median_law([p.eta_head for p in small], np.array([peak(runs[p]) for p in small]).T)
    statement = f"median |E_21(T_2)| ~ (eta_head/eta)^c, {small[0].eta_head:g} ... {small[-1].eta_head:g}"
    verdict = within(fit.low, fit.high, 0.48, 0.52)
    records = [
        Record(4, "size of the peak", statement, 0.5, fit.exponent, fit.low, fit.high, verdict),
        *_against_the_bound(scan, runs),
    ]
    x = [p.eta_head for p in rates]
    curves = [
        median_curve("$|E_{21}(T_2)|$", x, [peak(runs[p]) for p in rates]),
        law_curve(fit, x, "r"),
        Curve(r"bound $\sqrt{r/3}$", x, [float(np.sqrt(r / 3.0)) for r in x], line=True),
    ]
    return Finding(records, Panel("the head's peak", "r = eta_head/eta", "$|E_{21}(T_2)|$", curves))


def _against_the_bound(scan: list[ScanPoint], runs: Runs) -> Iterator[Record]:
    """The peak over its bound sqrt(r/3) |w_2(0)|: near 1, never above it, and how it comes near as d grows."""
    ratios = [peak(runs[p]) / runs[p].frame["head_bound"].to_numpy() for p in scan]
    top = median_interval(ratios[-1])
    statement = f"median |E_21(T_2)| / (sqrt(r/3) |w_2(0)|), d = {scan[-1].dim:.0e}"
    yield Record(4, "the bound is met", statement, 1.0, *top, within(*top[1:], 0.99, 1.0))
    above = max(float(np.nanmax(ratio)) for ratio in ratios)
    statement = "largest |E_21(T_2)| / (sqrt(r/3) |w_2(0)|) of all trajectories and dimensions"
    yield Record(4, "the bound holds", statement, 1.0, above, above, above, within(above, above, most=1.0 + SLACK))
    far = [n for n, p in enumerate(scan) if p.dim >= 10**6]
    fit = median_law([scan[n].dim for n in far], np.array([1.0 - ratios[n] for n in far]).T)
    verdict = within(fit.low, fit.high, -0.3, -0.2)
    statement = "median 1 - peak/bound ~ d^c, d >= 1e6"
    yield Record(4, "approach to the bound", statement, -0.25, fit.exponent, fit.low, fit.high, verdict)
    middle = _middle(scan)
    part = median_interval((1.0 - ratios[scan.index(middle)]) / noise_left(runs[middle]) ** 2)
    statement = f"median of (1 - peak/bound) over the limit's (s_b/|w_2(0)|)^2, d = {middle.dim:.0e}"
    yield Record(4, "how near the bound", statement, 0.5, *part, within(*part[1:], 0.45, 0.55))

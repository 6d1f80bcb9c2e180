"""Claim 6, phase IV: the head returns to the identity and the borrower to its norm."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import PAPER, Finding, Panel, Record, Runs, Scale, ScanPoint, law_curve, median_curve, share, within
from dynlab.claims.first_feature import main_scan
from dynlab.population.pair.phases import failed, head_distance, head_return, rescued, roles, sizes
from dynlab.settings.training import ETA_HEAD
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 6, "phase IV: the head returns"
TIME_DIM = 10**2
TIMES = (1e3, 1e4, 1e5, 1e6)  # in units of d^2
RTOL = 1e-8  # the head is by then a small remainder, slaved to the rest
RETURN_DIM, RETURN_STARTS = 10**4, 40  # for T_4, which needs runs of its own
HOME = 1e-6  # ||E - I||_F below which the head is back


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan to its end, and the same starts stopped at several times, to see how fast the head returns."""
    return [*main_scan(scale), *_in_time(scale)]


def _in_time(scale: Scale) -> list[ScanPoint]:
    return [ScanPoint(PAPER, TIME_DIM, scale.seeds, until=k * TIME_DIM**2, seed=scale.seed, rtol=RTOL) for k in TIMES]


def norm_regained(run):
    """| |<w_o, v_k>| at the end / |w_o(0)| - 1 | (N,) of trajectories with both features."""
    who = roles(run)
    start = sizes(*run.starts[:2])[who.rows, who.borrower]
    return np.where(rescued(run), np.abs(np.abs(who.of(run.ends[0], "borrower", "second")) / start - 1.0), np.nan)


def return_times(scale: Scale) -> np.ndarray:
    """(T_4 - T_3)/T_1 of the first starts in `RETURN_DIM` dimensions; nan where an event did not happen."""
    from dynlab.population.scaling import horizon
    from dynlab.population.simulate import simulate
    from dynlab.population.starts import draw_start

    found = []
    for index in range(RETURN_STARTS):
        start = draw_start(PAPER, RETURN_DIM, scale.seed, index)
        at = simulate(PAPER, start, eta_head=ETA_HEAD).events
        back = head_return(PAPER, start, ETA_HEAD, horizon(PAPER, RETURN_DIM))
        found.append((back - at["second"]) / at["first"])
    return np.array(found)


def judge(scale: Scale, runs: Runs) -> Finding:
    """Whether the head is back at the identity, how fast it comes back, and whether the borrower regains its norm."""
    scan, in_time = main_scan(scale), _in_time(scale)
    end = runs[scan[-1]]
    back_home = head_distance(end.ends[2]) < HOME
    home, home_all = share(back_home[rescued(end)]), share(back_home[~failed(end)])
    # The same starts at all times: those that have both features at the first of them.
    early = rescued(runs[in_time[0]])
    sizes_in_time = [np.where(early, head_distance(runs[p].ends[2]), np.nan) for p in in_time]
    times = [p.until for p in in_time]
    fit = median_law(times, np.array(sizes_in_time).T)
    norm = median_interval(norm_regained(end))
    back = median_interval(return_times(scale))
    top = f"d = {scan[-1].dim:.0e}"
    records = [
        Record(
            6,
            "the head returns where both are learnt",
            f"share with ||E - I||_F < {HOME:g} at the end, among starts "
            f"that learn both features on neurons of their own, {top}",
            1.0,
            *home,
            within(*home[1:], 0.95),
        ),
        Record(
            6,
            "the head returns always",
            f"the same share among all starts, {top}",
            1.0,
            *home_all,
            within(*home_all[1:], 0.999),
        ),
        Record(
            6,
            "rate of return",
            f"median ||E - I||_F ~ t^c, d = {TIME_DIM:.0e}, t = {TIMES[0]:.0e} ... {TIMES[-1]:.0e} d^2",
            -1.5,
            fit.exponent,
            fit.low,
            fit.high,
            within(fit.low, fit.high, -1.75, -1.25),
        ),
        Record(
            6,
            "norm regained",
            f"median | |beta_2| / |w_2(0)| - 1 | at the end, {top}",
            0.0,
            *norm,
            within(*norm[1:], most=1e-3),
        ),
        Record(
            6,
            "T_4 follows T_3",
            f"median |E| at 1/100 of its peak: (T_4 - T_3)/T_1, d = {RETURN_DIM:.0e}",
            None,
            *back,
            within(*back[1:], most=1.0),
        ),
    ]
    curves = [median_curve("$||E - I||_F$", times, sizes_in_time), law_curve(fit, times, "t")]
    return Finding(records, Panel("phase IV: the head returns", "time t", "$||E - I||_F$", curves))

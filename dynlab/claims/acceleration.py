"""Claim 5, phase III: the borrower learns the second feature, sped up by what the head lent it.

Sped up beside what? Wen & Li compare the two features: with the head v_2 gains on v_1 for the borrower. That holds in every
start. dynlab's own comparison, with the same state at E = I, fails in large dimensions: there the head slows both down, v_1
far more. Which of the two routes a start takes decides it (claim 11; derivation in `dynlab.population.pair.phases`).
"""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import PAPER, Finding, Panel, Record, Runs, Scale, ScanPoint, law_curve, median_curve, share, within
from dynlab.claims.first_feature import main_scan
from dynlab.population.pair.phases import acceleration, at_event, growth, rescued, residual, roles
from dynlab.population.stepping import FIRST, PEAK, SECOND
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 5, "phase III: acceleration"
UNTIL = 100.0  # in units of d^2: time at which the borrower's alignment is measured
GRADIENTS = 200  # trajectories a dimension whose gradients are taken
FIT_FROM = 10**6


def points(scale: Scale) -> list[ScanPoint]:
    return [*main_scan(scale), *_stopped(scale)]


def _stopped(scale: Scale) -> list[ScanPoint]:
    return [ScanPoint(PAPER, dim, scale.seeds, until=UNTIL * dim**2, seed=scale.seed) for dim in scale.dims]


def distance_from_v(run):
    """||w_o - beta v_k|| at the end (N,), of trajectories that have learnt both features by then."""
    return np.where(rescued(run), residual(roles(run), *run.ends[:2]), np.nan)


def movement(run):
    """Largest relative change of A_ol and A_ik from T_1 to T_3 (N,)."""
    who = roles(run)
    before, after = at_event(run, FIRST)[0], at_event(run, SECOND)[0]
    pairs = (("borrower", "first"), ("lender", "second"))
    moved = [np.abs(who.of(after, *pair) / who.of(before, *pair) - 1.0) for pair in pairs]
    return np.where(rescued(run), np.maximum(*moved), np.nan)


def states(run, event: int):
    """Roles, and states at an event, of the first `GRADIENTS` trajectories; nan where not both features are learnt."""
    signal, gram, head = (part[:GRADIENTS] for part in at_event(run, event))
    who = roles(run)
    short = type(who)(*(getattr(who, name)[:GRADIENTS] for name in ("rows", "lender", "borrower", "first", "second")))
    return short, np.where(rescued(run)[:GRADIENTS, None, None], signal, np.nan), gram, head


def judge(scale: Scale, runs: Runs) -> Finding:
    scan = main_scan(scale)
    off = [distance_from_v(runs[p]) for p in _stopped(scale)]
    off_fit = median_law(scale.dims, np.array(off).T)
    far = [n for n, p in enumerate(scan) if p.dim >= FIT_FROM]
    gains = acceleration(PAPER, *states(runs[scan[-1]], PEAK))
    since = [growth(PAPER, *states(runs[p], PEAK)) / growth(PAPER, *states(runs[p], FIRST)) for p in scan]
    since_fit = median_law([scan[n].dim for n in far], np.array([since[n] for n in far]).T)
    known = ~np.isnan(gains.second)
    error = float(np.nanmax(np.abs(gains.predicted / gains.second - 1.0)))
    favoured = share(gains.second[known] > gains.first[known])
    moved = median_interval(movement(runs[scan[-1]]))
    gain, top = median_interval(gains.second), f"d = {scan[-1].dim:.0e}"
    records = [
        Record(
            5,
            "alignment",
            f"median ||w_2 - beta_2 v_2|| ~ d^c at time {UNTIL:g} d^2",
            -0.5,
            off_fit.exponent,
            off_fit.low,
            off_fit.high,
            within(off_fit.low, off_fit.high, -0.6, -0.4),
        ),
        Record(
            5,
            "the other signals hardly move",
            "median relative change of <w_2, v_1> and <w_1, v_2> from T_1 to T_3, " + top,
            0.0,
            *moved,
            within(*moved[1:], most=0.1),
        ),
        Record(
            5,
            "dynlab's comparison: the same state",
            f"growth rate of <w_2, v_2> at T_2 over the same state with E = I: median gain, above 1, {top}",
            None,
            *gain,
            within(*gain[1:], 1.0),
        ),
        Record(
            5,
            "closed form of the gain",
            f"largest relative error of the predicted factor, {top}",
            0.0,
            error,
            error,
            error,
            within(error, error, most=1e-4),
        ),
        Record(
            5,
            "the paper's comparison: the two features",
            f"the head favours v_2 over v_1 for the borrower: share of trajectories in which <w_2, v_2> gains more than "
            f"<w_2, v_1> at T_2, {top}",
            1.0,
            *favoured,
            within(*favoured[1:], 0.95),
        ),
        Record(
            5,
            "acceleration since T_1",
            "median of (d<w_2,v_2>/dt)/<w_2,v_2>^5 at T_2 over that at T_1 ~ d^c, d >= 1e6",
            0.375,
            since_fit.exponent,
            since_fit.low,
            since_fit.high,
            within(since_fit.low, since_fit.high, 0.0),
        ),
    ]
    curves = [
        median_curve(r"$\|w_2 - \beta_2 v_2\|$", scale.dims, off),
        law_curve(off_fit, scale.dims, "d"),
        median_curve("acceleration since $T_1$", scale.dims, since),
        law_curve(since_fit, [scan[n].dim for n in far], "d"),
    ]
    return Finding(records, Panel("phase III: acceleration", "dimension d", "distance, acceleration", curves))

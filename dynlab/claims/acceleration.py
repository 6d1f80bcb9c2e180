"""Claim 5, phase III: the borrower learns the second feature, sped up by what the head lent it.

Sped up beside what? Wen & Li compare the two features: with the head v_2 gains on v_1 for the borrower. That holds in every
start. dynlab's own comparison, with the same state at E = I, fails in large dimensions: there the head slows both down, v_1
far more. Which of the two routes a start takes decides it (claim 11; derivation in `dynlab.population.pair.phases`).
"""

from __future__ import annotations

from collections.abc import Iterator

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
    law_curve,
    median_curve,
    share,
    within,
)
from dynlab.claims.first_feature import main_scan
from dynlab.population.pair.phases import acceleration, at_event, growth, rescued, residual, roles
from dynlab.population.stepping import FIRST, PEAK, SECOND
from dynlab.tools.fits import median_interval, median_law

NUMBER, NAME = 5, "phase III: acceleration"
UNTIL = 100.0  # in units of d^2: time at which the borrower's alignment is measured
GRADIENTS = 200  # trajectories a dimension whose gradients are taken
FIT_FROM = 10**6


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan, and the same starts stopped at a time proportional to d^2, when the alignment is measured."""
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
    """Whether w_2 goes to v_2 as d^(-1/2), and whether the head speeds it up: by dynlab's comparison and by the paper's."""
    scan = main_scan(scale)
    alignment, towards = _alignment(scale, runs)
    since_first, faster = _since_first(scan, runs)
    records = [alignment, *_at_the_peak(runs[scan[-1]], f"d = {scan[-1].dim:.0e}"), since_first]
    curves = [*towards, *faster]
    return Finding(records, Panel("phase III: acceleration", "dimension d", "distance, acceleration", curves))


def _alignment(scale: Scale, runs: Runs) -> tuple[Record, list[Curve]]:
    """How near w_2 comes to v_2 in a time proportional to d^2."""
    off = [distance_from_v(runs[p]) for p in _stopped(scale)]
    fit = median_law(scale.dims, np.array(off).T)
    statement = f"median ||w_2 - beta_2 v_2|| ~ d^c at time {UNTIL:g} d^2"
    verdict = within(fit.low, fit.high, -0.6, -0.4)
    record = Record(5, "alignment", statement, -0.5, fit.exponent, fit.low, fit.high, verdict)
    label = r"$\|w_2 - \beta_2 v_2\|$"
    return record, [median_curve(label, scale.dims, off), law_curve(fit, scale.dims, "d")]


def _at_the_peak(run, top: str) -> Iterator[Record]:
    """What the head does at its peak in the largest dimension; top: that dimension in words."""
    gains = acceleration(PAPER, *states(run, PEAK))
    known = ~np.isnan(gains.second)
    error = float(np.nanmax(np.abs(gains.predicted / gains.second - 1.0)))
    favoured = share(gains.second[known] > gains.first[known])
    moved, gain = median_interval(movement(run)), median_interval(gains.second)
    yield Record(
        5,
        "the other signals hardly move",
        "median relative change of <w_2, v_1> and <w_1, v_2> from T_1 to T_3, " + top,
        0.0,
        *moved,
        within(*moved[1:], most=0.1),
    )
    yield Record(
        5,
        "dynlab's comparison: the same state",
        f"growth rate of <w_2, v_2> at T_2 over the same state with E = I: median gain, above 1, {top}",
        None,
        *gain,
        within(*gain[1:], 1.0),
    )
    statement = f"largest relative error of the predicted factor, {top}"
    verdict = within(error, error, most=1e-4)
    yield Record(5, "closed form of the gain", statement, 0.0, error, error, error, verdict)
    yield Record(
        5,
        "the paper's comparison: the two features",
        f"the head favours v_2 over v_1 for the borrower: share of trajectories in which <w_2, v_2> gains more than "
        f"<w_2, v_1> at T_2, {top}",
        1.0,
        *favoured,
        within(*favoured[1:], 0.95),
    )


def _since_first(scan: list[ScanPoint], runs: Runs) -> tuple[Record, list[Curve]]:
    """How much faster than at T_1 the second feature is learnt at T_2."""
    since = [growth(PAPER, *states(runs[p], PEAK)) / growth(PAPER, *states(runs[p], FIRST)) for p in scan]
    far = [n for n, p in enumerate(scan) if p.dim >= FIT_FROM]
    dims = [scan[n].dim for n in far]
    fit = median_law(dims, np.array([since[n] for n in far]).T)
    statement = "median of (d<w_2,v_2>/dt)/<w_2,v_2>^5 at T_2 over that at T_1 ~ d^c, d >= 1e6"
    verdict = within(fit.low, fit.high, 0.0)
    record = Record(5, "acceleration since T_1", statement, 0.375, fit.exponent, fit.low, fit.high, verdict)
    curves = [median_curve("acceleration since $T_1$", [p.dim for p in scan], since), law_curve(fit, dims, "d")]
    return record, curves

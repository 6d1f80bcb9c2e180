"""Claim 1: without the head every neuron learns the strong feature, up to a rest of size d^(-1/2)."""

from __future__ import annotations

from math import log
from typing import Any

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
    median_curve,
    share,
    within,
)
from dynlab.population.pair.limit import share_weak
from dynlab.population.pair.phases import failed
from dynlab.settings.model import Model
from dynlab.tools.fits import median_law, share_law
from dynlab.tools.intervals import wilson

NUMBER, NAME = 1, "collapse"
RATIOS = (0.5, 0.3, 0.2, 0.1, 0.05)
ASYMPTOTIC = 0.3  # largest weak/strong in the fit
RATIO_DIM = 10**8
REST_UNTIL = 10.0  # in units of d^2: time at which the rest of a neuron is measured


def scaled(dim: int) -> Model:
    """Weak/strong = 1/ln d: the paper's scaling, strong over weak a power of log d."""
    return Model(strong=1.0, weak=1.0 / log(dim), activation="cubic")


def _scans(scale: Scale) -> dict:
    dims, seeds = scale.dims, scale.seeds
    none: dict[str, Any] = {"head": "none", "seed": scale.seed}
    return {
        "fixed": [ScanPoint(PAPER, dim, seeds, **none) for dim in dims],
        "scaled": [ScanPoint(scaled(dim), dim, seeds, **none) for dim in dims],
        "ratios": [ScanPoint(Model(weak=w, activation="cubic"), RATIO_DIM, scale.rare_seeds, **none) for w in RATIOS],
        "rest": [ScanPoint(PAPER, dim, seeds, until=REST_UNTIL * dim**2, **none) for dim in dims],
    }


def points(scale: Scale) -> list[ScanPoint]:
    """Ensembles without a head: at fixed strengths, with weak/strong falling with d, at small ratios, and stopped early."""
    return [point for scan in _scans(scale).values() for point in scan]


def only_strong(run):
    """(N,) whether only the strong feature was learnt."""
    return (run.frame["outcome"] == "only_strong").to_numpy()


def law(model) -> float:
    """(1 - p)^2: both neurons take the strong feature in races of their own."""
    return (1.0 - share_weak(model)) ** 2


def rest(run):
    """||w_j - beta_j v|| of every neuron that has learnt a feature, v the nearest one; nan for the others: (2 N,)."""
    signal, gram, _ = run.ends
    square = signal**2
    off = square.min(2) + np.diagonal(gram, axis1=1, axis2=2)  # of two features the other one
    learnt = (square.max(2) > off) & ~failed(run)[:, None]
    return np.where(learnt, np.sqrt(off), np.nan).ravel()


def judge(scale: Scale, runs: Runs) -> Finding:
    """How many neurons take the strong feature alone, beside the law of the race, and how much is left of the rest."""
    scans = _scans(scale)
    fixed, scaling = ([only_strong(runs[p]) for p in scans[name]] for name in ("fixed", "scaled"))
    small = [p for p in scans["ratios"] if p.model.weak <= ASYMPTOTIC]
    spared = np.array([~only_strong(runs[p]) for p in small]).T
    fit = share_law([p.model.weak for p in small], spared)
    rests = [rest(runs[p]) for p in scans["rest"]]
    rest_fit = median_law(scale.dims, np.array(rests).T)
    top, top_scaled = share(fixed[-1]), share(scaling[-1])
    dim = scale.dims[-1]
    records = [
        Record(
            1,
            "collapse along the paper's scaling",
            f"no head, weak/strong = 1/ln d: share that learns only the "
            f"strong feature, at d = {dim:.0e}; it rises with d to 1 as the race law (1-p)^2 does",
            law(scaled(dim)),
            *top_scaled,
            _agrees(law(scaled(dim)), scaling[-1]),
        ),
        Record(
            1,
            "collapse as weak/strong falls",
            "no head: 1 - share ~ (weak/strong)^c",
            1.5,
            fit.exponent,
            fit.low,
            fit.high,
            within(fit.low, fit.high, 1.35, 1.65),
        ),
        Record(
            1,
            "collapse at a fixed ratio",
            f"no head, weak/strong = 0.3, d = {dim:.0e}: the share that learns only "
            "the strong feature tends to 1 as d grows",
            1.0,
            *top,
            within(*top[1:], 0.99),
        ),
        Record(
            1,
            "race law at a fixed ratio",
            f"the same share is (1-p)^2, p = (2/pi) arctan 0.3^1.5, d = {dim:.0e}",
            law(PAPER),
            *top,
            _agrees(law(PAPER), fixed[-1]),
        ),
        Record(
            1,
            "the rest",
            f"no head: median ||w_j - beta_j v|| ~ d^c at time {REST_UNTIL:g} d^2",
            -0.5,
            rest_fit.exponent,
            rest_fit.low,
            rest_fit.high,
            within(rest_fit.low, rest_fit.high, -0.55, -0.45),
        ),
    ]
    return Finding(records, _panel(scale, fixed, scaling, rests, rest_fit))


def _agrees(predicted: float, events) -> str:
    """Whether a share is the predicted one, to three standard errors, where these are at most 0.03."""
    return agrees(predicted, *wilson(int(events.sum()), len(events), 3.0), 0.03)


def _panel(scale, fixed, scaling, rests, rest_fit) -> Panel:
    def missed(events):
        rows = [share(~some) for some in events]
        return [list(part) for part in zip(*rows, strict=True)]

    def race(model_of, weak):
        return Curve(f"race law, weak {weak}", list(scale.dims), [1.0 - law(model_of(dim)) for dim in scale.dims], line=True)

    curves = [
        Curve("1 - share, weak 0.3", list(scale.dims), *missed(fixed)),
        race(lambda dim: PAPER, "0.3"),
        Curve("1 - share, weak 1/ln d", list(scale.dims), *missed(scaling)),
        race(scaled, "1/ln d"),
        median_curve("rest of a neuron", scale.dims, rests),
        law_curve(rest_fit, scale.dims, "d"),
    ]
    return Panel("no head: collapse", "dimension d", "1 - share(only strong), rest", curves)

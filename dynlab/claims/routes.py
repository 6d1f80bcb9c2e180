"""Claim 11: two routes to rescue, with a crossover near r d = 1: the head acts before, or after, the borrower collapses.

On the first route (r d >> 1) the borrower is still noise when the head is at its peak; on the second (r d << 1) it has
collapsed onto the first feature, and the head frees it afterwards. `dynlab.population.pair.limit` derives both and says of
each start which one it takes, how far the head goes, and whether it is rescued. A start is *newly rescued* when it learns
both features on neurons of their own with the head and not without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynlab.claims.claim import (
    FAILS,
    HOLDS,
    OUT_OF_REACH,
    PAPER,
    Finding,
    Panel,
    Record,
    Runs,
    Scale,
    ScanPoint,
    share,
    share_curve,
    within,
)
from dynlab.population.pair import limit
from dynlab.population.pair.phases import (
    Roles,
    acceleration,
    at_event,
    collapsed_gain,
    failed,
    merged,
    rescued,
    roles,
    sizes,
)
from dynlab.population.stepping import PEAK
from dynlab.tools.fits import median_interval
from dynlab.tools.intervals import wilson

NUMBER, NAME = 11, "two routes to rescue"
DIMS = (10**2, 10**3, 10**4, 10**5, 10**6)
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
CROSSED = (10**2, 10**3, 10**4)  # dimensions in which the rates lie on both sides of the crossover
MOST = 1000  # starts a point
LARGE = 10**3  # dimension from which on the limit's rules are judged
HORIZON = 1e12  # in units of d^2: the second route is slow
GRADIENTS = 200  # newly rescued starts a point whose gradients are taken
BELOW = 0.95  # a head whose peak is below this part of its bound took the second route
MUCH = 100.0  # of Y, from which on the borrower has collapsed


def head_point(scale: Scale, dim: int, rate: float) -> ScanPoint:
    """A point of the scan with the head."""
    return ScanPoint(PAPER, dim, min(scale.seeds, MOST), eta_head=rate, until=HORIZON * float(dim) ** 2, seed=scale.seed)


def free_point(scale: Scale, dim: int) -> ScanPoint:
    """The same starts without a head."""
    return ScanPoint(PAPER, dim, min(scale.seeds, MOST), head="none", until=HORIZON * float(dim) ** 2, seed=scale.seed)


def points(scale: Scale) -> list[ScanPoint]:
    """For every dimension the ensemble without head and, at every rate, the one with it."""
    return [point for dim in DIMS for point in (free_point(scale, dim), *(head_point(scale, dim, r) for r in RATES))]


@dataclass(frozen=True)
class Cell:
    """What claim and figure measure of one dimension and rate.

    Of the N starts: new, merged, said, said_first (N,): newly rescued; merged; predicted to merge by the rule, and by that
    of the first route alone. Of the newly rescued: late (n,): squared cosine of w_o with v_l above 1/2 at T_2; short,
    short_said (n,): head's peak below BELOW of its bound, and predicted so; off (n,): relative error of the predicted peak.
    Of the first GRADIENTS of them: gain, gain_first (g,): gains of A_ok and A_ol at T_2; collapsed, ratio (g,):
    `collapsed_gain` and its Y.
    """

    new: np.ndarray
    merged: np.ndarray
    said: np.ndarray
    said_first: np.ndarray
    late: np.ndarray
    short: np.ndarray
    short_said: np.ndarray
    off: np.ndarray
    gain: np.ndarray
    gain_first: np.ndarray
    collapsed: np.ndarray
    ratio: np.ndarray


def measure(run: Any, without: Any) -> Cell:
    """Measure a point from its ensemble and that of the same starts without a head."""
    model, rate = run.model, run.settings["eta_head"]
    good = ~failed(run)
    new = rescued(run) & ~rescued(without)
    signal, gram, head = at_event(run, PEAK)
    who = roles(run)
    with np.errstate(invalid="ignore"):
        cosine = (who.of(signal, "borrower", "first") / sizes(signal, gram)[who.rows, who.borrower]) ** 2
    told = limit.fate(model, run.starts[0], run.starts[1], rate)
    # Smaller signals at the same ratios: r d without bound, where there is only the first route.
    first = limit.fate(model, 1e-9 * run.starts[0], run.starts[1], rate)
    peak, bound = (run.frame[name].to_numpy() for name in ("head_peak", "head_bound"))
    some = np.flatnonzero(new)[:GRADIENTS]
    names = ("lender", "borrower", "first", "second")
    short = Roles(np.arange(len(some)), *(getattr(who, name)[some] for name in names))
    states = signal[some], gram[some], head[some]
    gains = acceleration(model, short, *states)
    return Cell(
        new, merged(run)[good], told.merged[good], first.merged[good], cosine[new] > 0.5, (peak < BELOW * bound)[new],
        (told.peak < BELOW * bound)[new], np.abs(told.peak / peak - 1.0)[new], gains.second, gains.first,
        *collapsed_gain(model, short, *states),
    )  # fmt: skip


def judge(scale: Scale, runs: Runs) -> Finding:
    """Where the two routes cross, how far the head goes on each, and whether one rule tells which starts fail on both."""
    cells = {
        (dim, rate): measure(runs[head_point(scale, dim, rate)], runs[free_point(scale, dim)])
        for dim in DIMS
        for rate in RATES
    }
    records = [*_crossover(cells), *_routes(cells), *_gains(cells), *_fates(cells)]
    curves = [share_curve(f"d = {dim:.0e}", [dim * r for r in RATES], [cells[dim, r].late for r in RATES]) for dim in DIMS]
    title = "borrower on $v_1$ when the head is at its peak"
    return Finding(records, Panel(title, r"$r\,d$", "share of newly rescued starts", curves, y_log=False, spread=0.08))


def half(x, counts) -> tuple[float, float, float]:
    """Where a share that falls with x (P,) passes 1/2, in log x between points, and the same for the lower and upper ends of
    its 95 % intervals; counts: (events, starts) (P,) pairs. nan where it does not pass."""
    bounds = np.array([(n / total, *wilson(n, total)) for n, total in counts])
    return tuple(_passes(np.log(x), bounds[:, column]) for column in range(3))  # type: ignore[return-value]


def _passes(x: np.ndarray, y: np.ndarray) -> float:
    below = np.flatnonzero((y[:-1] >= 0.5) & (y[1:] < 0.5))
    if not len(below):
        return np.nan
    n = int(below[0])
    return float(np.exp(x[n] + (x[n + 1] - x[n]) * (y[n] - 0.5) / (y[n] - y[n + 1])))


def _crossover(cells) -> list[Record]:
    """Where half of the newly rescued starts have the borrower on v_l when the head is at its peak."""
    records = []
    for dim in CROSSED:
        events = [cells[dim, rate].late for rate in RATES]
        found = half([dim * rate for rate in RATES], [(int(some.sum()), len(some)) for some in events])
        records.append(
            Record(
                NUMBER,
                f"crossover, d = {dim:.0e}",
                "r d at which half of the newly rescued starts have cos^2(w_2, v_1) > 1/2 at T_2: of order 1",
                1.0,
                *found,
                within(*found[1:], 0.1, 10.0),
            )
        )
    return records


def _routes(cells) -> list[Record]:
    """The route of each start, and how far the head goes on it."""
    large = [cell for (dim, _), cell in cells.items() if dim >= LARGE]
    right = share(np.concatenate([cell.short == cell.short_said for cell in large]))
    off = median_interval(np.concatenate([cell.off for cell in large]))
    return [
        Record(
            NUMBER,
            "which route",
            f"newly rescued starts, d >= {LARGE:.0e}: share in which the orbit of dynlab.population.pair.limit tells "
            f"whether the head stops below {BELOW:g} of its bound (second route) or not",
            1.0,
            *right,
            within(*right[1:], 0.98),
        ),
        Record(
            NUMBER,
            "peak on both routes",
            f"median relative error of the predicted peak of the head, newly rescued starts, d >= {LARGE:.0e}",
            0.0,
            *off,
            within(*off[1:], most=0.01),
        ),
    ]


def _gains(cells) -> list[Record]:
    """The paper's comparison, dynlab's own, and the closed form of the latter on the second route."""
    favoured = share(np.concatenate([cell.gain > cell.gain_first for cell in cells.values()]))
    records = [
        Record(
            NUMBER,
            "the paper's comparison",
            "newly rescued starts, all d and r: share in which the head favours v_2 over v_1 for the borrower at T_2 (gain "
            "of <w_2, v_2> above that of <w_2, v_1>)",
            1.0,
            *favoured,
            within(*favoured[1:], 0.99),
        )
    ]
    for dim, rate in ((10**4, 1e-5), (10**4, 1e-4), (10**4, 1e-3)):
        gain = median_interval(cells[dim, rate].gain)
        records.append(
            Record(
                NUMBER,
                f"dynlab's comparison, r d = {dim * rate:g}",
                "the head speeds up <w_2, v_2> beside the same state with E = I: median gain at T_2 of newly rescued starts "
                f"above 1, d = {dim:.0e}, r = {rate:g}",
                None,
                *gain,
                within(*gain[1:], 1.0),
            )
        )
    sure = [np.abs(cell.collapsed / cell.gain - 1.0)[cell.ratio > MUCH] for cell in cells.values()]
    off = float(np.quantile(np.concatenate(sure), 0.95))
    return [
        *records,
        Record(
            NUMBER,
            "gain after the collapse",
            f"closed form a |f_21|^3 E f_11 / (N (E f_11 + f_21)^2) ..., where a f_21^2 > {MUCH:g} N: 95 % of relative "
            "errors below",
            0.0,
            off,
            off,
            off,
            within(off, off, most=0.02),
        ),
    ]


def _fates(cells) -> list[Record]:
    """Which starts fail on both routes, and what that makes of the law r^(1/2)."""
    large = [cell for (dim, _), cell in cells.items() if dim >= LARGE]
    right = share(np.concatenate([cell.said == cell.merged for cell in large]))
    small = cells[10**3, 1e-4]
    now, before = share(small.said == small.merged), share(small.said_first == small.merged)
    records = [
        Record(
            NUMBER,
            "which starts fail, both routes",
            "share of all starts whose merging the rule of the orbit tells: sign(A_11 A_12 A_21 A_22) = +, |A_ok| < "
            f"max(|E_oi|, |A_ol|/|A_il|) |A_ik|; all rates, d = {LARGE:.0e} ... {DIMS[-1]:.0e}",
            1.0,
            *right,
            within(*right[1:], 0.98),
        ),
        Record(NUMBER, "the same at d = 1000, r = 1e-4", "the same share there", 1.0, *now, within(*now[1:], 0.95)),
        Record(
            NUMBER,
            "the first route's rule there",
            "share that |A_ok| < sqrt(r/3) |w_o| |A_ik| alone tells, d = 1000, r = 1e-4",
            1.0,
            *before,
            within(*before[1:], 0.95),
        ),
    ]
    fast, slow = share(cells[10**3, 1e-2].merged), share(small.merged)
    return [
        *records,
        Record(
            NUMBER,
            "fewer merge as r falls",
            f"d = 1000: share merged at r = 1e-4 below the {fast[0]:.3f} at r = 1e-2; predicted: as r^(1/2), which needs "
            "r d >> 1",
            0.1 * fast[0],
            *slow,
            HOLDS if slow[2] < fast[1] else FAILS if slow[1] > fast[2] else OUT_OF_REACH,
        ),
    ]

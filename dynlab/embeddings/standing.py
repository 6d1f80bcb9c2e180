"""The verdict on a cloud of embeddings, whose loss is not known: its bounds, and how often it was right.

The bounds are those of `dynlab.images.verdict`: collapsed where the effective rank of the correlations is below `FEW` or the
mean absolute correlation above `ALIKE`, healthy where it is at least `SAFE_RANK` and at most `SAFE_CORRELATION`. They were
found at 64 outputs. For fewer than five (k, or a row less than there are rows) no rank can be as large: then the bounds are
those parts of the way from 1 to k that they are for five.
"""

from __future__ import annotations

from dynlab.images.verdict import ALIKE, FEW, POINT, SAFE_CORRELATION, SAFE_RANK

FEWEST_ROWS = 16  # fewer have correlations by chance that are of the size of the bounds
# {verdict: (right, runs, what right means)} of `python -m benchmarks.fates`, a run counted at its end.
RIGHT: dict[str, tuple[int, int, str]] = {
    "collapsed": (23, 32, "had a z worth no more than before training"),
    "unclear": (5, 11, "had a z worth no more than before training"),
    "healthy": (60, 78, "had a z worth more than before training"),
}
WORDS = {
    "collapsed": "COLLAPSED: the outputs have become copies of one another",
    "one direction": "ONE DIRECTION: at unit length all rows are nearly the same",
    "unclear": "UNCLEAR: the outputs use few directions, but they are not copies of one another",
    "healthy": "NO COLLAPSE: the outputs use several directions",
}


def rank_bounds(directions: int) -> tuple[float, float]:
    """(rank below which outputs are collapsed, rank from which on they are healthy) where at most so many can be had."""
    part = min((directions - 1) / 4.0, 1.0)
    return 1.0 + (FEW - 1.0) * part, 1.0 + (SAFE_RANK - 1.0) * part


def standing(rank: float, correlation: float, directions: int) -> str:
    """ "collapsed", "unclear" or "healthy" by rank and mean absolute correlation; nan correlation (one output): by rank."""
    few, safe = rank_bounds(directions)
    if rank < few or correlation > ALIKE:
        return "collapsed"
    return "unclear" if rank < safe or correlation > SAFE_CORRELATION else "healthy"


def verdict_on(rank: float, correlation: float, unit_sd: float, rows: int, outputs: int) -> tuple[str, str]:
    """(A key of `WORDS`, the numbers and the bounds that it comes from)."""
    k = min(outputs, rows - 1)
    few, safe = rank_bounds(k)
    if rank == 0.0:
        return "collapsed", "every output is the same for all rows"
    if rows < FEWEST_ROWS or outputs == 1:
        what = f"{rows} rows are too few to tell (from {FEWEST_ROWS} on)" if outputs > 1 else "one output has no rank"
        return "unclear", what
    found = standing(rank, correlation, k)
    numbers = f"rank {rank:.3g} of {outputs}, mean |correlation| {correlation:.2f}"
    alone = POINT / outputs**0.5
    if found != "collapsed" and unit_sd < alone:
        return (
            "one direction",
            f"rows at unit length vary by {unit_sd:.2g} (bound {alone:.2g}, a tenth of 1/sqrt({outputs}))",
        )
    bounds = {
        "collapsed": f"collapsed is rank below {few:.3g} or correlation above {ALIKE:g}",
        "healthy": f"healthy is rank from {safe:.3g} on and correlation up to {SAFE_CORRELATION:g}",
        "unclear": f"between collapsed, rank below {few:.3g} or correlation above {ALIKE:g}, and healthy, "
        f"rank from {safe:.3g} on and correlation up to {SAFE_CORRELATION:g}",
    }[found]
    return found, f"{numbers} ({bounds})"

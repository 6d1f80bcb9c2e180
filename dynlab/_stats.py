"""Intervals for shares."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054  # the normal law has 95 % of its mass within +- this


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), 95 % unless `z` says otherwise.

    (0, 1) for no trials. The ends are exact at 0 and at `trials` successes.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    weight = z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high

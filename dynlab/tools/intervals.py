"""Intervals for shares, and what can be said of two shares of the same starts."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

CHANCE = 0.05  # a difference is told where chance makes one as large less often
NOTHING = 0.05  # a difference that is surely below this share of the starts is none
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


@dataclass(frozen=True)
class Pairs:
    """An event in two trainings of the same starts: how many, gained and lost: it happened in the second, the first alone.

    chance: exact McNemar probability, two-sided, of so uneven a split of the pairs that differ if neither training favours
    the event (McNemar 1947; a sign test). low, high: 95 % interval (`tango`) of the difference of the shares, second minus
    first, widened to 0 where that test does not tell it from 0.
    """

    pairs: int
    gained: int
    lost: int
    chance: float
    low: float
    high: float

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> Pairs:
        """Of events first (N,), second (N,), True where it happened to a start."""
        first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
        return cls.counted(len(first), int((second & ~first).sum()), int((first & ~second).sum()))

    @classmethod
    def counted(cls, pairs: int, gained: int, lost: int) -> Pairs:
        """Of the counts."""
        chance, (low, high) = mcnemar(gained, lost), tango(pairs, gained, lost)
        if chance >= CHANCE:
            low, high = min(low, 0.0), max(high, 0.0)
        return cls(pairs, gained, lost, chance, low, high)

    @property
    def difference(self) -> float:
        """Of the shares, second minus first; 0 without pairs."""
        return (self.gained - self.lost) / max(self.pairs, 1)

    @property
    def most(self) -> float:
        """The largest difference that the interval leaves possible, either way."""
        return max(abs(self.low), abs(self.high))

    @property
    def verdict(self) -> str:
        """ "more" or "fewer" where chance makes so large a difference less often than `CHANCE`; else "alike" where the
        difference is surely below `NOTHING`, and "unknown" where it is not."""
        if self.chance < CHANCE:
            return "more" if self.gained > self.lost else "fewer"
        return "alike" if self.most <= NOTHING else "unknown"


def mcnemar(gained: int, lost: int) -> float:
    """Probability that a fair coin splits gained + lost as unevenly, to either side; 1 for none."""
    from scipy.special import bdtr  # the binomial law's sum; scipy.stats, which has the test, takes half a second to load

    fewer, pairs = min(gained, lost), gained + lost
    return min(1.0, 2.0 * float(bdtr(fewer, pairs, 0.5)))


def tango(pairs: int, gained: int, lost: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a difference of paired shares (Tango, Statistics in Medicine 17, 891, 1998); (-1, 1) for no pairs.

    The ends are the differences x at which (gained - lost)/N lies z standard errors away, sqrt[(2 q + x - x^2)/N], with the
    likeliest share q of starts lost under x: the root in [max(0, -x), (1 - x)/2] of 2 N q^2 + [(2 N - gained + lost) x
    - gained - lost] q - lost x (1 - x) = 0. Without a pair that differs they are +-z^2/(N + z^2), Wilson's end.
    """
    if pairs == 0:
        return -1.0, 1.0

    def distance(x: float) -> float:
        slope = (2 * pairs - gained + lost) * x - gained - lost
        root = sqrt(max(slope * slope + 8 * pairs * lost * x * (1 - x), 0.0))
        q = max((root - slope) / (4 * pairs), -x, 0.0)
        return (gained - lost - pairs * x) / sqrt(max(pairs * (2 * q + x * (1 - x)), 1e-300))

    return _falls_to(distance, z), _falls_to(distance, -z)


def _falls_to(function, value: float) -> float:
    """Where in [-1, 1] a falling function passes a value, by bisection."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > value else (low, middle)
    return (low + high) / 2

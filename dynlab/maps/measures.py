"""What a phase diagram can show of a point's trajectories: shares of outcomes, and medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.maps.point_store import BLOCK_COLUMNS
from dynlab.population.moments import MERGED
from dynlab.population.outcomes import OUTCOMES
from dynlab.tools.checks import require
from dynlab.tools.fits import median_interval
from dynlab.tools.intervals import Z95, wilson

SHARES = {
    "both": "share that learns both features",
    "only_strong": "share that learns only the strong feature",
    "only_weak": "share that learns only the weak feature",
    "neither": "share that learns neither feature",
    "waiting": "share that still waits for a feature",
    "failed": "share that failed",
    "merged": "share whose outputs collapse",
}
# Name on the command line -> column of `Ensemble.frame` and what its median is called.
MEDIANS = {
    "rank": ("rank", "effective rank of the outputs"),
    "peak": ("head_peak", r"peak of the head $\max_t |E_{jr}|$"),
    "bound": ("head_bound", "bound of the head's peak"),
    "head-end": ("head_end", r"head at the end $||E - I||_F$"),
    "time": ("time_first", r"time to the first feature $T_1$"),
    "time-peak": ("time_peak", r"time of the head's peak $T_2$"),
    "time-second": ("time_second", r"time to the second feature $T_3$"),
    "time-end": ("time_end", "time at the end"),
    "loss": ("loss_end", "loss at the end"),
    "steps": ("steps", "steps of the solver"),
}
LOGARITHMIC = ("peak", "bound", "time", "time-peak", "time-second", "time-end")  # drawn so
LEVELS = {"rank": 1.5}  # of the boundary; 1/2 for shares, none for other medians


@dataclass(frozen=True)
class Measure:
    """A number of a point with its interval; `named` makes one. name, label of its axis, level of the boundary or None."""

    name: str
    label: str
    level: float | None

    @classmethod
    def named(cls, name: object) -> Measure:
        """The measure of this name; dashes and underscores, and the frame's own names of columns, are taken too.

        SettingError for a name that there is not.
        """
        word = str(name).replace("_", "-")
        by_column = {column.replace("_", "-"): short for short, (column, _) in MEDIANS.items()}
        word = by_column.get(word, word)
        share = word.replace("-", "_")
        known = [*(share.replace("_", "-") for share in SHARES), *MEDIANS]
        require(word in known, "measure", name, "one of " + ", ".join(known))
        if share in SHARES:
            return cls(share, SHARES[share], 0.5)
        return cls(word, "median " + MEDIANS[word][1], LEVELS.get(word))

    @property
    def is_share(self) -> bool:
        """Whether it is the share of starts with an outcome, not a median."""
        return self.name in SHARES

    @property
    def log(self) -> bool:
        """Whether it is drawn on a logarithmic scale."""
        return self.name in LOGARITHMIC

    def estimate(self, outcomes: np.ndarray, columns: np.ndarray, z: float = Z95) -> tuple[float, float, float]:
        """(value, low, high) from outcomes (n,), numbers of `OUTCOMES`, and columns (len(COLUMNS), n); z: deviations.

        Shares are of all seeds, with Wilson's interval. Medians are over the seeds that did not fail and to which the
        column applies, with the interval of order statistics.
        """
        if self.name == "merged":
            count = merged_count(columns)
        elif self.is_share:
            count = int((outcomes == OUTCOMES.index(self.name)).sum())
        else:
            values = columns[BLOCK_COLUMNS.index(MEDIANS[self.name][0])]
            return median_interval(values[outcomes != OUTCOMES.index("failed")], z)
        return count / len(outcomes), *wilson(count, len(outcomes), z)


def outcome_counts(outcomes: np.ndarray) -> tuple[int, ...]:
    """How often each of `OUTCOMES` occurs."""
    return tuple(int((outcomes == code).sum()) for code in range(len(OUTCOMES)))


def merged_count(columns: np.ndarray) -> int:
    """How many trajectories ended with collapsed outputs."""
    return int((columns[BLOCK_COLUMNS.index("rank")] < MERGED).sum())

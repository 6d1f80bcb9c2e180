"""When a run is said to be on the way to collapse: the rule of the one warning of `dynlab.Monitor`.

A run that goes well passes through small ranks too, when its head has only begun, and comes out of them. So a small rank
warns where it is falling still: where the median of the last `LATEST` lines is below `LOW` and below `FALLING` of the
median of as many lines half as far into the run (the first line, before training, left out); or where it is below `STUCK`,
as low as copies of one output are, and is not rising. For fewer than five outputs the bounds are as far from 1 as those of
verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from dynlab.embeddings.standing import rank_bounds
from dynlab.images.verdict import FEW

LATEST = 2  # lines
LOW, STUCK = 2.5, 1.5  # ranks, of five outputs or more
FALLING = 0.9


def on_the_way(lines: Sequence[Mapping[str, float]], directions: int = 5) -> bool:
    """Whether all lines so far (the rank of each) look like the way to collapse; directions: m, or rows - 1."""
    n = len(lines)
    if n < 2 * LATEST + 1:
        return False
    end = max(n // 2, LATEST + 1)
    now = median(line["rank"] for line in lines[n - LATEST :])
    before = median(line["rank"] for line in lines[end - LATEST : end])
    part = (rank_bounds(directions)[0] - 1.0) / (FEW - 1.0)
    low, stuck = 1.0 + (LOW - 1.0) * part, 1.0 + (STUCK - 1.0) * part
    return (now < low and now < FALLING * before) or (now < stuck and now <= before)

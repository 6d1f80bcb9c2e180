"""When a run is said to be on the way to collapse: the rule of the one warning of `dynlab.Monitor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def on_the_way(lines: Sequence[Mapping[str, float]]) -> bool:
    """Whether all lines so far (step, rank, correlation, unit_sd of each) look like the way to collapse."""
    return False

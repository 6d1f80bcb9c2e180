"""All heads under one budget: the runs, and what each is worth."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.images.comparison import measured_runs
from dynlab.images.settings import PICTURE_NORMALISATIONS, Pretraining
from dynlab.machine.device import Device
from dynlab.settings.training import TARGETS

if TYPE_CHECKING:
    import pandas as pd


ENTRIES = (
    "none", "off-diagonal", "linear", "linear:random", "mlp", "directpred", "directcopy", "symmetric", "none:average",
    "off-diagonal:average", "linear:average", "mlp:average", "directpred:same", "directcopy:same",
)  # fmt: skip

# Tian, Chen & Ganguli (2021) and Wang et al. (2021) train towards a moving average of momentum 0.996, as BYOL starts with.
PUBLISHED = {"directpred": "average", "directcopy": "average"}
MOMENTUM = 0.996
DEFAULT = ("none", "off-diagonal", "linear", "mlp", "directpred")

SHORT: dict[str, dict[str, Any]] = {
    "demo": {"heads": ("none", "off-diagonal"), "normalisations": PICTURE_NORMALISATIONS, "seeds": 1}
}


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked. base: of every run, but for head, normalisation and seed."""

    base: Pretraining
    heads: tuple[str, ...]
    normalisations: tuple[str, ...]
    seeds: int
    data: Path
    out: Path
    download: bool
    verify: bool
    device: Device
    threads: int
    dask: str | None
    plots: bool
    quiet: bool


def entries(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """(normalisation, head, seed) of every run: all heads with the first seed before the second."""
    for seed in range(settings.seeds):
        for normalisation in settings.normalisations:
            for head in settings.heads:
                yield normalisation, head, seed


def of_entry(settings: Settings, normalisation: str, head: str, seed: int) -> Pretraining:
    """The settings of a run."""
    rule, _, how = head.partition(":")
    changed: dict[str, Any] = {"head": rule, "normalisation": normalisation, "seed": settings.base.seed + seed}
    if how == "random":
        changed["head_start"] = how
    target = how if how in TARGETS else PUBLISHED.get(rule, "same")
    if target == "average":
        changed |= {"target": target, "target_momentum": MOMENTUM}
    return replace(settings.base, **changed)


def place_of(settings: Settings, normalisation: str, head: str, seed: int) -> Path:
    """The folder of a run."""
    return settings.out / f"{normalisation}-{head.replace(':', '-')}-seed{settings.base.seed + seed}"


def run_entries(settings: Settings) -> dict[measured_runs.Entry, tuple[str, str, int] | None]:
    """All runs as they are made, each with its entry; then the networks before training, which have none."""
    made: dict[measured_runs.Entry, tuple[str, str, int] | None] = {}
    for entry in entries(settings):
        normalisation, head, seed = entry
        columns = (("normalisation", normalisation), ("head", head))
        made[measured_runs.Entry(columns, seed, place_of(settings, *entry).name, of_entry(settings, *entry))] = entry
    columns = (("normalisation", ""), ("head", "random encoder"))
    return made | {measured_runs.at_the_start(settings.base, columns, seed): None for seed in range(settings.seeds)}


def all_measured(
    settings: Settings, data: tuple, pool: Executor | None
) -> tuple[list[dict], dict[tuple[str, str, int], str]]:
    """Rows of all runs' representations, and a line for each run that diverged, by its entry; such a run has no rows.

    Runs are made, or continued, where they are missing, here or by the workers of `pool`.
    """

    def told(one: measured_runs.Made) -> None:
        if one.line and not settings.quiet:
            print(one.line, flush=True)

    named = run_entries(settings)
    made = measured_runs.make_all(conditions_of(settings), list(named), data, pool, told)
    diverged = {entry: made[one].diverged for one, entry in named.items() if entry is not None and made[one].diverged}
    return [row for one in made.values() for row in one.rows], diverged


def conditions_of(settings: Settings) -> measured_runs.Conditions:
    """What the runs have in common."""
    return measured_runs.Conditions(
        settings.out, settings.data, settings.verify, settings.device, settings.threads, "python -m dynlab.heads"
    )


def curves_of(settings: Settings) -> list[tuple[str, str, int]]:
    """The runs whose head is a matrix that trains."""
    return [entry for entry in entries(settings) if entry[1].partition(":")[0] in ("off-diagonal", "linear", "symmetric")]


def metrics_of(settings: Settings, entry: tuple[str, str, int]) -> pd.DataFrame:
    """metrics.csv of a run."""
    import pandas as pd

    return pd.read_csv(place_of(settings, *entry) / "metrics.csv")

"""All heads under one budget: the runs, and what each is worth."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.images.settings import PICTURE_NORMALISATIONS, Pretraining
from dynlab.images.verdict import NotFinite
from dynlab.machine.device import Device
from dynlab.settings.training import TARGETS
from dynlab.tools.checks import SettingError

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


def measured(settings: Settings, entry: tuple[str, str, int], data: tuple, diverged: dict) -> list[dict]:
    """Rows of a run's representations, from its evaluate.json; the run is made, or continued, where it is missing.

    Of a run that diverged there are none; `diverged` then gets a line, by the entry.
    """
    from dynlab.images.training import run_folder
    from dynlab.images.worth import representations

    place, of_run = place_of(settings, *entry), of_entry(settings, *entry)
    said = place / "evaluate.json"
    begun = (place / "run.json").is_file()
    if begun and run_folder.settings_of(place) != of_run:
        raise SettingError("out", str(settings.out), f"a folder of runs with these settings, which {place.name} has not")
    if begun and run_folder.run_of(place).get("content") != data[0].content(of_run.limit):
        allowed = f"the pictures that {place.name} was trained on, or --out another folder"
        raise SettingError("data", str(settings.data), allowed)
    status = run_folder.run_of(place)["status"] if begun else ""
    if not said.is_file():
        stopped = [status.removeprefix("stopped: ")] if status.startswith("stopped") else run_folder.pretrain(
            of_run, data[0], place, resume=begun, threads=settings.threads, device=settings.device, quiet=True,
            command="python -m dynlab.heads", data=settings.data,
        )  # fmt: skip
        between = time.perf_counter()
        try:
            NotFinite.said(stopped)
            found = representations.appraise(of_run, run_folder.read_weights(place), *data, which=("encoder", "z"))
        except NotFinite as error:
            diverged[entry] = f"{place.name} diverged: {error}"
            return []
        trained = run_folder.seconds_of(place)
        _keep(said, found, {"training_seconds": trained})
        if not settings.quiet:
            print(_line(place.name, found, trained, time.perf_counter() - between), flush=True)
    return _rows(said, *entry)


def random_rows(settings: Settings, seed: int, data: tuple) -> list[dict]:
    """Rows of the networks before training."""
    from dynlab.images.worth import representations

    said = settings.out / f"random-seed{settings.base.seed + seed}.json"
    if not said.is_file():
        of_run = replace(settings.base, seed=settings.base.seed + seed)
        found = representations.appraise(of_run, {}, *data, which=("random encoder", "random z"))
        settings.out.mkdir(parents=True, exist_ok=True)
        _keep(said, [row | {"representation": row["representation"].removeprefix("random ")} for row in found], {})
    return _rows(said, "", "random encoder", seed)


def curves_of(settings: Settings) -> list[tuple[str, str, int]]:
    """The runs whose head is a matrix that trains."""
    return [entry for entry in entries(settings) if entry[1].partition(":")[0] in ("off-diagonal", "linear", "symmetric")]


def metrics_of(settings: Settings, entry: tuple[str, str, int]) -> pd.DataFrame:
    """metrics.csv of a run."""
    import pandas as pd

    return pd.read_csv(place_of(settings, *entry) / "metrics.csv")


def _keep(path: Path, found: list[dict], more: dict) -> None:
    from dynlab.images.worth import representations
    from dynlab.tools.files import json_text, write_whole

    write_whole(path, json_text({"rows": [representations.plain(row) for row in found]} | more))


def _rows(path: Path, normalisation: str, head: str, seed: int) -> list[dict]:
    from dynlab.images.comparison import tables
    from dynlab.tools.files import FolderError

    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))["rows"]
        found = [{"normalisation": normalisation, "head": head, "seed": seed, **row} for row in rows]
        tables.frame(found)[list(tables.MEASURES)].astype(float)
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = f"cannot be read ({type(error).__name__}: {error}); remove it, and the run is measured again"
        raise FolderError(path, why) from None
    return found


def _line(name: str, found: list[dict], trained: float, measured: float) -> str:
    rows = {row["representation"]: row for row in found}
    inside, z = rows["encoder"], rows["z"]
    return (
        f"{name}: probe {inside['probe'].share:.3f} (z {z['probe'].share:.3f}), kNN {inside['knn'].share:.3f}, rank of z "
        f"{z['shape'].singular_rank:.1f}, correlation of z {z['shape'].mean_abs_correlation:.2f}; {trained:.0f} s, measured "
        f"in {measured:.0f} s"
    )

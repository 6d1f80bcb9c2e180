"""The points of a sweep, computed where they are missing, and their table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.sweeps.point_results import (
    FINISHED,
    HOW_ENDED,
    Hindrance,
    PointResult,
    SweepConditions,
    made_point,
    point_job,
    point_sources,
)
from dynlab.sweeps.sweep_folder import SweepFolder
from dynlab.tools import show
from dynlab.tools.files import FolderError, csv_text, json_text, signals_deferred, write_whole
from dynlab.tools.parquet import write_beside
from dynlab.tools.sharing import as_they_end

if TYPE_CHECKING:
    import pandas as pd

# Columns that are read first, by command.
SHOWN = {
    "run": ("both", "only_strong", "merged", "failed", "rank", "time_first", "head_peak"),
    "sgd": ("both", "distance", "stopped", "rank", "loss_end"),
    "pretrain": ("loss_end", "rank", "correlation", "head_norm", "knn", "verdict"),
}


@dataclass(frozen=True)
class SweepPoint:
    """A point, checked. cells: its settings as columns of the table, by name. settings: as its command has checked them.
    whole: all that decides its results, as JSON holds it. key: what it is known by. words: for what is said of it."""

    cells: Mapping[str, Any]
    settings: Any
    whole: Mapping[str, Any]
    key: str
    words: str


@dataclass(frozen=True, eq=False)
class Swept:
    """A finished sweep; `dynlab.sweep` makes it.

    frame: a row a point, in the order of the plan: point (its number from 1), its settings by name, status ("finished",
    "diverged" or "failed"), reason ("" for most), then what came of it. command: of the plan. computed: points computed now,
    not taken from the folder. damage: what was damaged there. place: the folder, None where it was kept nowhere.
    """

    frame: pd.DataFrame
    command: str
    computed: int
    damage: tuple[str, ...]
    place: Path | None

    def __repr__(self) -> str:
        counts = self.frame["status"].value_counts().to_dict()
        parts = [f"{count} {status}" for status, count in counts.items()]
        return show.line("Swept", [f"{self.command}, {len(self.frame)} points", *parts])

    def _repr_html_(self) -> str:
        return self.readable().to_html(float_format=show.number, na_rep="", index=False)

    def readable(self) -> pd.DataFrame:
        """The columns that are read first: settings that vary, status, the main results."""
        front = list(self.frame.columns[: self.frame.columns.get_loc("status")])
        varied = [name for name in front if name == "point" or self.frame[name].astype(str).nunique() > 1]
        return self.frame[[*varied, "status", *(name for name in SHOWN[self.command] if name in self.frame)]]

    def troubles(self) -> list[str]:
        """A line for each point that did not finish, or not wholly."""
        bad = self.frame[(self.frame["status"] != FINISHED) | (self.frame["reason"] != "")]
        return [f"point {row.point} {row.status}: {row.reason}" for row in bad.itertuples()]


def compute_sweep(
    command: str, points: Sequence[SweepPoint], folder: SweepFolder, conditions: SweepConditions, pool: Executor | None,
    progress: Callable[[int, int], None],
) -> tuple[pd.DataFrame, int]:  # fmt: skip
    """(table, points computed now). The table is the same to the last bit for any executor and history of interruptions.

    pool: where points are computed (None: here, one after another). progress: called with points done and to do.
    Raises FolderError or OSError for what hinders all points; those that are finished are kept.
    """
    sources = point_sources(command)
    rows = {one.key: row for one in points if (row := folder.row(one.key, sources)) is not None}
    missing = [one for one in points if one.key not in rows]
    told = len(rows)
    progress(told, len(points))
    for one, found in _made(command, missing, conditions, pool, sources):
        with signals_deferred():
            if found.kept:
                folder.keep(one.key, one.whole, found.row, sources)
            rows[one.key] = found.row
            progress(len(rows), len(points))
    return _table(points, rows), len(missing)


def write_sweep(out: Path, found: Swept, record: Mapping[str, Any], started: float, parquet: bool) -> None:
    """Write sweep.csv, the same bytes for the same points, sweep.parquet where it is wanted, and run.json, each whole or not
    at all. record: what run.json begins with. started: `time.perf_counter()` of the call."""
    from dynlab.tools.provenance import provenance

    write_whole(out / "sweep.csv", csv_text(found.frame))
    write_beside(out / "sweep.csv", found.frame, parquet)
    counts = {"points": len(found.frame), "computed now": found.computed}
    facts = {"kind": "sweep", **record, "swept": found.command, **counts, "troubles": found.troubles()}
    write_whole(out / "run.json", json_text(facts | {"damage": list(found.damage)} | provenance(started)))


def _made(
    command: str, missing: Sequence[SweepPoint], conditions: SweepConditions, pool: Executor | None, sources: str
) -> Iterator[tuple[SweepPoint, PointResult]]:
    """Points with their results, as they come."""
    if pool is None:
        yield from ((one, made_point(command, one.settings, one.key, conditions)) for one in missing)
        return
    calls = ((one, point_job, (command, one.settings, one.key, conditions, sources)) for one in missing)
    for one, found in as_they_end(pool, calls):
        if isinstance(found, Hindrance):
            raise FolderError(Path(found.place), found.words) if found.place else OSError(found.words)
        yield one, found


def _table(points: Sequence[SweepPoint], rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row a point: number, settings, results; how many trajectories ended how is 0 where none did so."""
    import pandas as pd

    results = [rows[one.key] for one in points]
    settings = list(dict.fromkeys(name for one in points for name in one.cells))
    found = list(dict.fromkeys(name for row in results for name in row))
    plain = [name for name in found if not name.startswith(HOW_ENDED)]
    columns: dict[str, Any] = {"point": pd.Series(range(1, len(points) + 1))}
    for name in settings:
        columns[name] = _column([row.get(name, one.cells.get(name)) for one, row in zip(points, results, strict=True)])
    for name in [*plain, *sorted(set(found) - set(plain))]:
        none = 0 if name.startswith(HOW_ENDED) else None
        if name not in columns:
            columns[name] = _column([row.get(name, none) for row in results])
    return pd.DataFrame(columns)


def _column(values: list[Any]) -> pd.Series:
    """A column of one type: whole numbers, numbers, truths or words; nan, or no word, for what there is not."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds and kinds <= {int, float}:
        return pd.Series([float("nan") if value is None else float(value) for value in values])
    if kinds == {bool} and None not in values:
        return pd.Series(values)
    return pd.Series(["" if value is None else str(value) for value in values], dtype=object)

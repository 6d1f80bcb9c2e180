"""Phase diagrams: two settings varied over a grid, many starts a point, with and without the head.

`phase_map` computes what its store lacks, on any `concurrent.futures.Executor`, and returns the table of the map. The
points themselves are those of `dynlab.maps.points`.

**Refinement.** With `refine` every point starts with `PILOT` seeds. Then, round after round, the seeds of each point
near the boundary are doubled, up to the number asked for: a point is near when its 95 % interval holds the level, or
when one of its four neighbours lies on the other side of it. A round is decided when the one before is complete, from
its seeds alone, so the result does not depend on timing or on what else is stored.

**Boundary.** That of shares averaged over neighbours, drawn only where the level is crossed: see `dynlab.maps.boundary`.
Medians are not pooled.

**Without a head** the head's rate does nothing: along an axis of it the map is the same, and is computed once, at the axis's
first value. The table repeats it, marked as `copied`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.machine.device import Device
from dynlab.maps.boundary import crossed, deviations, near_level, pooled, sides
from dynlab.maps.grid import Grid
from dynlab.maps.measures import Measure, merged_count, outcome_counts
from dynlab.maps.point_store import BlockStore, open_store
from dynlab.maps.points import run_jobs, sources_key
from dynlab.maps.predictions import predicted
from dynlab.population.outcomes import OUTCOMES
from dynlab.population.pair import flow
from dynlab.tools import plots, show
from dynlab.tools.checks import available_threads, integer, require
from dynlab.tools.files import FolderTaken, expanded, signals_deferred
from dynlab.tools.sharing import as_they_end

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.figure import Figure


PILOT = 16  # seeds of a point before refinement
JOB = 256  # seeds computed in one go, at most
TASK = 128  # seeds in a task, at least, where there are that many: what is handed to an executor at once
DEVICE_TASK = 1 << 15  # the same on a CUDA device
AHEAD = 64  # tasks handed over before their results are in
MOST_SEEDS = 10**6
STORE = "store"


@dataclass(frozen=True, eq=False)
class PhaseMap:
    """A finished map of the number `measure` over a `grid`; `level`: where its boundary is (None: there is none).

    frame: a row a point and head: the axes' values, head, value, low, high (95 %), pooled, pooled_low, pooled_high (see
    `dynlab.maps.boundary`), crossed (whether a boundary passes there), predicted, copied (see the head of the module),
    seeds, the counts both, only_strong, only_weak, neither, failed, merged.
    computed: trajectories computed now, not taken from the store. damage: what was damaged in the store.
    """

    grid: Grid
    measure: Measure
    level: float | None
    frame: pd.DataFrame
    computed: int
    damage: tuple[str, ...]

    def __repr__(self) -> str:
        size = f"{len(self.grid.x.values)} x {len(self.grid.y.values)} points"
        parts = [f"{self.measure.name} over {self.grid.x.name} and {self.grid.y.name}", size]
        count = int(self.frame.loc[~self.frame["copied"], "seeds"].sum())
        parts += [f"heads {' and '.join(self.grid.heads)}", f"{count} trajectories"]
        return show.line("PhaseMap", parts)

    def _repr_html_(self) -> str:
        """For each head: the number mapped, at its smallest, median and largest, and where."""
        x, y, rows = self.grid.x.name, self.grid.y.name, []
        for head in self.grid.heads:
            known = self.frame[self.frame["head"] == head].dropna(subset="value").sort_values("value", kind="stable")
            for word, place in (("smallest", 0), ("median", len(known) // 2), ("largest", -1)):
                if len(known):
                    row = known.iloc[place]
                    rows.append((f"head {head}, {word}", row["value"], row["low"], row["high"], row[x], row[y]))
        return show.table(rows, (self.measure.name, "value", "95 % from", "to", x, y), repr(self))

    def plot(self) -> Figure:
        """The map of each head, the boundary and its prediction; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    def to_xarray(self) -> xarray.Dataset:
        """The columns of `frame` over (head, y, x), an xarray.Dataset (extra `xarray`), as NetCDF holds it.

        The two axes are called as their settings are ("weak", "eta_head"); attributes: the measure, the level of its
        boundary, and the settings that are the same at every point, as JSON.
        """
        from dynlab.tools.labelled import Labelled, dataset

        x, y = self.grid.x, self.grid.y
        names = [name for name in self.frame.columns if name not in (x.name, y.name, "head")]
        variables = {}
        for name in names:
            values = [self.field(head, name) for head in self.grid.heads]
            kind = self.frame[name].dtype
            what = f"{self.measure.name}: {name}" if name in ("value", "low", "high") else name
            variables[name] = Labelled(("head", y.name, x.name), np.array(values).astype(kind), what)
        coordinates = {axis.name: Labelled((axis.name,), np.array(axis.values, dtype=float), axis.label) for axis in (x, y)}
        coordinates["head"] = Labelled(("head",), list(self.grid.heads), "rule of the head")
        about = {"measure": self.measure.name, "level": np.nan if self.level is None else self.level}
        return dataset(variables, coordinates, about | {"settings": self.grid.settings()})

    def field(self, head: str, column: str = "value") -> np.ndarray:
        """A column as (rows, columns) = (values of y, values of x)."""
        values = self.frame.loc[self.frame["head"] == head, column].to_numpy(dtype=float)
        return values.reshape(len(self.grid.y.values), len(self.grid.x.values))


def phase_map(
    grid: Grid,
    folder: str | Path,
    *,
    seeds: int = 64,
    measure: Measure | None = None,
    level: float | None = None,
    refine: bool = False,
    executor: Executor | None = None,
    threads: int | None = None,
    ahead: int = AHEAD,
    progress: Callable[[int, int], None] | None = None,
    device: str | Device = "cpu",
) -> PhaseMap:
    """Compute what the store in `folder` lacks, then the map.

    Parameters
    ----------
    grid : the two axes, and what is the same at every point.
    folder : where the store of points is, or is to be.
    seeds : starts a point; with `refine` at most that many.
    measure : of `dynlab.maps.measures` (None: the share that learns both features). A store serves every measure.
    level : where the boundary is (None: the measure's own), for `refine`.
    refine : whether points near the boundary get more seeds, see the head of the module.
    executor : where tasks run: threads here (None), processes, a cluster. It is not shut down. Tasks are picklable.
    threads : of the executor that is made where none is given.
    ahead : tasks handed to the executor before their results are in; more for a large cluster.
    progress : called with trajectories done and to do, of this round.
    device : "cpu", "cuda" or "auto", as in `dynlab.ensemble`; a store of a device's points is its own.

    Returns a `PhaseMap`, the same to the last bit for any executor and for any history of interruptions: a killed process
    loses the tasks that were running, no more. Raises SettingError for values that are not allowed,
    `dynlab.tools.files.FolderTaken` for a store of other settings or sources, or one in use, and
    `dynlab.maps.point_store.StoreFull` where the disk is full.
    """
    measure = Measure.named("both") if measure is None else measure
    level = measure.level if level is None else level
    require(not refine or level is not None, "level", None, "given with refine for this measure")
    seeds = integer("seeds", seeds, at_least=1, at_most=MOST_SEEDS)
    names = (grid.x.name, grid.y.name)
    at = grid.device(device)
    where = at.where
    require(where == "cpu" or executor is None, "device", at.asked, "cpu with an executor")
    settings = grid.settings() | ({} if where == "cpu" else {"device": where})
    with open_store(expanded(folder) / STORE, settings, sources_key(), names, grid.heads) as store:
        with _executor(executor, threads if where == "cpu" else 1) as pool:
            work = _Work(grid, store, pool, ahead, progress, where)
            target = work.uniform(seeds) if level is None or not refine else work.refined(seeds, measure, level)
        store.sync()
        frame = _frame(grid, store, target, measure, level)
        return PhaseMap(grid, measure, level, frame, work.computed, tuple(store.damage))


class _executor:
    """The executor given, or threads of our own, ended with the block: at once, where that ends with an error."""

    def __init__(self, given: Executor | None, threads: int | None) -> None:
        self._own = given is None
        self._stop = threading.Event()
        if given is None:
            given = ThreadPoolExecutor(threads or available_threads(), initializer=flow.heed, initargs=(self._stop,))
        self._pool = given

    def __enter__(self) -> Executor:
        return self._pool

    def __exit__(self, *error: object) -> None:
        if self._own:
            if error[0] is not None:
                self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)


class _Work:
    """Computes missing seeds of points, and keeps count."""

    def __init__(
        self, grid: Grid, store: BlockStore, pool: Executor, ahead: int, progress: Callable[[int, int], None] | None,
        where: str,
    ) -> None:  # fmt: skip
        self.grid, self.store, self.pool, self.ahead, self.progress = grid, store, pool, ahead, progress
        self.where = where
        self.computed = 0

    def uniform(self, seeds: int) -> np.ndarray:
        """Seeds of each point (heads, rows, columns), computed."""
        target = np.full((len(self.grid.heads), len(self.grid.y.values), len(self.grid.x.values)), seeds)
        self.complete(target)
        return target

    def refined(self, seeds: int, measure: Measure, level: float) -> np.ndarray:
        """The same, refined near the boundary, see the head of the module."""
        target = self.uniform(min(PILOT, seeds))
        estimates = np.full((3, *target.shape), np.nan)
        changed = np.ones(target.shape, bool)
        while changed.any():
            for h, i, j in np.argwhere(changed):
                x, y = self.grid.source(h, i, j)
                estimates[:, h, i, j] = measure.estimate(*self.store.read(x, y, int(h), int(target[h, i, j])))
            value, low, high = estimates
            changed = near_level(value, low, high, level) & (target < seeds)
            target = np.where(changed, np.minimum(2 * target, seeds), target)
            self.complete(target)
        return target

    def complete(self, target: np.ndarray) -> None:
        """Compute what is missing of `target` seeds at each point, storing each result as it comes."""
        total = sum(stop - first for _, _, first, stop in self._jobs(target))
        size, done = TASK if self.where == "cpu" else DEVICE_TASK, 0
        for jobs, found in as_they_end(self.pool, self._calls(_batches(self._jobs(target), size)), self.ahead):
            with signals_deferred():
                done += self._keep(jobs, *found)
                if self.progress is not None:
                    self.progress(done, total)

    def _calls(self, tasks: Iterator[list]) -> Iterator[tuple]:
        """(jobs, function, arguments) of each task."""
        for jobs in tasks:
            plain = tuple((self.grid.point(*at), self.grid.heads[h], *span) for at, h, *span in jobs)
            yield jobs, run_jobs, (plain, self.grid.seed, self.grid.rtol, self.where)

    def _jobs(self, target: np.ndarray) -> Iterator[tuple]:
        """((x, y), head, first, stop) of all that is missing."""
        for h, i, j in self.grid.places():
            at = self.grid.x.values[j], self.grid.y.values[i]
            if self.grid.source(h, i, j) != at:
                continue
            for first, stop in self.store.missing(*at, h, int(target[h, i, j])):
                for start in range(first, stop, JOB):
                    yield at, h, start, min(start + JOB, stop)

    def _keep(self, jobs: list, sources: str, results: list) -> int:
        require(sources == sources_key(), "executor", sources[:12], "workers that run the same sources of dynlab")
        for ((x, y), h, first, _), (outcomes, columns) in zip(jobs, results, strict=True):
            self.store.append(x, y, h, first, outcomes, columns)
        count = sum(len(outcomes) for outcomes, _ in results)
        self.computed += count
        return count


def _batches(jobs: Iterator[tuple], seeds: int) -> Iterator[list]:
    """The jobs in lists of at least `seeds` seeds each, but for the last."""
    batch, size = [], 0
    for job in jobs:
        batch.append(job)
        size += job[3] - job[2]
        if size >= seeds:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _frame(grid: Grid, store: BlockStore, target: np.ndarray, measure: Measure, level: float | None) -> pd.DataFrame:
    """The table of the map from the store."""
    import pandas as pd

    estimates, counts = np.full((5, *target.shape), np.nan), np.zeros((len(OUTCOMES) + 1, *target.shape), int)
    copied = np.zeros(target.shape, bool)
    z = [deviations(grid.distinct(head)) for head in grid.heads]
    for h, i, j in grid.places():
        x, y = grid.source(h, i, j)
        found = store.read(x, y, h, int(target[h, i, j]))
        estimates[:, h, i, j] = *measure.estimate(*found), *measure.estimate(*found, z[h])[1:]
        counts[:, h, i, j] = *outcome_counts(found[0]), merged_count(found[1])
        copied[h, i, j] = (x, y) != (grid.x.values[j], grid.y.values[i])
    by_head = zip(grid.heads, estimates.swapaxes(0, 1), target, z, strict=True)
    smooth = np.stack([_smooth(grid, measure, *of) for of in by_head], 1)
    passed = np.zeros(target.shape, bool)
    if level is not None:
        passed = np.stack([crossed(sides(*ends, level)) for ends in zip(smooth[3], smooth[4], strict=True)])
    theory = np.array([predicted(grid, measure.name, head) for head in grid.heads])
    names: tuple[str, ...] = ("value", "low", "high", "pooled", "pooled_low", "pooled_high", "crossed", "predicted")
    fields = (*estimates[:3], *smooth[:3], passed, theory, copied, target, *counts)
    ys, xs, heads = np.meshgrid(grid.y.values, grid.x.values, grid.heads, indexing="ij")
    names += ("copied", "seeds", *OUTCOMES, "merged")
    by_row = {name: np.moveaxis(field, 0, -1).ravel() for name, field in zip(names, fields, strict=True)}
    return pd.DataFrame({grid.x.name: xs.ravel(), grid.y.name: ys.ravel(), "head": heads.ravel()} | by_row)


def _smooth(grid: Grid, measure: Measure, head: str, estimates: np.ndarray, seeds: np.ndarray, z: float) -> np.ndarray:
    """(value, low, high, low of z deviations, high) over neighbours, for estimates (5, rows, columns) of one head.

    Along an axis whose points are copies of one there is nothing to pool.
    """
    if not measure.is_share:
        return estimates
    axis = grid.repeats(head)
    value, known = (field if axis is None else field.take([0], axis) for field in (estimates[0], seeds))
    whole = np.concatenate([pooled(value, known), pooled(value, known, z)[1:]])
    return np.broadcast_to(whole, estimates.shape)


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    grid: Grid
    seeds: int
    measure: Measure
    level: float | None
    refine: bool
    threads: int
    dask: str | None
    device: Device
    out: Path
    plots: bool
    quiet: bool
    parquet: bool = False


def check_folder(out: Path) -> None:
    """FolderTaken where something else than a map, finished or not, stands there."""
    ours = (out / STORE).is_dir()
    if (out.exists() or out.is_symlink()) and not ours and (not out.is_dir() or any(out.iterdir())):
        raise FolderTaken(out, "holds other files; must be a new or an empty folder, or one of dynlab.phase")


def describe(settings: Settings, found: PhaseMap) -> dict[str, Any]:
    """All that decides the map, as JSON holds it."""
    grid = found.grid
    both = (("x", grid.x), ("y", grid.y))
    axes = {name: {"setting": axis.name, "values": list(axis.values), "log": axis.log} for name, axis in both}
    map_settings = {"seeds": settings.seeds, "measure": found.measure.name, "level": found.level, "refine": settings.refine}
    return axes | grid.settings() | map_settings

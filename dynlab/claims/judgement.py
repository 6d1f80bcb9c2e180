"""The theorem's run: ensembles computed or taken from the store, claims judged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.claims import CLAIMS
from dynlab.claims.claim import Finding, Scale, ScanPoint
from dynlab.ensembles.ensemble_store import PHYSICS, Store
from dynlab.machine.device import CPU, Device
from dynlab.machine.workers import digest_of_sources, require_same_sources
from dynlab.tools.files import FolderTaken
from dynlab.tools.sharing import as_they_end

if TYPE_CHECKING:
    from dynlab.ensembles.ensemble import Ensemble

POINTS = "points"
DECADES = (*range(2, 11), 12)


def scale_of(settings: Settings) -> Scale:
    """How large the run is."""
    if settings.quick:
        return Scale(
            dims=tuple(10**n for n in (3, 5, 7, 9)),
            seeds=200,
            rare_seeds=600,
            rates=(1e-3, 1e-2, 1e-1, 1.0),
            slow_seeds=60,
            seed=settings.seed,
        )
    return Scale(
        dims=tuple(10**n for n in DECADES),
        seeds=2000,
        rare_seeds=10_000,
        rates=tuple(10.0 ** (n / 2) for n in range(-8, 1)),
        slow_seeds=2000,
        seed=settings.seed,
    )


def open_folder(out: Path) -> Store:
    """The store inside the results' folder; FolderTaken where something else stands there or another process has it open."""
    ours = (out / POINTS).is_dir()
    if (out.exists() or out.is_symlink()) and not ours and (not out.is_dir() or any(out.iterdir())):
        raise FolderTaken(out, "holds other files; must be a new or an empty folder, or one of dynlab.theorem")
    store = Store(out / POINTS)
    for leftover in out.glob(".*.partial"):  # of a process that was killed
        leftover.unlink()
    return store


def judge_all(settings: Settings, store: Store, pool: Executor | None = None) -> dict[int, Finding]:
    """The findings of the claims asked for; every ensemble is computed once, here or by the workers of `pool`, and kept in
    the store."""
    from dynlab.tools.progress import progress

    scale = scale_of(settings)
    asked = list(dict.fromkeys(point for n in settings.claims for point in CLAIMS[n].points(scale)))
    missing = [point for point in asked if point.settings() not in store]
    for line in store.damage:
        print(line, file=sys.stderr)
    done = 0
    with progress(sum(point.seeds for point in missing), "trajectories", settings.quiet) as show:
        if pool is None:
            for point in missing:
                store.put(point.settings(), compute_point(point, settings.threads, settings.device, _from(done, show)))
                done += point.seeds
        else:
            key = digest_of_sources(*PHYSICS)
            for point, run in as_they_end(pool, ((point, claim_point_job, (point, key)) for point in missing)):
                store.put(point.settings(), run)
                done += point.seeds
                show(done)
    findings = {}
    for n in settings.claims:
        # Loaded for each claim anew: all of them together would not be small.
        runs = {point: store.get(point.settings()) for point in dict.fromkeys(CLAIMS[n].points(scale))}
        findings[n] = CLAIMS[n].judge(scale, runs)
    return findings


def compute_point(
    point: ScanPoint, threads: int, device: Device, show: Callable[[int], object] | None = None
) -> Ensemble:  # fmt: skip
    """Run one ensemble."""
    from dynlab.ensembles.ensemble import ensemble

    return ensemble(
        point.model,
        dim=point.dim,
        seeds=point.seeds,
        seed=point.seed,
        head=point.head,
        eta_head=point.eta_head,
        until=point.until,
        rtol=point.rtol,
        threads=threads,
        device=device,
        progress=show,
    )


def claim_point_job(point: ScanPoint, sources: str) -> Ensemble:
    """What a worker does: `compute_point`, on one thread. sources: digest of those that decide it, from the caller."""
    require_same_sources(sources, *PHYSICS)
    return compute_point(point, 1, CPU)


def _from(before: int, show: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: show(before + done)


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    claims: tuple[int, ...]
    quick: bool
    seed: int
    threads: int
    device: Device
    dask: str | None
    out: Path
    plots: bool
    quiet: bool

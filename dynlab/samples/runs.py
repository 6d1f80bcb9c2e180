"""Minibatch runs beside the exact descent, as the commands ask for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynlab.machine.device import Device
from dynlab.machine.workers import digest_of_sources, require_same_sources
from dynlab.settings.model import Model
from dynlab.tools.files import expanded
from dynlab.tools.sharing import as_they_end

if TYPE_CHECKING:
    from dynlab.population.order_parameters import OrderParameters
    from dynlab.population.trajectory import Trajectory
    from dynlab.samples.overlay import Overlay
    from dynlab.settings.training import Training

FOLLOWS = "dynlab.samples.train"  # the module that makes the numbers of a run


@dataclass(frozen=True)
class Settings:
    """The settings, checked."""

    models: tuple[Model, ...]
    heads: tuple[str, ...]
    batches: tuple[int, ...]
    numbers: dict  # dim, seeds, seed, eta_head, lr, head_rate, steps; readout_rate where there are hidden units
    options: dict  # of `dynlab.samples.train.follow`, but for the device
    checkpoints: str | None
    resume: str | None
    out: str
    plots: bool
    quiet: bool
    device: Device
    parquet: bool = False
    dask: str | None = None


def compute_minibatch_runs(settings: Settings, pool: Executor | None = None) -> dict[tuple[str, str], Overlay]:
    """For every activation and head the runs of all batch sizes and seeds, here or by the workers of `pool`, and the exact
    descent."""
    from dynlab.samples.overlay import overlay
    from dynlab.tools.progress import progress

    found = {}
    cases = list(_cases(settings))
    each = len(settings.batches) * settings.numbers["seeds"] * (settings.numbers["steps"] + 1)
    with progress(len(cases) * each, "steps", settings.quiet) as show:
        if pool is not None:
            return _by_workers(settings, cases, pool, show)
        for place, case in enumerate(cases):
            told = _told(settings, case.model, case.training.head, place * each, show)
            found[case.name] = overlay(
                case.model, case.training, case.start, settings.batches, settings.numbers["seeds"], told=told,
                device=settings.device, **_same(settings),
            )  # fmt: skip
    return found


@dataclass(frozen=True)
class Case:
    """An activation and a head, and the start of their runs."""

    model: Model
    training: Training
    start: OrderParameters

    @property
    def name(self) -> tuple[str, str]:
        """What the results call it."""
        return self.model.activation, self.training.head


def _cases(settings: Settings) -> Iterator[Case]:
    from dynlab.population.starts import draw_start
    from dynlab.settings.training import Training

    numbers = settings.numbers
    for model in settings.models:
        for head in settings.heads:
            start = draw_start(model, numbers["dim"], numbers["seed"], 0)
            more = {"readout_rate": numbers["readout_rate"]} if model.layered else {}
            yield Case(model, Training(head=head, eta_head=numbers["eta_head"], **more), start)


def _same(settings: Settings) -> dict[str, Any]:
    """Options of `dynlab.samples.train.follow` that all runs have."""
    return {"eta": settings.numbers["lr"], "steps": settings.numbers["steps"], **settings.options}


def _by_workers(
    settings: Settings, cases: list[Case], pool: Executor, show: Callable[[int], None]
) -> dict[tuple[str, str], Overlay]:
    """The same with a job for each run; what a run tells is told when it is there."""
    from dynlab.samples.overlay import Overlay, exact_descent_of

    same, seeds, sources = _same(settings), range(settings.numbers["seeds"]), digest_of_sources(FOLLOWS)
    calls = [
        ((place, batch, seed), run_job, (case, same | {"batch": batch, "seed": seed}, _watched(settings, seed), sources))
        for place, case in enumerate(cases)
        for batch in settings.batches
        for seed in seeds
    ]
    runs: dict[tuple[int, int, int], Trajectory] = {}
    for (place, batch, seed), (run, lines) in as_they_end(pool, calls):
        runs[place, batch, seed] = run
        for line in lines:
            _say(f"{_named(cases[place].model, cases[place].training.head, batch, seed)}: {line}", len(calls) == 1)
        show(len(runs) * (settings.numbers["steps"] + 1))
    found = {}
    for place, case in enumerate(cases):
        of_batches = {batch: [runs[place, batch, seed] for seed in seeds] for batch in settings.batches}
        exact = exact_descent_of(case.model, case.training, case.start, same)
        found[case.name] = Overlay(exact, of_batches)
    return found


def run_job(case: Case, options: dict[str, Any], watched: bool, sources: str) -> tuple[Trajectory, list[str]]:
    """What a worker does: a run, on one thread, and the lines that it tells where it is watched. sources: digest of those
    that decide it, from the caller."""
    from dynlab.samples.train import follow

    require_same_sources(sources, FOLLOWS)
    lines: list[str] = []
    watcher = lines.append if watched else None
    return follow(case.model, case.training, case.start, watcher=watcher, **options | {"threads": 1}), lines


def _told(
    settings: Settings, model: Model, head: str, before: int, show: Callable[[int], None]
) -> Callable[[int, int], dict]:
    """Further options of one run: where its checkpoints are, whom it tells how far it is.

    A run that is the only one tells all of it; of many the first seed of each kind tells when it turns to collapse.
    """
    alone = _runs(settings) == 1

    def told(batch: int, seed: int) -> dict:
        name = _named(model, head, batch, seed)
        done = (settings.batches.index(batch) * settings.numbers["seeds"] + seed) * (settings.numbers["steps"] + 1)
        more: dict[str, Any] = {"progress": lambda step: show(before + done + step)}
        if settings.checkpoints is not None:
            more["checkpoints"] = expanded(settings.checkpoints) / f"{model.activation}-{head}-batch{batch}-seed{seed}"
            more["resume"] = settings.resume
        if _watched(settings, seed):
            more["watcher"] = lambda line: _say(f"{name}: {line}", alone)
        return more

    return told


def _watched(settings: Settings, seed: int) -> bool:
    """Whether a run tells how it is, see `_told`."""
    return not settings.quiet and (_runs(settings) == 1 or seed == 0)


def _named(model: Model, head: str, batch: int, seed: int) -> str:
    return f"{model.activation}, head {head}, batch {batch}, seed {seed}"


def _say(line: str, every: bool) -> None:
    """Print a line of a run: every line, or only that it is on the way to collapse."""
    from dynlab.samples.progress_lines import WARNING

    if every or WARNING in line:
        print(line, file=sys.stderr, flush=True)


def _runs(settings: Settings) -> int:
    return len(settings.models) * len(settings.heads) * len(settings.batches) * settings.numbers["seeds"]

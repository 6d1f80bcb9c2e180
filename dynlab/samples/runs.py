"""Minibatch runs beside the exact descent, as the commands ask for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynlab.machine.device import Device
from dynlab.settings.model import Model
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from dynlab.samples.overlay import Overlay


@dataclass(frozen=True)
class Settings:
    """The settings, checked."""

    models: tuple[Model, ...]
    heads: tuple[str, ...]
    batches: tuple[int, ...]
    numbers: dict  # dim, seeds, seed, eta_head, lr, head_rate, steps
    options: dict  # of `dynlab.samples.train.follow`, but for the device
    checkpoints: str | None
    resume: str | None
    out: str
    plots: bool
    quiet: bool
    device: Device
    parquet: bool = False


def compute_minibatch_runs(settings: Settings) -> dict[tuple[str, str], Overlay]:
    """For every activation and head the runs of all batch sizes and seeds, and the exact descent."""
    from dynlab.population.starts import draw_start
    from dynlab.samples.overlay import overlay
    from dynlab.settings.training import Training
    from dynlab.tools.progress import progress

    found, numbers = {}, settings.numbers
    jobs = [(model, head) for model in settings.models for head in settings.heads]
    each = len(settings.batches) * numbers["seeds"] * (numbers["steps"] + 1)
    with progress(len(jobs) * each, "steps", settings.quiet) as show:
        for place, (model, head) in enumerate(jobs):
            start = draw_start(model, numbers["dim"], numbers["seed"], 0)
            training = Training(head=head, eta_head=numbers["eta_head"])
            told = _told(settings, model, head, place * each, show)
            found[model.activation, head] = overlay(
                model, training, start, settings.batches, numbers["seeds"], eta=numbers["lr"], steps=numbers["steps"],
                told=told, device=settings.device, **settings.options,
            )  # fmt: skip
    return found


def _told(
    settings: Settings, model: Model, head: str, before: int, show: Callable[[int], None]
) -> Callable[[int, int], dict]:
    """Further options of one run: where its checkpoints are, whom it tells how far it is.

    A run that is the only one tells all of it; of many the first seed of each kind tells when it turns to collapse.
    """
    alone = _runs(settings) == 1

    def told(batch: int, seed: int) -> dict:
        name = f"{model.activation}, head {head}, batch {batch}, seed {seed}"
        done = (settings.batches.index(batch) * settings.numbers["seeds"] + seed) * (settings.numbers["steps"] + 1)
        more: dict[str, Any] = {"progress": lambda step: show(before + done + step)}
        if settings.checkpoints is not None:
            more["checkpoints"] = expanded(settings.checkpoints) / f"{model.activation}-{head}-batch{batch}-seed{seed}"
            more["resume"] = settings.resume
        if not settings.quiet and (alone or seed == 0):
            more["watcher"] = lambda line: _say(f"{name}: {line}", alone)
        return more

    return told


def _say(line: str, every: bool) -> None:
    """Print a line of a run: every line, or only that it is on the way to collapse."""
    from dynlab.samples.progress_lines import WARNING

    if every or WARNING in line:
        print(line, file=sys.stderr, flush=True)


def _runs(settings: Settings) -> int:
    return len(settings.models) * len(settings.heads) * len(settings.batches) * settings.numbers["seeds"]

"""What `dynlab.run --method sgd` and `dynlab.compare` share: options, runs, files, the words on the screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab._checks import choice, integer, real, require, threads
from dynlab._cli import Call, Parser, number, run_command
from dynlab._device import of_samples
from dynlab._options import MODEL_OPTIONS, add_device, add_model, announce
from dynlab.files import expanded, run_folder, write_csv, write_json
from dynlab.model import ACTIVATIONS, Model

if TYPE_CHECKING:
    import pandas as pd

    from dynlab.samples.overlay import Overlay


HEADS = ("off-diagonal", "none")
MOST_RUNS = 10**6  # from one start: their distances fit in the memory of a small machine


@dataclass(frozen=True)
class Settings:
    """The settings, checked."""

    models: tuple[Model, ...]
    heads: tuple[str, ...]
    batches: tuple[int, ...]
    numbers: dict  # dim, seeds, seed, eta_head, lr, head_rate, steps
    options: dict  # of `dynlab.samples.train.follow`
    checkpoints: str | None
    resume: str | None
    out: str
    plots: bool
    quiet: bool


def command(parser: Parser, words: Sequence[str] | None) -> int:
    """Parse, compute, write, report; the exit status: 1 where a run was stopped."""
    call = parser.call(words)
    arguments = call.arguments
    stopped: list[str] = []

    def work() -> None:
        settings = check(arguments)
        _, device = of_samples(arguments.device, settings.models)
        if arguments.device != "cpu" and not arguments.quiet:
            announce(device)
        with run_folder(settings.out, numbered=arguments.out is None) as folder:
            found = compute(settings)
            write(folder.partial, settings, found, call)
        stopped.extend(report(settings, found, folder.place))

    status = run_command(call, work)
    for line in stopped:
        print(f"{call.program}: {line}", file=sys.stderr)
    return status or (1 if stopped else 0)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab._rng import WORD
    from dynlab.samples.gradient import PRECISIONS, check_batch, check_memory
    from dynlab.samples.optimisers import OPTIMISERS

    given = {name: number(text) for name, text in vars(arguments).items()}
    shapes = {name: given[name] for name in MODEL_OPTIONS}
    names = [choice("activation", name, ACTIVATIONS) for name in dict.fromkeys(arguments.activation.split(","))]
    models = tuple(Model(activation=name, **shapes) for name in names)
    heads = tuple(choice("head", name, HEADS) for name in dict.fromkeys(arguments.head.split(",")))
    data = given["data"] if given["data"] is None else integer("data", given["data"], at_least=2)
    batches = tuple(sorted({check_batch(number(word), data) for word in arguments.batch.split(",")}))
    least = models[0].features + models[0].neurons
    numbers = {
        "dim": integer("dim", given["dim"], at_least=least, why="features + neurons"),
        "seeds": integer("seeds", given["seeds"], at_least=1, at_most=MOST_RUNS),
        "seed": integer("seed", given["seed"], at_least=0, at_most=2**63 - 1),
        "eta_head": real("eta_head", given["eta_head"], at_least=0.0),
        "lr": real("lr", given["lr"], above=0.0),
        "steps": integer("steps", given["steps"], at_least=1, at_most=WORD - 1),
    }
    for batch in batches:
        check_memory(models[0], integer("dim", numbers["dim"]), batch)
    numbers["head_rate"] = numbers["eta_head"] * numbers["lr"]
    options = {
        "dim": numbers["dim"], "data": data, "precision": choice("precision", arguments.precision, PRECISIONS),
        "optimiser": choice("optimiser", arguments.optimiser, OPTIMISERS), "threads": threads(given["threads"]),
        "momentum": real("momentum", given["momentum"], at_least=0.0, at_most=1.0),
        "every": integer("every", given["every"], at_least=1), "device": arguments.device,
    }  # fmt: skip
    for name in ("out", "checkpoints"):
        require(getattr(arguments, name) != "", name, "", "the name of a folder")
    resume, alone = arguments.resume, len(models) * len(heads) * len(batches) * numbers["seeds"] == 1
    require(resume is None or arguments.checkpoints is not None, "resume", resume, "given with --checkpoints")
    require(resume is None or alone, "resume", resume, "left out where there is more than one run")
    place = f"runs/{'+'.join(names)}-sgd-batch{'+'.join(map(str, batches))}-dim{numbers['dim']}"
    return Settings(
        models, heads, batches, numbers, options, arguments.checkpoints, resume, arguments.out or place,
        not arguments.no_plots, arguments.quiet,
    )  # fmt: skip


def compute(settings: Settings) -> dict[tuple[str, str], Overlay]:
    """For every activation and head the runs of all batch sizes and seeds, and the exact descent."""
    from dynlab._progress import progress
    from dynlab.samples.overlay import overlay
    from dynlab.sweep import draw_start
    from dynlab.training import Training

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
                told=told, **settings.options,
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
    from dynlab.samples.watch import TURNING

    if every or TURNING in line:
        print(line, file=sys.stderr, flush=True)


def _runs(settings: Settings) -> int:
    return len(settings.models) * len(settings.heads) * len(settings.batches) * settings.numbers["seeds"]


def summary(found: dict[tuple[str, str], Overlay]) -> pd.DataFrame:
    """One row an activation, head and batch size: runs, those that were stopped, distance to the theory."""
    import numpy as np
    import pandas as pd

    rows = []
    for (activation, head), some in found.items():
        for batch, far in some.distances().items():
            good = far[np.isfinite(far)]
            rms = float(np.sqrt((good**2).mean())) if len(good) else float("nan")
            stopped = sum(not run.success for run in some.runs[batch])
            front = {"activation": activation, "head": head, "batch": batch}
            rows.append(front | {"runs": len(far), "stopped": stopped, "distance": rms})
    return pd.DataFrame(rows)


def stacked(found: dict[tuple[str, str], Overlay]) -> pd.DataFrame:
    """All trajectories below each other: activation, head, batch (0 for the exact descent) and seed in front."""
    import pandas as pd

    frames = []
    for (activation, head), some in found.items():
        runs = [(batch, seed, run) for batch, runs in some.runs.items() for seed, run in enumerate(runs)]
        exact = [] if some.exact is None else [(0, 0, some.exact)]
        for batch, seed, run in [*runs, *exact]:
            front = {"activation": activation, "head": head, "batch": batch, "seed": seed}
            frames.append(run.frame.assign(**front)[[*front, *run.frame.columns]])
    return pd.concat(frames, ignore_index=True)


def write(folder: Path, settings: Settings, found: dict[tuple[str, str], Overlay], call: Call) -> None:
    """trajectory.csv, summary.csv, the figure unless not wanted, and run.json last."""
    from dataclasses import asdict

    from dynlab.report import provenance
    from dynlab.samples.overlay import exponent

    write_csv(folder / "trajectory.csv", stacked(found))
    write_csv(folder / "summary.csv", summary(found))
    if settings.plots:
        from dynlab import plotting
        from dynlab.samples.picture import overlay_figure

        figure = overlay_figure({f"{activation}, head {head}": some for (activation, head), some in found.items()})
        plotting.save(figure, folder / "overlay", "Training on minibatches over the exact descent")
    slopes = {f"{activation}, {head}": exponent(some.distances()) for (activation, head), some in found.items()}
    record = {
        **call.record(),
        "models": [asdict(model) for model in settings.models],
        "settings": settings.numbers | settings.options | {"batch": settings.batches},
        "exponents": {name: slope if slope[0] == slope[0] else None for name, slope in slopes.items()},
        "stopped": stops(found),
    } | provenance(call.started)
    write_json(folder / "run.json", record)


def stops(found: dict[tuple[str, str], Overlay]) -> list[str]:
    """A line for every run that was stopped."""
    return [
        f"{activation}, head {head}, batch {batch}, seed {seed}: stopped at {run.settings['stopped']}"
        for (activation, head), some in found.items()
        for batch, runs in some.runs.items()
        for seed, run in enumerate(runs)
        if not run.success
    ]


def report(settings: Settings, found: dict[tuple[str, str], Overlay], place: Path) -> list[str]:
    """Print the distances, and the exponents where there are several batch sizes; return the lines about stopped runs."""
    from dynlab.samples.overlay import exponent

    lines = stops(found)
    if settings.quiet:
        return lines
    print("distance to the exact descent from the same start, root mean square over time and seeds")
    print(summary(found).to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    for (activation, head), some in found.items():
        slope, error = exponent(some.distances())
        if slope == slope:
            power = f"batch^({slope:.3f} +- {error:.3f})"
            print(f"{activation}, head {head}: the distance falls as {power}; small noise gives -1/2")
    print(f"files in {place}: {', '.join(sorted(path.name for path in place.iterdir()))}", flush=True)
    return lines


def parser(program: str, description: str, batch: str, defaults: dict[str, str]) -> Parser:
    """The options of both commands. Values stay words here."""
    name = program.replace(".", " ")
    example = f"{name} --batch 256,1024" if program == "dynlab.compare" else f"{name} --method sgd --batch 1024 --steps 5000"
    p = Parser(prog=program, description=description, epilog=f"example: {example}")

    def option(name: str, what: str, default: str | None = None, metavar: str = "N") -> None:
        p.option(name, what, defaults.get(name, default), metavar)

    add_model(p, defaults)
    option("--activation", f"of {', '.join(ACTIVATIONS)}, several with commas", "relu,cubic", "NAMES")
    option("--head", f"of {', '.join(HEADS)}, several with commas", ",".join(HEADS), "NAMES")
    option("--dim", "dimension of a patch", "16")
    option("--seed", "seed of the start", "0")
    option("--seeds", "runs from it, each with samples of its own", "2")
    option("--eta-head", "learning rate of the head in units of --lr", "0.01", "RATE")
    option("--batch", batch, "4096", "N")
    option("--lr", "learning rate of the weights", "0.05", "RATE")
    option("--steps", "steps", "20000")
    option("--optimiser", "of sgd, momentum, adam", "sgd", "NAME")
    option("--momentum", "of momentum", "0.9", "BETA")
    option("--data", "samples of a fixed set, visited in epochs (default: fresh samples at every step)")
    option("--precision", "of float64, float32", "float64", "NAME")
    option("--threads", "threads to compute with (default: all cores; the results are the same)")
    add_device(p)
    option("--checkpoints", "folder to keep checkpoints in, and to go on from", metavar="DIR")
    option("--every", "steps from one checkpoint to the next", "1000")
    option("--resume", "checkpoint to go on from (default: the last)", metavar="NAME")
    option("--out", "run folder to create (default: a new one under runs/)", metavar="DIR")
    if program == "dynlab.run":
        p.add_argument("--method", help=argparse.SUPPRESS)  # it is what asks for these options
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors and runs that were stopped")
    return p

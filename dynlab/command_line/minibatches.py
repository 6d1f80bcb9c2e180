"""What `dynlab.run --method sgd` and `dynlab.compare` share: options, runs, files, the words on the screen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynlab.command_line.executors import add_dask, check_dask, executor
from dynlab.command_line.options import (
    add_correlation,
    add_device,
    add_hidden,
    add_model,
    add_output,
    add_parquet,
    announce,
    models_of,
    start_of,
)
from dynlab.command_line.parser import Parser, number_of, run_and_tell
from dynlab.settings.model import ACTIVATION_NAMES
from dynlab.settings.training import ETA_HEAD, PAPER_HEADS, Training
from dynlab.tools.checks import choice, integer, real, require, threads
from dynlab.tools.files import run_folder
from dynlab.tools.parquet import check_parquet

if TYPE_CHECKING:
    from dynlab.samples.runs import Settings

MOST_RUNS = 10**6  # from one start: their distances fit in the memory of a small machine


def command(parser: Parser, words: Sequence[str] | None) -> int:
    """Parse, compute, write, report; the exit status: 1 where a run was stopped."""
    call = parser.call(words)
    arguments = call.arguments

    def work() -> list[str]:
        from dynlab.reports.samples import print_report, write_files
        from dynlab.samples.runs import compute_minibatch_runs

        settings = check(arguments)
        announce(settings.device, settings.quiet)
        workers = executor(settings.dask, kept=False)
        with workers as pool, run_folder(settings.out, numbered=arguments.out is None) as folder:
            found = compute_minibatch_runs(settings, pool)
            write_files(folder.partial, settings, found, call)
        return print_report(settings, found, folder.place)

    return run_and_tell(call, work)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab.machine.rng import WORD
    from dynlab.samples.gradient import PRECISIONS, check_batch, check_memory, check_sampled
    from dynlab.samples.minibatch import of_samples
    from dynlab.samples.runs import Settings
    from dynlab.settings.optimisation import OPTIMISERS

    given = {name: number_of(text) for name, text in vars(arguments).items()}
    models = models_of(given, arguments.activation.split(","))
    heads = tuple(choice("head", name, PAPER_HEADS) for name in dict.fromkeys(arguments.head.split(",")))
    data = given["data"] if given["data"] is None else integer("data", given["data"], at_least=2)
    batches = tuple(sorted({check_batch(number_of(word), data) for word in arguments.batch.split(",")}))
    numbers = start_of(given, models[0], MOST_RUNS) | {
        "eta_head": real("eta_head", given["eta_head"], at_least=0.0),
        "lr": real("lr", given["lr"], above=0.0),
        "steps": integer("steps", given["steps"], at_least=1, at_most=WORD - 1),
    }
    for batch in batches:
        check_memory(models[0], integer("dim", numbers["dim"]), batch)
    numbers["head_rate"] = numbers["eta_head"] * numbers["lr"]
    training = Training(eta_head=numbers["eta_head"], readout_rate=given["readout_rate"])
    for model in models:
        check_sampled(model, training)
    if models[0].layered:
        numbers["readout_rate"] = training.readout_rate
    options = {
        "dim": numbers["dim"], "data": data, "precision": choice("precision", arguments.precision, PRECISIONS),
        "optimiser": choice("optimiser", arguments.optimiser, OPTIMISERS), "threads": threads(given["threads"]),
        "momentum": real("momentum", given["momentum"], at_least=0.0, at_most=1.0),
        "every": integer("every", given["every"], at_least=1),
    }  # fmt: skip
    check_parquet(arguments.parquet)
    for name in ("out", "checkpoints"):
        require(getattr(arguments, name) != "", name, "", "the name of a folder")
    resume, alone = arguments.resume, len(models) * len(heads) * len(batches) * numbers["seeds"] == 1
    require(resume is None or arguments.checkpoints is not None, "resume", resume, "given with --checkpoints")
    require(resume is None or alone, "resume", resume, "left out where there is more than one run")
    dask, device = getattr(arguments, "dask", None), of_samples(arguments.device, models)
    check_dask(dask, device)
    allowed = "left out with --dask: what a worker had not finished begins anew"
    require(dask is None or arguments.checkpoints is None, "checkpoints", arguments.checkpoints, allowed)
    place = (
        f"runs/{'+'.join(model.activation for model in models)}-sgd-batch{'+'.join(map(str, batches))}-dim{numbers['dim']}"
    )
    return Settings(
        models, heads, batches, numbers, options, arguments.checkpoints, resume, arguments.out or place,
        not arguments.no_plots, arguments.quiet, device, arguments.parquet, dask,
    )  # fmt: skip


def parser(program: str, description: str, batch: str, defaults: dict[str, str]) -> Parser:
    """The options of both commands. Values stay words here."""
    name = program.replace(".", " ")
    example = f"{name} --batch 256,1024" if program == "dynlab.compare" else f"{name} --method sgd --batch 1024 --steps 5000"
    p = Parser(prog=program, description=description, epilog=f"example: {example}")

    def option(name: str, what: str, default: str | None = None, metavar: str = "N") -> None:
        p.option(name, what, defaults.get(name, default), metavar)

    add_model(p, defaults)
    add_correlation(p)
    add_hidden(p, "any activation")
    option("--activation", f"of {', '.join(ACTIVATION_NAMES)}, several with commas", "relu,cubic", "NAMES")
    option("--head", f"of {', '.join(PAPER_HEADS)}, several with commas", ",".join(PAPER_HEADS), "NAMES")
    option("--dim", "dimension of a patch", "16")
    option("--seed", "seed of the start", "0")
    option("--seeds", "runs from it, each with samples of its own", "2")
    option("--eta-head", "learning rate of the head in units of --lr", f"{ETA_HEAD:g}", "RATE")
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
    add_output(p)
    add_parquet(p)
    if program == "dynlab.run":
        p.add_argument("--method", help=argparse.SUPPRESS)  # it is what asks for these options
    else:
        add_dask(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but errors and runs that were stopped")
    return p

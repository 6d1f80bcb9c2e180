"""The main run: an ensemble and one representative trajectory for each activation, with and without the head.

    python -m dynlab.run --strong 1.0 --weak 0.3

prints a table, says in words what happened, and writes a run folder with tables and a figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise

from dynlab.command_line.options import (
    add_correlation,
    add_device,
    add_hidden,
    add_model,
    add_output,
    add_parquet,
    add_steps,
    add_switches,
    announce,
    models_of,
    start_of,
    steps_of,
    training_of,
)
from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.ensembles.main_run import Settings, compute_main_run, device_for
from dynlab.settings.model import ACTIVATION_NAMES
from dynlab.settings.training import LATEST, METHODS
from dynlab.tools.checks import choice, real, require, threads
from dynlab.tools.files import run_folder
from dynlab.tools.parquet import check_parquet
from dynlab.tools.provenance import Call

PROGRAM = "dynlab.run"
MOST_SEEDS = 10**7  # the table of so many still fits in the memory of a small machine


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if _sampled(words):
        from dynlab.command_line import minibatches

        return minibatches.command(sampled_parser(), words)
    call = parser().call(words)
    return run_command(call, lambda: run(check(call.arguments), call))


def _sampled(words: Sequence[str]) -> bool:
    """Whether training on minibatches is asked for, which has options of its own."""
    if any(word.partition("=")[0] == "--method" for word in words):
        return "--method=sgd" in words or ("--method", "sgd") in pairwise(words)
    return parser().elsewhere(words).get("method", ("", ""))[0] == "sgd"


def sampled_parser() -> Parser:
    """The options of training on minibatches."""
    from dynlab.command_line import minibatches

    what = "Train on minibatches of samples, with and without a prediction head, and draw the exact descent over it."
    return minibatches.parser(PROGRAM, what, "samples a step", {})


def run(settings: Settings, call: Call) -> None:
    """Claim the run folder, compute, write it, then report."""
    from dynlab.reports import main_run

    announce(settings.device, settings.quiet)
    with run_folder(settings.place, numbered=settings.out is None) as folder:
        results = compute_main_run(settings)
        main_run.write_files(folder.partial, settings, results, call)
    main_run.print_report(settings, results, folder.place)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number_of(text) for name, text in vars(arguments).items()}
    asked = ["relu", "cubic"] if arguments.activation is None else arguments.activation
    models = models_of(given, (name for word in asked for name in word.split(",")))
    training = training_of(given)
    method = choice("method", given["method"], (*METHODS, "sgd"))
    for model in models:
        training.check_model(model, stepped=method == "descent")
    until = given["until"]
    require(arguments.out != "", "out", "", "the name of a folder")
    check_parquet(arguments.parquet)
    eta, optimisation = steps_of(given, method)
    return Settings(
        models=models,
        **start_of(given, models[0], MOST_SEEDS),
        training=training,
        until=None if until is None else real("until", until, above=0.0, at_most=LATEST),
        method=method,
        eta=eta,
        optimisation=optimisation,
        rtol=real("rtol", given["rtol"], at_least=1e-12, at_most=1e-2),
        threads=threads(given["threads"]),
        device=device_for(arguments.device, models, training, method),
        out=arguments.out,
        plots=not arguments.no_plots,
        quiet=arguments.quiet,
        parquet=arguments.parquet,
    )


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Train ensembles with and without a prediction head; print what they learnt, and write "
        "tables and a figure of the phases.",
        epilog="example: dynlab run --strong 1.0 --weak 0.3 --activation cubic --seeds 4000",
    )

    names = f"of {', '.join(ACTIVATION_NAMES)}; several with commas or repeated (default relu,cubic)"
    quiet = "print nothing but errors and failed trajectories"
    add_model(p)
    add_correlation(p)
    p.option("--activation", names, metavar="NAME", action="append")
    add_hidden(p)
    p.option("--dim", "dimension of a patch", "1000")
    p.option("--seeds", "number of random starts", "2000")
    p.option("--seed", "seed of the random starts", "0")
    add_switches(p)
    p.option("--until", "time of training, steps x learning rate (default: until nothing moves)", metavar="TIME")
    sampled = "or sgd, on minibatches (its options: --method sgd --help)"
    p.option("--method", f"of {', '.join(METHODS)}, {sampled}", "flow", "NAME")
    add_steps(p)
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    add_device(p)
    add_output(p)
    add_parquet(p)
    p.add_argument("--quiet", action="store_true", help=quiet)
    return p


if __name__ == "__main__":
    sys.exit(main())

"""The main run: an ensemble and one representative trajectory for each activation, with and without the head.

    python -m dynlab.run --strong 1.0 --weak 0.3

prints a table, says in words what happened, and writes a run folder with tables and a figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab._checks import choice, integer, real, require, threads
from dynlab._cli import Call, Parser, number, run_command
from dynlab._device import of_flow
from dynlab._options import MODEL_OPTIONS, add_device, add_model, add_switches, announce, training_of
from dynlab.files import expanded, run_folder
from dynlab.model import ACTIVATIONS, Model
from dynlab.training import Training

if TYPE_CHECKING:
    from dynlab.sweep import Ensemble
    from dynlab.trajectory import Trajectory

PROGRAM = "dynlab.run"
METHODS = ("flow", "descent")
DESCENT_ETA = 0.05  # learning rate of the exact descent
MOST_SEEDS = 10**7  # the table of so many still fits in the memory of a small machine


@dataclass(frozen=True)
class Settings:
    """The settings of a main run, checked."""

    models: tuple[Model, ...]  # one an activation, alike otherwise
    dim: int
    seeds: int
    seed: int
    training: Training
    until: float | None
    method: str
    rtol: float
    threads: int
    device: str
    out: str | None
    plots: bool
    quiet: bool

    @property
    def trainings(self) -> dict[str, Training]:
        """The trainings compared, by head: the one asked for, and the same without head."""
        return {head: dataclasses.replace(self.training, head=head) for head in dict.fromkeys((self.training.head, "none"))}

    @property
    def place(self) -> Path:
        """Where the run folder goes; without --out a name that tells the main settings."""
        if self.out is not None:
            return expanded(self.out)
        model = self.models[0]
        activations = "+".join(model.activation for model in self.models)
        return Path("runs") / f"{activations}-strong{model.strong:g}-weak{model.weak:g}-dim{self.dim:g}"


@dataclass(frozen=True)
class Result:
    """What was computed for one activation: by head, the ensemble and the trajectory of one common start."""

    model: Model
    ensembles: dict[str, Ensemble]
    trajectories: dict[str, Trajectory]
    seed: int  # of that start


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if _sampled(words):
        from dynlab.samples import command

        return command.command(sampled_parser(), words)
    call = parser().call(words)
    return run_command(call, lambda: run(check(call.arguments), call))


def _sampled(words: Sequence[str]) -> bool:
    """Whether training on minibatches is asked for, which has options of its own."""
    if any(word.partition("=")[0] == "--method" for word in words):
        return "--method=sgd" in words or ("--method", "sgd") in pairwise(words)
    return parser().elsewhere(words).get("method", ("", ""))[0] == "sgd"


def sampled_parser() -> Parser:
    """The options of training on minibatches."""
    from dynlab.samples import command

    what = "Train on minibatches of samples, with and without a prediction head, and draw the exact descent over it."
    return command.parser(PROGRAM, what, "samples a step", {})


def run(settings: Settings, call: Call) -> None:
    """Claim the run folder, compute, write it, then report."""
    from dynlab import report

    if settings.device != "cpu" and not settings.quiet:
        announce(where(settings)[1])
    with run_folder(settings.place, numbered=settings.out is None) as folder:
        results = compute(settings)
        report.write_files(folder.partial, settings, results, call)
    report.print_report(settings, results, folder.place)


def where(settings: Settings) -> tuple[str, str]:
    """The device for the ensembles, "cpu" or "cuda", and the choice in words."""
    cases = [(model, training) for model in settings.models for training in settings.trainings.values()]
    return of_flow(settings.device, cases, settings.method)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number(text) for name, text in vars(arguments).items()}
    options = {name: given[name] for name in MODEL_OPTIONS}
    models = tuple(Model(activation=name, **options) for name in _activations(arguments.activation))
    training = training_of(given)
    for model in models:
        training.check_model(model)
    least_dim = models[0].features + models[0].neurons
    until = given["until"]
    require(arguments.out != "", "out", "", "the name of a folder")
    settings = Settings(
        models=models,
        dim=integer("dim", given["dim"], at_least=least_dim, why="features + neurons"),
        seeds=integer("seeds", given["seeds"], at_least=1, at_most=MOST_SEEDS),
        seed=integer("seed", given["seed"], at_least=0, at_most=2**63 - 1),
        training=training,
        until=None if until is None else real("until", until, above=0.0),
        method=choice("method", given["method"], (*METHODS, "sgd")),
        rtol=real("rtol", given["rtol"], at_least=1e-12, at_most=1e-2),
        threads=threads(given["threads"]),
        device=arguments.device,
        out=arguments.out,
        plots=not arguments.no_plots,
        quiet=arguments.quiet,
    )
    where(settings)
    return settings


def compute(settings: Settings) -> list[Result]:
    """All ensembles, then for each activation a representative start followed with and without the head."""
    from dynlab._progress import progress
    from dynlab._warm import compiling

    heads = tuple(settings.trainings)
    jobs = [(model, head) for model in settings.models for head in heads]
    ensembles = {}
    names = [model.activation for model in settings.models]
    with compiling(names), progress(len(jobs) * settings.seeds, "trajectories", settings.quiet) as show:
        for before, job in enumerate(jobs):
            ensembles[job] = _ensemble(settings, *job, _from(before * settings.seeds, show))
    by_model = {model: {head: ensembles[model, head] for head in heads} for model in settings.models}
    return [_result(settings, model, by_head) for model, by_head in by_model.items()]


def representative(ensembles: dict[str, Ensemble]) -> int:
    """Row of the start to show: the first with the outcome that most starts have with the head.

    Of those the first that learns only the strong feature without the head, where there is one. A start that
    failed is shown only where all did.
    """
    compared = [ensemble.frame["outcome"] for ensemble in ensembles.values()]
    with_head, without = compared[0], compared[-1]
    counts = with_head[with_head != "failed"].value_counts()
    usual = with_head == (counts.idxmax() if len(counts) else "failed")
    collapsing = usual & (without == "only_strong")
    return int((collapsing if collapsing.any() else usual).to_numpy().argmax())


def _ensemble(settings: Settings, model: Model, head: str, show: Callable[[int], None]) -> Ensemble:
    from dynlab.sweep import ensemble

    return ensemble(
        model,
        dim=settings.dim,
        seeds=settings.seeds,
        seed=settings.seed,
        training=settings.trainings[head],
        until=settings.until,
        method=settings.method,
        rtol=settings.rtol,
        eta=DESCENT_ETA,
        threads=settings.threads,
        device=where(settings)[0],
        progress=show,
    )


def _result(settings: Settings, model: Model, ensembles: dict[str, Ensemble]) -> Result:
    from dynlab.population.simulate import simulate
    from dynlab.sweep import draw_start

    row = representative(ensembles)
    start = draw_start(model, settings.dim, settings.seed, row, settings.training.start_scale)
    trajectories = {
        head: simulate(
            model,
            start,
            training=settings.trainings[head],
            until=settings.until,
            method=settings.method,
            rtol=settings.rtol,
            eta=DESCENT_ETA,
        )
        for head in ensembles
    }
    return Result(model, ensembles, trajectories, int(next(iter(ensembles.values())).frame["seed"].iloc[row]))


def _from(before: int, show: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: show(before + done)


def _activations(words: Sequence[str] | None) -> list[str]:
    """The activations asked for, by repeating the option or with commas, each once."""
    asked = ["relu", "cubic"] if words is None else [name for word in words for name in word.split(",")]
    return [choice("activation", name, ACTIVATIONS) for name in dict.fromkeys(asked)]


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Train ensembles with and without a prediction head; print what they learnt, and write "
        "tables and a figure of the phases.",
        epilog="example: dynlab run --strong 1.0 --weak 0.3 --activation cubic --seeds 4000",
    )

    names = f"of {', '.join(ACTIVATIONS)}; several with commas or repeated (default relu,cubic)"
    quiet = "print nothing but errors and failed trajectories"
    add_model(p)
    p.option("--activation", names, metavar="NAME", action="append")
    p.option("--dim", "dimension of a patch", "1000")
    p.option("--seeds", "number of random starts", "2000")
    p.option("--seed", "seed of the random starts", "0")
    add_switches(p)
    p.option("--until", "time of training, steps x learning rate (default: until nothing moves)", metavar="TIME")
    sampled = "or sgd, on minibatches (its options: --method sgd --help)"
    p.option("--method", f"of {', '.join(METHODS)}, {sampled}", "flow", "NAME")
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    add_device(p)
    p.option("--out", "run folder to create (default: a new one under runs/)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help=quiet)
    return p


if __name__ == "__main__":
    sys.exit(main())

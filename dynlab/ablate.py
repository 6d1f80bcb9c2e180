"""One thing changed at a time: which ingredient of the mechanism does what.

    python -m dynlab.ablate

trains an ensemble for every line of `dynlab.ensembles.ablations`, prints one table and writes it with the settings to a
folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.command_line.executors import add_dask, executor
from dynlab.command_line.options import add_model, add_switches, model_arguments, training_of
from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.settings.model import ACTIVATION_NAMES, Model
from dynlab.settings.training import LATEST, Training
from dynlab.tools.checks import SettingError, integer, real, require, threads
from dynlab.tools.files import expanded, run_folder, write_csv, write_json
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.ensembles.ablations import Settings

PROGRAM = "dynlab.ablate"
GROUPS = (
    "paper", "head", "normalisation", "stop-gradient", "target", "weight decay", "head rate", "decorrelation", "objective",
    "width", "features",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Claim the folder, compute line by line, write and print."""
    from dynlab.ensembles import ablations
    from dynlab.reports.ablations import ablations_text
    from dynlab.tools.progress import progress
    from dynlab.tools.provenance import provenance

    place = expanded(settings.out) if settings.out is not None else Path("runs") / f"ablate-{settings.model.activation}"
    with executor(settings.dask, kept=False) as pool, run_folder(place, numbered=settings.out is None) as folder:
        every = ablations.ablations(settings.model, settings.training, settings.dim)
        lines = [one for one in every if one.group in settings.groups]
        with progress(len(lines) * settings.seeds, "trajectories", settings.quiet) as show:
            rows = ablations.ablation_rows(settings, lines, pool, show)
        table = ablations.table(rows)
        write_csv(folder.partial / "ablate.csv", table)
        own = {name: value for name, value in asdict(settings).items() if name != "dask"}
        record = call.record() | {"settings": own}
        write_json(folder.partial / "run.json", record | provenance(call.started))
    if not settings.quiet:
        print("\n".join(ablations_text(settings, rows, folder.place)), flush=True)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number_of(value) for name, value in vars(arguments).items()}
    model = Model(activation=given["activation"], **model_arguments(given))
    training = training_of(given)
    training.check_model(model)
    plain = Training()
    for name in ("head", "objective", "stop_gradient", "target"):
        allowed = getattr(plain, name)
        given_one = getattr(training, name)
        require(given_one == allowed, name, given_one, f'"{allowed}": the table itself varies it')
    require(arguments.out != "", "out", "", "the name of a folder")
    asked, allowed = groups(arguments.groups), "left out with the group features, whose lines have more than two of them"
    require(model.probabilities is None or "features" not in asked, "probabilities", given["probabilities"], allowed)
    dim = integer("dim", given["dim"], at_least=model.features + max(model.neurons, 4) + 2, why="features + neurons")
    from dynlab.ensembles.ablations import Settings, late_end  # here: --help and bad words do without the solver

    until = late_end(model, dim) if given["until"] is None else given["until"]
    return Settings(
        model=model,
        training=training,
        dim=dim,
        seeds=integer("seeds", given["seeds"], at_least=1, at_most=10**6),
        seed=integer("seed", given["seed"], at_least=0, at_most=2**63 - 1),
        until=real("until", until, above=0.0, at_most=LATEST),
        rtol=real("rtol", given["rtol"], at_least=1e-12, at_most=1e-2),
        groups=asked,
        threads=threads(given["threads"]),
        dask=arguments.dask,
        out=arguments.out,
        quiet=arguments.quiet,
    )


def groups(words: str | None) -> tuple[str, ...]:
    """The groups asked for; the unchanged training is always there."""
    if words is None:
        return GROUPS
    asked = [word.strip() for word in words.split(",")]
    if not set(asked) <= set(GROUPS):
        raise SettingError("groups", words, f"some of {', '.join(GROUPS)}, with commas")
    return ("paper", *asked)


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Change one ingredient at a time (head, normalisation, stop-gradient, target, decay, rate, width, "
        "features) and tell by ensembles of the exact flow what each does.",
        epilog="example: dynlab ablate --weak 0.5 --seeds 256 --groups head,stop-gradient",
    )

    add_model(p)
    p.option("--activation", f"of {', '.join(ACTIVATION_NAMES)}", "cubic", "NAME")
    p.option("--dim", "dimension of a patch", "1000")
    p.option("--seeds", "number of random starts a line", "128")
    p.option("--seed", "seed of the random starts", "0")
    add_switches(p)
    p.option("--groups", f"lines to compute, of {', '.join(GROUPS)}, with commas (default all)", metavar="NAME,NAME")
    p.option("--until", "time of training, steps x learning rate (default: 1e10 dim^2, 1e7 for degree 1)", metavar="TIME")
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    add_dask(p)
    p.option("--out", "run folder to create (default: a new one under runs/)", metavar="DIR")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())

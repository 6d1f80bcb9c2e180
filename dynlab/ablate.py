"""One thing changed at a time: which ingredient of the mechanism does what.

    python -m dynlab.ablate

trains an ensemble for every line of `dynlab.ablations`, prints one table and writes it with the settings to a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dynlab._checks import SettingError, integer, real, require, threads
from dynlab._cli import Call, Parser, number, run_command
from dynlab._options import MODEL_OPTIONS, add_model, add_switches, training_of
from dynlab.files import expanded, run_folder, write_csv, write_json
from dynlab.model import ACTIVATIONS, Model
from dynlab.population.scaling import horizon
from dynlab.training import Training

PROGRAM = "dynlab.ablate"
LONG = 1e4
GROUPS = (
    "paper", "head", "normalisation", "stop-gradient", "target", "weight decay", "head rate", "decorrelation", "objective",
    "width", "features",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    model: Model
    training: Training
    dim: int
    seeds: int
    seed: int
    until: float
    rtol: float
    groups: tuple[str, ...]
    threads: int
    out: str | None
    quiet: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Claim the folder, compute line by line, write and print."""
    from dynlab import ablations, report
    from dynlab._progress import progress

    place = expanded(settings.out) if settings.out is not None else Path("runs") / f"ablate-{settings.model.activation}"
    with run_folder(place, numbered=settings.out is None) as folder:
        every = ablations.ablations(settings.model, settings.training, settings.dim)
        lines = [one for one in every if one.group in settings.groups]
        rows = []
        with progress(len(lines) * settings.seeds, "trajectories", settings.quiet) as show:
            for before, one in enumerate(lines):
                found = ablations.run_ablation(
                    one, dim=settings.dim, seeds=settings.seeds, seed=settings.seed, until=settings.until,
                    rtol=settings.rtol, threads=settings.threads,
                    progress=lambda done, before=before: show(before * settings.seeds + done),
                )  # fmt: skip
                rows.append(ablations.row_of(one, found))
        table = ablations.table(rows)
        write_csv(folder.partial / "ablate.csv", table)
        record = call.record() | {"settings": asdict(settings)}
        write_json(folder.partial / "run.json", record | report.provenance(call.started))
    if not settings.quiet:
        print("\n".join(text(settings, rows, folder.place)), flush=True)


def text(settings: Settings, rows: list[dict], place: Path) -> list[str]:
    """The table to read: a line an ablation."""
    from dynlab.ablations import early_end

    model = settings.model
    heading = f"{'changed':<16}{'to':<26}{'learnt: share of seeds':<40}{'all':<20}{'early':>6}{'rank':>6}{'loss':>9}"
    early = early_end(model, settings.dim)
    lines = [
        f"{model.activation}, strong {model.strong:g}, weak {model.weak:g}, noise {model.noise:g}, dim {settings.dim:g}, "
        f"eta_head {settings.training.eta_head:g}, until {settings.until:g}, {settings.seeds} seeds",
        f"(all features learnt at the end: share with its 95 % interval; early: by time {early:.2g}, of two features;",
        " effective rank of the outputs, loss and times: medians)",
        "",
        heading + f"{'T first':>10}{'T second':>10}",
    ]
    before = None
    for row in rows:
        group = row["group"] if row["group"] != before else ""
        before = row["group"]
        shares = "  ".join(
            f"{n}: {100 * row[f'learnt_{n}']:.0f} %" for n in range(row["features"] + 1) if row[f"learnt_{n}"] > 0.0
        )
        shares += f"  failed: {100 * row['failed']:.1f} %" if row["failed"] > 0.0 else ""
        interval = f"{row['all']:.3f} [{row['all_low']:.2f}, {row['all_high']:.2f}]"
        times = "".join(f"{row[name]:>10.2g}" for name in ("time_first", "time_second"))
        words = f"{group:<16}{row['name']:<26}{shares:<40}{interval:<20}"
        soon = f"{row['early']:>6.2f}" if row["early"] == row["early"] else f"{'':>6}"
        lines.append(f"{words}{soon}{row['rank']:>6.2f}{row['loss']:>9.3g}{times}".rstrip())
    ended = sorted({part.rsplit(" ", 1)[0] for row in rows for part in row["ended"].split(", ")})
    return [*lines, "", f"trajectories ended: {', '.join(ended)}; files in {place}: ablate.csv, run.json"]


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number(value) for name, value in vars(arguments).items()}
    model = Model(**{name: given[name] for name in ("activation", *MODEL_OPTIONS)})
    training = training_of(given)
    training.check_model(model)
    plain = Training()
    for name in ("head", "objective", "stop_gradient", "target"):
        allowed = getattr(plain, name)
        given_one = getattr(training, name)
        require(given_one == allowed, name, given_one, f'"{allowed}": the table itself varies it')
    require(arguments.out != "", "out", "", "the name of a folder")
    dim = integer("dim", given["dim"], at_least=model.features + max(model.neurons, 4) + 2, why="features + neurons")
    return Settings(
        model=model,
        training=training,
        dim=dim,
        seeds=integer("seeds", given["seeds"], at_least=1, at_most=10**6),
        seed=integer("seed", given["seed"], at_least=0, at_most=2**63 - 1),
        until=default_end(model, dim) if given["until"] is None else real("until", given["until"], above=0.0),
        rtol=real("rtol", given["rtol"], at_least=1e-12, at_most=1e-2),
        groups=groups(arguments.groups),
        threads=threads(given["threads"]),
        out=arguments.out,
        quiet=arguments.quiet,
    )


def default_end(model: Model, dim: int) -> float:
    """`LONG` times the horizon of the paper's training, 1e10 dim^2 for cubic: symmetric heads, Barlow Twins and a small
    decorrelation learn the second feature up to a million times later than the off-diagonal head."""
    return horizon(model, dim) * (LONG if model.activation in ("cubic", "relu3") else 10.0)


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
    p.option("--activation", f"of {', '.join(ACTIVATIONS)}", "cubic", "NAME")
    p.option("--dim", "dimension of a patch", "1000")
    p.option("--seeds", "number of random starts a line", "128")
    p.option("--seed", "seed of the random starts", "0")
    add_switches(p)
    p.option("--groups", f"lines to compute, of {', '.join(GROUPS)}, with commas (default all)", metavar="NAME,NAME")
    p.option("--until", "time of training, steps x learning rate (default: 1e10 dim^2, 1e7 for degree 1)", metavar="TIME")
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    p.option("--out", "run folder to create (default: a new one under runs/)", metavar="DIR")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())

"""What happened in a run, in plain words.

    python -m dynlab.explain RUN

says where in the four phases a run is, which terms of the gradient push where, what comes next and which setting moves it:
for the folders of dynlab.run (also on finite samples), dynlab.compare and dynlab.pretrain, and for those of dynlab.Monitor.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.explanation.explanation import explain
from dynlab.tools.checks import real, threads
from dynlab.tools.files import expanded

PROGRAM = "dynlab.explain"


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    run: Path
    at: float | None
    activation: str | None
    head: str | None
    trial: bool
    threads: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments)))


def run(settings: Settings) -> None:
    """Explain and print."""
    found = explain(
        settings.run, at=settings.at, activation=settings.activation, head=settings.head, trial=settings.trial,
        workers=settings.threads,
    )  # fmt: skip
    print(found.text, flush=True)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    at = number_of(arguments.at)
    return Settings(
        run=expanded(arguments.run),
        at=None if at is None else real("at", at, at_least=0.0),
        activation=arguments.activation,
        head=arguments.head,
        trial=getattr(arguments, "try"),
        threads=threads(number_of(arguments.threads)),
    )


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Say in plain words where in the four phases a run is, which terms of the gradient push where, what "
        "comes next, and which setting moves it.",
        epilog="example: dynlab explain runs/x --activation cubic --head none --try",
    )
    p.add_argument("run", help="folder of a run of dynlab.run, compare or pretrain, or of dynlab.Monitor", metavar="RUN")
    p.option("--at", "time (step, epoch) to explain (default: the end)", metavar="TIME")
    p.option("--activation", "explain this one of the run's activations (default: all)", metavar="NAME")
    p.option("--head", "explain this one of the run's heads (default: all)", metavar="RULE")
    p.add_argument("--try", action="store_true", help="try every suggested change on 256 starts of the exact flow")
    p.option("--threads", "threads to compute with (default: all cores)")
    return p


if __name__ == "__main__":
    sys.exit(main())

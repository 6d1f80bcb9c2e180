"""Embeddings of any framework, looked at: have they collapsed, and what to change first.

    python -m dynlab.diagnose Z.npy --head E.npy --target G.npy --labels Y.npy

says in words whether the outputs have collapsed, with the numbers, their bounds and how far to trust them, and what to
change first. From Python: `dynlab.diagnose(z)`. With --forecast STEP the two-feature theory is fitted to the first records
of a stack that has both views, and followed (`dynlab.fit_theory`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.embeddings.arrays import read_array
from dynlab.embeddings.diagnosis import diagnose
from dynlab.embeddings.findings import EmbeddingDiagnosis
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import integer, require
from dynlab.tools.files import expanded, run_folder, write_json
from dynlab.tools.provenance import Call, provenance

if TYPE_CHECKING:
    from dynlab.embeddings.theory_forecast import TheoryForecast

PROGRAM = "dynlab.diagnose"


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    z: Path
    head: Path | None
    target: Path | None
    labels: Path | None
    out: Path | None
    plots: bool
    quiet: bool
    forecast: int | None
    every: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Diagnose, write the files where they are asked for, and print."""
    given = (settings.z, settings.head, settings.target, settings.labels)
    if settings.out is None:
        found, said = diagnose(*given), foretold(settings)
    else:
        with run_folder(settings.out) as folder:
            found, said = diagnose(*given), foretold(settings)
            write(found, said, folder.partial, settings.plots, call)
    if not settings.quiet:
        print(found.text, flush=True)
        if said is not None:
            print(said.text, flush=True)
        if settings.out is not None:
            print(f"files in {settings.out}: run.json, diagnose.json{', diagnose.png, diagnose.pdf' * settings.plots}")


def foretold(settings: Settings) -> TheoryForecast | None:
    """The theory's forecast, where it is asked for: of a stack of steps with both views of the same inputs."""
    if settings.forecast is None:
        return None
    from dynlab.embeddings.theory_fit import fit_theory

    z = np.asarray(read_array("z", settings.z))
    target = None if settings.target is None else np.asarray(read_array("target", settings.target))
    head = None if settings.head is None else np.asarray(read_array("head", settings.head))
    return fit_theory(z, target, head, settings.every * np.arange(len(z))).forecast(settings.forecast)


def write(found: EmbeddingDiagnosis, said: TheoryForecast | None, place: Path, plots: bool, call: Call) -> None:
    """Fill a folder: the numbers, the figure, and how they were made."""
    forecast = {} if said is None else {"forecast": said.as_json() | {"text": said.text}}
    write_json(place / "diagnose.json", found.as_json() | {"text": found.text} | forecast)
    write_json(place / "run.json", {"kind": "diagnosis"} | call.record() | provenance(call.started))
    if plots:
        from dynlab.drawing import style

        style.save(found.plot(), place / "diagnose", "Embeddings diagnosed", {"verdict": found.verdict})


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    for name in ("z", "head", "target", "labels", "out"):
        what = "folder" if name == "out" else "file"
        require(getattr(arguments, name) != "", name, "", f"the name of a {what}")
    head, target, labels, out = (
        None if word is None else expanded(word)
        for word in (arguments.head, arguments.target, arguments.labels, arguments.out)
    )
    every = integer("every", number_of(arguments.every), at_least=1)
    until = number_of(arguments.forecast)
    if until is not None:
        until = integer("forecast", until, at_least=every + 1, why="beyond the second record")
    plots, quiet = not arguments.no_plots, arguments.quiet
    return Settings(expanded(arguments.z), head, target, labels, out, plots, quiet, until, every)


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into settings."""
    p = Parser(
        prog=PROGRAM,
        description="Say whether embeddings have collapsed, by what numbers, and what to change first. Files are npy, npz, "
        "csv, safetensors, and with the extra arrays parquet.",
        epilog="example: dynlab diagnose z.npy --head E.npy",
    )
    p.add_argument("z", help="embeddings (N, m), a row for each input, or a stack of steps (T, N, m)", metavar="Z")
    p.option("--head", "the matrix (m, m) of a linear prediction head, or a stack of steps", metavar="FILE")
    p.option("--target", "what z is compared with, row by row: z of the other view (N, m)", metavar="FILE")
    p.option("--labels", "the class of each row, integers or words: then nearest neighbours are asked", metavar="FILE")
    p.option(
        "--forecast",
        "follow the theory, fitted to the first four steps of a stack that has both views of its inputs (the "
        "other one as --target, or as the second half of the rows), up to this step of training",
        metavar="STEP",
    )
    p.option("--every", "steps of training between the records of the stack", "1")
    p.option("--out", "new folder for results: the numbers and the figure (default: none is written)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


make_callable(__name__, diagnose)

if __name__ == "__main__":
    sys.exit(main())

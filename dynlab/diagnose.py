"""Embeddings of any framework, looked at: have they collapsed, and what to change first.

    python -m dynlab.diagnose Z.npy --head E.npy --target G.npy --labels Y.npy

says in words whether the outputs have collapsed, with the numbers, their bounds and how far to trust them, and what to
change first. From Python: `dynlab.diagnose(z)`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynlab.command_line.parser import Parser, run_command
from dynlab.embeddings.diagnosis import diagnose
from dynlab.embeddings.findings import EmbeddingDiagnosis
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import require
from dynlab.tools.files import expanded, run_folder, write_json
from dynlab.tools.provenance import Call, provenance

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Diagnose, write the files where they are asked for, and print."""
    given = (settings.z, settings.head, settings.target, settings.labels)
    if settings.out is None:
        found = diagnose(*given)
    else:
        with run_folder(settings.out) as folder:
            found = diagnose(*given)
            write(found, folder.partial, settings.plots, call)
    if not settings.quiet:
        print(found.text, flush=True)
        if settings.out is not None:
            print(f"files in {settings.out}: run.json, diagnose.json{', diagnose.png, diagnose.pdf' * settings.plots}")


def write(found: EmbeddingDiagnosis, place: Path, plots: bool, call: Call) -> None:
    """Fill a folder: the numbers, the figure, and how they were made."""
    write_json(place / "diagnose.json", found.as_json() | {"text": found.text})
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
    return Settings(expanded(arguments.z), head, target, labels, out, plots=not arguments.no_plots, quiet=arguments.quiet)


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
    p.option("--out", "new folder for results: the numbers and the figure (default: none is written)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


make_callable(__name__, diagnose)

if __name__ == "__main__":
    sys.exit(main())

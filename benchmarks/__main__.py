"""Run the benchmarks: python -m benchmarks [--quick] [PART ...], all parts unless some are named.

Parts: gradients, trajectories, ensembles, switches, samples, augmentation, images, start-up. Each checks its results before
it times them; what is wrong is said, not timed, and makes the exit status 1. A part replaces its own results in the file and
leaves the other parts' alone; each carries the machine and the versions that it ran on. With --quick nothing is kept unless
--out names a file. --table prints the results as Markdown; with --write it goes into its page, between the markers, and
figures/speed.png is drawn anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import dynlab
import figures
from benchmarks import picture, table
from benchmarks.machine import machine, refusals

PARTS = ("gradients", "trajectories", "ensembles", "switches", "samples", "augmentation", "images", "start-up")
RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(dynlab.__file__).parent / "docs" / "benchmarks.md"
FIGURES = Path(figures.__file__).parent


def runner(part: str) -> Callable[[bool], dict | list]:
    """run(quick) of a part; its module is only imported when it runs."""
    return import_module(f"benchmarks.{part.replace('-', '_')}").run


def run(parts: list[str], quick: bool, out: Path | None) -> list[str]:
    """Run the parts and keep each one's results in `out` as soon as it is done; returns what was refused."""
    here, refused = machine(), []
    print(here["processor"], here["cores"], "cores", flush=True)
    for part in parts:
        began = time.perf_counter()
        results = runner(part)(quick)
        seconds = time.perf_counter() - began
        refused += list(refusals(results))
        print(f"{part}: {seconds:.0f} s in all", flush=True)
        if out is not None:
            keep(out, part, {"machine": here, "quick": quick, "seconds": seconds, "results": results})
    return refused


def keep(out: Path, part: str, made: dict) -> None:
    """Put one part's results into the file, in the order of PARTS, whatever else is in it staying."""
    held = read(out) if out.exists() else {}
    held[part] = made
    ordered = {name: held[name] for name in PARTS if name in held}
    out.write_text(json.dumps(ordered, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict:
    """The results in a file; exits with one line where there is no such file or it holds something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: cannot be read as results ({error})")
    if not isinstance(held, dict) or not all(name in PARTS and "results" in made for name, made in held.items()):
        sys.exit(f"{path}: is not a file of results of these benchmarks")
    return held


def main(words: list[str] | None = None) -> int:
    """Run what is asked for (default: all parts), or show the results; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: a look, not kept without --out")
    parser.add_argument("--out", type=Path, help=f"results as JSON (default: benchmarks/{RESULTS.name})")
    parser.add_argument("--table", action="store_true", help="run nothing, print the results as Markdown")
    parser.add_argument("--write", action="store_true", help="with --table: replace the table of the page, draw the picture")
    arguments = parser.parse_args(words)
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]!r}: must be one of {', '.join(PARTS)}")
    if arguments.write and not arguments.table:
        parser.error("--write: goes with --table")
    if arguments.table:
        results = read(arguments.out or RESULTS)
        text = table.markdown(results)
        print(text)
        if arguments.write:
            table.write(PAGE, text)
            picture.write(FIGURES, results)
        return 0
    out = arguments.out or (None if arguments.quick else RESULTS)
    refused = run(arguments.parts or list(PARTS), arguments.quick, out)
    for what in refused:
        print(f"refused: {what}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

"""The theorem, claim by claim, measured on ensembles of the exact flow.

    python -m dynlab.theorem

prints a line a statement (predicted, measured, interval, verdict) and writes a folder with tables and a figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.command_line.executors import add_dask, check_dask, executor
from dynlab.command_line.options import add_device, announce
from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.machine.device import chosen
from dynlab.tools.checks import SettingError, integer, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.claims.judgement import Settings

PROGRAM = "dynlab.theorem"
NUMBERS = tuple(range(1, 13))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Compute what is missing, judge the claims, write and print."""
    from dynlab.claims.judgement import judge_all, open_folder
    from dynlab.reports import theorem

    announce(settings.device, settings.quiet)
    with executor(settings.dask) as pool:
        store = open_folder(settings.out)
        findings = judge_all(settings, store, pool)
    theorem.write_files(settings, findings, call)
    if not settings.quiet:
        theorem.print_report(settings, findings)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    require(arguments.out != "", "out", "", "the name of a folder")
    default = "theorem-quick" if arguments.quick else "theorem"
    given: dict[str, Any] = {
        "claims": claims(arguments.claims),
        "seed": integer("seed", number_of(arguments.seed), at_least=0, at_most=2**63 - 1),
        "threads": threads(number_of(arguments.threads)),
        "device": chosen(arguments.device),
    }
    check_dask(arguments.dask, given["device"])
    from dynlab.claims.judgement import Settings  # here: --help and bad words do without the solver

    return Settings(
        **given,
        quick=arguments.quick,
        dask=arguments.dask,
        out=expanded(arguments.out) if arguments.out is not None else Path("runs") / default,
        plots=not arguments.no_plots,
        quiet=arguments.quiet,
    )


def claims(words: str | None) -> tuple[int, ...]:
    """The numbers of the claims asked for, in order, each once."""
    if words is None:
        return NUMBERS
    asked = [one for word in words.split(",") for one in _range(word.strip())]
    for one in asked:
        if isinstance(one, bool) or one not in NUMBERS:
            allowed = (
                f"numbers from {NUMBERS[0]} to {NUMBERS[-1]} or ranges of them (1-3) with commas between them, "
                "or the beginnings of names"
            )
            raise SettingError("claims", words, allowed)
    return tuple(sorted(set(asked)))


def _range(word: str) -> Sequence[Any]:
    """The numbers LOW to HIGH of a word LOW-HIGH, each that there is no claim of too; else what `_claim` makes of it."""
    low, dash, high = word.partition("-")
    if not (dash and low.isdecimal() and high.isdecimal() and int(low) <= int(high) <= NUMBERS[-1]):
        return [_claim(word)]
    return range(int(low), int(high) + 1)


def _claim(word: str) -> Any:
    """The number that a word is, or of the one claim whose name begins with it; else the word."""
    value = number_of(word)
    if not isinstance(value, str) or not word:
        return value
    from dynlab.claims import CLAIMS

    named = [number for number, module in CLAIMS.items() if module.NAME.startswith(word)]
    return named[0] if len(named) == 1 else word


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Measure the theorem's claims on ensembles of the exact flow, dimension after dimension. "
        "Interrupted, the same command goes on where it was.",
        epilog="example: dynlab theorem --quick --claims 1,4,7",
    )
    first, last = NUMBERS[0], NUMBERS[-1]
    names = f"claims to judge, {first} to {last}, ranges (1-3) or names (relu, hidden, ...), with commas (default all)"
    p.add_argument("--claims", help=names, metavar="N,N")
    p.add_argument("--quick", action="store_true", help="fewer seeds and dimensions: a minute instead of many")
    p.add_argument("--seed", help="seed of the random starts (default 0)", default="0", metavar="N")
    p.add_argument("--threads", help="threads to compute with (default: all cores)", metavar="N")
    add_device(p)
    add_dask(p)
    where = "folder for results and finished points (default runs/theorem, with --quick runs/theorem-quick)"
    p.add_argument("--out", help=where, metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())

"""What a pretrained encoder is worth.

    python -m dynlab.evaluate RUN

measures the frozen features of a run of dynlab.pretrain by nearest neighbours and by a linear probe, beside the same network
before training and the raw pixels; prints the table with the protocols and writes RUN/evaluate.json and RUN/spectrum.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.command_line.pictures import add_computing, add_files, check_folders, fetched
from dynlab.images.settings import REPRESENTATIONS
from dynlab.machine.device import Device, chosen
from dynlab.tools.checks import SettingError, integer, threads
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

PROGRAM = "dynlab.evaluate"
SECONDS = 5.0  # between lines that say where it has come to


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    run: Path
    data: Path
    download: bool
    which: tuple[str, ...]
    limit: int | None
    verify: bool
    threads: int
    device: Device
    quiet: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Load the run and its pictures, measure, write and print."""
    from dynlab.images.ops import ops_of
    from dynlab.images.training import run_folder
    from dynlab.images.verdict import NotFinite
    from dynlab.images.worth import representations
    from dynlab.tools.files import FolderError, json_text, write_csv, write_whole
    from dynlab.tools.progress import now_and_then
    from dynlab.tools.provenance import provenance

    pretraining, weights = run_folder.settings_of(settings.run), run_folder.read_weights(settings.run)
    ops = ops_of(settings.device, settings.threads)
    fetched(pretraining.dataset, settings.data, settings.download, settings.quiet)
    train, test = representations.labelled(pretraining.dataset, settings.data, settings.limit, settings.verify)
    said = now_and_then(settings.quiet, SECONDS)
    if settings.device.asked != "cpu" and not settings.quiet:
        print(f"features are computed on {settings.device.words}", file=sys.stderr, flush=True)
    try:
        rows = representations.appraise(pretraining, weights, train, test, which=settings.which, ops=ops, told=said)
    except NotFinite as error:
        raise FolderError(settings.run, f"the run diverged: {error}") from None
    facts = {
        **call.record(), "dataset": pretraining.dataset, "train": len(train),
        "test": len(test), "device": settings.device.words, "rows": [representations.plain(row) for row in rows],
    }  # fmt: skip
    write_csv(settings.run / "spectrum.csv", representations.spectra(rows))
    write_whole(settings.run / "evaluate.json", json_text(facts | provenance(call.started)))
    if not settings.quiet:
        print("\n".join(representations.text(rows, settings.run)), flush=True)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab.images.training import run_folder

    run = expanded(arguments.run)
    kept = run_folder.run_of(run)
    which = tuple(dict.fromkeys(word.strip() for word in arguments.of.split(",")))
    if not set(which) <= set(REPRESENTATIONS):
        raise SettingError("of", arguments.of, f"some of {', '.join(REPRESENTATIONS)}, with commas")
    check_folders(arguments, "data")
    limit = number_of(arguments.limit)
    return Settings(
        run=run,
        data=expanded(kept["data"] if arguments.data is None else arguments.data),
        which=which,
        limit=None if limit is None else integer("limit", limit, at_least=100),
        download=arguments.download,
        verify=not arguments.no_verify,
        threads=threads(number_of(arguments.threads)),
        device=chosen(arguments.device),
        quiet=arguments.quiet,
    )


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Measure the frozen features of a pretrained encoder: nearest neighbours, linear probe, spectrum.",
        epilog="example: dynlab evaluate runs/x --of encoder,z",
    )
    p.add_argument("run", help="folder of a finished run of dynlab.pretrain", metavar="RUN")
    p.option("--data", "folder with the pictures' files (default: that of the run)", metavar="DIR")
    everything = ",".join(REPRESENTATIONS)
    p.option("--of", "what to measure, some of these, with commas", everything, "NAME,NAME")
    p.option("--limit", "learn from this many of the training pictures (default: all)")
    add_files(p)
    add_computing(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())

"""What the commands on pictures share: folders, the pictures' files, and with what is computed."""

from __future__ import annotations

import argparse
from pathlib import Path

from dynlab.command_line.parser import Parser
from dynlab.tools.checks import require


def add_files(p: Parser) -> None:
    """Add --download and --no-verify."""
    p.add_argument("--download", action="store_true", help="fetch the files into --data first, from their official address")
    p.add_argument("--no-verify", action="store_true", help="leave out the comparison with known md5 sums")


def add_computing(p: Parser) -> None:
    """Add --device and --threads."""
    p.option("--device", "of cpu, cuda, auto", "cpu", "NAME")
    p.option("--threads", "threads to compute with (default: all cores)")


def check_folders(arguments: argparse.Namespace, *names: str) -> None:
    """SettingError where a folder is given without a name."""
    for name in names:
        require(getattr(arguments, name) != "", name, "", "the name of a folder")


def fetched(dataset: str, data: Path, wanted: bool, quiet: bool) -> None:
    """The files of a set of pictures in the folder `data`, from their official address, where that is wanted."""
    if wanted:
        from dynlab.images.data.download import fetch

        fetch(dataset, data, quiet=quiet)

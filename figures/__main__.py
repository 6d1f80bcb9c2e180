"""Build the figures.

python -m figures               all of them, into runs/figures
python -m figures scaling       one
python -m figures --gallery     the pictures that README shows, into figures/gallery
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dynlab.command_line.parser import Parser, run_command
from dynlab.tools.checks import choice, require
from dynlab.tools.files import FolderError, expanded, held_folder

from . import NAMES

PROGRAM = "figures"
GALLERY = Path(__file__).parent / "gallery"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(call.arguments))


def run(arguments: argparse.Namespace) -> None:
    """Build the figures asked for, saying how long each took."""
    from .parts import build  # with pandas and matplotlib, which --help does without

    names = [choice("name", name, NAMES) for name in dict.fromkeys(arguments.name)] or list(NAMES)
    require(arguments.out != "", "out", "", "the name of a folder")
    shown = arguments.out is not None or (GALLERY.parent.parent / "README.md").is_file()
    require(not arguments.gallery or shown, "gallery", "", "given with --out: README's own pictures are in a clone alone")
    folder = expanded(arguments.out or ("runs/figures-fast" if arguments.fast else "runs/figures"))
    if folder.exists() and not folder.is_dir():
        raise FolderError(folder, "holds a file; must be a folder")
    with held_folder(folder):
        for name in names:
            started = time.perf_counter()
            build(name, folder, arguments.fast)
            if arguments.gallery:
                place = GALLERY if arguments.out is None else folder / "gallery"
                place.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / f"{name}.png", place / f"{name}.png")
            print(f"{name:<24} {time.perf_counter() - started:6.1f} s  {folder / name}.pdf, .png, .csv", flush=True)


def parser() -> Parser:
    """The options."""
    what = "Build the figures, each with its data and the check of its claim."
    p = Parser(prog=PROGRAM, description=what, epilog="example: dynlab figures scaling --fast")
    p.add_argument("name", nargs="*", help=f"of {', '.join(NAMES)} (default all)", metavar="NAME")
    p.add_argument("--fast", action="store_true", help="small sizes, as the tests use them")
    where = "folder for figures and data (default runs/figures, with --fast runs/figures-fast)"
    p.add_argument("--out", help=where, metavar="DIR")
    gallery = "copy the PNGs to figures/gallery, which README shows (with --out to DIR/gallery)"
    p.add_argument("--gallery", action="store_true", help=gallery)
    return p


if __name__ == "__main__":
    sys.exit(main())

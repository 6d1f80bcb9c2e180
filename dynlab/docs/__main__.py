"""Build the documentation.

    python -m dynlab.docs --out runs/docs

writes HTML pages; open index.html. Needs sphinx, and nothing from the network.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dynlab.command_line.parser import Parser, run_command
from dynlab.docs import source
from dynlab.tools.checks import choice, require
from dynlab.tools.files import FolderError, FolderTaken, expanded

PROGRAM = "dynlab.docs"
BUILDERS = ("html", "text")
MISSING = "sphinx is not installed: python -m pip install 'dynlab-ssl[docs]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    arguments = call.arguments
    status = [0]

    def work() -> None:
        require(arguments.out != "", "out", "", "the name of a folder")
        form = choice("format", arguments.format, BUILDERS)
        require(form == "html" or not arguments.explorer, "format", form, "html with --explorer")
        status[0] = build(expanded(arguments.out), form, explorer=arguments.explorer)

    return run_command(call, work) or status[0]


def build(out: Path, form: str = "html", pages: Path | None = None, explorer: bool = False) -> int:
    """Build dynlab's pages, or those in the folder `pages`, into the folder `out`, warnings being errors; 0, or 1 where
    sphinx is missing or warned. explorer: whether the page with sliders is put among them, as a file.

    Raises `dynlab.tools.files.FolderTaken` for a folder that holds anything but pages built before.
    """
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        print(f"{PROGRAM}: error: {MISSING}", file=sys.stderr)
        return 1
    if out.exists() and not out.is_dir():
        raise FolderError(out, "is a file")
    if out.exists() and any(out.iterdir()) and not any((out / name).is_file() for name in ("index.html", "index.txt")):
        raise FolderTaken(out, "holds other files; must be a new or an empty folder, or one of dynlab.docs")
    with tempfile.TemporaryDirectory(prefix="dynlab-docs-") as scratch:
        if pages is None:
            pages = Path(scratch) / "source"
            source.put_together(pages, explorer)
        words = ["-W", "--keep-going", "-q", "-E", "-b", form, "-d", f"{scratch}/trees", str(pages), str(out)]
        status = build_main(words)
    if status == 0 and explorer:
        from dynlab.explore import write

        write(out / source.EXPLORER)
    if status == 0:
        print(f"pages in {out / ('index.html' if form == 'html' else 'index.txt')}", flush=True)
    return 1 if status else 0


def parser() -> Parser:
    """The options."""
    p = Parser(prog=PROGRAM, description="Build the pages of theory, reference and tutorial.",
               epilog="example: dynlab docs --out runs/docs")  # fmt: skip
    p.option("--out", "folder to write", "runs/docs", "DIR")
    p.option("--format", "of the pages, html or text", "html", "NAME")
    p.add_argument(
        "--explorer", action="store_true", help="put the page with sliders among them, a file of 3 MB (extra explore)"
    )
    return p


if __name__ == "__main__":
    sys.exit(main())

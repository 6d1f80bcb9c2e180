"""The source of the pages put together: those that are written, those that are made, and the pictures they show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
EXPLORER = "explorer.html"  # the page with sliders, where it is wanted
PICTURES = ("gallery/*.png", "pictures/*.png", "pictures/*.csv", "tutorial/*.png", "*.png")


def put_together(place: Path, explorer: bool = False) -> None:
    """Fill the folder `place` with the source of dynlab's own pages, for Sphinx; explorer: whether they link `EXPLORER`."""
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(HERE / "conf.py", place)
    for name, make in MADE.items():
        (place / name).write_text(make(), encoding="utf-8")
    if explorer:
        with open(place / "explore.md", "a", encoding="utf-8") as page:
            page.write(f'\n<p><a href="{EXPLORER}">The page in a file</a></p>\n')
    for pattern in PICTURES:
        for picture in figures().glob(pattern):
            target = place / "figures" / picture.relative_to(figures())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, target)


def figures() -> Path:
    """The folder of the figures: inside dynlab where it is installed, beside it in a clone."""
    return Path(str(import_module("dynlab.figures").__file__)).parent


def statements() -> str:
    """The table of all statements of the theorem, as `dynlab theorem` wrote it."""
    return (figures() / "theorem.md").read_text(encoding="utf-8")


def tutorial() -> str:
    """The page of the tutorial: the script that the tests execute, and what its cells showed when they were recorded."""
    from dynlab.docs import cells

    script = (HERE / "tutorial.py").read_text(encoding="utf-8")
    return cells.page(script, cells.recorded(figures() / "tutorial"), "figures/tutorial")


def commands() -> str:
    """The page of the commands, from their parsers."""
    from dynlab.docs import commands

    return commands.page()


MADE: dict[str, Callable[[], str]] = {"tutorial.md": tutorial, "commands.md": commands, "statements.md": statements}

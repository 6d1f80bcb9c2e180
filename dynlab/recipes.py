"""The recipes of pretraining: `python -m dynlab.recipes`.

    dynlab recipes              a table: method, pictures, length, source, what is known of the result
    dynlab recipes small-byol   one of them, or a TOML file of one's own: its settings, and how it is run

A recipe is a TOML file (`dynlab.images.recipes.recipe_files` says what it holds); `dynlab pretrain --recipe NAME` runs it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dynlab.command_line.parser import Parser, run_command
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES, Recipe
from dynlab.images.settings import Pretraining, pretraining, recipe_of
from dynlab.tools.checks import SettingError
from dynlab.tools.files import json_text

PROGRAM = "dynlab.recipes"
HEADING = ("name", "method", "data", "length", "source", "known result")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(call.arguments))


def run(arguments: argparse.Namespace) -> None:
    """Print the table, or one recipe."""
    name = arguments.name
    try:
        if arguments.json:
            found = KNOWN_RECIPES if name is None else {name: recipe_of(name)}
            lines = [json_text({key: asdict(one) for key, one in found.items()}).rstrip()]
        else:
            lines = table() if name is None else recipe_page(name, recipe_of(name))
    except SettingError as error:
        raise SettingError("name" if error.name == "recipe" else error.name, error.value, error.allowed) from None
    print("\n".join(lines), flush=True)


def table() -> list[str]:
    """The table of the recipes that come with dynlab, a line each under a line of headings."""
    rows = [HEADING, *(_row(recipe) for recipe in KNOWN_RECIPES.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADING))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def recipe_page(given: str, recipe: Recipe) -> list[str]:
    """One recipe in words: where it comes from, what is known, its settings as its file has them, and how it is run."""
    told = {"method": recipe.method, "source": recipe.source, "known": recipe.known, "note": recipe.note}
    told |= {f"published {name}": words for name, words in recipe.published.items()}
    told |= {"gate": _gate(recipe)}
    width = max(len(name) for name in told)
    lines = [f"{name:<{width}}  {words}" for name, words in told.items() if words]
    lines += ["", "[settings]", *(f"{name} = {toml_value(value)}" for name, value in recipe.settings.items()), ""]
    return [*lines, f"dynlab pretrain --recipe {shlex.quote(given)} --data DIR --out runs/{recipe.name}"]


def toml_value(value: Any) -> str:
    """A value of a recipe as TOML has it."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name} = {toml_value(one)}' for name, one in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def length(settings: Pretraining) -> str:
    """How long a run is, in words."""
    return f"{settings.steps} steps" if settings.steps is not None else f"{settings.epochs} epochs"


def _row(recipe: Recipe) -> tuple[str, ...]:
    made = pretraining(recipe.name)
    return recipe.name, recipe.method, made.dataset, length(made), recipe.source, recipe.known


def _gate(recipe: Recipe) -> str:
    if recipe.least_gain is not None:
        return f"probe on the encoder at least {recipe.least_gain:g} above that on the random encoder"
    if recipe.most_gain is not None:
        return f"probe on the encoder less than {recipe.most_gain:g} above that on the random encoder"
    return ""


def parser() -> Parser:
    """The options."""
    what = "List the recipes of pretraining on pictures, or show one."
    p = Parser(prog=PROGRAM, description=what, epilog="example: dynlab recipes small-byol --json")
    p.add_argument("name", nargs="?", help="of a recipe, or a TOML file of one (default: the table of all)", metavar="NAME")
    p.add_argument("--json", action="store_true", help="print all that their files hold as JSON")
    return p


if __name__ == "__main__":
    sys.exit(main())

"""Recipes as TOML files: the settings of a run of pretraining, with their source and what is known of the result.

    method = "SimSiam"                        what the tables call it (default: the name of the file)
    source = "Chen & He (2021), appendix D"   where the settings come from
    known = "91.8 % linear (theirs)"          what is known of the result
    note = "..."                              more words, as many as are needed
    least_gain = 0.08                         the gate of `dynlab methods`: what the linear probe on the encoder must have
    most_gain = 0.0                           above that on the random encoder, at least or at most

    [published]                               what others measured: result, protocol, source
    [settings]                                by their names in `dynlab.images.settings.Pretraining`; - and _ are the same

Only `[settings]` must be there. The recipes that come with dynlab lie beside this module and are called as their files.
What the settings may be is known to `dynlab.images.settings`, which hands out recipes as `RECIPES` and reads a user's own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dynlab.tools.checks import SettingError, nearest, real

SUFFIX = ".toml"
FIRST = ("demo", "cpu-small", "simsiam-cifar10", "paper")  # the usual ones are listed first, the others by name
WORDS = ("method", "source", "known", "note")
GATES = ("least_gain", "most_gain")
PUBLISHED = ("result", "protocol", "source")
TABLES = ("published", "settings")


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file has it; the settings are by name, lists as tuples, and were not checked but for their table."""

    name: str
    method: str = ""
    source: str = ""
    known: str = ""
    note: str = ""
    least_gain: float | None = None
    most_gain: float | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file. Raises SettingError of one line, naming the file, and the unknown key with the nearest."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SettingError("recipe", str(path), f"a TOML file of a recipe that can be read ({why})") from None
    held = {_spelled(path, key): value for key, value in found.items()}
    _known_keys(path, "", held, (*WORDS, *GATES, *TABLES))
    if not isinstance(held.get("settings"), dict):
        raise SettingError("recipe", str(path), "a TOML file with a table [settings]")
    words = {name: _word(path, name, held[name]) for name in WORDS if name in held}
    gates = {name: _gain(path, name, held[name]) for name in GATES if name in held}
    published = held.get("published", {})
    if not isinstance(published, dict):
        raise SettingError("recipe", str(path), f"a recipe whose published is a table of {', '.join(PUBLISHED)}")
    _known_keys(path, "published", published, PUBLISHED)
    settings: dict[str, Any] = {}
    for key, value in held["settings"].items():
        name = _spelled(path, key)
        if name in settings:
            raise SettingError("recipe", str(path), f"a recipe that gives {name} once")
        settings[name] = tuple(value) if isinstance(value, list) else value
    told = {name: _word(path, f"published.{name}", value) for name, value in published.items()}
    of_file: dict[str, Any] = {"name": path.stem, "method": path.stem, **words, **gates}
    return Recipe(**of_file, published=told, settings=settings)


def is_file(given: object) -> bool:
    """Whether what was given for a recipe means a file, and no name: a path, or a word with a slash or with .toml."""
    return isinstance(given, Path) or (isinstance(given, str) and (given.endswith(SUFFIX) or "/" in given or "\\" in given))


@cache
def _read_all() -> dict[str, Recipe]:
    found = {path.stem: read_recipe(path) for path in sorted(Path(__file__).parent.glob(f"*{SUFFIX}"))}
    return {name: found[name] for name in (*FIRST, *sorted(set(found) - set(FIRST)))}


class KnownRecipes(Mapping[str, Recipe]):
    """The recipes that come with dynlab, by name; their files are read when the first is asked for."""

    def __getitem__(self, name: str) -> Recipe:
        return _read_all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_read_all())

    def __len__(self) -> int:
        return len(_read_all())


KNOWN_RECIPES = KnownRecipes()


class RecipeSettings(Mapping[str, dict[str, Any]]):
    """The settings alone of the recipes that come with dynlab, by name."""

    def __getitem__(self, name: str) -> dict[str, Any]:
        return dict(KNOWN_RECIPES[name].settings)

    def __iter__(self) -> Iterator[str]:
        return iter(KNOWN_RECIPES)

    def __len__(self) -> int:
        return len(KNOWN_RECIPES)


def _spelled(path: Path, key: str) -> str:
    name = key.replace("-", "_")
    if not name.isidentifier():
        raise SettingError("recipe", str(path), f"without the key {key!r}, which is no name")
    return name


def _known_keys(path: Path, table: str, held: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in held:
        if key not in known:
            where = f" in [{table}]" if table else ""
            also = nearest(key, known) or f" (known are {', '.join(known)})"
            raise SettingError("recipe", str(path), f"without the key {key!r}{where}, which a recipe has not{also}")


def _word(path: Path, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingError("recipe", str(path), f"a recipe whose {name} is text, not {value!r}")
    return " ".join(value.split())


def _gain(path: Path, name: str, value: object) -> float:
    try:
        return real(name, value, at_least=-1.0, at_most=1.0)
    except SettingError as error:
        raise SettingError("recipe", str(path), f"a recipe whose {error}") from None

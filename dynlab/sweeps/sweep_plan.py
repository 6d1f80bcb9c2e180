"""What a sweep is of, as a TOML file says it: a command, settings of all its points, and a grid or a list of these.

    command = "run"                  run, sgd (`dynlab run --method sgd`) or pretrain

    [settings]                       of every point, by the names of the command's options; - and _ are the same
    seeds = 400

    [grid]                           every combination; the last name varies fastest
    weak = [0.2, 0.3]
    eta-head = [0.01, 0.1]

    [[points]]                       and single ones, behind those of the grid
    weak = 0.5

What the settings may be is known to the command, whose parser looks at each point.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from dynlab.tools.checks import SettingError, nearest, one_of
from dynlab.tools.files import expanded

SWEPT = ("run", "sgd", "pretrain")
KEYS = ("command", "settings", "grid", "points")
MOST = 100_000  # points: a small file each


@dataclass(frozen=True)
class SweepPlan:
    """A sweep as it was given.

    name: of its file, for what is said of it. command: of `SWEPT`. points: the settings of each by name, values as TOML has
    them. varied: for each point the names that are its own, not those of [settings].
    """

    name: str
    command: str
    points: tuple[dict[str, Any], ...]
    varied: tuple[tuple[str, ...], ...]
    given: Mapping[str, Any]

    def refuse(self, allowed: str) -> SettingError:
        """The error that says what the file must be instead."""
        return SettingError("plan", self.name, allowed)

    def words(self, number: int) -> str:
        """Point number 0, 1, ... in words: its number from 1, and what it has of its own."""
        own = ", ".join(f"{name}={_shown(self.points[number][name])}" for name in self.varied[number])
        return f"point {number + 1} ({own})"

    def names(self) -> list[str]:
        """All names of settings, in the order in which the file has them first."""
        return list(dict.fromkeys(name for point in self.points for name in point))


def sweep_plan(given: str | Path | Mapping[str, Any]) -> SweepPlan:
    """The sweep in a TOML file, or in a mapping with the same keys. SettingError of one line, which names what is wrong."""
    if isinstance(given, Mapping):
        return _planned("a mapping", given)
    name = str(given)
    try:
        found = tomllib.loads(expanded(given).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SettingError("plan", name, f"a TOML file of a sweep that can be read ({why})") from None
    return _planned(name, found)


def _planned(name: str, found: Mapping[str, Any]) -> SweepPlan:
    for key in found:
        if key not in KEYS:
            also = nearest(key, KEYS) or f" (known are {', '.join(KEYS)})"
            raise SettingError("plan", name, f"without the key {key!r}, which a sweep has not{also}")
    command = found.get("command")
    if command not in SWEPT:
        raise SettingError("plan", name, f"a sweep whose command, {command!r}, is {one_of(command, SWEPT)}")
    common = _table(name, "[settings]", found.get("settings", {}))
    grid = _grid(name, common, found.get("grid", {}))
    single = found.get("points", [])
    if not isinstance(single, list):
        raise SettingError("plan", name, "a sweep whose points are tables, each under [[points]]")
    size = len(single) + (math.prod(map(len, grid.values())) if grid else 0)
    if not 1 <= size <= MOST:
        raise SettingError("plan", name, f"a sweep of 1 to {MOST} points, in [grid] or under [[points]]: it has {size}")
    own = [*_combinations(grid), *(_table(name, f"number {n + 1} of [[points]]", one) for n, one in enumerate(single))]
    return SweepPlan(name, str(command), tuple(common | one for one in own), tuple(map(tuple, own)), found)


def _combinations(grid: Mapping[str, list]) -> Iterator[dict[str, Any]]:
    if grid:
        yield from (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


def _grid(name: str, common: Mapping[str, Any], given: object) -> dict[str, list]:
    grid = _table(name, "[grid]", given)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise SettingError("plan", name, f"a sweep whose grid has a list of values for {key}, not {_shown(values)}")
        if key in common:
            raise SettingError("plan", name, f"a sweep that gives {key} once: it is in [settings] and in [grid]")
    return grid


def _table(name: str, where: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SettingError("plan", name, f"a sweep whose {where} is a table of settings, not {_shown(given)}")
    found: dict[str, Any] = {}
    for key, value in given.items():
        spelt = str(key).replace("-", "_")
        if spelt in found:
            raise SettingError("plan", name, f"a sweep that gives {spelt} once: it is in {where} twice")
        found[spelt] = value
    return found


def _shown(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."

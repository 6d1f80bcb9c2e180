"""How the views of a step are drawn: the first, the second, and smaller local ones.

What `dynlab.images.settings.Pretraining.augmentation` takes:

* the name of a set of `dynlab.images.data.augment.PRESETS`, alike for both views;
* a table of settings of `dynlab.images.data.augment.Augmentation`, or a file of TOML (or JSON text) that holds one. Its key
  `like` names a set to start from; its tables `second` and `local` hold what differs from the first view there:

      like = "simsiam-cifar10"
      blur = 1.0
      [second]
      blur = 0.1
      solarise = 0.2
      [local]
      size = 16

Where nothing is said of them, the second view is drawn as the first, and a local view as the first with half its side and
crops of `LOCAL_SCALE` of the area (Caron et al. 2020). All have one normalisation.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dynlab.images.data import augment
from dynlab.images.data.augment import Augmentation
from dynlab.tools.checks import SettingError, choice, one_of, require
from dynlab.tools.files import expanded

LOCAL_SCALE = (0.05, 0.4)
KEYS = tuple(field.name for field in fields(Augmentation))


@dataclass(frozen=True)
class Pipelines:
    """The augmentation of the first and the second view of a step, which have one size, and of local views.

    Raises SettingError of one line where they do not fit together.
    """

    first: Augmentation
    second: Augmentation
    local: Augmentation

    def __post_init__(self) -> None:
        require(self.second.size == self.first.size, "size", self.second.size, f"{self.first.size}, as of the first view")
        for name in ("mean", "deviation"):
            for other in (self.second, self.local):
                given, own = getattr(other, name), getattr(self.first, name)
                require(given == own, name, given, f"{own}, as of the first view")

    def __str__(self) -> str:
        return "of its own"

    @property
    def size(self) -> int:
        """Pixels of a side of the two views."""
        return self.first.size

    def for_channels(self, channels: int) -> Pipelines:
        """The same for pictures of so many channels."""
        return Pipelines(*(augment.for_channels(one, channels) for one in (self.first, self.second, self.local)))

    def plain(self) -> dict[str, Any]:
        """The table that these are read from, as JSON can hold it."""
        found = _difference(self.first, Augmentation())
        for name, one, base in (("second", self.second, self.first), ("local", self.local, usual_local(self.first))):
            if one != base:
                found[name] = _difference(one, base)
        return found


def usual_local(first: Augmentation) -> Augmentation:
    """A local view's augmentation where nothing else is said of it."""
    return replace(first, size=max(1, first.size // 2), scale=LOCAL_SCALE)


def pipelines_of(augmentation: str | Pipelines) -> Pipelines:
    """Those of a name, or what is given."""
    if isinstance(augmentation, Pipelines):
        return augmentation
    first = augment.PRESETS[augmentation]
    return Pipelines(first, first, usual_local(first))


def resolved(given: object) -> str | Pipelines:
    """A setting as it is kept: the name of a set, or pipelines; SettingError of one line for anything else."""
    if isinstance(given, Pipelines):
        return given
    if isinstance(given, Augmentation):
        return Pipelines(given, given, usual_local(given))
    if isinstance(given, str) and given.endswith(".toml"):
        return _of_text(given, _text(given), tomllib.loads)
    if isinstance(given, str) and given.lstrip().startswith("{"):
        return _of_text(given, given, json.loads)
    if isinstance(given, Mapping):
        return of_table(given)
    if not isinstance(given, str) or given not in augment.PRESETS:
        raise SettingError("augmentation", given, one_of(given, augment.PRESETS) + "; or a file FILE.toml")
    return given


def of_table(table: Mapping[str, Any]) -> Pipelines:
    """The pipelines of a table."""
    first = dict(table)
    second, local = (_part(first.pop(name, {}), name) for name in ("second", "local"))
    like = augment.PRESETS[choice("like", first.pop("like"), augment.PRESETS)] if "like" in first else Augmentation()
    base = replace(like, **_known(first, ("like", "second", "local")))
    return Pipelines(base, replace(base, **second), replace(usual_local(base), **local))


def _part(given: object, name: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SettingError(name, given, f"a table, [{name}]")
    return _known(given)


def _known(given: Mapping[str, Any], more: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings of a table, lists as tuples; SettingError for one that there is not."""
    for name in given:
        if name not in KEYS:
            raise SettingError("augmentation", name, f"a table with keys that are {one_of(name, (*KEYS, *more))}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _text(path: str) -> str:
    try:
        return expanded(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingError("augmentation", path, f"a file of TOML that can be read ({why})") from None


def _of_text(given: str, text: str, read: Any) -> Pipelines:
    try:
        table = read(text)
    except (ValueError, RecursionError) as error:
        raise SettingError("augmentation", given, f"a table of settings ({error})") from None
    return of_table(table)


def _difference(one: Augmentation, base: Augmentation) -> dict[str, Any]:
    """The settings of `one` that are not those of `base`."""
    held, other = one.plain(), base.plain()
    return {name: value for name, value in held.items() if value != other[name]}

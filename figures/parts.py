"""What the figures share: building one, its data, its settings, saving it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dynlab
from dynlab.drawing import style
from dynlab.tools.files import write_csv, write_json
from dynlab.tools.show import model_words

HEADS = {"off-diagonal": "with head", "none": "without head"}
HEAD_LOOKS = {"off-diagonal": style.marks(0), "none": style.marks(1)}
POINTS: dict[str, Any] = {"linestyle": "none", "markersize": 3.5, "elinewidth": 0.8, "capsize": 1.5}
LAW: dict[str, Any] = {"color": "0.25", "linewidth": 1.0, "zorder": 1}


def module(name: str) -> ModuleType:
    """The module of a figure."""
    return import_module(f".{name}", __package__)


def build(name: str, folder: Path, fast: bool = False) -> None:
    """Compute, check and draw a figure: NAME.csv, NAME.json (settings and version), NAME.pdf and NAME.png."""
    figure = module(name)
    folder.mkdir(parents=True, exist_ok=True)
    settings = figure.settings(fast)
    write_json(folder / f"{name}.json", {"dynlab": dynlab.__version__, "settings": settings})
    figure.compute(settings, folder)
    figure.claim(read(name, folder))
    figure.draw(folder)


def write(name: str, folder: Path, data: pd.DataFrame) -> None:
    """Write the data of a figure."""
    write_csv(folder / f"{name}.csv", data)


def read(name: str, folder: Path) -> pd.DataFrame:
    """The data of a figure, as its `draw` and its `claim` take them."""
    return pd.read_csv(folder / f"{name}.csv")


def settings_of(name: str, folder: Path) -> dict[str, Any]:
    """The settings that a figure's data were computed with."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8-sig"))["settings"]


def save(figure: Figure, name: str, folder: Path) -> None:
    """Write NAME.pdf and NAME.png, settings and version in their metadata."""
    style.save(figure, folder / name, module(name).TITLE, settings_of(name, folder))


def words(settings: Mapping[str, Any], *more: str, activation: bool = True) -> str:
    """The caption of a figure: its model, from the settings that have one, and what else is said."""
    return ", ".join([model_words(dynlab.Model(**settings["model"]), activation), *more])


def caption(figure: Figure, text: str) -> None:
    """What a figure shows, above it."""
    figure.suptitle(text, fontsize=style.CAPTION)


def letter(axes: Axes, text: str, title: str = "") -> None:
    """A panel's letter and title, above it on the left."""
    axes.set_title(rf"$\bf{{{text}}}$  {title}".rstrip(), loc="left", fontsize=8.0)


def intervals(axes: Axes, rows: pd.DataFrame, x: str, look: Mapping[str, Any], label: str) -> None:
    """Points `value` with their intervals `low` to `high` against the column x."""
    reach = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    axes.errorbar(rows[x], rows["value"], reach, label=label, **(POINTS | dict(look)))

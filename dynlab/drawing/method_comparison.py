"""The figure of a comparison of methods: what the features are worth and what shape z has, a row a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dynlab.drawing import style
from dynlab.drawing.pretraining import settings_caption
from dynlab.images.comparison.tables import SPREAD, mean_and_interval

RANDOM = "random encoder"
PANELS = (
    ("encoder", "probe", "linear probe on the encoder", "accuracy"),
    ("z", "probe", "linear probe on $z$", "accuracy"),
    ("encoder", "knn", "kNN on the encoder", "accuracy"),
    ("z", "singular_rank", "rank of $z$: 1 is collapse", "effective rank (log scale)"),
    ("z", "correlation", "correlation of $z$", "mean over pairs of outputs"),
    ("z", SPREAD, "spread of $z$ at unit length", "standard deviation"),
)
PANELS_OF_SPEECH = (
    ("encoder", "eer", "equal error rate, encoder", "rate, 0.5 is chance"),
    ("z", "eer", "equal error rate, $z$", "rate, 0.5 is chance"),
    ("encoder", "probe", "speakers by a linear probe", "accuracy"),
    ("encoder", "label_probe", "labels by a linear probe", "accuracy"),
    ("z", "rank", "rank of $z$: 1 is collapse", "effective rank (log scale)"),
    ("z", "correlation", "correlation of $z$", "mean over pairs of outputs"),
)
DIFFERENT = ("head", "normalisation", "seed", "loss", "target", "target_momentum", "stop_gradient", "decorrelation",
             "projector_norm", "head_hidden", "loss_weight", "temperature")  # fmt: skip
ROW_INCHES = 0.165


def write(folder: Path, runs: pd.DataFrame, settings: Mapping[str, Any]) -> None:
    """folder/methods as png and pdf. settings: of one of the runs, as run.json has them."""
    facts = settings_caption(settings, without=DIFFERENT)
    style.save(methods(runs, facts), folder / "methods", "What the features are worth, by method")


def methods(runs: pd.DataFrame, facts: str = "") -> Figure:
    """Six panels that share their rows, the methods: seeds as dots, means with 95 % intervals over them, and the random
    encoder as a broken line.

    runs: method, seed, representation and the columns of `PANELS`, or of `PANELS_OF_SPEECH` where they are of speech.
    facts: settings that all runs have in common.
    """
    names = [name for name in dict.fromkeys(runs["method"]) if name != RANDOM]
    with style.style():
        height = 2 * (ROW_INCHES * max(len(names), 1) + 0.7) + 0.5
        figure = style.Picture(figsize=(style.PAGE_WIDTH, height), layout="constrained")
        grid = figure.subplots(2, 3, sharey=True)
        of_speech = "eer" in runs
        panels = PANELS_OF_SPEECH if of_speech else PANELS
        for axes, (representation, column, title, label) in zip(grid.flat, panels, strict=True):
            shown = runs[runs["representation"] == representation]
            if column.endswith("rank"):
                axes.set_xscale("log")
                for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                    axis(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "125" else ""))
            floor = shown.loc[shown["method"] == RANDOM, column].mean()
            if np.isfinite(floor):
                axes.axvline(floor, color="0.4", linewidth=0.9, linestyle=(0, (4, 2)))
            for place, name in enumerate(names):
                _row(axes, place, shown.loc[shown["method"] == name, column].to_numpy(float))
            axes.set_title(title)
            axes.set_xlabel(label)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.grid(axis="y", linewidth=0.3, color="0.85")
            axes.set_axisbelow(True)
        for axes in grid[:, 0]:
            axes.set_ylabel("method")
        _same_scale([grid.flat[number] for number in range(2 if of_speech else 3)])
        for axes in grid.flat[5 if of_speech else 4 :]:
            axes.set_xlim(left=0.0)
        figure.suptitle(_caption(runs, facts), fontsize=style.CAPTION)
        return figure


def _row(axes: Axes, place: int, values: np.ndarray) -> None:
    if not len(values):
        return
    look = style.marks(0)
    mean, low, high = mean_and_interval(values)
    if axes.get_xscale() == "log":
        low = max(low, 1.0)  # no rank is below it
    bounds = None if np.isnan(high) else [[mean - low], [high - mean]]
    if len(values) > 1:
        axes.plot(
            values, np.full(len(values), place + 0.28), marker=".", linestyle="none", color=look["color"], markersize=2.5
        )
    axes.errorbar(mean, place, xerr=bounds, linestyle="none", markersize=3.5, capsize=1.5, elinewidth=0.9, **look)


def _same_scale(panels: list[Axes]) -> None:
    """The accuracies' axes are alike, so that panels can be compared."""
    limits = np.array([axes.get_xlim() for axes in panels])
    for axes in panels:
        axes.set_xlim(limits[:, 0].min(), limits[:, 1].max())


def _caption(runs: pd.DataFrame, facts: str) -> str:
    counts = runs[runs["method"] != RANDOM].groupby("method")["seed"].nunique()
    most = int(counts.max()) if len(counts) else 0
    fewest = int(counts.min()) if len(counts) else 0
    seeds = "one seed" if most == 1 else f"{most if fewest == most else f'{fewest} to {most}'} seeds (dots)"
    bars = "" if most <= 1 else "; bars: mean, 95 % interval over seeds"
    return f"{facts}{chr(10) if facts else ''}{seeds}{bars}; broken line: random encoder"

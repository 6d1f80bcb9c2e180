"""The two figures of a comparison of heads: accuracies and rank with their intervals, and the heads' norm and asymmetry."""

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
from dynlab.images.comparison.tables import mean_and_interval

KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "length": (style.marks(0), "outputs of unit length"),
    "batch": (style.marks(1), "outputs by batch norm"),
}
PANELS = (
    ("encoder", "probe", "linear probe on the encoder", "accuracy"),
    ("encoder", "knn", "kNN on the encoder", "accuracy"),
    ("z", "probe", "linear probe on $z$", "accuracy"),
    ("z", "singular_rank", "rank of $z$: 1 is collapse", "effective rank of $z$ (log scale)"),
)
RANDOM = "random encoder"
COMMON = ("head", "normalisation", "seed")  # what differs among the runs of a comparison


def write(folder: Path, runs: pd.DataFrame, curves: dict, settings: Mapping[str, Any]) -> None:
    """folder/accuracy and folder/head_curves, each as png and pdf. curves: (normalisation, head, seed) -> metrics.

    settings: of all runs, as run.json has them.
    """
    facts = settings_caption(settings, without=COMMON)
    style.save(accuracy(runs, facts), folder / "accuracy", "What the features are worth, by head")
    if curves:
        style.save(head_curves(curves, facts), folder / "head_curves", "Norm and asymmetry of the head")


def accuracy(runs: pd.DataFrame, facts: str = "") -> Figure:
    """Accuracies and the rank of z: seeds as dots, means with 95 % intervals over them, the random encoder as a line.

    facts: settings that all runs have in common, for the caption.
    """
    trained = runs[runs["head"] != RANDOM]
    heads = list(dict.fromkeys(trained["head"]))
    kinds = [kind for kind in KINDS if kind in set(trained["normalisation"])]
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 4.6), layout="constrained")
        grid = figure.subplots(2, 2, sharex=True)
        for axes, (representation, column, title, label) in zip(grid.flat, PANELS, strict=True):
            shown = runs[runs["representation"] == representation]
            floor = shown.loc[shown["head"] == RANDOM, column].mean()
            axes.axhline(floor, color="0.4", linewidth=0.9, linestyle=(0, (4, 2)), label="random encoder")
            if column == "singular_rank":
                axes.set_yscale("log")
                for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                    axis(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "125" else ""))
            for number, kind in enumerate(kinds):
                shift = 0.24 * (number - 0.5 * (len(kinds) - 1))
                _points(axes, shown[shown["normalisation"] == kind], column, heads, kind, shift)
            axes.set_title(title)
            axes.set_ylabel(label)
            axes.set_xticks(range(len(heads)), [head.replace(":", ",\n") for head in heads])
            axes.set_xlim(-0.6, len(heads) - 0.4)
        _same_scale(grid.flat[:3])
        style.label_outer(grid, "head")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        text = f"{facts}{', ' if facts else ''}{_seeds(trained)}"
        above: dict[str, Any] = {"title": text, "title_fontsize": style.CAPTION}
        figure.legend(handles, labels, loc="outside upper center", ncols=4, **above)
        return figure


def _same_scale(panels) -> None:
    """The accuracies' axes are alike, so that panels can be compared."""
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _seeds(trained: pd.DataFrame) -> str:
    """How many seeds there are, and what the bars are."""
    counts = trained.groupby(["normalisation", "head"])["seed"].nunique()
    if counts.max() == 1:
        return "one seed: no intervals over seeds"
    fewest, most = counts.min(), counts.max()
    return f"{most if fewest == most else f'{fewest} to {most}'} seeds (dots); bars: mean, 95 % interval over seeds"


def _points(axes: Axes, shown: pd.DataFrame, column: str, heads: list[str], kind: str, shift: float) -> None:
    look, label = KINDS[kind]
    first = True
    for place, head in enumerate(heads):
        values = shown.loc[shown["head"] == head, column].to_numpy()
        if not len(values):
            continue
        mean, low, high = mean_and_interval(values)
        if len(values) > 1:
            beside = np.full(len(values), place + shift + 0.09)
            axes.plot(beside, values, marker=".", linestyle="none", color=look["color"], markersize=3.0, zorder=2)
        if axes.get_yscale() == "log":
            low = max(low, 1.0)  # no rank is below it
        bounds = None if np.isnan(high) else [[mean - low], [high - mean]]
        axes.errorbar(
            place + shift, mean, bounds, linestyle="none", markersize=4.0, capsize=2.0, elinewidth=0.9,
            label=label if first else None, zorder=3, **look,
        )  # fmt: skip
        first = False


def head_curves(curves: dict, facts: str = "") -> Figure:
    """||off-diag(E)|| and ||E - E^T||/||off-diag(E)|| against the epoch, a line a seed; a column a normalisation.

    facts: settings that all runs have in common, for the caption.
    """
    kinds = [kind for kind in KINDS if any(kind == key[0] for key in curves)]
    heads = list(dict.fromkeys(key[1] for key in curves))
    seeds = {key[2] for key in curves}
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 4.2), layout="constrained")
        grid = figure.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
        named = set()
        for (kind, head, _), metrics in curves.items():
            look = {"linewidth": 0.9} | style.series(heads.index(head))
            for axes, column in zip(grid[:, kinds.index(kind)], ("head_norm", "head_asymmetry"), strict=True):
                axes.plot(metrics["epoch"], metrics[column], label=None if (axes, head) in named else f"{head} head", **look)
                named.add((axes, head))
        for axes, kind in zip(grid[0], kinds, strict=True):
            axes.set_title(KINDS[kind][1])
        grid[0, 0].set_ylabel(r"$\|$off-diag$(E)\|_F$")
        grid[1, 0].set_ylabel(r"$\|E-E^T\|_F\,/\,\|$off-diag$(E)\|_F$")
        for axes in grid.flat:
            axes.set_ylim(bottom=0.0)
        style.label_outer(grid, "epoch")
        shown = {label: handle for axes in grid[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        text = f"{facts}{', ' if facts else ''}{'one seed' if len(seeds) == 1 else f'a line for each of {len(seeds)} seeds'}"
        above: dict[str, Any] = {"title": text, "title_fontsize": style.CAPTION, "loc": "outside upper center"}
        figure.legend(shown.values(), list(shown), ncols=len(shown), **above)
        return figure

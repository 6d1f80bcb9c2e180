"""The two figures of a contest of heads: accuracies with their intervals, and the heads' norm and asymmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dynlab import plotting
from dynlab.images.tables import mean_and_interval

KINDS = {"length": ("o", plotting.COLOURS[0], "unit length"), "batch": ("s", plotting.COLOURS[1], "batch norm")}
PANELS = (
    ("encoder", "probe", "linear probe on the encoder"),
    ("z", "probe", "linear probe on $z$"),
    ("encoder", "knn", "kNN on the encoder"),
)
RANDOM = "random encoder"


def write(folder: Path, runs: pd.DataFrame, curves: dict) -> None:
    """folder/accuracy and folder/head_curves, each as png and pdf. curves: (normalisation, head, seed) -> metrics."""
    plotting.save(accuracy(runs), folder / "accuracy", "What the features are worth, by head")
    if curves:
        plotting.save(head_curves(curves), folder / "head_curves", "Norm and asymmetry of the head")


def accuracy(runs: pd.DataFrame) -> Figure:
    """A panel for each kind of accuracy: the seeds as dots, means with 95 % intervals, the random encoder as a line."""
    trained = runs[runs["head"] != RANDOM]
    heads = list(dict.fromkeys(trained["head"]))
    kinds = [kind for kind in KINDS if kind in set(trained["normalisation"])]
    with plotting.style():
        figure = Figure(figsize=(plotting.WIDTH, 2.9), layout="constrained")
        for axes, (representation, column, title) in zip(figure.subplots(1, 3), PANELS, strict=True):
            shown = runs[runs["representation"] == representation]
            floor = shown.loc[shown["head"] == RANDOM, column].mean()
            axes.axhline(floor, color="0.5", linewidth=0.9, linestyle=(0, (4, 2)), label="random encoder")
            for number, kind in enumerate(kinds):
                shift = 0.24 * (number - 0.5 * (len(kinds) - 1))
                _points(axes, shown[shown["normalisation"] == kind], column, heads, kind, shift)
            axes.set_title(title)
            axes.set_xticks(range(len(heads)), [head.replace(":", ",\n") for head in heads], rotation=35, ha="right")
            axes.set_xlim(-0.6, len(heads) - 0.4)
        figure.axes[0].set_ylabel("accuracy")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        return figure


def _points(axes, shown: pd.DataFrame, column: str, heads: list[str], kind: str, shift: float) -> None:
    marker, colour, label = KINDS[kind]
    for place, head in enumerate(heads):
        values = shown.loc[shown["head"] == head, column].to_numpy()
        if not len(values):
            continue
        mean, low, high = mean_and_interval(values)
        axes.plot(np.full(len(values), place + shift), values, ".", color=colour, markersize=3.0, alpha=0.5, zorder=2)
        bounds = None if np.isnan(low) else [[mean - low], [high - mean]]
        axes.errorbar(place + shift, mean, bounds, fmt=marker, color=colour, markersize=4.0, capsize=2.0, elinewidth=0.9,
                      label=label if place == 0 else None, zorder=3)  # fmt: skip


def head_curves(curves: dict) -> Figure:
    """||off-diag(E)|| and ||E - E^T||/||off-diag(E)|| against the epoch, seeds alike; a column a normalisation."""
    kinds = [kind for kind in KINDS if any(kind == key[0] for key in curves)]
    heads = list(dict.fromkeys(key[1] for key in curves))
    with plotting.style():
        figure = Figure(figsize=(plotting.WIDTH, 3.8), layout="constrained")
        grid = figure.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
        for (kind, head, seed), metrics in curves.items():
            for axes, column in zip(grid[:, kinds.index(kind)], ("head_norm", "head_asymmetry"), strict=True):
                colour = plotting.COLOURS[heads.index(head) % len(plotting.COLOURS)]
                label = head if seed == 0 else None
                axes.plot(metrics["epoch"], metrics[column], color=colour, linewidth=0.9, alpha=0.85, label=label)
        for axes, kind in zip(grid[0], kinds, strict=True):
            axes.set_title(KINDS[kind][2])
        grid[0, 0].set_ylabel(r"$\|$off-diag$(E)\|_F$")
        grid[1, 0].set_ylabel(r"$\|E-E^T\|_F\,/\,\|$off-diag$\|_F$")
        for axes in grid[1]:
            axes.set_xlabel("epoch")
        for axes in grid.flat:
            axes.set_ylim(bottom=0.0)
        if len(heads) > 1:
            figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(heads))
        return figure

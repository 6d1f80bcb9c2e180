"""Curves of a pretraining run from its metrics.csv: loss, spectrum, head. They draw what they read, no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynlab import plotting

PANELS = (
    ("loss", "loss", None),
    ("rank", "effective rank of $z$", 0.0),
    ("correlation", "mean |correlation| of $z$", 0.0),
    ("head_norm", r"$\|$off-diag$(E)\|_F$", 0.0),
    ("head_asymmetry", r"$\|E-E^T\|_F\,/\,\|$off-diag$(E)\|_F$", 0.0),
    ("knn", "kNN accuracy", None),
)


def write(folder: Path) -> None:
    """Draw folder/curves.png and .pdf."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    figure = curves({"": pd.read_csv(folder / "metrics.csv")})
    plotting.save(figure, folder / "curves", "Curves of pretraining", record["settings"])


def curves(runs: dict[str, pd.DataFrame], columns: Sequence[str] | None = None) -> Figure:
    """A panel for each quantity against the epoch, a line for each run; panels in which nothing is known are left out.

    runs: label -> table with the columns of metrics.csv. columns: those to show (None: all of `PANELS`).
    """
    wanted = [panel for panel in PANELS if columns is None or panel[0] in columns]
    shown = [panel for panel in wanted if any(table[panel[0]].notna().any() for table in runs.values())]
    with plotting.style():
        across = min(3, len(shown))
        down = -(-len(shown) // across)
        figure = plotting.Picture(figsize=(plotting.WIDTH, 2.0 * down + 0.3), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False, sharex=True)
        for axes, (column, label, bottom) in zip(grid.flat, shown, strict=False):
            draw(axes, runs, column)
            axes.set_ylabel(label)
            if bottom is not None:
                axes.set_ylim(bottom=bottom)
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        if len(runs) > 1:
            figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=min(len(runs), 3))
        return figure


def draw(axes, runs: dict[str, pd.DataFrame], column: str) -> None:
    """A column of the tables against the epoch."""
    for place, (label, table) in enumerate(runs.items()):
        known = table[table[column].notna()]
        marker = "o" if column == "knn" else ""
        colour = plotting.COLOURS[place % len(plotting.COLOURS)]
        axes.plot(known["epoch"], known[column], color=colour, marker=marker, markersize=3.0, label=label, linewidth=1.0)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def appraisal_figure(rows) -> Figure:
    """Accuracies with Wilson's intervals, and the eigenvalues of the features' covariances (those above 0).

    rows: as `dynlab.images.appraisal.appraise` returns them.
    """
    names = [row["representation"] for row in rows]
    with plotting.style():
        figure = plotting.Picture(figsize=(plotting.WIDTH, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        for shift, kind, label in ((-0.12, "knn", "kNN"), (0.12, "probe", "linear probe")):
            shares = [row[kind].share for row in rows]
            bounds = [row[kind].interval for row in rows]
            reach = [[y - low for y, (low, _) in zip(shares, bounds, strict=True)],
                     [high - y for y, (_, high) in zip(shares, bounds, strict=True)]]  # fmt: skip
            places = [i + shift for i in range(len(rows))]
            left.errorbar(places, shares, reach, linestyle="none", marker="o", markersize=3.5, capsize=2.0, label=label)
        left.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        left.set_xlabel("features")
        left.set_ylabel("accuracy")
        left.legend()
        for name, row in zip(names, rows, strict=True):
            values = [x for x in row["shape"].spectrum if x > 0.0]
            right.plot(range(1, len(values) + 1), values, label=name, linewidth=1.0)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("number of the eigenvalue")
        right.set_ylabel("eigenvalue of the covariances")
        right.legend(fontsize=7.0)
    return figure

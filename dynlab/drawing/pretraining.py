"""Curves of a pretraining run from its metrics.csv: loss, spectrum, head. They draw what they read, no more."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynlab.drawing import style
from dynlab.images.training.run_folder import Recorded

PANELS = (
    ("loss", "loss", None),
    ("rank", "effective rank of $z$", 0.0),
    ("correlation", "mean |correlation| of $z$", 0.0),
    ("sd", "deviation of $z$", 0.0),
    ("unit_sd", r"deviation of $z/|z|$", 0.0),
    ("head_norm", r"$\|$off-diag$(E)\|_F$", 0.0),
    ("head_asymmetry", r"$\|E-E^T\|_F\,/\,\|$off-diag$(E)\|_F$", 0.0),
    ("knn", "kNN accuracy", None),
)


def write(folder: Path) -> None:
    """Draw folder/curves.png and .pdf."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8-sig"))
    figure = curves({"": pd.read_csv(folder / "metrics.csv")}, caption=settings_caption(record["settings"]))
    style.save(figure, folder / "curves", "Curves of pretraining", record["settings"])


def run_figure(run: Recorded) -> Figure:
    """The curves of one run."""
    return curves({"": run.metrics}, caption=settings_caption(run.settings.plain()))


def settings_caption(settings: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """The settings of a run that a picture of it must say, as run.json has them; not those in `without`."""
    kinds = {"length": "outputs of unit length", "batch": "outputs by batch norm"}
    units = settings.get("hidden", 1)
    rule, outputs = settings["head"], kinds.get(settings["normalisation"], settings["normalisation"])
    parts = {
        "dataset": settings["dataset"], "encoder": f"encoder {settings['encoder']}",
        "activation": settings.get("activation") or "", "hidden": f"{units} hidden units an output" if units > 1 else "",
        "head": "no head" if rule == "none" else f"{rule} head", "normalisation": outputs,
        "loss": "" if settings["loss"] == "similarity" else f"loss {settings['loss']}",
        "budget": f"{settings['epochs']} epochs" if settings["steps"] is None else f"{settings['steps']} steps",
        "batch": f"batch {settings['batch']}",
        "lr": f"{settings['optimiser']} {settings['lr']:g} ({settings['schedule']})", "seed": f"seed {settings['seed']}",
    }  # fmt: skip
    return ", ".join(str(text) for name, text in parts.items() if text and name not in without)


def curves(runs: dict[str, pd.DataFrame], columns: Sequence[str] | None = None, caption: str = "") -> Figure:
    """A panel for each quantity against the epoch, a line for each run; panels in which nothing is known are left out.

    runs: label -> table with the columns of metrics.csv. columns: those to show (None: all of `PANELS`). caption: what is
    common to the runs. A run that ends before the longest one has a bar at its end, and the legend says where.
    """
    wanted = [panel for panel in PANELS if columns is None or panel[0] in columns]
    shown = [panel for panel in wanted if any(known(table, panel[0]) for table in runs.values())]
    with style.style():
        across = min(3, len(shown))
        down = -(-len(shown) // across)
        height = 2.0 * down + 0.2 + 0.2 * math.ceil(len(runs) / 2)
        figure = style.Picture(figsize=(style.PAGE_WIDTH, height), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False, sharex=True)
        for axes, (column, label, bottom) in zip(grid.flat, shown, strict=False):
            draw(axes, runs, column)
            axes.set_ylabel(label)
            if bottom is not None:
                axes.set_ylim(bottom=bottom)
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
        style.label_outer(grid, "epoch")
        if len(runs) > 1:
            handles, labels = grid[0, 0].get_legend_handles_labels()
            title: dict[str, Any] = {"title": caption or None, "title_fontsize": style.CAPTION}
            ncols = 3 if max(map(len, labels)) < 24 else 2
            figure.legend(handles, labels, loc="outside upper center", ncols=min(len(runs), ncols), **title)
        elif caption:
            figure.suptitle(caption, fontsize=style.CAPTION)
        return figure


def known(table: pd.DataFrame, column: str) -> bool:
    """Whether a table has a number in this column; those of earlier versions lack some."""
    return column in table and bool(table[column].notna().any())


def ends(runs: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Epoch at which each run ends that ends before the longest one."""
    last = {label: float(table["epoch"].max()) for label, table in runs.items()}
    return {label: epoch for label, epoch in last.items() if epoch < 0.99 * max(last.values())}


def draw(axes, runs: dict[str, pd.DataFrame], column: str) -> None:
    """A column of the tables against the epoch; a bar at the end of a run that ends before the others."""
    early = ends(runs)
    for place, (label, table) in enumerate(runs.items()):
        if not known(table, column):
            continue
        rows = table[table[column].notna()]
        look = style.series(place)
        if column == "knn":
            look |= {"marker": style.MARKERS[place % len(style.MARKERS)], "markersize": 3.0}
        elif len(runs) > 1:  # noise hides dash patterns
            look |= style.marks(place) | {"markersize": 3.0, "markevery": (0.03 + 0.02 * place, 0.17)}
        words = f"{label} (ends at epoch {early[label]:.0f})" if label in early else label
        axes.plot(rows["epoch"], rows[column], label=words, linewidth=1.0, **look)
        if label in early:
            axes.plot(rows["epoch"].iloc[-1], rows[column].iloc[-1], marker="|", markersize=9.0, color=look["color"])
    axes.xaxis.set_major_locator(MaxNLocator(5))


def appraisal_figure(rows) -> Figure:
    """Accuracies with Wilson's intervals, and the eigenvalues of the features' covariances (those above 0).

    rows: as `dynlab.images.worth.representations.appraise` returns them.
    """
    names = [row["representation"] for row in rows]
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, (kind, label) in enumerate({"knn": "kNN", "probe": "linear probe"}.items()):
            shares = [row[kind].share for row in rows]
            bounds = [row[kind].interval for row in rows]
            reach = [[y - low for y, (low, _) in zip(shares, bounds, strict=True)],
                     [high - y for y, (_, high) in zip(shares, bounds, strict=True)]]  # fmt: skip
            places = [i + 0.24 * place - 0.12 for i in range(len(rows))]
            look: dict[str, Any] = {"linestyle": "none", "markersize": 3.5, "capsize": 2.0} | style.marks(place)
            left.errorbar(places, shares, reach, label=label, **look)
        left.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        left.set_xlabel("features")
        left.set_ylabel("accuracy on test pictures")
        left.legend()
        for place, (name, row) in enumerate(zip(names, rows, strict=True)):
            values = [x for x in row["shape"].spectrum if x > 0.0]
            right.plot(range(1, len(values) + 1), values, label=name, linewidth=1.0, **style.series(2 + place))
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("number of the eigenvalue")
        right.set_ylabel("eigenvalue of the covariances")
        right.legend(fontsize=7.0)
        total = sorted({row[kind].total for row in rows for kind in ("knn", "probe")})
        pictures = " or ".join(f"{n}" for n in total)
        figure.suptitle(f"Frozen features; bars: 95 % intervals over {pictures} test pictures", fontsize=style.CAPTION)
    return figure

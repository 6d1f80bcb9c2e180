"""The theorem's figure: a panel a claim. It draws what it is given and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynlab.claims.claim import Curve, Finding, Panel
from dynlab.drawing.style import CAPTION, PAGE_WIDTH, Picture, marks, series, style

COLUMNS = 3
ROW_INCHES = 2.15
CROWDED = 6  # curves whose key would cover points
BROKEN = 1  # number of the first look of `style.series` that is not a solid line
FACTS = "cubic, strong 1, weak 0.3, off-diagonal head, $r = \\eta_E/\\eta$ = 0.01, unless a panel says otherwise"
HOW = "points: medians or shares with 95 % intervals; lines: laws, fitted or predicted"


def theorem_figure(panels: Mapping[int, Panel], seeds: str = "") -> Figure:
    """Panels by the number of their claim, in a grid of `COLUMNS`; points carry 95 % intervals, lines are laws.

    seeds: what the caption says of how many there are.
    """
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with style():
        alone = len(panels) == 1
        size = (PAGE_WIDTH * (0.6 if alone else columns / COLUMNS), ROW_INCHES * rows * (1.3 if alone else 1.0) + 0.3)
        figure = Picture(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (number, panel) in zip(axes, panels.items(), strict=False):
            draw_panel(place, number, panel)
        for place in axes[len(panels) :]:
            place.set_visible(False)
        facts = FACTS.replace(", unless", ",\nunless") if columns < COLUMNS else FACTS
        how = HOW.replace("; lines", ";\nlines") if columns < COLUMNS else HOW
        figure.suptitle(";\n".join([facts, how, *([seeds] if seeds else [])]), fontsize=CAPTION)
    return figure


def finding_figure(finding: Finding) -> Figure:
    """The panel of one claim."""
    return theorem_figure({finding.records[0].claim: finding.panel})


def draw_panel(axes: Axes, number: int, panel: Panel) -> None:
    """One panel: measured points with their intervals, fitted or predicted lines behind them."""
    axes.set_xscale("log" if panel.x_log else "linear")
    axes.set_yscale("log" if panel.y_log else "linear")
    points = lines = 0
    for curve in panel.curves:
        if curve.line:
            look: dict[str, Any] = {"linewidth": 1.1, "zorder": 1} | series(BROKEN + lines)
            look |= {"color": "0.25"} if lines == 0 else {}
            axes.plot(curve.x, curve.y, label=curve.label, **look)
            lines += 1
        else:
            _draw_points(axes, curve, points, panel)
            points += 1
    axes.set_title(f"{number}  {panel.title}", loc="left", fontsize=7.5)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    crowded = len(panel.curves) >= CROWDED and panel.y_log
    if crowded:  # room for the key below the points
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** (0.12 * len(panel.curves)), high)
    key: dict[str, Any] = {"fontsize": 6.0, "handlelength": 1.8, "labelspacing": 0.25, "borderaxespad": 0.2}
    axes.legend(loc="lower left" if crowded else "best", **key)


def _draw_points(axes: Axes, curve: Curve, place: int, panel: Panel) -> None:
    x, y = np.array(curve.x, dtype=float), np.array(curve.y, dtype=float)
    x = x * (1.0 + panel.spread) ** place if panel.x_log else x + panel.spread * place
    low = np.array(curve.low if curve.low is not None else y, dtype=float)
    high = np.array(curve.high if curve.high is not None else y, dtype=float)
    seen = np.isfinite(y) & (y > 0.0 if panel.y_log else True)
    reach = np.abs(np.vstack([y - np.maximum(low, 0.3 * y if panel.y_log else low), high - y]))
    axes.errorbar(
        x[seen],
        y[seen],
        reach[:, seen],
        label=curve.label,
        linestyle="none",
        markersize=3.2,
        elinewidth=0.8,
        capsize=1.5,
        zorder=2,
        **marks(place),
    )

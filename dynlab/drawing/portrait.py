"""The figure of a portrait: basins as areas, the field as arrows, nullclines, fixed points, trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from dynlab.drawing.style import CAPTION, Picture, style
from dynlab.planes.plane import LABELS
from dynlab.planes.portrait import Portrait
from dynlab.population.pair.phases import END_STATES

SIZE = (6.9, 5.2)
# Pale versions of Okabe and Ito's colours, that lines and arrows stand out from; in grey, lightness and hatches tell.
AREAS = dict(zip(END_STATES, ("#D3EEE3", "#F0A875", "#B9D7F2", "#B57FA8", "#F7F7F7", "#5F5F5F"), strict=True))
HATCHES = dict(zip(END_STATES, ("", "////", "\\\\\\\\", "++++", "....", ""), strict=True))
HATCH = "0.5"  # the colour of hatches
TO = {"merged": "to merged (parallel)", "mixed": "to mixed directions", "failed": "failed"}
ARROWS = 17  # along an axis
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#A8005C", "linestyle": (0, (4.0, 1.6))},
)
FILLS = {"stable": "full", "saddle": "left", "unstable": "none"}
PATH: dict[str, Any] = {"color": "0.15", "linewidth": 0.7, "linestyle": "-"}


def portrait_figure(found: Portrait) -> Figure:
    """One panel of the portrait found, its legend beside it, and what is held or slaved as the title."""
    with style():
        figure = Picture(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        draw_portrait(axes, found)
        axes.set_ylabel(LABELS[found.names[1]])
        figure.suptitle(found.caption.replace("; ", "\n"), fontsize=CAPTION)
        figure.legend(handles=handles([found]), loc="outside right center", ncols=1)
    return figure


def draw_portrait(axes: Axes, found: Portrait) -> None:
    """Draw all of it; the panel's y label and title are left to the caller."""
    field = found.field
    x, y = np.unique(field["x"]), np.unique(field["y"])
    codes = {name: code for code, name in enumerate(END_STATES)}
    areas = field["end_state"].map(lambda name: codes.get(name, -1)).to_numpy().reshape(len(y), len(x))
    norm = BoundaryNorm(np.arange(len(END_STATES) + 1) - 0.5, len(END_STATES))
    axes.pcolormesh(x, y, np.ma.masked_less(areas, 0), cmap=ListedColormap([*AREAS.values()]), norm=norm,
                    edgecolor="face", linewidth=0.1, zorder=0)  # fmt: skip
    for code, name in enumerate(END_STATES):
        _draw_hatch(axes, areas == code, x, y, HATCHES[name])
    _draw_arrows(axes, field, x, y)
    for name, look in zip(found.names, LOOKS, strict=True):
        for _, line in found.nullclines[found.nullclines["at_rest"] == name].groupby("branch"):
            axes.plot(line["x"], line["y"], linewidth=1.5, zorder=2, **look)
    for _, path in found.paths.groupby("trajectory"):
        axes.plot(*(path[name] for name in found.names), zorder=3, **PATH)
        axes.plot(*(path[name].iloc[0] for name in found.names), marker=".", markersize=3.5, color=PATH["color"], zorder=3)
    for row in found.fixed_points.itertuples():
        axes.plot(row.x, row.y, clip_on=False, zorder=5, **_mark(row.stability))
    half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    axes.set_xlim(x[0] - half[0], x[-1] + half[0])
    axes.set_ylim(y[0] - half[1], y[-1] + half[1])
    axes.set_xlabel(LABELS[found.names[0]])


def _draw_hatch(axes: Axes, cells: np.ndarray, x, y, hatch: str) -> None:
    """Hatch the cells (len(y), len(x)) that are True: one path over them, a rectangle for each run of a row."""
    if not hatch or not cells.any():
        return
    half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    edge = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(int), axis=1)
    corners, codes = [], []
    for (row, start), (_, stop) in zip(np.argwhere(edge == 1), np.argwhere(edge == -1), strict=True):
        left, right, low, high = x[start] - half[0], x[stop - 1] + half[0], y[row] - half[1], y[row] + half[1]
        corners += [(left, low), (right, low), (right, high), (left, high), (left, low)]
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    look: dict[str, Any] = {"facecolor": "none", "edgecolor": HATCH, "hatch": hatch, "linewidth": 0.0, "zorder": 0.5}
    axes.add_patch(PathPatch(Path(corners, codes), **look))


def _draw_arrows(axes: Axes, field, x, y) -> None:
    """Directions of the field on the plane, in units of the axes' lengths; all as long, for speeds span many decades."""
    rows = np.linspace(0, len(y) - 1, min(ARROWS, len(y)) + 2).round().astype(int)[1:-1]
    columns = np.linspace(0, len(x) - 1, min(ARROWS, len(x)) + 2).round().astype(int)[1:-1]
    chosen = np.ix_(rows, columns)
    at_x, at_y = np.meshgrid(x, y)
    u = field["rate_x"].to_numpy().reshape(at_x.shape) / np.ptp(x)
    v = field["rate_y"].to_numpy().reshape(at_x.shape) / np.ptp(y)
    speed = np.hypot(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = u / speed, v / speed
    shown = np.isfinite(u[chosen])
    parts = [part[chosen][shown] for part in (at_x, at_y, u, v)]
    axes.quiver(*parts, angles="uv", pivot="mid", color="0.45", scale=30.0, width=0.0032, headwidth=4.2, zorder=1.5)


def _mark(kind: str) -> dict:
    return {
        "marker": "o", "markersize": 7.0, "linestyle": "none", "fillstyle": FILLS[kind], "color": "black",
        "markerfacecoloralt": "white", "markeredgewidth": 1.1,
        **({"markerfacecolor": "white", "fillstyle": "full"} if kind == "unstable" else {}),
    }  # fmt: skip


def handles(portraits: list[Portrait]) -> list:
    """The legend of portraits that share a figure: what there is in any of them."""
    states = {name for found in portraits for name in found.field["end_state"]}
    kinds = {kind for found in portraits for kind in found.fixed_points["stability"]}
    x, y = portraits[0].names
    shown = [name for name in END_STATES if name in states]
    found: list[Artist] = []
    found += [
        Patch(facecolor=AREAS[name], edgecolor=HATCH, hatch=HATCHES[name], lw=0.4, label=TO.get(name, f"to {name}"))
        for name in shown
    ]
    if any(len(portrait.field) for portrait in portraits):
        arrow: dict[str, Any] = {"linestyle": "none", "marker": r"$\rightarrow$", "markersize": 8.0, "color": "0.45"}
        found.append(Line2D([], [], label="direction", **arrow))
    for name, look in zip((x, y), LOOKS, strict=True):
        found.append(Line2D([], [], linewidth=1.5, label=f"{LABELS[name]} at rest", **look))
    if any(len(portrait.paths) for portrait in portraits):
        found.append(Line2D([], [], marker=".", markersize=3.5, label="trajectory, from its dot", **PATH))
    found += [Line2D([], [], label=f"{kind} fixed point", **_mark(kind)) for kind in FILLS if kind in kinds]
    return found

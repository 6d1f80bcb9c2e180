"""The figure of a phase diagram: a map for each head, the boundary with its interval, and the prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import MaxNLocator

from dynlab.drawing.style import CAPTION, PAGE_WIDTH, Picture, style
from dynlab.maps.axes import WHOLE, Axis
from dynlab.maps.phase_map import PhaseMap
from dynlab.tools.show import model_words

COLOURS = "cividis"  # told apart by colour-blind readers, and in grey
TITLES = {"off-diagonal": "with prediction head", "none": "without head"}
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.6, foreground="white")]
THIN_HALO: list[AbstractPathEffect] = [withStroke(linewidth=1.7, foreground="white")]  # black dots show on dark areas too
BOUNDARY: dict[str, Any] = {"colors": "black", "linewidths": 1.3, "linestyles": "solid"}
INTERVAL: dict[str, Any] = {"colors": "black", "linewidths": 0.7, "linestyles": "dotted"}
PREDICTION: dict[str, Any] = {"colors": "#D55E00", "linewidths": 1.5, "linestyles": "dashed"}
MOST_VECTORS = 20_000  # cells drawn one by one in the PDF; beyond, the map (not the lines) is an image in it


def phase_figure(found: PhaseMap) -> Figure:
    """A panel for each head of the map found, with common axes and colours."""
    with style():
        heads = found.grid.heads
        figure = Picture(figsize=(PAGE_WIDTH, 3.25), layout="constrained")
        grid = figure.subplots(1, len(heads), sharex=True, sharey=True, squeeze=False)[0]
        norm = norm_of(found.measure, [found.field(head) for head in heads])
        drawn = set()
        for axes, head in zip(grid, heads, strict=True):
            drawn |= draw_map(axes, found, head, norm)
            axes.set_title(title_of(found, head))
            axes.set_xlabel(found.grid.x.label)
        grid[0].set_ylabel(found.grid.y.label)
        colour_bar(figure, norm, grid, found.measure.label)
        if drawn:
            figure.legend(handles=handles(drawn, found.level), loc="outside lower center", ncols=3)
        figure.suptitle(caption(found), fontsize=CAPTION)
    return figure


def caption(found: PhaseMap) -> str:
    """The settings that are the same at every point, and the seeds."""
    grid = found.grid
    point = grid.point(grid.x.values[0], grid.y.values[0])
    shown = {grid.x.name, grid.y.name}
    words = [model_words(point.model, without=shown)]
    words += [] if "dim" in shown else [f"dim {point.dim:g}"]
    words += [] if "eta_head" in shown or "off-diagonal" not in grid.heads else [f"head rate {point.eta_head:g}"]
    fewest, most = int(found.frame["seeds"].min()), int(found.frame["seeds"].max())
    words += [f"{most} seeds a point" if fewest == most else f"{fewest} to {most} seeds a point"]
    return ", ".join(words)


def title_of(found: PhaseMap, head: str) -> str:
    """The head of a panel, and that its map is one at all head rates where it is."""
    title = TITLES.get(head, f"head {head}")
    return title + (" (one map for all head rates)" if found.grid.repeats(head) is not None else "")


def colour_bar(figure: Figure, norm: Normalize, panels: np.ndarray, label: str) -> None:
    """A bar beside the panels, drawn as areas rather than as an image."""
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, pad=0.02, aspect=28)
    assert bar.solids is not None  # of a mappable that is filled
    bar.solids.set(rasterized=False, edgecolor="face", linewidth=0.1)
    bar.set_label(label)


def norm_of(measure, fields: list[np.ndarray]) -> Normalize:
    """Shares from 0 to 1, medians from the smallest to the largest, logarithmic for sizes and times."""
    if measure.is_share:
        return Normalize(0.0, 1.0)
    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    values = values[values > 0.0] if measure.log else values
    low, high = (values.min(), values.max()) if len(values) else (1.0, 2.0)
    if measure.log:
        return LogNorm(low, high if high > low else 2.0 * low)
    return Normalize(low, high if high > low else low + 1.0)


def draw_map(axes: Axes, found: PhaseMap, head: str, norm: Normalize) -> set[str]:
    """Draw one head's map and lines; the names of the lines that there are."""
    x, y = found.grid.x, found.grid.y
    field = np.ma.masked_invalid(found.field(head))
    axes.set_xscale("log" if x.log else "linear")
    axes.set_yscale("log" if y.log else "linear")
    mesh = axes.pcolormesh(_edges(x), _edges(y), field, norm=norm, cmap=COLOURS, edgecolor="face", linewidth=0.1)
    mesh.set_rasterized(field.size > MOST_VECTORS)
    for axis, ticks in ((x, axes.xaxis), (y, axes.yaxis)):
        if axis.name in WHOLE and not axis.log:
            ticks.set_major_locator(MaxNLocator(integer=True))
    drawn = set()
    if found.level is not None:
        lines = {"pooled_low": INTERVAL, "pooled_high": INTERVAL, "pooled": BOUNDARY, "predicted": PREDICTION}
        crossed = found.field(head, "crossed") > 0.0
        for column, look in lines.items():
            shown = found.field(head, column)
            if column != "predicted":
                shown = np.where(crossed, shown, np.nan)
            if _contour(axes, x, y, shown, found.level, look):
                drawn.add("interval" if look is INTERVAL else column)
    return drawn


def handles(drawn: set[str], level: float | None) -> list[Line2D]:
    """The lines of the legend."""
    shown = "" if level is None else f" (level {level:g})"
    texts = {"pooled": f"boundary{shown}", "interval": "95 % of the boundary", "predicted": "predicted boundary"}
    looks = {"pooled": BOUNDARY, "interval": INTERVAL, "predicted": PREDICTION}
    plain = {"colors": "color", "linewidths": "linewidth", "linestyles": "linestyle"}
    return [
        Line2D([], [], label=text, **{plain[key]: value for key, value in looks[name].items()})
        for name, text in texts.items()
        if name in drawn
    ]


def _contour(axes: Axes, x: Axis, y: Axis, field: np.ndarray, level: float, look: dict) -> bool:
    """Draw where the field passes the level; whether it does."""
    finite = field[np.isfinite(field)]
    if not len(finite) or not finite.min() < level < finite.max():
        return False
    lines = axes.contour(x.values, y.values, np.ma.masked_invalid(field), levels=[level], **look)
    lines.set_path_effects(THIN_HALO if look is INTERVAL else HALO)
    return True


def _edges(axis: Axis) -> np.ndarray:
    """Edges of the cells around the values, halfway between them on the axis's scale."""
    values = np.log(axis.values) if axis.log else np.array(axis.values, dtype=float)
    middle = (values[1:] + values[:-1]) / 2.0
    edges = np.concatenate([[2.0 * values[0] - middle[0]], middle, [2.0 * values[-1] - middle[-1]]])
    return np.exp(edges) if axis.log else edges

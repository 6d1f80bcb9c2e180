"""The picture of minibatch runs over the theory: a column an activation and head, signals above, head entries below."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynlab import plotting
from dynlab.samples.overlay import Overlay, band

THEORY: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4.0, 1.5)), "zorder": 5}


def overlay_figure(overlays: dict[str, Overlay]) -> Figure:
    """Signals |<w_j, v_l>| and |E_jr| of the smallest batch's mean with its band, and of the theory (dashed), by title."""
    with plotting.style():
        figure = plotting.Picture(figsize=(plotting.WIDTH, 3.9), layout="constrained")
        grid = figure.subplots(2, len(overlays), sharex="col", squeeze=False, height_ratios=(1.0, 0.7))
        for column, (title, some) in zip(grid.T, overlays.items(), strict=True):
            draw_band(column[0], some, min(some.runs), signals)
            draw_band(column[1], some, min(some.runs), entries)
            column[0].set_title(title)
            column[1].set_xscale("log")
            column[1].set_xlabel("time (steps times learning rate)")
        grid[0, 0].set_ylabel("signals")
        grid[1, 0].set_ylabel("head entries")
        handles = [Line2D([], [], color="0.4", linewidth=1.2, label="minibatches, mean and standard deviation over seeds"),
                   Line2D([], [], **THEORY, label="exact descent")]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def signals(run) -> np.ndarray:
    """|<w_j, v_l>| (n, m K)."""
    return np.abs(run.signal).reshape(len(run.time), -1)


def entries(run) -> np.ndarray:
    """|E_jr|, j != r (n, m (m - 1))."""
    return np.abs(run.head[:, ~np.eye(run.model.neurons, dtype=bool)])


def draw_band(axes: Axes, some: Overlay, batch: int, values) -> None:
    """Mean and band of a batch size, and the theory."""
    time, middle, low, high = band(some.runs[batch], values)
    for k in range(middle.shape[1] if middle.ndim > 1 else 0):
        colour = plotting.COLOURS[k % len(plotting.COLOURS)]
        axes.fill_between(time, low[:, k], high[:, k], color=colour, alpha=0.25, linewidth=0)
        axes.plot(time, middle[:, k], color=colour, linewidth=1.2)
    if some.exact is not None:
        axes.plot(some.exact.time, values(some.exact), **THEORY)

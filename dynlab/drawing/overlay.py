"""The picture of minibatch runs over the theory: a column an activation and head, signals above, head entries below."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynlab.drawing import style
from dynlab.samples.overlay import Overlay, band
from dynlab.tools.show import model_words

THEORY: dict[str, Any] = {"color": "black", "linewidth": 0.9, "zorder": 5}
MEAN: dict[str, Any] = {"linewidth": 2.4, "alpha": 0.6, "zorder": 3}
BAND = 0.22  # opacity


def overlay_figure(overlays: dict[str, Overlay]) -> Figure:
    """Signals |<w_j, v_l>| and |E_jr| of the smallest batch's mean with its band, and of the theory over it, by title.

    With hidden units the odd part of output j's answer to feature l is in place of the signal.

    Each curve has one colour (minibatches) and one dash pattern (theory) in all panels.
    """
    some = next(iter(overlays.values()))
    lines = names(some)
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 4.5), layout="constrained")
        grid = figure.subplots(2, len(overlays), sharex="col", squeeze=False, height_ratios=(1.0, 0.7))
        for column, (title, one) in zip(grid.T, overlays.items(), strict=True):
            draw_band(column[0], one, min(one.runs), signals)
            draw_band(column[1], one, min(one.runs), head_entries, len(lines[0]))
            column[0].set_title(title)
            column[1].set_xscale("log")
            column[1].set_xlabel("time (steps $\\times$ rate $\\eta$)")
            layered = any(run.model.layered for runs in one.runs.values() for run in runs)
            column[0].set_ylabel("answers $|o_{jl}|$" if layered else r"signals $|\langle w_j, v_l\rangle|$")
            column[1].set_ylabel("head entries $|E_{jr}|$")
        figure.align_ylabels(grid)
        theory = all(one.exact is not None for one in overlays.values())
        labels = (lines[0] + lines[1])[: style.MOST_LINES]
        shown: list[Any] = [handle(label, place, theory) for place, label in enumerate(labels)]
        shown += [(Patch(color="0.5", alpha=BAND, linewidth=0), Line2D([], [], color="0.5", **MEAN))]
        shown += [Line2D([], [], **THEORY)] if theory else []
        words = labels + ["minibatches"] + ["exact descent"] * theory
        how: dict[str, Any] = {"handler_map": {tuple: HandlerTuple(ndivide=1)}, "ncols": 4, "handlelength": 3.4}
        figure.legend(shown, words, loc="outside lower center", **how)
        activations = {run.model.activation for one in overlays.values() for runs in one.runs.values() for run in runs}
        figure.suptitle(caption(some, len(activations) == 1), fontsize=style.CAPTION)
    return figure


def one_figure(overlay: Overlay) -> Figure:
    """`overlay_figure` of one overlay, without a title."""
    return overlay_figure({"": overlay})


def handle(label: str, place: int, theory: bool) -> tuple:
    """What stands for a curve in the legend: the mean's colour, the theory's dash pattern over it."""
    look = style.series(place)
    mean = Line2D([], [], color=look["color"], **MEAN, **({} if theory else {"linestyle": look["linestyle"]}))
    return (mean, Line2D([], [], **THEORY, linestyle=look["linestyle"], label=label)) if theory else (mean,)


def names(some: Overlay) -> tuple[list[str], list[str]]:
    """Names of the signals and of the head's entries, in the order of `signals` and `head_entries`."""
    model = next(run for runs in some.runs.values() for run in runs).model
    m, k = model.neurons, model.features
    pairs = [(j, r) for j in range(m) for r in range(m) if j != r]
    return (
        [_answer(model.layered, j + 1, l + 1) for j in range(m) for l in range(k)],
        [f"$|E_{{{j + 1}{r + 1}}}|$" for j, r in pairs],
    )


def _answer(layered: bool, j: int, l: int) -> str:
    return rf"$|o_{{{j}{l}}}|$" if layered else rf"$|\langle w_{j}, v_{l}\rangle|$"


def caption(some: Overlay, activation: bool) -> str:
    """Model and settings of the runs; activation: whether to name it, as one that all have."""
    run = some.runs[min(some.runs)][0]
    given = run.settings
    words = [model_words(run.model, activation)]
    words += [f"{name} {given[name]:g}" for name in ("dim",) if name in given]
    several = f" (the smallest of {', '.join(map(str, some.runs))})" if len(some.runs) > 1 else ""
    words += [f"batches of {min(some.runs)}{several}"]
    if "eta" in given:
        words += [f"$\\eta$ = {given['eta']:g}, $\\eta_E$ = {given['eta_head']:g}"]
    words += [given["optimiser"]] if given.get("optimiser", "sgd") != "sgd" else []
    seeds = len(some.runs[min(some.runs)])
    band = f"mean $\\pm$ standard deviation of {seeds} seeds" if seeds > 1 else "one seed, so no band"
    return f"{', '.join(words)};\n{band}"


def signals(run) -> np.ndarray:
    """|<w_j, v_l>| (n, m K); with hidden units the odd answers of the outputs."""
    return np.abs(run.answers).reshape(len(run.time), -1)


def head_entries(run) -> np.ndarray:
    """|E_jr|, j != r (n, m (m - 1))."""
    return np.abs(run.head[:, ~np.eye(run.model.neurons, dtype=bool)])


def draw_band(axes: Axes, some: Overlay, batch: int, values, first: int = 0) -> None:
    """Mean and band of a batch size, and the theory; the first curve has the look number `first`."""
    time, middle, low, high = band(some.runs[batch], values)
    exact = some.exact
    for k in range(middle.shape[1] if middle.ndim > 1 else 0):
        look = style.series(first + k)
        axes.fill_between(time, low[:, k], high[:, k], color=look["color"], alpha=BAND, linewidth=0)
        dash = "-" if exact is not None else look["linestyle"]
        axes.plot(time, middle[:, k], color=look["color"], linestyle=dash, **MEAN)
    if exact is not None:
        for k, curve in enumerate(values(exact).T):
            axes.plot(exact.time, curve, linestyle=style.series(first + k)["linestyle"], **THEORY)

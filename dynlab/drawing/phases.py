"""Signals and head against time, with the four phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from dynlab.drawing.style import (
    BELOW,
    BROAD,
    CAPTION,
    COLOURS,
    CROWD,
    HEAD_COLOURS,
    LEAST,
    MARGIN_INCHES,
    MOVED,
    PAGE_WIDTH,
    PALE,
    THIN,
    TICK_INCHES,
    TIME,
    Picture,
    crowded,
    series,
    style,
)
from dynlab.population.trajectory import Trajectory
from dynlab.tools.show import head_words, model_words

PHASE_NAMES = {"I": "first feature", "II": "substitution", "III": "acceleration", "IV": "head returns"}
PHASE_SHADES = {"I": "#ffffff", "II": "#e0e0e0", "III": "#c4c4c4", "IV": "#f2f2f2"}
PHASE_INCHES = 0.37  # of the time axis that a phase gets, however short it is: room for its name


def phase_windows(run: Trajectory) -> dict[str, tuple[float, float]]:
    """The phases that a run with head went through: name -> (start, end) in time.

    I, until the first feature is learnt (T_1); II, substitution, until the head's peak (T_2); III,
    acceleration, until the second feature is learnt (T_3); IV, the head returns, to the end. Left out: an
    empty phase, and one that waits for an event that did not come.
    """
    first, peak, second = (run.events[name] for name in ("first", "peak", "second"))
    end = float(run.time[-1])
    windows = {
        "I": (0.0, first),
        "II": (first, min(peak, second) if math.isfinite(second) else peak),
        "III": (peak, second),
        "IV": (second, end),
    }
    return {name: (start, stop) for name, (start, stop) in windows.items() if start < stop}


def phases_figure(runs: Mapping[str, tuple[Trajectory, Trajectory]], starts: str = "one start") -> Figure:
    """The phases in the manner of the paper: signals and head entries against time.

    Parameters
    ----------
    runs : mapping
        Title of a column (an activation) -> the run with head and the run without, from the same start.
    starts : str
        What the caption says of the start: dimension, seed.

    Returns
    -------
    Figure
        One column a pair: signals with head, head entries, signals without head. Time is logarithmic, with
        phases that would be slivers widened to `PHASE_INCHES`; it is the same down a column.
    """
    with style():
        figure = Picture(figsize=(PAGE_WIDTH, 5.4 if len(runs) < 3 else 5.8), layout="constrained")
        grid = figure.subplots(3, len(runs), sharex="col", squeeze=False, height_ratios=(1.0, 0.6, 1.0))
        inches = PAGE_WIDTH / len(runs) - 0.55  # of a time axis, about
        for column, (title, pair) in zip(grid.T, runs.items(), strict=True):
            _column(column, title, *pair, inches)
        layered = any(pair[0].model.layered for pair in runs.values())
        what = "answers" if layered else "signals"
        labels = (f"{what}, with head", "head entries", f"{what}, without head")
        for row, label in zip(grid, labels, strict=True):
            for axes in row:
                axes.set_ylabel(label)
        figure.align_ylabels(grid)
        words = [TIME, "log scale, short phases widened"]
        if len(runs) > 2:
            words = ["time $t$", r"(steps $\times\ \eta$)", "log scale,", "short phases", "widened"]
        for axes in grid[-1]:
            axes.set_xlabel(("; " if len(runs) < 2 else "\n").join(words))
        everyone = [run for pair in runs.values() for run in pair]
        figure.legend(handles=line_handles(everyone), loc="outside lower center", ncols=6)
        seen = [name for name in PHASE_NAMES if any(name in phase_windows(pair[0]) for pair in runs.values())]
        words = [model_words(everyone[0].model, activation=False), head_words(everyone[0].settings), starts]
        phase_key(figure, seen, ", ".join(words))
    return figure


def _column(column: Sequence[Axes], title: str, with_head: Trajectory, without: Trajectory, inches: float) -> None:
    windows, shown = phase_windows(with_head), shown_times([with_head, without])
    if with_head.status == "stationary" and "IV" in windows:  # its lines go on, too
        windows["IV"] = (windows["IV"][0], max(windows["IV"][1], shown[1]))
    draw_signals(column[0], with_head, shown[1])
    draw_head(column[1], with_head, shown[1])
    draw_signals(column[2], without, shown[1])
    top = max(column[0].get_ylim()[1], column[2].get_ylim()[1])
    for axes in (column[0], column[2]):
        axes.set_ylim(BELOW * top, top)
    set_time_axis(column[0], shown, windows, inches)  # shared by the column
    draw_phases(column[0], windows, named=True)
    draw_phases(column[1], windows)
    column[0].set_title(title, fontweight="bold", pad=14)


def draw_signals(axes: Axes, run: Trajectory, end: float) -> None:
    """|<w_j, v_l>|, or what outputs answer, against time: a colour for each feature, a dash pattern for each neuron."""
    for (j, l), look in _signal_looks(run.model.neurons, run.model.features).items():
        axes.plot(*_to_end(run, np.abs(run.answers[:, j, l]), end), **look)
    _fit_height(axes, np.abs(run.answers))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def draw_head(axes: Axes, run: Trajectory, end: float) -> None:
    """|E_jr|, j != r, against time."""
    entries = np.abs(run.head - np.eye(run.model.neurons))
    for (j, r), look in _head_looks(run.model.neurons, run.model.features).items():
        axes.plot(*_to_end(run, entries[:, j, r], end), **look)
    _fit_height(axes, entries)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _to_end(run: Trajectory, values: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and values; those of a run that came to rest before `end` are continued to there."""
    if run.status != "stationary" or run.time[-1] >= end:
        return run.time, values
    return np.append(run.time, end), np.append(values, values[-1])


def _fit_height(axes: Axes, values: np.ndarray) -> None:
    """From a little below 0, so that lines on it show, to above the largest value, where the names stand."""
    finite = values[np.isfinite(values)]
    top = 1.14 * finite.max(initial=0.0) or 1.0
    axes.set_ylim(BELOW * top, top)


def draw_phases(axes: Axes, windows: Mapping[str, tuple[float, float]], named: bool = False) -> None:
    """Shade the phases; `named` also writes their numbers, and T_1, T_2, T_3 on top where they end."""
    low, high = axes.get_xlim()
    forward, inverse = axes.xaxis.get_transform(), axes.xaxis.get_transform().inverted()
    height = axes.get_xaxis_transform()
    ends = {"I": "T_1", "II": "T_2" if "III" in windows or "IV" not in windows else "T_3", "III": "T_3"}
    for name, (start, stop) in windows.items():
        start, stop = max(start, low), min(stop, high)
        if not start < stop:  # before or after what is shown
            continue
        axes.axvspan(start, stop, facecolor=PHASE_SHADES[name], edgecolor="none", zorder=0)
        if stop < high and name in ends:
            axes.axvline(stop, color="0.45", linewidth=0.6, zorder=0.5)
        if named:
            middle = inverse.transform(forward.transform([start, stop]).mean())
            axes.text(float(middle), 0.98, name, transform=height, ha="center", va="top", fontweight="bold")
        if named and stop < high and name in ends:
            axes.text(stop, 1.01, f"${ends[name]}$", transform=height, ha="center", va="bottom", fontsize=7.5)


def set_time_axis(axes: Axes, shown: tuple[float, float], windows: Mapping[str, tuple[float, float]], inches: float) -> None:
    """A log axis of about `inches` from `shown[0]` to `shown[1]`, each phase at least `PHASE_INCHES` long."""
    scale = time_scale(shown, windows, PHASE_INCHES / inches)
    axes.set_xscale("function", functions=(scale.places, scale.times))
    axes.set_xlim(*shown)
    decades = scale.decades(TICK_INCHES / inches)
    axes.xaxis.set_major_locator(FixedLocator([10.0**n for n in decades]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"$10^{{{n}}}$" for n in decades]))
    axes.xaxis.set_minor_locator(NullLocator())


@dataclass(frozen=True)
class TimeScale:
    """A logarithmic scale of time on which no phase is a sliver: `knots` (n,), log10 of times, are `at` (n,) in [0, 1].

    shown: its ends.
    """

    shown: tuple[float, float]
    knots: np.ndarray
    at: np.ndarray

    def places(self, time: np.ndarray) -> np.ndarray:
        """Where times (N,) are on the axis, in [0, 1]."""
        return np.interp(np.log10(np.maximum(time, self.shown[0])), self.knots, self.at)

    def times(self, place: np.ndarray) -> np.ndarray:
        """The times (N,) at places of the axis."""
        return 10.0 ** np.interp(place, self.at, self.knots)

    def decades(self, apart: float) -> list[int]:
        """Exponents of ten on the axis that are at least `apart` of its length from each other."""
        return _spread_decades(*self.shown, self.places, apart)


def time_scale(shown: tuple[float, float], windows: Mapping[str, tuple[float, float]], least: float) -> TimeScale:
    """The scale from `shown[0]` to `shown[1]` on which each phase takes at least the share `least`."""
    low, high = shown
    edges = {time for window in windows.values() for time in window if low < time < high}
    knots = np.log10(sorted({low, high} | edges))
    return TimeScale(shown, knots, np.concatenate([[0.0], np.cumsum(_shares(np.diff(knots), least))]))


def _shares(lengths: np.ndarray, least: float) -> np.ndarray:
    """Shares of the axis in proportion to the lengths, but none below `least`; they sum to 1."""
    least = min(least, 1.0 / len(lengths))
    shares = lengths / lengths.sum()
    short = np.zeros(len(lengths), dtype=bool)
    while (shares[~short] < least).any():
        short |= shares < least
        shares[short] = least
        rest = lengths[~short]
        shares[~short] = (1.0 - least * short.sum()) * rest / rest.sum()
    return shares


def _spread_decades(low: float, high: float, forward: Callable, apart: float) -> list[int]:
    """Exponents of ten within [low, high] whose places on the axis are at least `apart` of its length."""
    chosen: list[int] = []
    for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        if not chosen or forward(10.0**n) - forward(10.0 ** chosen[-1]) >= apart:
            chosen.append(n)
    return chosen


def shown_times(runs: Sequence[Trajectory]) -> tuple[float, float]:
    """The times to show: from `MARGIN` decades before a curve moves to `MARGIN` decades after all rest."""
    low, high = math.inf, 0.0
    for run in runs:
        n = len(run.time)
        curves = np.abs(np.hstack([run.answers.reshape(n, -1), run.head.reshape(n, -1)]))
        moved = MOVED * np.ptp(curves, axis=0).max()
        started = run.time[(np.abs(curves - curves[0]) > moved).any(axis=1)]
        resting = run.time[(np.abs(curves - curves[-1]) > moved).any(axis=1)]
        low, high = min([low, *started[:1]]), max([high, *resting[-1:]])
    positive = np.concatenate([run.time[run.time > 0] for run in runs])
    if 0.0 < low < high:
        shown = max(low / 10**MARGIN_INCHES, positive.min()), min(high * 10**MARGIN_INCHES, positive.max())
    else:  # nothing moves
        shown = (positive.min(), positive.max()) if len(positive) else (0.1, 1.0)
    # A single time, or two that are the same on paper, still need an axis.
    return shown if shown[1] > (1.0 + LEAST) * shown[0] else (shown[0] / 10.0, shown[1] * 10.0)


def _signal_looks(neurons: int, features: int) -> dict[tuple[int, int], dict]:
    """Look of w_j's signal l: the colour is the feature's, a broad line the first neuron's."""
    pairs = [(j, l) for l in range(features) for j in range(neurons)]
    if crowded(neurons, features):
        return {(j, l): series(l) | {"linewidth": 0.8} for j, l in pairs}
    return {(j, l): _look(j, l, COLOURS[l % len(COLOURS)]) for j, l in pairs}


def _head_looks(neurons: int, features: int) -> dict[tuple[int, int], dict]:
    """Look of E_jr, which lends neuron r to output j: broad where the first neuron is lent."""
    pairs = [(j, r) for r in range(neurons) for j in range(neurons) if j != r]
    if crowded(neurons, features):
        return dict.fromkeys(pairs, CROWD)
    return {(j, r): _look(r, 0, HEAD_COLOURS[n % len(HEAD_COLOURS)]) for n, (j, r) in enumerate(pairs)}


def _look(neuron: int, feature: int, colour: str) -> dict:
    """The first neuron's lines are broad, pale, below, the others' thin and above: both show everywhere."""
    if neuron == 0:
        pale = tuple(1.0 - PALE * (1.0 - part) for part in to_rgb(colour))
        return {"color": pale, "linestyle": BROAD[feature % len(BROAD)], "linewidth": 2.8, "zorder": 2}
    dashes = THIN[(feature + 2 * (neuron - 1)) % len(THIN)]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.4, "zorder": 2 + neuron}


def line_handles(runs: Sequence[Trajectory]) -> list[Line2D]:
    """Handles of the legend for the lines of `draw_signals` and `draw_head`."""
    neurons = max(run.model.neurons for run in runs)
    features = max(run.model.features for run in runs)
    signals, heads = _signal_looks(neurons, features), _head_looks(neurons, features)
    layered = any(run.model.layered for run in runs)
    if crowded(neurons, features):
        looks = {f"${_symbol(layered, 'j', l + 1)}$, all neurons": signals[0, l] for l in range(features)}
        looks |= {"$|E_{jr}|$, all entries": CROWD}
    else:
        looks = {f"${_symbol(layered, j + 1, l + 1)}$": look for (j, l), look in signals.items()}
        looks |= {f"$|E_{{{j + 1}{r + 1}}}|$": look for (j, r), look in heads.items()}
    return [Line2D([], [], label=label, **look) for label, look in looks.items()]


def _symbol(layered: bool, j: object, l: object) -> str:
    """Neuron j's signal of feature l; with hidden units the odd part of output j's answer to it."""
    return rf"|o_{{{j}{l}}}|" if layered else rf"|\langle w_{j}, v_{l}\rangle|"


def phase_key(figure: Figure, names: Sequence[str], caption: str) -> None:
    """The caption above the figure, and below it the legend of the shades of the phases where there are any."""
    if names:
        above: dict[str, Any] = {"title": caption, "title_fontsize": CAPTION, "loc": "outside upper center"}
        figure.legend(handles=phase_handles(names), ncols=4, **above)
    else:
        figure.suptitle(caption, fontsize=CAPTION)


def phase_handles(names: Sequence[str]) -> list[Patch]:
    """Handles of the legend for the shades of `draw_phases`."""
    return [
        Patch(facecolor=PHASE_SHADES[name], edgecolor="0.45", lw=0.6, label=f"{name}  {PHASE_NAMES[name]}") for name in names
    ]

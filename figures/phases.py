"""The four phases of one run: learning, substitution, acceleration, return of the head; and the same start without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dynlab
from dynlab.drawing import style
from dynlab.drawing.phases import (
    draw_head,
    draw_phases,
    draw_signals,
    line_handles,
    phase_key,
    phase_windows,
    set_time_axis,
    shown_times,
)
from dynlab.population.trajectory import Trajectory

from .parts import HEADS, save, settings_of, words, write

NAME = "phases"
TITLE = "The four phases of a run with a prediction head, and the same start without"
TRAJECTORY = "phases-{}.csv"


def settings(fast: bool) -> dict:
    return {"model": {"strong": 1.0, "weak": 0.3, "activation": "cubic"}, "dim": 100 if fast else 1000, "eta_head": 0.01}


def compute(settings: dict, folder: Path) -> None:
    """The first start that collapses without the head and learns both features, each on a neuron, with it."""
    model = dynlab.Model(**settings["model"])
    given = {"dim": settings["dim"], "seeds": 24, "eta_head": settings["eta_head"]}
    with_head, without = (dynlab.ensemble(model, head=head, **given).frame for head in HEADS)
    own = (with_head["outcome"] == "both") & (with_head["rank"] > 1.99)
    row = int((own & (without["outcome"] == "only_strong")).to_numpy().argmax())
    start = dynlab.population.starts.draw_start(model, settings["dim"], 0, row)
    rows = []
    for head in HEADS:
        run = dynlab.simulate(model, start, head=head, eta_head=settings["eta_head"])
        run.save(folder / TRAJECTORY.format(head))
        rows.append(run.frame.assign(head=head, **{f"T_{name}": time for name, time in run.events.items()}))
    data = pd.concat(rows, ignore_index=True)
    data["bound"] = np.sqrt(settings["eta_head"] / 3.0 * _largest_square(start))
    write(NAME, folder, data)


def _largest_square(start) -> float:
    """The larger |w_j(0)|^2."""
    return float(((start.signal**2).sum(1) + np.diagonal(start.noise_gram)).max())


def claim(data: pd.DataFrame) -> None:
    """Phases in order, the head within its bound and back, both features with it, one without, and the same loss."""
    run, alone = (data[data["head"] == head] for head in HEADS)
    times = run.iloc[0][["T_first", "T_peak", "T_second"]].to_numpy(dtype=float)
    assert (np.diff(times) > 0).all(), f"T_1 < T_2 < T_3, not {times}"
    head = run[["head_1_2", "head_2_1"]].abs().to_numpy().max(1)
    assert 0.5 < head.max() / run["bound"].iloc[0] < 1.001, "the head's peak is just below its bound"
    assert head[-1] < 1e-3 * head.max(), "the head returns to the identity"
    ends = {}
    for name, rows in (("with", run), ("without", alone)):
        signal = rows[[f"signal_{j}_{l}" for j in (1, 2) for l in (1, 2)]].iloc[-1].abs().to_numpy().reshape(2, 2)
        ends[name] = signal.argmax(1)
    assert set(ends["with"]) == {0, 1}, "with the head each neuron takes a feature of its own"
    assert set(ends["without"]) == {0}, "without it both take the strong one"
    assert abs(run["loss"].iloc[-1] - alone["loss"].iloc[-1]) < 1e-3, "the loss at the end is the same"


def draw(folder: Path) -> None:
    runs = [Trajectory.load(folder / TRAJECTORY.format(head)) for head in HEADS]
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 4.9), layout="constrained")
        grid = figure.subplots(3, 2, sharex=True, sharey="row", height_ratios=(1.0, 0.7, 0.7))
        windows, shown = phase_windows(runs[0]), shown_times(runs)
        tops: list[list[float]] = [[], [], []]
        for column, run, title in zip(grid.T, runs, HEADS.values(), strict=True):
            draw_signals(column[0], run, shown[1])
            draw_head(column[1], run, shown[1])
            _draw_loss(column[2], run, shown[1])
            for axes, heights in zip(column, tops, strict=True):
                heights.append(axes.get_ylim()[1])
            column[0].set_title(title, pad=14)
            column[2].set_xlabel(f"{style.TIME}\nlog scale, short phases widened")
        tops[1] = tops[1][:1]  # the head's: without one there is nothing to fit the height to
        for row, heights in zip(grid, tops, strict=True):
            row[0].set_ylim(style.BELOW * max(heights), max(heights))
        set_time_axis(grid[0, 0], shown, windows, style.PAGE_WIDTH / 2 - 0.45)
        for axes in grid[:, 0]:
            draw_phases(axes, windows, named=axes is grid[0, 0])
        for axes, label in zip(grid[:, 0], (r"signals $|\langle w_j, v_l\rangle|$", "head $|E_{jr}|$", "loss"), strict=True):
            axes.set_ylabel(label)
        figure.align_ylabels(grid[:, 0])
        figure.legend(handles=line_handles(runs), loc="outside lower center", ncols=6)
        given = settings_of(NAME, folder)
        caption = words(given, f"dim {given['dim']}, head rate {given['eta_head']:g}, one start, with and without the head")
        phase_key(figure, list(windows), caption)
    save(figure, NAME, folder)


def _draw_loss(axes: Axes, run: Trajectory, end: float) -> None:
    time, loss = (np.append(part, last) for part, last in ((run.time, max(end, run.time[-1])), (run.loss, run.loss[-1])))
    axes.plot(time, loss, color="black", linewidth=1.2)
    axes.set_ylim(0.0, 1.14 * loss.max())

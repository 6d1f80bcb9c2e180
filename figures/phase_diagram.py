"""Where the head rescues the weak feature: strength of the weak feature x head rate, for three activations."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dynlab.drawing import phase_map as map_figure
from dynlab.drawing import style
from dynlab.maps.axes import parse_axis
from dynlab.maps.grid import Grid
from dynlab.maps.measures import Measure
from dynlab.maps.phase_map import PhaseMap, phase_map

from .parts import caption, read, save, settings_of, write

NAME = "phase_diagram"
TITLE = "Share of starts that learn both features over weak strength and head rate"


def settings(fast: bool) -> dict:
    size = (4, 3) if fast else (16, 13)
    return {
        "activations": ["cubic", "relu3", "relu"],
        "x": f"weak=0.1:1:{size[0]}",
        "y": f"eta-head=1e-3:1:{size[1]}:log",
        "dim": 1000,
        "seeds": 6 if fast else 32,
    }


def grid_of(settings: dict, activation: str) -> Grid:
    x, y = (parse_axis(name, settings[name]) for name in ("x", "y"))
    return Grid(x, y, {"activation": activation, "dim": settings["dim"]})


def compute(settings: dict, folder: Path) -> None:
    """The maps of `dynlab.phase`, one below the other; interrupted, they go on where they were."""
    parts = []
    for activation in settings["activations"]:
        store = folder / f"{NAME}-{activation}-{settings['seeds']}"
        frame = phase_map(grid_of(settings, activation), store, seeds=settings["seeds"]).frame
        parts.append(frame.assign(activation=activation))
    write(NAME, folder, pd.concat(parts, ignore_index=True))


def claim(data: pd.DataFrame) -> None:
    """For cubic the head rescues the weak feature at every strength up to 0.7; for relu at none."""
    shares = data[data["weak"] <= 0.7].groupby(["activation", "head"])["value"].mean()
    assert shares["cubic", "off-diagonal"] > shares["cubic", "none"] + 0.4, "the head rescues for cubic"
    assert abs(shares["relu", "off-diagonal"] - shares["relu", "none"]) < 0.1, "it does not for relu"
    assert shares["relu3", "off-diagonal"] > shares["relu3", "none"], "and does something for relu3"
    assert (data["failed"] == 0).all(), "no trajectory failed"


def draw(folder: Path) -> None:
    data, given = read(NAME, folder), settings_of(NAME, folder)
    measure = Measure.named("both")
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 4.2), layout="constrained")
        panels = figure.subplots(2, len(given["activations"]), sharex=True, sharey=True)
        norm, drawn = map_figure.norm_of(measure, []), set()
        for column, activation in zip(panels.T, given["activations"], strict=True):
            grid = grid_of(given, activation)
            rows = data[data["activation"] == activation]
            found = PhaseMap(grid, measure, measure.level, rows, 0, ())
            for axes, head in zip(column, grid.heads, strict=True):
                drawn |= map_figure.draw_map(axes, found, head, norm)
            column[0].set_title(activation)
            column[1].set_xlabel(r"weak strength $\alpha_2$")
        for axes, text in zip(panels[:, 0], ("with head", "without head"), strict=True):
            axes.set_ylabel(f"{text}\n\nhead rate $\\eta_E/\\eta$")
        map_figure.colour_bar(figure, norm, panels, measure.label)
        caption(figure, f"strong 1, dim {given['dim']}, {given['seeds']} starts a point and head")
        if drawn:
            figure.legend(handles=map_figure.handles(drawn, measure.level), loc="outside lower center", ncols=3)
    save(figure, NAME, folder)

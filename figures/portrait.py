"""What a borrowed feature does to the other neuron's race: basins on its two signals, with E_21 = 0 and at its peak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dynlab.drawing import style
from dynlab.planes.plane import LABELS, Plane, Side
from dynlab.planes.portrait import Portrait
from dynlab.planes.portrait import compute_portrait as compute_portrait
from dynlab.settings.model import Model
from dynlab.tools.checks import available_threads
from dynlab.tools.files import write_csv
from dynlab.tools.show import model_words

from .parts import letter, read, save, settings_of, write

NAME = "portrait"
TITLE = "Basins of attraction of the second neuron with and without a borrowed feature"
PANELS = {"none": "no head", "start": "head, $E_{21} = 0$", "peak": "head, $E_{21}$ near its peak"}
TABLES = ("nullclines", "fixed_points", "paths")


def settings(fast: bool) -> dict:
    return {
        "lender": {"w11": 0.99, "w12": 0.01},
        "borrowed": 0.95,
        "eta_head": 0.01,
        "reach": 0.2,
        "points": 16 if fast else 60,
        "paths": 4 if fast else 16,
        "until": 1e9,
    }


def plane_of(settings: dict, panel: str) -> Plane:
    """A panel's plane. With E_21 at the part f of its bound sqrt(r/3), |w_2|^2 has fallen to 1 - f^2 and |w_1|^2 has grown
    to 1 + f^2, by the conservation laws of the flow from |w_1| = |w_2| = 1, E = I."""
    f = settings["borrowed"] if panel == "peak" else 0.0
    rate = 0.0 if panel == "none" else settings["eta_head"]
    x, y = (Side(name, -settings["reach"], settings["reach"]) for name in ("w21", "w22"))
    lengths = {"w1": (1.0 + f * f) ** 0.5, "w2": (1.0 - f * f) ** 0.5}
    lender = {name: value * lengths["w1"] for name, value in settings["lender"].items()}
    return Plane(Model(), rate, x, y, lender | lengths | {"E21": f * (settings["eta_head"] / 3.0) ** 0.5})


def compute(settings: dict, folder: Path) -> None:
    fields = []
    parts: dict = {name: [] for name in TABLES}
    for panel in PANELS:
        found = compute_portrait(
            plane_of(settings, panel), settings["points"], settings["paths"],
            until=settings["until"], threads=available_threads(),
        )  # fmt: skip
        fields.append(found.field.assign(panel=panel))
        for name in TABLES:
            parts[name].append(getattr(found, name).assign(panel=panel))
    write(NAME, folder, pd.concat(fields, ignore_index=True))
    for name, tables in parts.items():
        write_csv(folder / f"{NAME}-{name}.csv", pd.concat([t for t in tables if len(t)], ignore_index=True))


def claim(data: pd.DataFrame) -> None:
    """Without a head the race alone decides; the head widens the basin of the weak feature, and once a feature is borrowed
    it is the sign of <w_2, v_1> that decides, that is, whether what is lent agrees with what the borrower has."""
    assert not (data["end_state"] == "failed").any(), "every trajectory ended"
    diverse = data["end_state"] == "diverse"
    share = diverse.groupby(data["panel"]).mean()
    alone, after, peak = (data["panel"] == panel for panel in PANELS)
    slope = np.abs(data["y"] / data["x"]) * 0.3**1.5
    assert (diverse == (slope > 1.0))[alone & (np.abs(np.log(slope)) > 0.4)].mean() > 0.97, "the race decides without head"
    assert share["start"] > 0.6 > share["none"] + 0.3, "the head widens the basin of the weak feature"
    agree, against = data["x"] > 0.0, data["x"] < -data["x"].max() / 2.0
    assert diverse[peak & agree].mean() > 0.95, "what is borrowed in agreement leads to the weak feature"
    assert diverse[peak & against].mean() < 0.05, "what is borrowed against it does not"


def draw(folder: Path) -> None:
    from dynlab.drawing.portrait import draw_portrait, handles

    data, given = read(NAME, folder), settings_of(NAME, folder)
    tables = {name: pd.read_csv(folder / f"{NAME}-{name}.csv") for name in TABLES}
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 3.6), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
        drawn = []
        for axes, (panel, title), mark in zip(panels, PANELS.items(), "abc", strict=True):
            rows = {name: table[table["panel"] == panel] for name, table in tables.items()}
            found = Portrait(("w21", "w22"), "", data[data["panel"] == panel].fillna({"end_state": ""}), **rows)
            draw_portrait(axes, found)
            letter(axes, mark, title)
            axes.set_box_aspect(1.0)
            axes.set_xticks([-given["reach"], 0.0, given["reach"]])
            axes.set_yticks([-given["reach"], 0.0, given["reach"]])
            drawn.append(found)
        panels[0].set_ylabel(LABELS["w22"])
        figure.suptitle(_held(given), fontsize=style.CAPTION)
        figure.legend(handles=handles(drawn), loc="outside lower center", ncols=4)
    save(figure, NAME, folder)


def _held(given: dict) -> str:
    """What the panels hold, in two lines."""
    held = plane_of(given, "peak").held
    lender = ", ".join(f"{LABELS[name]} = {value:g} {LABELS['w1']}" for name, value in given["lender"].items())
    first = f"{model_words(Model())}, any dimension; held: {lender}, {LABELS['E12']} = 0;"
    late = ", ".join(f"{LABELS[name]} = {held[name]:.3g}" for name in ("E21", "w1", "w2"))
    early = f"a, b: {LABELS['E21']} = 0, {LABELS['w1']} = {LABELS['w2']} = 1"
    return f"{first}\n{early}; c: {late}; b, c: head trains at $\\eta_E/\\eta$ = {given['eta_head']:g}"

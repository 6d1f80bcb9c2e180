"""The loss does not tell collapse, the spectrum does: collapsed and diverse runs end at the same, lowest loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import dynlab
from dynlab.claims.same_loss import lowest_loss
from dynlab.drawing import style
from dynlab.population.moments import output_rank

from .parts import HEADS, caption, letter, read, save, settings_of, words, write

NAME = "collapse_at_equal_loss"
TITLE = "Effective rank against the loss: collapsed and diverse runs end at the same loss"
LOOKS: dict[object, dict[str, Any]] = {"off-diagonal": style.series(0), "none": style.series(1)}
ENDS = {"off-diagonal": "o", "none": "s"}
NEAR = 1e-6  # above the lowest loss, where curves end in the picture


def settings(fast: bool) -> dict:
    model = {"strong": 1.0, "weak": 0.3, "activation": "cubic"}
    return {"model": model, "dim": 1000, "eta_head": 0.01, "runs": 3 if fast else 5}


def compute(settings: dict, folder: Path) -> None:
    """Starts that end diverse with the head and collapsed without: a row a time, with loss, its excess, and rank."""
    model = dynlab.Model(**settings["model"])
    given = {"dim": settings["dim"], "seeds": 8 * settings["runs"], "eta_head": settings["eta_head"]}
    frames = {head: dynlab.ensemble(model, head=head, **given).frame for head in HEADS}
    kept = (frames["off-diagonal"]["rank"] > 1.99) & (frames["none"]["outcome"] == "only_strong")
    parts = []
    for number in np.flatnonzero(kept)[: settings["runs"]]:
        start = dynlab.population.starts.draw_start(model, settings["dim"], 0, int(number))
        for head in HEADS:
            run = dynlab.simulate(model, start, head=head, eta_head=settings["eta_head"])
            numbers = {"time": run.time, "loss": run.loss, "excess": run.loss - lowest_loss(model)}
            numbers["rank"] = output_rank(model, run.signal, run.noise_gram)
            parts.append(pd.DataFrame({"run": number, "head": head, **numbers}))
    write(NAME, folder, pd.concat(parts, ignore_index=True))


def claim(data: pd.DataFrame) -> None:
    """At the end the losses are equal to 1e-6, the ranks are 2 with the head and 1 without."""
    ends = data.groupby(["run", "head"]).last().reset_index()
    assert len(ends) >= 6, "enough runs"
    assert ends["excess"].abs().max() < 1e-6, "every run ends at the lowest loss"
    ranks = ends.set_index("head")["rank"]
    assert ranks["off-diagonal"].min() > 1.99 and ranks["none"].max() < 1.01, "the rank tells collapse"


def draw(folder: Path) -> None:
    data = read(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for (_, head), rows in data.groupby(["run", "head"]):
            seen = rows[rows["time"] > 0.0]
            left.plot(seen["time"], seen["loss"], linewidth=0.9, **LOOKS[head])
            falling = rows[rows["excess"] > NEAR]
            right.plot(falling["excess"], falling["rank"], linewidth=0.9, **LOOKS[head])
            end = {"marker": ENDS[head], "markersize": 3.5} | LOOKS[head]
            right.plot(falling["excess"].iloc[-1:], falling["rank"].iloc[-1:], **end)
        left.set_xscale("log")
        left.set_xlim(1e2, 1e9)
        left.set_xlabel(style.TIME)
        left.set_ylabel("loss")
        letter(left, "a", "loss")
        right.set_xscale("log")
        right.invert_xaxis()
        right.set_ylim(0.95, 2.05)
        right.set_xlabel("loss above the lowest loss (falling to the right)")
        right.set_ylabel("effective rank of the outputs")
        letter(right, "b", "rank against loss")
        handles = [Line2D([], [], label=text, linewidth=1.2, **LOOKS[head]) for head, text in HEADS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        given = settings_of(NAME, folder)
        starts = f"{data['run'].nunique()} starts, each with and without the head; circle, square: where curves end"
        caption(figure, words(given, f"dim {given['dim']}, head rate {given['eta_head']:g}, {starts}"))
    save(figure, NAME, folder)

"""The heads side by side: which share of the starts learns both features, and when, as the weak feature gets weaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import dynlab
from dynlab.drawing import style
from dynlab.tools.intervals import wilson

from .parts import caption, intervals, letter, read, save, settings_of, write

NAME = "head_zoo"
TITLE = "Share of starts that learn both features, and when, under six head rules"
HEADS = ("off-diagonal", "linear", "symmetric", "directpred", "directcopy", "none")
LABELS = {"off-diagonal": "off-diagonal", "linear": "linear", "symmetric": "symmetric", "directpred": "DirectPred",
          "directcopy": "DirectCopy", "none": "no head"}  # fmt: skip
LOOKS = {head: style.marks(n) for n, head in enumerate(HEADS)}
JOINED: dict[str, Any] = {"linewidth": 0.8}
BESIDE = 0.013  # of the weak strength, from one head to the next, so that all show


def settings(fast: bool) -> dict:
    weak = (0.3, 0.6) if fast else (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    size = {"weak": list(weak), "seeds": 48 if fast else 256}
    return {"activation": "cubic", "dim": 1000, "eta_head": 0.01, "until": 1e11} | size


def compute(settings: dict, folder: Path) -> None:
    rows = []
    for weak in settings["weak"]:
        model = dynlab.Model(activation=settings["activation"], weak=weak)
        for head in HEADS:
            training = dynlab.Training(head=head, eta_head=settings["eta_head"])
            run = dynlab.ensemble(model, settings["dim"], settings["seeds"], training=training, until=settings["until"])
            count = int((run.frame["outcome"] == "both").sum())
            failed = int((run.frame["outcome"] == "failed").sum())
            low, high = wilson(count, settings["seeds"])
            quarters = np.nanquantile(run.frame["time_second"], (0.25, 0.5, 0.75)) if count else [np.nan] * 3
            rows.append((weak, head, count / settings["seeds"], low, high, *quarters, failed))
    columns = ["weak", "head", "value", "low", "high", "time_low", "time", "time_high", "failed"]
    write(NAME, folder, pd.DataFrame(rows, columns=columns))


def claim(data: pd.DataFrame) -> None:
    """Every head beats none at weak 0.3, a linear head does what the off-diagonal one does, the symmetric one much later;
    DirectPred rescues less often."""
    assert (data["failed"] == 0).all(), "no trajectory fails"
    at = data[np.isclose(data["weak"], 0.3)].set_index("head")
    for head in HEADS[:-1]:
        assert at.loc[head, "low"] > at.loc["none", "high"], f"{head} rescues the weak feature"
    assert abs(at.loc["linear", "value"] - at.loc["off-diagonal", "value"]) < 0.05, "a free diagonal changes little"
    assert at.loc["directpred", "value"] < at.loc["off-diagonal", "low"], "DirectPred rescues less often"
    for head in ("symmetric", "directpred"):
        assert at.loc[head, "time"] > 3.0 * at.loc["off-diagonal", "time"], f"{head} takes longer"


def draw(folder: Path) -> None:
    data = read(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        for n, head in enumerate(HEADS):
            rows = data[data["head"] == head].sort_values("weak")
            beside = rows.assign(weak=rows["weak"] + BESIDE * (n - 2.5))
            intervals(left, beside, "weak", LOOKS[head] | JOINED | style.series(n), LABELS[head])
            times = beside.assign(value=beside["time"], low=beside["time_low"], high=beside["time_high"])
            intervals(right, times.dropna(subset="time"), "weak", LOOKS[head] | JOINED | style.series(n), LABELS[head])
        for axes in (left, right):
            axes.set_xlabel(r"weak strength $\alpha_2$")
        left.set_ylim(0.0, 1.05)
        left.set_ylabel("share that learns both features")
        right.set_yscale("log")
        right.set_ylabel(r"time of the second feature (steps $\times\ \eta$)")
        letter(left, "a", "95 % intervals")
        letter(right, "b", "medians and quartiles")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=4.0)
        given = settings_of(NAME, folder)
        said = [given["activation"], "strong 1", f"dim {given['dim']}", f"head rate {given['eta_head']:g}"]
        said += [f"to time $10^{{{round(np.log10(given['until']))}}}$", f"{given['seeds']} starts a point"]
        caption(figure, f"{', '.join(said)}; points of one strength stand side by side")
    save(figure, NAME, folder)

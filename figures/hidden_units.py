"""Hidden units: why relu networks are rescued where relu neurons are not, and how the head returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dynlab
from dynlab.claims.claim import share
from dynlab.claims.hidden_rescue import DIVERSE
from dynlab.drawing import style
from dynlab.population.moments import LEARNT
from dynlab.tools.fits import median_interval

from .parts import caption, intervals, letter, read, save, settings_of, words, write

NAME = "hidden_units"
TITLE = "With hidden units the head rescues relu outputs, and returns to the identity"


def settings(fast: bool) -> dict:
    return {
        "model": {"strong": 1.0, "weak": 0.3, "activation": "relu"},
        "hidden": [1, 4] if fast else [1, 2, 4],
        "rates": [0.0, 0.1] if fast else [0.0, 0.1, 1.0],
        "seeds": 48 if fast else 400,
        "dim": 1000,
    }


def compute(settings: dict, folder: Path) -> None:
    """A row a number of hidden units, rate and quantity: value and 95 % interval."""
    rows = []
    for hidden in settings["hidden"]:
        model = dynlab.Model(**settings["model"], hidden=hidden, readout="own")
        for rate in settings["rates"]:
            rule = {"head": "off-diagonal", "eta_head": rate} if rate > 0.0 else {"head": "none"}
            frame = dynlab.ensemble(model, dim=settings["dim"], seeds=settings["seeds"], **rule).frame
            good = frame[frame["outcome"] != "failed"]
            found = {
                "weak": share((good[["carried_1_2", "carried_2_2"]].max(axis=1) > LEARNT).to_numpy()),
                "rank": share((good["rank"] > DIVERSE).to_numpy()),
            }
            if rate > 0.0:
                found |= {name: median_interval(good[name].to_numpy()) for name in ("head_peak", "head_end")}
            rows += [(hidden, rate, name, *values) for name, values in found.items()]
    write(NAME, folder, pd.DataFrame(rows, columns=["hidden", "rate", "quantity", "value", "low", "high"]))


def table(data: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Values of a quantity: a row a number of hidden units, a column a rate."""
    return data[data["quantity"] == quantity].pivot(index="hidden", columns="rate", values="value")


def claim(data: pd.DataFrame) -> None:
    """One unit an output: nothing rescues the weak feature. Four: the head does, outputs differ, and it returns."""
    weak, rank, peak, end = (table(data, name) for name in ("weak", "rank", "head_peak", "head_end"))
    assert (weak.loc[1] < 0.02).all(), "no start of one unit learns the weak feature"
    assert weak.loc[4, 0.1] > weak.loc[4, 0.0] + 0.1, "with four units the head rescues it"
    assert rank.loc[4, 0.1] > rank.loc[4, 0.0] + 0.1, "and outputs are one less often"
    assert end.loc[4, 0.1] < 0.05 * peak.loc[4, 0.1], "the head has returned to the identity"


def draw(folder: Path) -> None:
    data = read(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 2.7), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        looks = {rate: style.marks(n) for n, rate in enumerate(sorted(data["rate"].unique()))}
        for axes, quantity in ((left, "weak"), (middle, "rank")):
            for rate, rows in data[data["quantity"] == quantity].groupby("rate"):
                label = "without head" if rate == 0.0 else f"$r$ = {rate:g}"
                intervals(axes, rows, "hidden", looks[rate] | {"linestyle": "-", "linewidth": 0.6}, label)
            axes.set_ylim(-0.03, 1.5)  # room for the key
            axes.set_yticks(np.arange(0.0, 1.01, 0.2))
            axes.set_ylabel("share of starts")
            axes.legend(loc="upper right")
        _heads(right, data, looks)
        for axes in (left, middle, right):
            axes.set_xlabel("hidden units $H$ of an output")
            axes.set_xticks(sorted(data["hidden"].unique()))
        letter(left, "a", "weak feature carried")
        letter(middle, "b", f"outputs of rank above {DIVERSE:g}")
        letter(right, "c", "head, peak and end")
        given = settings_of(NAME, folder)
        said = f"dimension {given['dim']}, {given['seeds']} starts a point; bars: 95 % intervals"
        caption(figure, words(given, said))
    save(figure, NAME, folder)


def _heads(axes: Axes, data: pd.DataFrame, looks: dict) -> None:
    """Median peak (line) and end (dashed) of the head's size against the number of hidden units."""
    for quantity, line in (("head_peak", "-"), ("head_end", (0, (3.0, 1.5)))):
        for rate, rows in data[data["quantity"] == quantity].groupby("rate"):
            look: dict[str, Any] = looks[rate] | {"linestyle": line, "linewidth": 0.8}
            shown = rows.assign(**{name: np.maximum(rows[name], 1e-8) for name in ("value", "low", "high")})
            intervals(axes, shown, "hidden", look, f"{quantity.removeprefix('head_')}, $r$ = {rate:g}")
    axes.set_yscale("log")
    axes.set_ylim(1e-11, 5.0)  # room for the key below
    axes.set_ylabel("median size of the head")
    axes.legend(loc="lower left")

"""Two routes to rescue, before the borrower collapses (r d >> 1) or after (r d << 1): what they do to gain and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dynlab
from dynlab.claims import routes
from dynlab.claims.claim import share
from dynlab.drawing import style
from dynlab.tools.fits import median_interval

from .parts import LAW, caption, intervals, letter, read, save, settings_of, words, write

NAME = "two_routes"
TITLE = "Two routes to rescue, with a crossover near r d = 1"
LOOKS = {dim: {"color": style.COLOURS[n], "marker": "osD^v"[n]} for n, dim in enumerate(routes.DIMS)}
GUIDE = LAW | {"linewidth": 0.6}
SHOWN = 10**3  # dimension of the last panel


def settings(fast: bool) -> dict:
    return {
        "model": {"strong": 1.0, "weak": 0.3, "activation": "cubic"},
        "dims": [10**3, 10**4] if fast else list(routes.DIMS),
        "rates": list(routes.RATES),
        "seeds": 200 if fast else 1000,
        "horizon": routes.HORIZON,  # in units of dim^2
    }


def compute(settings: dict, folder: Path) -> None:
    """A row a dimension, rate and quantity: value and 95 % interval."""
    model, rows = dynlab.Model(**settings["model"]), []
    for dim in settings["dims"]:
        ends = {"dim": dim, "seeds": settings["seeds"], "until": settings["horizon"] * float(dim) ** 2}
        without = dynlab.ensemble(model, head="none", **ends)
        for rate in settings["rates"]:
            cell = routes.measure(dynlab.ensemble(model, eta_head=rate, **ends), without)
            found = {
                "late": share(cell.late),
                "gain": median_interval(cell.gain),
                "favoured": share(cell.gain > cell.gain_first),
                "merged": share(cell.merged),
                "rule": share(cell.said),
                "first rule": share(cell.said_first),
                "right": share(cell.said == cell.merged),
            }
            rows += [(dim, rate, name, *values) for name, values in found.items()]
    write(NAME, folder, pd.DataFrame(rows, columns=["dim", "rate", "quantity", "value", "low", "high"]))


def claim(data: pd.DataFrame) -> None:
    """Borrowers collapse first below r d = 1; the gain over E = I is above 1 there alone; v_2 is favoured always; the rule
    of both routes tells who fails, that of the first does not."""
    for dim, rows in data.groupby("dim"):
        table = rows.pivot(index="rate", columns="quantity", values="value")
        x = table.index.to_numpy() * dim
        slow, fast = x < 0.3, x > 30.0
        assert (table["late"][slow] > 0.6).all() and (table["late"][fast] < 0.4).all(), f"crossover near r d = 1, dim {dim}"
        assert (np.diff(table["late"]) <= 0.0).all(), f"the faster the head, the fewer borrowers collapse first, dim {dim}"
        assert (table["gain"][slow] > 1.0).all() and (table["gain"][fast] < 1.0).all(), f"gain over E = I, dim {dim}"
        assert (table["favoured"] > 0.99).all(), f"the head favours v_2 on both routes, dim {dim}"
        if dim >= routes.LARGE:
            assert (table["right"] > 0.9).all(), f"the rule tells who fails, dim {dim}"
    shown = data[data["dim"] == SHOWN].pivot(index="rate", columns="quantity", values="value")
    assert shown.loc[1e-4, "merged"] > 2.0 * shown.loc[1e-2, "merged"], "more fail again as r falls at fixed d"
    assert shown.loc[1e-4, "first rule"] < 0.3 * shown.loc[1e-4, "merged"], "which the first route's rule does not say"


def draw(folder: Path) -> None:
    data = read(NAME, folder).assign(x=lambda rows: rows["rate"] * rows["dim"])
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 2.6), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for axes, quantity in ((left, "late"), (middle, "gain")):
            for dim, rows in data[data["quantity"] == quantity].groupby("dim"):
                intervals(axes, rows, "x", LOOKS[dim], f"$10^{{{round(np.log10(dim))}}}$")
            axes.axvline(1.0, **GUIDE)
            axes.set_xscale("log")
            axes.set_xlabel(r"$r\,d$,  $r = \eta_E/\eta$")
        left.set_ylim(-0.03, 1.03)
        left.set_ylabel("share of newly rescued starts")
        for axes in (left, middle):
            axes.legend(title="dimension $d$", title_fontsize=8.0, loc="upper right")
        middle.axhline(1.0, **GUIDE)
        middle.set_yscale("log")
        middle.set_ylabel("median gain over $E = I$ at $T_2$")
        _failures(right, data[data["dim"] == SHOWN])
        letter(left, "a", "borrower on $v_1$ at $T_2$")
        letter(middle, "b", "gain at the same state")
        letter(right, "c", f"failures, $d = 10^{{{round(np.log10(SHOWN))}}}$")
        given = settings_of(NAME, folder)
        said = f"{given['seeds']} starts a point, {given['horizon']:g} d^2 units of time; bars: 95 % intervals"
        caption(figure, words(given, said))
    save(figure, NAME, folder)


def _failures(axes: Axes, data: pd.DataFrame) -> None:
    look = {"color": "0.1", "marker": "P"}
    intervals(axes, data[data["quantity"] == "merged"], "rate", look, "measured")
    for n, (quantity, label) in enumerate((("rule", "rule, both routes"), ("first rule", "first route's alone"))):
        rows = data[data["quantity"] == quantity]
        dash = ((0, (4.0, 1.4)), (0, (1.2, 1.0)))[n]
        line: dict[str, Any] = {"color": style.COLOURS[1 + n], "linestyle": dash, "linewidth": 1.2}
        axes.plot(rows["rate"], rows["value"], label=label, **line)
    axes.set_xscale("log")
    axes.set_ylim(0.0, 1.5 * data.loc[data["quantity"] == "merged", "high"].max())
    axes.set_xlabel(r"$r = \eta_E/\eta$")
    axes.set_ylabel("share merged")
    axes.legend(loc="upper right")

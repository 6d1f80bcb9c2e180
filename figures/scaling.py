"""The theorem's exponents: T_1 ~ d^2, and a head peak ~ sqrt(eta_head/eta) just below its bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dynlab
from dynlab.drawing import style
from dynlab.tools.fits import PowerLaw, median_interval, median_law

from .parts import LAW, caption, intervals, letter, read, save, settings_of, words, write

PALE = "#F3B98E"  # under the law, which it nearly coincides with
NAME = "scaling"
TITLE = "Scaling of the first feature's time and of the head's peak"
QUANTITIES = {"T_1": ("time_first", 2.0), "peak": ("head_peak", 0.5)}


def settings(fast: bool) -> dict:
    return {
        "model": {"strong": 1.0, "weak": 0.3, "activation": "cubic"},
        "dims": [10**n for n in ((3, 5, 7) if fast else range(2, 11))],
        "rates": [10.0**n for n in ((-3, -2, -1) if fast else np.arange(-4.0, 0.01, 0.5).tolist())],
        "dim": 10**6,  # of the scan over rates
        "eta_head": 0.01,  # of the scan over dimensions
        "seeds": 100 if fast else 1000,
    }


def compute(settings: dict, folder: Path) -> None:
    """A row a start: quantity, x (the dimension or the rate), seed, value, and the bound of the peak."""
    model, parts = dynlab.Model(**settings["model"]), []
    scans = {
        "T_1": [{"dim": dim, "eta_head": settings["eta_head"]} for dim in settings["dims"]],
        "peak": [{"dim": settings["dim"], "eta_head": rate} for rate in settings["rates"]],
    }
    for quantity, points in scans.items():
        for point in points:
            frame = dynlab.ensemble(model, seeds=settings["seeds"], **point).frame
            x = point["dim"] if quantity == "T_1" else point["eta_head"]
            kept = {"value": frame[QUANTITIES[quantity][0]], "bound": frame["head_bound"]}
            parts.append(pd.DataFrame({"quantity": quantity, "x": float(x), "seed": frame["seed"], **kept}))
    write(NAME, folder, pd.concat(parts, ignore_index=True))


def law(data: pd.DataFrame, quantity: str) -> PowerLaw:
    """The power law through the medians of a quantity; from d = 1e3 on for T_1."""
    rows = data[(data["quantity"] == quantity) & ((quantity != "T_1") | (data["x"] >= 1e3))]
    table = rows.pivot(index="seed", columns="x", values="value")
    return median_law(table.columns.to_numpy(), table.to_numpy())


def claim(data: pd.DataFrame) -> None:
    """The fitted exponents are 2 and 1/2, and no head passes its bound."""
    for quantity, (_, exponent) in QUANTITIES.items():
        found = law(data, quantity)
        slack = 0.02 * exponent + found.high - found.low
        assert abs(found.exponent - exponent) < slack, f"{quantity} ~ x^{exponent}: {found}"
    peaks = data[data["quantity"] == "peak"]
    assert (peaks["value"] <= 1.001 * peaks["bound"]).all(), "the bound holds for every start"
    assert (peaks["value"] / peaks["bound"]).median() > 0.9, "and is nearly met"


def draw(folder: Path) -> None:
    data, given = read(NAME, folder), settings_of(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        _panel(left, data, "T_1", "T_1", "d")
        left.set_xlabel("dimension $d$")
        left.set_ylabel(r"time $T_1$ of the first feature (steps $\times\ \eta$)")
        letter(left, "a", f"head rate {given['eta_head']:g}")
        _panel(right, data, "peak", r"\max_t|E|", r"(\eta_E/\eta)")
        bound = data[data["quantity"] == "peak"].groupby("x")["bound"].median()
        name = r"its bound $\sqrt{\eta_E/(3\eta)}\,|w_j(0)|$"
        right.plot(bound.index, bound, color=PALE, linewidth=4.0, label=name, zorder=0)
        right.set_xlabel(r"head rate $\eta_E/\eta$")
        right.set_ylabel(r"peak of the head $\max_t |E_{jr}|$")
        letter(right, "b", f"$d = 10^{{{round(np.log10(given['dim']))}}}$")
        caption(figure, words(given, f"off-diagonal head, {given['seeds']} starts a point; bars: 95 % intervals of medians"))
        for axes in (left, right):
            axes.legend(loc="upper left")
    save(figure, NAME, folder)


def _panel(axes: Axes, data: pd.DataFrame, quantity: str, symbol: str, variable: str) -> None:
    rows = data[data["quantity"] == quantity]
    medians = [(x, *median_interval(some["value"])) for x, some in rows.groupby("x")]
    points = pd.DataFrame(medians, columns=["x", "value", "low", "high"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    intervals(axes, points, "x", style.marks(0), "median")
    found, ends = law(data, quantity), points["x"].iloc[[0, -1]]
    label = f"${symbol} \\sim {variable}^{{{found.exponent:.3f}}}$"
    dash = style.DASHES[list(QUANTITIES).index(quantity)]  # each law has its own
    axes.plot(ends, found(ends), label=label, **LAW, linestyle=dash)

"""How many starts learn both features, as the dimension grows: the race law without a head, the limit's law with it."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import dynlab
from dynlab.drawing import style
from dynlab.maps.points import MapPoint
from dynlab.maps.predictions import prediction
from dynlab.tools.intervals import wilson

from .parts import HEAD_LOOKS, HEADS, LAW, caption, intervals, letter, read, save, settings_of, words, write

NAME = "dimension"
TITLE = "Share of starts that learn both features against the dimension"
RATES = (1e-3, 1e-2, 1e-1)
SHOWN = 1e-2  # the rate of the first panel
RATE_LOOKS = (style.marks(2), style.marks(0), style.marks(3))  # that of the first panel's rate is as there
DASHED = style.DASHES[1]  # the predictions, each in the colour of its points


def settings(fast: bool) -> dict:
    dims = [10**n for n in ((2, 4, 8, 12) if fast else range(2, 13))]
    model = {"strong": 1.0, "weak": 0.3, "activation": "cubic"}
    return {"model": model, "dims": dims, "seeds": 150 if fast else 2000, "rates": list(RATES)}


def compute(settings: dict, folder: Path) -> None:
    model, rows = dynlab.Model(**settings["model"]), []
    for dim in settings["dims"]:
        for head, rate in [("off-diagonal", rate) for rate in settings["rates"]] + [("none", 0.0)]:
            run = dynlab.ensemble(model, dim=dim, seeds=settings["seeds"], head=head, eta_head=rate)
            count = int((run.frame["outcome"] == "both").sum())
            low, high = wilson(count, settings["seeds"])
            theory = prediction(MapPoint(model, dim, rate, None), "both", head)
            rows.append((dim, head, rate, count / settings["seeds"], low, high, theory, settings["seeds"]))
    columns = ["dim", "head", "eta_head", "value", "low", "high", "predicted", "seeds"]
    write(NAME, folder, pd.DataFrame(rows, columns=columns))


def claim(data: pd.DataFrame) -> None:
    """Without a head the race law holds from d = 1e4 on; with it nearly all starts learn both, as the limit says."""
    for row in data[data["dim"] >= 10**4].itertuples():
        low, high = wilson(round(row.value * row.seeds), row.seeds, z=4.0)
        if row.head == "none" or row.dim >= 10**8:
            assert low <= row.predicted + 0.01 and row.predicted - 0.01 <= high, f"{row}: the law holds"
    ends = data[data["dim"] == data["dim"].max()]
    with_head, without = ends[ends["head"] != "none"], ends[ends["head"] == "none"]
    assert with_head["low"].min() > without["high"].max() + 0.5, "the head rescues the weak feature in most starts"
    falls = with_head.sort_values("eta_head")["predicted"]
    assert falls.is_monotonic_decreasing, "a slower head rescues more in the limit"


def _rate(rate: float) -> str:
    """A head rate in the key."""
    return f"head rate $10^{{{round(math.log10(rate))}}}$"


def draw(folder: Path) -> None:
    data = read(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        with_head, without = data[data["head"] != "none"], data[data["head"] == "none"]
        shown = {"off-diagonal": with_head[with_head["eta_head"] == SHOWN], "none": without}
        names = {"off-diagonal": _rate(SHOWN), "none": HEADS["none"]}
        for head, rows in shown.items():
            intervals(left, rows, "dim", HEAD_LOOKS[head], names[head])
            left.axhline(rows["predicted"].iloc[0], **LAW | {"color": HEAD_LOOKS[head]["color"], "linestyle": DASHED})
        for n, (rate, rows) in enumerate(with_head.groupby("eta_head")):
            look = RATE_LOOKS[n % 3]
            rest = rows.assign(value=1.0 - rows["value"], low=1.0 - rows["high"], high=1.0 - rows["low"])
            rest["dim"] *= 1.25 ** (n - 1)  # beside each other, so that all show
            intervals(right, rest[rest["value"] > 0.0], "dim", look, _rate(rate))
            right.axhline(1.0 - rows["predicted"].iloc[0], **LAW | {"color": look["color"], "linestyle": DASHED})
        for axes in (left, right):
            axes.plot([], [], **LAW | {"linestyle": DASHED}, label=r"predicted, $d \to \infty$")
            axes.set_xscale("log")
            axes.set_xlabel("dimension $d$")
        left.set_ylim(0.0, 1.05)
        left.set_ylabel("share that learns both features")
        left.legend(loc="center right", bbox_to_anchor=(1.0, 0.55))
        right.set_yscale("log")
        right.set_ylabel("share that does not, with head")
        right.legend(loc="upper right", ncols=2, fontsize=7.0)
        top = right.get_ylim()[1]
        right.set_ylim(None, 2.5 * top)
        letter(left, "a", "with and without head")
        letter(right, "b", "three head rates")
        given = settings_of(NAME, folder)
        caption(figure, words(given, f"{given['seeds']} starts a point; bars: 95 % intervals"))
    save(figure, NAME, folder)

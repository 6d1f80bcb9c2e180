"""Training on minibatches follows the exact descent, and the distance between them falls as batch^(-1/2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynlab import Model
from dynlab.drawing import style
from dynlab.population.starts import draw_start
from dynlab.settings.training import Training

from .parts import HEADS, LAW, caption, letter, read, save, settings_of, words, write

NAME = "exact_against_minibatch"
TITLE = "Minibatch training over the exact descent, and its distance against the batch size"
SIGNALS = ("strong", "weak")
# Of the signals: colours, and the dashes that the theory has.
LOOKS: dict[str, dict[str, Any]] = {
    name: {"color": style.COLOURS[place], "linestyle": style.DASHES[place + 1]} for place, name in enumerate(SIGNALS)
}
THEORY: dict[str, Any] = {"color": "black", "linewidth": 1.0}
SHAPES = {"off-diagonal": "o", "none": "s"}
SHADES = (0.18, 0.35, 0.7)  # opacity of the bands, the smallest batch the palest
FILLED = {"cubic": True, "relu": False}


def settings(fast: bool) -> dict:
    """A start that learns both features early with the head, one without. relu is fast, and rattles in proportion to eta."""
    cubic: dict[str, Any] = {"eta": 0.02, "steps": 300, "batches": [256, 1024, 4096]}
    relu: dict[str, Any] = {"eta": 0.005, "steps": 400, "batches": [64, 256, 1024]}
    if fast:
        cubic, relu = {"eta": 0.05, "steps": 120, "batches": [256, 4096]}, relu | {"steps": 200, "batches": [64, 1024]}
    model = {"strong": 1.0, "weak": 0.6}
    return {"model": model, "dim": 6, "start": 3, "seeds": 4 if fast else 10, "cubic": cubic, "relu": relu}


def compute(settings: dict, folder: Path) -> None:
    """Rows "curve": a batch size (0: exact) and time, largest signals over the neurons, mean and spread over seeds; rows
    "distance": one a run."""
    from dynlab.samples.overlay import overlay

    rows = []
    for activation in FILLED:
        model = Model(activation=activation, **settings["model"])
        start = draw_start(model, settings["dim"], 0, settings["start"])
        given = settings[activation]
        for head in HEADS:
            training = Training(head=head, eta_head=1.0)
            some = overlay(
                model, training, start, given["batches"], settings["seeds"], eta=given["eta"], steps=given["steps"],
                dim=settings["dim"],
            )  # fmt: skip
            front = {"activation": activation, "head": head}
            rows += [curve([some.exact], front | {"batch": 0})]
            for batch, far in some.distances().items():
                rows.append(curve(some.runs[batch], front | {"batch": batch}))
                columns = {"batch": batch, "seed": range(len(far)), "value": far}
                rows.append(pd.DataFrame({"kind": "distance"} | front | columns))
    write(NAME, folder, pd.concat(rows, ignore_index=True))


def curve(runs, front: dict) -> pd.DataFrame:
    """Mean and standard deviation over the runs of the largest |<w_j, v_l>| over the neurons j."""
    largest = np.array([np.abs(run.signal).max(1) for run in runs])
    middle, spread = largest.mean(0), largest.std(0, ddof=1) if len(runs) > 1 else np.zeros(largest.shape[1:])
    columns: dict[str, np.ndarray] = {}
    for l, name in enumerate(SIGNALS):
        columns |= {name: middle[:, l], f"{name}_sd": spread[:, l]}
    return pd.DataFrame({"kind": "curve", **front, "time": runs[0].time, **columns})


def slopes(data: pd.DataFrame) -> dict:
    """For each activation and head the exponent of the distance and its standard error."""
    from dynlab.samples.overlay import exponent

    far = data[data["kind"] == "distance"]
    return {
        key: exponent({batch: part["value"].to_numpy() for batch, part in rows.groupby("batch")})
        for key, rows in far.groupby(["activation", "head"])
    }


def claim(data: pd.DataFrame) -> None:
    """The exponents are -1/2, the mean over the largest batches is on the theory, and so is what the head does for cubic."""
    for key, (slope, error) in slopes(data).items():
        assert -0.6 - 2 * error < slope < -0.4 + 2 * error and error < 0.2, f"{key}: exponent {slope:.3f} +- {error:.3f}"
    curves = data[data["kind"] == "curve"]
    for key, rows in curves.groupby(["activation", "head"]):
        exact, largest = (rows[rows["batch"] == batch] for batch in (0, rows["batch"].max()))
        for name in SIGNALS:
            gap = np.abs(largest[name].to_numpy() - exact[name].to_numpy())
            assert np.sqrt((gap**2).mean()) < 0.08 * exact[name].max(), f"{key}: the mean {name} signal is off the theory"
    ends = curves.groupby(["activation", "head", "batch"]).last()
    largest = curves[curves["activation"] == "cubic"]["batch"].max()
    for batch in (0, largest):
        ratio = ends["weak"]["cubic", "off-diagonal", batch] / ends["weak"]["cubic", "none", batch]
        assert ratio > 1.2, f"cubic, batch {batch}: with the head more of the weak feature is learnt"


def draw(folder: Path) -> None:
    data, given = read(NAME, folder), settings_of(NAME, folder)
    with style.style():
        figure = Figure(figsize=(style.PAGE_WIDTH, 4.8), layout="constrained")
        grid = figure.add_gridspec(2, 3, width_ratios=(1.0, 1.0, 1.0))
        curves = data[data["kind"] == "curve"]
        for i, activation in enumerate(FILLED):
            for k, (head, title) in enumerate(HEADS.items()):
                axes = figure.add_subplot(grid[i, k])
                _draw_curves(axes, curves[(curves["activation"] == activation) & (curves["head"] == head)])
                letter(axes, "abcd"[2 * i + k], f"{activation}, {title}")
                axes.set_ylabel(r"largest $|\langle w_j, v_l\rangle|$")
                axes.set_xlabel(r"time (steps $\times$ rate $\eta$)")
        axes = figure.add_subplot(grid[:, 2])
        _draw_distances(axes, data)
        letter(axes, "e", "distance, with fitted exponents")
        how: dict[str, Any] = {"handler_map": {tuple: HandlerTuple(ndivide=1)}, "ncols": 3, "fontsize": 7.0}
        figure.legend(*_handles(curves), loc="outside lower center", **how)
        rates = ", ".join(f"{given[name]['eta']:g} ({name})" for name in FILLED)
        bands = f"bands: mean $\\pm$ standard deviation of {given['seeds']} seeds"
        said = f"dim {given['dim']}, one start, $\\eta = \\eta_E$ = {rates}, {bands}"
        caption(figure, words(given, said, activation=False))
    save(figure, NAME, folder)


def _handles(curves: pd.DataFrame) -> tuple[list, list]:
    """The legend of the curves: the signals by colour and by the theory's dashes, the batch sizes by opacity."""
    sizes = {activation: sorted(set(rows["batch"]) - {0}) for activation, rows in curves.groupby("activation")}
    lines = [Line2D([], [], **THEORY, linestyle=look["linestyle"]) for look in LOOKS.values()]
    signals = [(Patch(color=look["color"]), line) for look, line in zip(LOOKS.values(), lines, strict=True)]
    count = max(len(some) for some in sizes.values())
    shades = [
        Patch(color="black", alpha=shade, linewidth=0, label=f"batch {_sizes(sizes, i)}")
        for i, shade in enumerate(SHADES[-count:])
    ]
    names = [f"{name} signal (broken line: exact descent)" for name in SIGNALS]
    return [*signals, *shades], [*names, *(str(shade.get_label()) for shade in shades)]


def _sizes(sizes: dict, i: int) -> str:
    return ", ".join(f"{some[i]} ({name})" for name, some in sizes.items())


def _draw_curves(axes: Axes, rows: pd.DataFrame) -> None:
    """The bands of mean -+ standard deviation, paler for smaller batches; the theory as broken lines."""
    batches = sorted(set(rows["batch"]) - {0})
    for batch, shade in zip(batches, SHADES[-len(batches) :], strict=True):
        part = rows[rows["batch"] == batch]
        for name, look in LOOKS.items():
            low, high = (part[name] + sign * part[f"{name}_sd"] for sign in (-1, 1))
            axes.fill_between(part["time"], low, high, color=look["color"], alpha=shade, linewidth=0)
    exact = rows[rows["batch"] == 0]
    for name, look in LOOKS.items():
        axes.plot(exact["time"], exact[name], **THEORY, linestyle=look["linestyle"])
    axes.set_ylim(0.0, None)


def _draw_distances(axes: Axes, data: pd.DataFrame) -> None:
    """In greys: the colours of the figure are the signals'."""
    far = data[data["kind"] == "distance"]
    found = slopes(data)
    for (activation, head), rows in far.groupby(["activation", "head"]):
        rms = rows.groupby("batch")["value"].apply(lambda values: float(np.sqrt((values**2).mean())))
        error = 1.0 / np.sqrt(2.0 * rows.groupby("batch")["value"].count())
        label = rf"{activation}, {HEADS[head]}: ${found[activation, head][0]:.2f} \pm {found[activation, head][1]:.2f}$"
        look: dict[str, Any] = {"color": "black", "marker": SHAPES[head]}
        look |= {} if FILLED[activation] else {"markerfacecolor": "white"}
        axes.errorbar(rms.index, rms, rms * error, label=label, linestyle="none", markersize=4.0, elinewidth=0.8, **look)
        middle = float(np.exp(np.log(rms).mean())) * np.sqrt(np.exp(np.log(rms.index.to_numpy(dtype=float)).mean()))
        axes.plot(rms.index, middle / np.sqrt(rms.index), **LAW)
    axes.plot([], [], label="batch$^{-1/2}$", **LAW)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("batch (samples a step)")
    axes.set_ylabel("root mean square distance to the exact descent")
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.45, high)  # room for the legend
    axes.legend(fontsize=6.5, title=r"exponent $\pm$ standard error", title_fontsize=6.5, loc="lower left")

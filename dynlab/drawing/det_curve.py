"""DET curves of speaker verification from det.csv: misses against false alarms, both axes by the normal distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from scipy.special import ndtr, ndtri

from dynlab.drawing import style

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999)
LEAST, MOST = 0.001, 0.95  # of what is shown


def write(folder: Path, caption: str, settings: dict) -> None:
    """Draw folder/det.png and .pdf from folder/det.csv."""
    style.save(det_figure(pd.read_csv(folder / "det.csv"), caption), folder / "det", "DET curves", settings)


def det_figure(points: pd.DataFrame, caption: str) -> Figure:
    """A curve for each representation; points: the table of det.csv. The grey line is where both errors are equal."""
    with style.style():
        figure = style.Picture(figsize=(4.6, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([LEAST, MOST], [LEAST, MOST], color="0.6", linewidth=0.6)
        for place, (name, rows) in enumerate(points.groupby("representation", sort=False)):
            seen = rows[rows["false_alarms"].between(1e-5, 1 - 1e-5) & rows["misses"].between(1e-5, 1 - 1e-5)]
            axes.plot(seen["false_alarms"], seen["misses"], label=str(name), linewidth=1.1, **style.series(place))
        axes.set_xscale("function", functions=(_deviate, ndtr))
        axes.set_yscale("function", functions=(_deviate, ndtr))
        for axis, label in ((axes.xaxis, "false alarms"), (axes.yaxis, "misses")):
            axis.set_major_locator(FixedLocator(TICKS))
            axis.set_major_formatter(FixedFormatter([f"{100 * tick:g} %" for tick in TICKS]))
            axis.set_minor_locator(NullLocator())
            axis.set_label_text(label)
        axes.set_xlim(LEAST, MOST)
        axes.set_ylim(LEAST, MOST)
        axes.tick_params(labelsize=7.0)
        axes.legend(fontsize=7.0)
        figure.suptitle(caption, fontsize=style.CAPTION)
    return figure


def _deviate(rates: np.ndarray) -> np.ndarray:
    return ndtri(np.clip(rates, 1e-9, 1.0 - 1e-9))

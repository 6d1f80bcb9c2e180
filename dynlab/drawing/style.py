"""Figures: one style for all, and the panels of the main run. They draw what they are given, no more."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dynlab import _version
from dynlab.tools.files import expanded, whole_file

PAGE_WIDTH, COLUMN = 6.9, 3.3  # inches: the text width of a two-column paper, and of one column
STYLE = Path(__file__).parent / "dynlab.mplstyle"  # the one style file
# Okabe and Ito's colours, told apart by colour-blind readers; in grey dash patterns, markers and hatches tell
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # as in the style file
DASHES = (
    "-", (0, (4.0, 1.4)), (0, (1.2, 1.0)), (0, (5.0, 1.2, 1.0, 1.2)), (0, (9.0, 1.6)),
    (0, (5.0, 1.0, 1.0, 1.0, 1.0, 1.0)), (0, (2.2, 0.8)),
)  # fmt: skip
MARKERS = "osD^vP*"
HEAD_COLOURS = ("#000000", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#0072B2")
BROAD = ("-", (0, (0.9, 0.5)), (0, (2.5, 0.6)), (0, (2.0, 0.5, 0.6, 0.5)))  # the first neuron's, by feature
THIN = ((0, (3.4, 1.5)), (0, (1.2, 1.0)), (0, (5.0, 1.2, 1.0, 1.2)), (0, (5.0, 1.0, 1.0, 1.0, 1.0, 1.0)))
MOST_LINES = 20  # that have a look and a name each
CROWD: dict[str, Any] = {"color": "0.3", "linestyle": "-", "linewidth": 0.5}  # of head entries where there are more
PALE = 0.65  # strength of the colour of broad lines
SCREEN_DPI = 130  # of a picture in a notebook
TICK_INCHES = 0.36  # from one tick to the next: room for its label
BELOW = -0.03  # lower end of an axis of sizes, in units of its upper end
MARGIN_INCHES = 1.5  # decades of time shown before anything moves and after everything rests
LEAST = 1e-3  # relative length of a time axis
CAPTION = 7.5  # points: what a figure shows (model, head, seeds), above it
TIME = r"time $t$ (steps $\times$ rate $\eta$)"
MOVED = 0.02  # of its range: what counts as moving, in choosing the times to show


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the style of the project."""
    with mpl.rc_context(fname=STYLE):
        yield


def series(place: int) -> dict[str, Any]:
    """Colour and dash pattern of the line number `place` of a panel."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}


def marks(place: int) -> dict[str, Any]:
    """Colour and marker of the points number `place` of a panel; every second marker is open."""
    look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    return look | ({"markerfacecolor": "white"} if place % 2 else {})


def label_outer(grid: np.ndarray, x: str) -> None:
    """The x label, and the numbers, on the lowest visible panel of each column of a grid whose panels share x."""
    for column in grid.T:
        lowest = [axes for axes in column if axes.get_visible()][-1:]
        for axes in lowest:
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot: it is in no list of open windows, so nothing leaks."""

    def _repr_png_(self) -> bytes:
        """The picture as a notebook asks for it."""
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=SCREEN_DPI)
        return buffer.getvalue()


def save(
    figure: Figure,
    stem: Path,
    title: str,
    settings: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Write `stem`.png and `stem`.pdf, whole or not at all, without time stamps: equal figures give equal bytes.

    The title, the version of dynlab and, where given, the settings (as JSON) are in the files' metadata. formats: of "png",
    "pdf". Returns the paths.
    """
    stem = expanded(stem)
    made_by = f"dynlab {_version.__version__}"
    text = json.dumps(settings or {}, sort_keys=True)
    metadata = {
        "png": {"Software": made_by, "Title": title, "Description": text},
        "pdf": {"Creator": made_by, "CreationDate": None, "Title": title, "Subject": text},
    }
    written = []
    for form in formats:
        path = stem.with_name(f"{stem.name}.{form}")
        with style(), whole_file(path) as partial:
            figure.savefig(partial, format=form, metadata=metadata[form])
        written.append(path)
    return written


def crowded(neurons: int, features: int) -> bool:
    """Whether there are too many lines to give each a look and a name: then a feature has one look for all neurons."""
    return neurons * features + neurons * (neurons - 1) > MOST_LINES

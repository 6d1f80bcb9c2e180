"""The figure of a diagnosis: spectrum, correlations of the outputs, and the head or the steps, as far as there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynlab.drawing import style

if TYPE_CHECKING:
    from dynlab.embeddings.findings import EmbeddingDiagnosis


def diagnosis_figure(found: EmbeddingDiagnosis) -> Figure:
    """Eigenvalues over their sum, |correlations| of z, |entries| of the head off its diagonal, rank over the steps."""
    panels = ["spectrum", "correlations"] + ["head"] * (found.head_matrix is not None) + ["steps"] * (found.steps > 1)
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 2.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            DRAWN[name](figure, axes, found)
        numbers = f"rank {found.rank:.3g} of {found.outputs}, mean |correlation| {found.mean_abs_correlation:.2f}"
        words = f"{found.verdict}: {found.rows} rows, {numbers}"
        figure.suptitle(words, fontsize=style.CAPTION)
    return figure


def _spectrum(figure, axes, found) -> None:
    values = [x for x in found.spectrum if x > 0.0]
    axes.plot(range(1, len(values) + 1), values, linewidth=1.0, marker="o", markersize=2.0, **style.series(0))
    if values:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("number of the eigenvalue")
    axes.set_ylabel("share of the variance")


def _correlations(figure, axes, found) -> None:
    _matrix(figure, axes, np.abs(found.correlation_matrix), "|correlation|", 1.0)
    axes.set_xlabel("output of z")
    axes.set_ylabel("output of z")


def _head(figure, axes, found) -> None:
    off = np.abs(found.head_matrix - np.diag(np.diagonal(found.head_matrix)))
    _matrix(figure, axes, off, "|head| off its diagonal", float(off.max()) or 1.0)
    axes.set_xlabel("lending output")
    axes.set_ylabel("borrowing output")


def _matrix(figure, axes, values, label: str, most: float) -> None:
    """Sizes in one colour that darkens, so that print in grey shows the same."""
    shown = axes.imshow(values, cmap="Greys", vmin=0.0, vmax=most, interpolation="nearest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    figure.colorbar(shown, ax=axes, label=label, shrink=0.8)


def _steps(figure, axes, found) -> None:
    axes.plot(range(1, found.steps + 1), found.ranks, linewidth=1.0, **style.series(0))
    axes.set_xlabel("step of the stack")
    axes.set_ylabel("rank of z")
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


DRAWN = {"spectrum": _spectrum, "correlations": _correlations, "head": _head, "steps": _steps}

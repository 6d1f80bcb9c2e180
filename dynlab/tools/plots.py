"""The table behind every `.plot()`: which figure a result is drawn as. So results need not know who draws them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By the name of the result's class: module and function, which takes the result and returns a matplotlib Figure.
FIGURES = {
    "Appraisal": "dynlab.drawing.pretraining:appraisal_figure",
    "EmbeddingDiagnosis": "dynlab.drawing.embedding:diagnosis_figure",
    "Ensemble": "dynlab.drawing.objects:ensemble_figure",
    "Finding": "dynlab.drawing.theorem:finding_figure",
    "LinearTrajectory": "dynlab.drawing.objects:linear_figure",
    "Overlay": "dynlab.drawing.overlay:one_figure",
    "PhaseMap": "dynlab.drawing.phase_map:phase_figure",
    "Portrait": "dynlab.drawing.portrait:portrait_figure",
    "Recorded": "dynlab.drawing.pretraining:run_figure",
    "Trajectory": "dynlab.drawing.objects:trajectory_figure",
}


def figure(result: object) -> Figure:
    """The figure of a result, which belongs to no window; what draws it, and matplotlib, are loaded by the first call."""
    name = next(kind.__name__ for kind in type(result).__mro__ if kind.__name__ in FIGURES)
    module, _, function = FIGURES[name].partition(":")
    return getattr(import_module(module), function)(result)

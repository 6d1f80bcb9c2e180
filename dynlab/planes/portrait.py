"""A phase portrait as tables: field, nullclines, fixed points, basins, trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dynlab.planes.basins import basins, trajectories
from dynlab.planes.plane import LABELS, Plane
from dynlab.population.pair.phases import END_STATES
from dynlab.tools import plots, show
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    plane: Plane
    head: str
    eta_head: float
    points: int
    trajectories: int
    until: float
    rtol: float
    threads: int
    out: str | None
    plots: bool
    quiet: bool

    @property
    def place(self) -> Path:
        """Where the run folder goes; without --out a name that tells the axes."""
        return expanded(self.out if self.out is not None else f"runs/portrait-{self.plane.x.name}-{self.plane.y.name}")


@dataclass(frozen=True, eq=False)
class Portrait:
    """The tables of a portrait, with x and y for the two coordinates whatever they are.

    names (2,): of the coordinates. caption: what is held and slaved. field, one row a cell: x, y, rate_x, rate_y (nan
    outside the plane), end_state (""). nullclines: branch, at_rest (a coordinate's name), x, y. fixed_points: x, y,
    stability, told_by, real_1, imag_1, real_2, imag_2, residual. paths: trajectory, time and all coordinates.
    """

    names: tuple[str, str]
    caption: str
    field: pd.DataFrame
    nullclines: pd.DataFrame
    fixed_points: pd.DataFrame
    paths: pd.DataFrame

    def __repr__(self) -> str:
        counts = f"{len(self.field)} cells, {len(self.fixed_points)} fixed points"
        return show.line(
            "Portrait", [" x ".join(self.names), counts, *(f"{s:.1%} {n}" for n, s in end_shares(self).items())]
        )

    def _repr_html_(self) -> str:
        basins = show.table(end_shares(self).items(), ("end state", "share of the plane"), " x ".join(self.names))
        head = (*self.names, "stability", "eigenvalues", "")
        points = [(row.x, row.y, row.stability, row.real_1, row.real_2) for row in self.fixed_points.itertuples()]
        return basins + (show.table(points, head, "fixed points") if points else "")

    def plot(self) -> Figure:
        """Basins, field, nullclines, fixed points and trajectories; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    @property
    def tables(self) -> dict:
        """File names and tables, the coordinates under their own names."""
        x, y = self.names
        own = {"x": x, "y": y, "rate_x": f"rate_{x}", "rate_y": f"rate_{y}"}
        tables = {"portrait": self.field, "nullclines": self.nullclines, "fixed_points": self.fixed_points}
        named = {f"{name}.csv": table.rename(columns=own) for name, table in tables.items()}
        return named | {"trajectories.csv": self.paths}


def caption(plane: Plane) -> str:
    """What is not on the axes: model, held, slaved, the head."""
    parts = [f"{show.model_words(plane.model)}, any dimension"]
    parts += ["held: " + ", ".join(f"{LABELS[name]} = {value:.4g}" for name, value in plane.held.items())]
    parts += ["slaved to the rest: " + ", ".join(LABELS[name] for name in plane.slaved)] if plane.slaved else []
    parts.append(f"head trains at $\\eta_E/\\eta$ = {plane.eta_head:g}" if plane.eta_head else "head at rest")
    return "; ".join(parts)


def compute_portrait(
    plane: Plane, points: int, samples: int, *, until: float, rtol: float = 1e-6, threads: int = 1, progress=None
):
    """A `Portrait` of the plane: field and basins on points x points cells, about `samples` trajectories."""
    mesh = np.meshgrid(plane.x.centres(points), plane.y.centres(points))
    states = basins(plane, points, until=until, rtol=rtol, threads=threads, progress=progress).ravel()
    rates = plane.rates(*mesh)[:2]
    names = np.array([*END_STATES, ""])
    field = pd.DataFrame({"x": mesh[0].ravel(), "y": mesh[1].ravel(), "rate_x": rates[0], "rate_y": rates[1],
                          "end_state": names[states]})  # fmt: skip
    lines = [pd.DataFrame({"branch": i, "at_rest": name, "x": line[:, 0], "y": line[:, 1]})
             for i, (name, line) in enumerate(plane.nullclines())]  # fmt: skip
    fixed = [
        {"x": p.place[0], "y": p.place[1], "stability": p.kind, "told_by": p.by}
        | {f"{part}_{i + 1}": float(getattr(p.eigenvalues[i], part)) + 0.0 for i in range(2) for part in ("real", "imag")}
        | {"residual": p.residual}
        for p in plane.fixed_points()
    ]
    paths = trajectories(plane, samples, until=until, rtol=rtol) if samples else []
    columns = ["x", "y", "stability", "told_by", "real_1", "imag_1", "real_2", "imag_2", "residual"]
    return Portrait(
        (plane.x.name, plane.y.name),
        caption(plane),
        field,
        pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=["branch", "at_rest", "x", "y"]),
        pd.DataFrame(fixed, columns=columns),
        pd.concat([pd.DataFrame({"trajectory": i, "time": times, **values}) for i, (times, values) in enumerate(paths)],
                  ignore_index=True) if paths else pd.DataFrame(columns=["trajectory", "time"]),
    )  # fmt: skip


def end_shares(found: Portrait) -> dict:
    """Share of the plane of a portrait, `found`, from which each end state is reached."""
    inside = found.field["end_state"][found.field["end_state"] != ""]
    counts = inside.value_counts()
    return {name: float(counts[name] / len(inside)) for name in END_STATES if name in counts}

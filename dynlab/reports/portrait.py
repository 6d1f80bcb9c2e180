"""What `python -m dynlab.portrait` computes, writes and prints: tables that hold all that the picture shows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.planes.portrait import Portrait, end_shares
from dynlab.tools.files import write_csv, write_json

if TYPE_CHECKING:
    from dynlab.planes.portrait import Settings
    from dynlab.tools.provenance import Call


def write_files(folder: Path, settings: Settings, found: Portrait, call: Call) -> None:
    """Write the tables, the figure unless not wanted, and run.json last."""
    from dynlab.tools.provenance import provenance

    for name, table in found.tables.items():
        write_csv(folder / name, table)
    plane = settings.plane
    described = {
        "x": asdict(plane.x), "y": asdict(plane.y), "held": plane.held, "slaved": list(plane.slaved),
        "model": asdict(plane.model), "head": settings.head, "eta_head": settings.eta_head, "points": settings.points,
        "trajectories": settings.trajectories, "until": settings.until, "rtol": settings.rtol,
    }  # fmt: skip
    if settings.plots:
        from dynlab.drawing import style
        from dynlab.drawing.portrait import portrait_figure

        title = f"Phase portrait on {plane.x.name} and {plane.y.name}"
        style.save(portrait_figure(found), folder / "portrait", title, described)
    record = {
        **call.record(),
        "settings": described,
        "caption": found.caption,
        "shares": end_shares(found),
        **provenance(call.started),
    }
    write_json(folder / "run.json", record)


def print_report(found: Portrait, place: Path) -> None:
    """Basins, fixed points, and where the files are."""
    lines = [f"{share:7.2%}  {name}" for name, share in end_shares(found).items()]
    lines += [
        f"fixed point ({row.x:.4g}, {row.y:.4g}): {row.stability}, eigenvalues {row.real_1:.3g}, {row.real_2:.3g}"
        + (" (told by the motion nearby)" if row.told_by == "motion" else "")
        for row in found.fixed_points.itertuples()
    ]
    files = ", ".join(sorted(path.name for path in place.iterdir()))
    print("\n".join([*lines, f"files in {place}: {files}"]), flush=True)

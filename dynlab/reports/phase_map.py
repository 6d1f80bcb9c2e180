"""What `python -m dynlab.phase` writes and prints."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dynlab.maps.phase_map import PhaseMap, describe
from dynlab.tools.files import csv_text, write_whole
from dynlab.tools.parquet import write_beside

if TYPE_CHECKING:
    import pandas as pd

    from dynlab.maps.phase_map import Settings
    from dynlab.tools.provenance import Call


def write_files(settings: Settings, found: PhaseMap, call: Call) -> None:
    """Write phase.csv and the figure, the same bytes for the same map, and run.json, each whole or not at all."""
    import json

    from dynlab.tools.provenance import provenance

    out = settings.out
    for leftover in out.glob(".*.partial"):  # of a process that was killed
        leftover.unlink()
    write_whole(out / "phase.csv", csv_text(found.frame))
    write_beside(out / "phase.csv", found.frame, settings.parquet)
    if settings.plots:
        from dynlab.drawing import style
        from dynlab.drawing.phase_map import phase_figure

        title = f"Phase diagram: {found.measure.name} over {found.grid.x.name} and {found.grid.y.name}"
        style.save(phase_figure(found), out / "phase", title, describe(settings, found))
    record = {
        **call.record(),
        "settings": describe(settings, found),
        "trajectories": {"in the map": trajectory_count(found.frame), "computed now": found.computed},
        "failed": failed_count(found.frame),
        "damage": list(found.damage),
        **provenance(call.started),
        "cpu_time_seconds": round(time.process_time(), 3),
    }
    write_whole(out / "run.json", json.dumps(record, indent=2, allow_nan=False) + "\n")


def trajectory_count(rows: pd.DataFrame) -> int:
    """How many trajectories rows of a map stand for."""
    return int(rows.loc[~rows["copied"], "seeds"].sum())


def failed_count(rows: pd.DataFrame) -> int:
    """How many of them failed."""
    return int(rows.loc[~rows["copied"], "failed"].sum())


def print_report(settings: Settings, found: PhaseMap) -> None:
    """What was found, a line a head, and where the files are; damage and failures always, on standard error."""
    for line in found.damage:
        print(line, file=sys.stderr)
    failed = failed_count(found.frame)
    if failed:
        print(f"failed: {failed} of {trajectory_count(found.frame)} trajectories, see phase.csv", file=sys.stderr)
    if settings.quiet:
        return
    lines = [f"{found.measure.label}, {len(found.grid.x.values)} x {len(found.grid.y.values)} points"]
    for head in found.grid.heads:
        rows = found.frame[found.frame["head"] == head]
        value = rows["value"].dropna()
        span = f"{value.min():.4g} to {value.max():.4g}, middle {value.median():.4g}" if len(value) else "nowhere defined"
        once = "" if found.grid.repeats(head) is None else ", once for all values of eta-head, which does nothing here"
        lines.append(f"head {head:<13} {span}; {trajectory_count(rows)} trajectories{once}")
        if found.level is not None and not rows["crossed"].any():
            lines.append(f"{'':<18} nowhere known to pass {found.level:g}: no boundary")
    files = ", ".join(sorted(path.name for path in settings.out.iterdir() if path.is_file()))
    lines += [f"{found.computed} trajectories computed now, the rest from the store", f"files in {settings.out}: {files}"]
    print("\n".join(lines), flush=True)

"""Minibatch runs as files, as a table to read, and in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.samples.runs import Settings
from dynlab.tools.files import write_csv, write_json
from dynlab.tools.parquet import write_beside
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    import pandas as pd

    from dynlab.population.trajectory import Trajectory
    from dynlab.samples.overlay import Overlay


def summary(found: dict[tuple[str, str], Overlay]) -> pd.DataFrame:
    """One row an activation, head and batch size: runs, those that were stopped, distance to the theory.

    With hidden units beside that `ends`.
    """
    import numpy as np
    import pandas as pd

    rows = []
    for (activation, head), some in found.items():
        for batch, far in some.distances().items():
            good = far[np.isfinite(far)]
            rms = float(np.sqrt((good**2).mean())) if len(good) else float("nan")
            stopped = sum(not run.success for run in some.runs[batch])
            front = {"activation": activation, "head": head, "batch": batch}
            row = front | {"runs": len(far), "stopped": stopped, "distance": rms}
            rows.append(row | (ends(some.runs[batch]) if some.runs[batch][0].model.layered else {}))
    return pd.DataFrame(rows)


def ends(runs: list[Trajectory]) -> dict[str, float]:
    """Of runs with hidden units that were not stopped, at their ends, means over them: number of features that their outputs
    carry, effective rank of the outputs, length of the readout (of the whole matrix); nan where all were stopped."""
    import numpy as np

    from dynlab.population.hidden.moments import features_carried, hidden_rank

    names = ("features_carried", "rank", "readout")
    good = [run for run in runs if run.success]
    if not good:
        return dict.fromkeys(names, float("nan"))
    states = [(run.model, run.signal[-1], run.noise_gram[-1], run.readout[-1]) for run in good if run.readout is not None]
    carried = [float(features_carried(run.carried[-1])) for run in good]
    ranks = [float(hidden_rank(*state)) for state in states]
    lengths = [float(np.linalg.norm(readout)) for *_, readout in states]
    return {name: float(np.mean(values)) for name, values in zip(names, (carried, ranks, lengths), strict=True)}


def stacked(found: dict[tuple[str, str], Overlay]) -> pd.DataFrame:
    """All trajectories below each other: activation, head, batch (0 for the exact descent) and seed in front."""
    import pandas as pd

    frames = []
    for (activation, head), some in found.items():
        runs = [(batch, seed, run) for batch, runs in some.runs.items() for seed, run in enumerate(runs)]
        exact = [] if some.exact is None else [(0, 0, some.exact)]
        for batch, seed, run in [*runs, *exact]:
            front = {"activation": activation, "head": head, "batch": batch, "seed": seed}
            frames.append(run.frame.assign(**front)[[*front, *run.frame.columns]])
    return pd.concat(frames, ignore_index=True)


def write_files(folder: Path, settings: Settings, found: dict[tuple[str, str], Overlay], call: Call) -> None:
    """trajectory.csv, summary.csv, the figure unless not wanted, and run.json last."""
    from dataclasses import asdict

    from dynlab.samples.overlay import exponent
    from dynlab.tools.provenance import provenance

    for name, table in (("trajectory.csv", stacked(found)), ("summary.csv", summary(found))):
        write_csv(folder / name, table)
        write_beside(folder / name, table, settings.parquet)
    if settings.plots:
        from dynlab.drawing import style
        from dynlab.drawing.overlay import overlay_figure

        figure = overlay_figure({f"{activation}, head {head}": some for (activation, head), some in found.items()})
        style.save(figure, folder / "overlay", "Training on minibatches over the exact descent")
    slopes = {f"{activation}, {head}": exponent(some.distances()) for (activation, head), some in found.items()}
    record = {
        **call.record(),
        "models": [asdict(model) for model in settings.models],
        "settings": settings.numbers | settings.options | {"device": settings.device.asked, "batch": settings.batches},
        "exponents": {name: slope if slope[0] == slope[0] else None for name, slope in slopes.items()},
        "stopped": stops(found),
    } | provenance(call.started)
    write_json(folder / "run.json", record)


def stops(found: dict[tuple[str, str], Overlay]) -> list[str]:
    """A line for every run that was stopped."""
    return [
        f"{activation}, head {head}, batch {batch}, seed {seed}: stopped at {run.settings['stopped']}"
        for (activation, head), some in found.items()
        for batch, runs in some.runs.items()
        for seed, run in enumerate(runs)
        if not run.success
    ]


def print_report(settings: Settings, found: dict[tuple[str, str], Overlay], place: Path) -> list[str]:
    """Print the distances, and the exponents where there are several batch sizes; return the lines about stopped runs."""
    from dynlab.samples.overlay import exponent

    lines = stops(found)
    if settings.quiet:
        return lines
    print("distance to the exact descent from the same start, root mean square over time and seeds")
    print(summary(found).to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    for (activation, head), some in found.items():
        slope, error = exponent(some.distances())
        if slope == slope:
            power = f"batch^({slope:.3f} +- {error:.3f})"
            print(f"{activation}, head {head}: the distance falls as {power}; small noise gives -1/2")
    print(f"files in {place}: {', '.join(sorted(path.name for path in place.iterdir()))}", flush=True)
    return lines

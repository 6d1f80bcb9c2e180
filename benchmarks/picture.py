"""The results as a picture for README: how long peers take for the same work, in units of dynlab's time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks.table import count
from dynlab.drawing import style

TITLE = "Time of peers in units of dynlab's"
SHOWN = (1000, 1e12)  # dimension and end of the trajectories that are shown


class Ratio(NamedTuple):
    """A peer's time over dynlab's for the same work: median and quartiles."""

    work: str
    peer: str
    median: float
    low: float
    high: float


def ratios(results: dict) -> Iterator[Ratio]:
    """All that was timed side by side with equal results, in the order of the table; what a peer failed at is left out."""
    for row in _of(results, "gradients"):
        if "jax_ratio" in row:
            yield _ratio(f"exact gradient, {row['activation']}", "JAX", row["jax_ratio"])
    for row in _of(results, "trajectories"):
        if (row.get("dim"), row.get("until")) == SHOWN:
            for name, peer in row["solvers"].items():
                if "ratio" in peer and not peer["failed"] and not peer["inaccurate"]:
                    yield _ratio(f"trajectory, dim {SHOWN[0]} to {count(SHOWN[1])}", name, peer["ratio"])
    for row in _of(results, "samples"):
        if "torch_ratio" in row:
            yield _ratio(f"minibatch of {row['batch']}, {row['precision']}", "PyTorch", row["torch_ratio"])
    for name, row in results.get("augmentation", {}).get("results", {}).items():
        if "torch_ratio" in row:
            yield _ratio(f"{row['views']} views, {name}", "PyTorch", row["torch_ratio"])
    for row in _of(results, "images"):
        if "ratio" in row:
            yield _ratio(f"training step, {row['encoder']}", "PyTorch", row["ratio"])


def draw(results: dict) -> Figure:
    """One line for each kind of work, a point for each peer; right of 1 dynlab is faster."""
    rows = list(ratios(results))
    works = list(dict.fromkeys(row.work for row in rows))
    peers = list(dict.fromkeys(row.peer for row in rows))
    with style.style():
        figure = style.Picture(figsize=(style.PAGE_WIDTH, 0.8 + 0.2 * len(works)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(1.0, color="0.3", linewidth=0.8, linestyle=(0, (4.0, 1.4)))
        for place, peer in enumerate(peers):
            mine = [row for row in rows if row.peer == peer]
            reach = [[row.median - row.low for row in mine], [row.high - row.median for row in mine]]
            axes.errorbar(
                [row.median for row in mine], [works.index(row.work) for row in mine], xerr=reach, linestyle="none",
                markersize=4.5, elinewidth=0.8, label=peer, **style.marks(place),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yticks(range(len(works)), works)
        axes.set_ylim(len(works) - 0.4, -0.6)
        axes.set_xlabel("time of the peer, in units of dynlab's (median, quartiles; left of 1 the peer is faster)")
        axes.legend(loc="lower right")
        machine = next(iter(results.values()))["machine"]
        said = f"what is timed gives the same results: {machine['processor']}, {machine['cores']} cores"
        figure.suptitle(said, fontsize=style.CAPTION)
    return figure


def write(folder: Path, results: dict) -> None:
    """speed.png in a folder; the numbers that it shows are in its metadata."""
    shown = {f"{row.work}: {row.peer}": [row.median, row.low, row.high] for row in ratios(results)}
    style.save(draw(results), folder / "speed", TITLE, shown, ("png",))


def _of(results: dict, part: str) -> list[dict]:
    return results.get(part, {}).get("results", [])


def _ratio(work: str, peer: str, found: dict) -> Ratio:
    low, high = found["quartiles"]
    return Ratio(work, peer, found["median"], low, high)

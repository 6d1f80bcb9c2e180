"""The small maps that the tests of phase diagrams compute, and the ways to run the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dynlab
from dynlab.maps.axes import parse_axis
from dynlab.maps.grid import Grid
from dynlab.phase import main

ENVIRONMENT = os.environ | {"PYTHONPATH": dynlab.__file__.rsplit("/dynlab/", 1)[0], "OMP_WAIT_POLICY": "passive"}
X, Y = "weak=0.2:0.8:4", "eta-head=1e-3:1:3:log"
FILES = ("phase.csv", "phase.png", "phase.pdf")


def small_grid(x: str = X, y: str = Y, seed: int = 0, **fixed) -> Grid:
    return Grid(parse_axis("x", x), parse_axis("y", y), fixed, seed)


def options(out: Path, *more: str, x: str = X, y: str = Y, seeds: int = 32) -> list[str]:
    """Words of the command for a small map."""
    return ["--x", x, "--y", y, "--seeds", str(seeds), "--out", str(out), *more]


def command(out: Path, *more: str, **given) -> subprocess.Popen:
    """The command in a process of its own."""
    words = [sys.executable, "-m", "dynlab.phase", *options(out, *more, **given)]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(out: Path, *more: str, **given) -> dict[str, bytes]:
    """The result files of the command, run in this process."""
    assert main(options(out, *more, **given)) == 0
    return results(out)


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def copied(undisturbed: tuple, folder: Path) -> Path:
    """A copy of the finished small map."""
    return Path(shutil.copytree(undisturbed[0], folder / "out"))


def record(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def store_of(out: Path) -> Path:
    return out / "store" / "points.bin"

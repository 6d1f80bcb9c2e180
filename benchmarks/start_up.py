"""The main command as a whole process: with an empty cache, then again; and `import dynlab`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import shown, spread, timed_if_right, verified

COMMAND = ["-m", "dynlab.run", "--strong", "1.0", "--weak", "0.3", "--quiet"]
GOALS = {"empty cache": 25.0, "second time": 6.0, "import dynlab": 0.3}


def seconds(arguments, environment) -> float:
    """Wall time of one Python process; CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def numbers(folder: Path) -> str:
    """What a run found: its rows, one a seed, as they were written."""
    return (folder / "ensemble.csv").read_text(encoding="utf-8")


def main_command(scratch: Path, again: int) -> dict:
    """Wall seconds of the main command with an empty cache and with a full one; refused if the runs' numbers differ."""
    environment = os.environ | {"DYNLAB_CACHE_DIR": str(scratch / "cache"), "MPLCONFIGDIR": str(scratch)}
    folders = [scratch / f"run{i}" for i in range(1 + again)]
    taken = [seconds([*COMMAND, "--out", str(folder)], environment) for folder in folders]
    others = sum(numbers(folder) != numbers(folders[0]) for folder in folders)
    found = verified("main command", {"runs with other numbers": (float(others), 0.0)})
    row = {"differences": found, "empty cache": spread(taken[:1]), "second time": spread(taken[1:])}
    row["import dynlab"] = spread([seconds(["-c", "import dynlab"], environment) for _ in range(5)])
    row["goals"] = GOALS
    for name, goal in GOALS.items():
        print(f"{name}: {shown(row[name])} s (goal {goal} s)", flush=True)
    return row


def run(quick: bool = False) -> dict:
    """One run with an empty cache, five (quick: one) with a full one, five imports."""
    with tempfile.TemporaryDirectory() as scratch:
        return timed_if_right(main_command, Path(scratch), 1 if quick else 5)

"""What an earlier version takes, beside this one: python -m benchmarks.beside COMMIT [--rows NAME ...] [--repeats N]

The sources of the commit (git archive) go into a folder of their own, and every piece of work is done by processes of both
versions in turn, A B A B ..., each with the kernels that it has compiled before. Both must find the same: shares of outcomes
are compared before anything is told. Work that is not done within --limit seconds, or is refused, is told as that. Prints a
table in Markdown: medians and quartiles of wall time on all cores, and how many times the other's the later one is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, shown, spread
from benchmarks.start_up import COMMAND

HERE = Path(__file__).parent.parent
COMPILING = 180.0  # seconds more that the first process of a piece of work may take
ALIKE = 0.01  # largest difference of an outcome's share that other rounding may make
# What a process prints: what it measured, and the share of each outcome.
ENSEMBLE = """
import json, time
from dynlab import Model, ensemble
model, given = Model({model}), dict({given})
ensemble(model, **(given | dict(seeds=2, until=1.0)))
start = time.perf_counter()
frame = ensemble(model, **given).frame
seconds = time.perf_counter() - start
shares = frame["outcome"].value_counts(normalize=True).to_dict()
print(json.dumps(dict(value={value}, shares=shares)))
"""
GRADIENT = """
import json
from benchmarks.gradients import speed
row = speed({activation!r}, 5)
print(json.dumps(dict(value=row["jax_ratio"]["median"], shares={{}})))
"""
PHASE = ["-m", "dynlab.phase", "--x", "weak=0.05:1:16", "--y", "eta-head=1e-4:1:16:log", "--seeds", "64", "--activation"]
PER_SECOND, SECONDS, TIMES = "a second", "s", "times"


@dataclass(frozen=True)
class Work:
    """One row: what it is called, its unit, a script or the words of a command, and how often at most it is done."""

    name: str
    unit: str
    script: str = ""
    words: tuple[str, ...] = ()
    cold: bool = False
    most: int | None = None

    def command(self, out: Path) -> list[str]:
        """The command line of one process; out: a folder that is not there yet."""
        return ["-c", self.script] if self.script else [*self.words, "--out", str(out)]


def _ensemble(model: str, value: str, **given: Any) -> str:
    return ENSEMBLE.format(model=model, given=repr(given), value=value)


def _wide(neurons: int, features: int) -> str:
    strengths = tuple(np.linspace(1.0, 0.3, features).round(6).tolist())
    return f"neurons={neurons}, strengths={strengths}"


RATE = "len(frame) / seconds"
WORK = {
    "cubic": Work(
        "cubic, dim 1000, to 10^12", PER_SECOND, _ensemble("", RATE, dim=1000, seeds=4000, until=1e12)
    ),
    "relu": Work(
        "relu, dim 1000, to rest, with head", PER_SECOND, _ensemble("activation='relu'", RATE, dim=1000, seeds=1000)
    ),
    "relu3": Work(
        "relu3, dim 10^6, with head", PER_SECOND, _ensemble("activation='relu3'", RATE, dim=10**6, seeds=200)
    ),
    "gradient": Work("exact relu gradient, against JAX's vmap", TIMES, GRADIENT.format(activation="relu")),
    "eight": Work(
        "8 neurons, 8 features, cubic, dim 1000, a start to 10^9", SECONDS,
        _ensemble(_wide(8, 8), "seconds / len(frame)", dim=1000, seeds=8, until=1e9), most=3,
    ),
    "sixteen": Work(
        "16 neurons, 8 features, cubic, dim 1000, two starts at once to 10^9", SECONDS,
        _ensemble(_wide(16, 8), "seconds", dim=1000, seeds=2, until=1e9), most=1,
    ),
    "wide": Work(
        "64 neurons, 16 features, cubic, dim 1000, one start to 10^9", SECONDS,
        _ensemble(_wide(64, 16), "seconds", dim=1000, seeds=1, until=1e9), most=1,
    ),
    "map": Work("map of 16 x 16 x 64 seeds x 2 heads, cubic", SECONDS, words=(*PHASE, "cubic")),
    "relu-map": Work("the same, relu", SECONDS, words=(*PHASE, "relu"), most=1),
    "first": Work("main command, empty cache", SECONDS, words=tuple(COMMAND), cold=True, most=3),
    "again": Work("main command, second time", SECONDS, words=tuple(COMMAND)),
}  # fmt: skip


@dataclass(frozen=True)
class Version:
    """The sources of a version, and a folder for what it compiles and writes."""

    sources: Path
    scratch: Path

    def run(self, work: Work, number: int, limit: float) -> tuple[float, dict] | str:
        """(What was measured, shares of outcomes) by one process, or why there is nothing."""
        cache = self.scratch / (f"cache-{work.name}-{number}" if work.cold else "cache")
        surroundings = os.environ | {
            "DYNLAB_CACHE_DIR": str(cache), "MPLCONFIGDIR": str(self.scratch), "PYTHONPATH": str(self.sources),
        }  # fmt: skip
        command = [sys.executable, *work.command(self.scratch / f"out-{time.monotonic_ns()}")]
        start = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=self.sources, env=surroundings, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return f"more than {limit:.0f} s"
        seconds = time.perf_counter() - start
        if done.returncode:
            return "refused: " + (done.stderr.strip().splitlines() or ["?"])[-1][-160:]
        if work.words:
            return seconds, {}
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return found["value"], found["shares"]


def unpacked(commit: str, folder: Path) -> Path:
    """The sources of a commit, unpacked into a folder."""
    packed = subprocess.run(["git", "archive", commit], cwd=HERE, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def largest_difference(one: dict, other: dict) -> float:
    """Of the shares of an outcome."""
    return max((abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one | other), default=0.0)


def measured(work: Work, versions: list[Version], repeats: int, limit: float) -> list[list[float] | str]:
    """What each version measured, in turn; a text for one that could not."""
    values: list[list[float]] = [[] for _ in versions]
    shares: list[dict] = [{} for _ in versions]
    why: list[str] = ["" for _ in versions]
    first = 0 if work.cold else -1  # which compiles, and is not counted
    for number in range(first, min(repeats, work.most or repeats)):
        for place, version in enumerate(versions):
            if why[place]:
                continue
            result = version.run(work, number, limit if number >= 0 else limit + COMPILING)
            if isinstance(result, str):
                why[place] = result
                continue
            shares[place] = result[1]
            if number >= 0:
                values[place].append(result[0])
    if not any(why) and largest_difference(*shares) > ALIKE:
        return [f"WRONG: {shares[0]}", f"other than {shares[1]}"]
    return [text or found for text, found in zip(why, values, strict=True)]


def row(work: Work, found: list[list[float] | str]) -> str:
    """A line of the table."""
    cells = [one if isinstance(one, str) else f"{shown(spread(one))} {work.unit}" for one in found]
    gain = ""
    if all(isinstance(one, list) for one in found):
        before, after = (np.array(one) for one in found)
        gain = shown(spread(before / after if work.unit == SECONDS else after / before), 2)
    return f"| {work.name} | {cells[0]} | {cells[1]} | {gain} |"


def main(words: list[str] | None = None) -> int:
    """Measure the rows asked for and print the table; 1 where the versions found other results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.beside", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="the earlier version, as git knows it")
    parser.add_argument("--rows", nargs="+", choices=list(WORK), default=list(WORK), help="default: all")
    parser.add_argument("--repeats", type=int, default=5, help="of each piece of work by each version (default: 5)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one process may take (default: 300)")
    asked = parser.parse_args(words)
    here = machine()
    print(f"{here['processor']}, {here['cores']} cores; before: {asked.commit}\n")
    print("| work | before | now | gain |\n|---|---|---|---|", flush=True)
    wrong = False
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("before", "now")]
        for folder in folders:
            folder.mkdir()
        earlier = unpacked(asked.commit, Path(scratch) / "sources")
        versions = [Version(earlier, folders[0]), Version(HERE, folders[1])]
        for name in asked.rows:
            found = measured(WORK[name], versions, asked.repeats, asked.limit)
            wrong = wrong or any(isinstance(one, str) and one.startswith("WRONG") for one in found)
            print(row(WORK[name], found), flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

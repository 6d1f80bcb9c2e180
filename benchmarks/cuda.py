"""CUDA kernels on this machine's device: parity of every kernel with its CPU twin first, then timings by events.

    python -m benchmarks.cuda

Exit status 1 where a parity fails (that section is then not timed) or there is no device. Writes cuda.json, after every
section anew. A section is a module with `parity(size)`, which yields `Check`s, and `timings(size)`, which yields
(name, dict) pairs; `SECTIONS` names them. Needs numpy, numba and numba-cuda; torch, where it is installed, for comparison.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.machine import machine, spread

SECTIONS = {name: f"benchmarks.cuda_{name}" for name in ("ensembles", "samples", "images")}
SIZES = ("tiny", "quick", "full")  # tiny: for the simulator


class Check(NamedTuple):
    """One comparison: what, whether it holds, the numbers behind it."""

    name: str
    holds: bool
    numbers: dict


def timed(run: Callable[[], object], repeats: int = 7, before: Callable[[], object] = lambda: None) -> dict:
    """Milliseconds of `run` by the device's events, after one run that is not counted: median and quartiles.

    before: called, and waited for, ahead of every run.
    """
    from dynlab.machine.gpu import SIMULATED, cuda

    values = []
    for repeat in range(1 if SIMULATED else repeats + 1):
        before()
        cuda.synchronize()
        if SIMULATED:
            begun = time.perf_counter()
            run()
            return spread([1e3 * (time.perf_counter() - begun)])
        start, stop = cuda.event(timing=True), cuda.event(timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        if repeat:
            values.append(cuda.event_elapsed_time(start, stop))
    return spread(values)


def wall(run: Callable[[], object], repeats: int = 5) -> dict:
    """Milliseconds of `run` by the clock, which must wait for its own results; after one run that is not counted."""
    run()
    values = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        values.append(1e3 * (time.perf_counter() - begun))
    return spread(values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.cuda", description="Parity, then timings, of the CUDA kernels.")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}, with commas")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cuda.json"), help="file to write")
    parser.add_argument("--anyway", action="store_true", help="time what fails its parity, too")
    arguments = parser.parse_args(argv)
    from dynlab.machine import gpu

    reason = gpu.unavailable()
    if reason is not None:
        print(f"benchmarks.cuda: error: no CUDA device: {reason}", file=sys.stderr)
        return 1
    found = {"device": gpu.name(), "machine": machine(), "size": arguments.size, "sections": {}}
    say = _Clock()
    say(gpu.name())
    for name in arguments.sections.split(","):
        found["sections"][name] = {"parity": {}, "timings": {}}
        for _ in _section(import_module(SECTIONS[name]), arguments, found["sections"][name], say):
            arguments.out.write_text(json.dumps(found, indent=1, default=_plain) + "\n", encoding="utf-8")
    bad = [check for part in found["sections"].values() for check, of in part["parity"].items() if not of["holds"]]
    say(f"{arguments.out} written; " + (f"FAILED: {', '.join(bad)}" if bad else "all parities hold"))
    return 1 if bad else 0


def _section(module, arguments, into: dict, say) -> Iterator[None]:
    good = True
    for check in module.parity(arguments.size):
        into["parity"][check.name] = {"holds": bool(check.holds)} | check.numbers
        say(f"{'ok  ' if check.holds else 'FAIL'} {check.name}: {_words(check.numbers)}")
        good = good and bool(check.holds)
        yield
    if good or arguments.anyway:
        for name, numbers in module.timings(arguments.size):
            into["timings"][name] = numbers
            say(f"{name}: {_words(numbers)}")
            yield


class _Clock:
    """Prints lines with the seconds since the start."""

    def __init__(self):
        self.begun = time.perf_counter()

    def __call__(self, line: str) -> None:
        print(f"[{time.perf_counter() - self.begun:6.1f} s] {line}", flush=True)


def _words(numbers: dict) -> str:
    def word(value):
        if isinstance(value, dict):
            return f"{value['median']:.4g}" if "median" in value else f"({_words(value)})"
        return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)

    return ", ".join(f"{name} {word(value)}" for name, value in numbers.items())


def _plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    sys.exit(main())

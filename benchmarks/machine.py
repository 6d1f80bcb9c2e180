"""What the figures were measured on, and how: only what is right is timed, peers in turn; medians with quartiles."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "diffrax", "torch")
PEERS = {"JAX": "jax", "diffrax": "diffrax", "PyTorch": "torch"}  # SciPy is always there


def machine() -> dict:
    """Processor, number of usable cores, system and versions of what takes part."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor, "cores": cores, "system": platform.platform(), "versions": versions}


def installed(peer: str) -> bool:
    """Whether a peer of `PEERS` is there; says so where it is not."""
    there = find_spec(PEERS[peer]) is not None
    if not there:
        print(f"{peer} is not installed: not compared", flush=True)
    return there


class WrongResult(Exception):
    """A result that is not what it should be: `what`, and `numbers`, {difference: (found, allowed)}, those too large."""

    def __init__(self, what: str, numbers: Mapping[str, tuple[float, float]]):
        self.what, self.numbers = what, dict(numbers)
        shown = "; ".join(f"{name} {found:.3g}, allowed {allowed:.3g}" for name, (found, allowed) in self.numbers.items())
        super().__init__(f"{what}: {shown}")


def difference(found: ArrayLike, right: ArrayLike, floor: float = 0.0) -> float:
    """Largest |found - right| / (|right| + floor); nan if anything is not a number, infinity for another shape."""
    found, right = np.asarray(found, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if found.shape != right.shape:
        return math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.abs(found - right) / (np.abs(right) + floor)
    return float(np.where(found == right, 0.0, each).max(initial=0.0))


def verified(what: str, differences: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The differences {name: found} if each is a number no larger than allowed; else WrongResult, so that nothing is timed.

    differences: {name: (found, allowed)}.
    """
    wrong = {name: pair for name, pair in differences.items() if not pair[0] <= pair[1]}
    if wrong:
        raise WrongResult(what, wrong)
    return {name: float(found) for name, (found, _) in differences.items()}


def timed_if_right(measure: Callable[..., dict], *arguments: Any) -> dict:
    """What measure(*arguments) returns; for a wrong result it says so and returns {"refused": what, "differences": ...}."""
    try:
        return measure(*arguments)
    except WrongResult as wrong:
        print(f"WRONG, not timed: {wrong}", flush=True)
        numbers = {
            name: {"found": found if math.isfinite(found) else str(found), "allowed": allowed}
            for name, (found, allowed) in wrong.numbers.items()
        }
        return {"refused": wrong.what, "differences": numbers}


def refusals(results: Any) -> Iterator[str]:
    """What was refused anywhere in results."""
    if isinstance(results, dict):
        if "refused" in results:
            yield results["refused"]
        for value in results.values():
            yield from refusals(value)
    elif isinstance(results, list):
        for value in results:
            yield from refusals(value)


def side_by_side(runs: Mapping[str, Callable[[], object]], repeats: int = 15, warm: bool = False) -> dict[str, list[float]]:
    """Time the callables of `runs` in turn, A B A B ...: seconds of each repeat.

    Before, each is called once and not counted, unless they have just run (warm).
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in () if warm else runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: ArrayLike) -> dict:
    """Median and quartiles."""
    low, middle, high = np.percentile(np.asarray(values, dtype=np.float64), [25, 50, 75])
    return {"median": float(middle), "quartiles": [float(low), float(high)]}


def shown(value: Mapping, digits: int = 3) -> str:
    """A spread as text: median (quartile-quartile)."""
    low, high = (number(end, digits) for end in value["quartiles"])
    return f"{number(value['median'], digits)} ({low}-{high})"


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, but all digits before the point."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def lost(solver: Mapping) -> str:
    """The shares of a solver's trajectories that failed or ended inaccurately, where any did."""
    return "".join(f", {solver[how]:.0%} {how}" for how in ("failed", "inaccurate") if solver[how])

"""What the figures were measured on, and how: medians of repeated runs, spread given as the quartiles."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "diffrax", "torch")


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


def side_by_side(runs: dict, repeats: int = 15) -> dict:
    """Time the callables of `runs` in turn, A B A B ...: seconds of each repeat, after one call that is not counted."""
    seconds = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values) -> dict:
    """Median and quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "quartiles": [float(low), float(high)]}

"""What was called, and by which versions on which machine: what every run.json ends with."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from dynlab._version import __version__

# Not part of what a run computes: where it is written, what it says, and how many threads share the work.
UNRECORDED = ("config", "assigned", "out", "quiet", "threads", "checkpoints", "resume", "dask", "parquet")


@dataclass(frozen=True)
class Call:
    """One call of a command.

    program: the module, as dynlab.run. words: as typed. arguments: all options, still words. options: those that decide
    the results, by name; `--config` takes them back from the run's record. typed: how each argument is typed, by name:
    --eta-head, or RUN where it has no dashes. started: `time.perf_counter()`.
    """

    program: str
    words: tuple[str, ...]
    arguments: argparse.Namespace
    options: dict[str, Any]
    typed: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def command(self) -> str:
        """The command as it was typed, for a shell."""
        return shlex.join(["python", "-m", self.program, *self.words])

    def record(self) -> dict[str, Any]:
        """What run.json begins with: enough for `--config run.json` to repeat the run."""
        return {"program": self.program, "command": self.command, "options": self.options}


PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "pandas", "matplotlib")


def provenance(started: float) -> dict[str, Any]:
    """What run.json ends with: versions, machine, and the seconds since `started` (perf_counter)."""
    seconds = round(time.perf_counter() - started, 3)
    return {"versions": versions(), "platform": machine(), "wall_time_seconds": seconds}


def versions() -> dict[str, str]:
    """Versions of dynlab, of Python and of the packages that numbers depend on."""
    return {"dynlab": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """The machine that a run was on."""
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}

"""A package of a few lines around dynlab's cache and compiler, so that a kernel compiles in a moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dynlab
from tests.machine.forking import Forked, Forking
from tests.waiting import HANGS

COPIED = ("__init__.py", "_version.py", "machine/*.py", "formulas/__init__.py", "formulas/number_table.py", "tools/*.py")
HELPER = "def value(x):\n    return {factor} * x\n"
TOY = """
from dynlab import helper
from dynlab.machine import cache, jit

value = jit.compile_module(helper).value


@jit.kernel
def total(x):
    return value(x) + 1.0
"""
RUN = "from dynlab import toy; print(toy.total(3.0), sum(toy.total.stats.cache_hits.values()))"


class Toy:
    """The package in a folder, with an empty cache beside it. `run` gives what a process of its own printed."""

    def __init__(self, root: Path, forking: Forking):
        self.package, self.cache = root / "source" / "dynlab", root / "cache"
        self.root, self.forking, self.number = root, forking, 0
        self.package.mkdir(parents=True)
        whole = Path(dynlab.__file__).parent
        for path in [path for pattern in COPIED for path in whole.glob(pattern)]:
            place = self.package / path.relative_to(whole)
            place.parent.mkdir(exist_ok=True)
            shutil.copy(path, place)
        (self.package / "toy.py").write_text(TOY)
        self.edit(2.0)

    def edit(self, factor: float) -> None:
        """Let the helper multiply by another number."""
        (self.package / "helper.py").write_text(HELPER.format(factor=factor))

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes."""
        return os.environ | {"PYTHONPATH": str(self.package.parent), "DYNLAB_CACHE_DIR": str(self.cache)}

    def start(self, code: str = RUN) -> Forked:
        """Fork a process that runs the code."""
        self.number += 1
        return self.forking.start(code, self.package.parent, self.environment, self.root / f"printed-{self.number}")

    def run(self, code: str = RUN) -> tuple[str, str]:
        """Standard output, which must be a line, and standard error of a process that must end well."""
        return said(self.start(code))

    def run_anew(self, code: str = RUN, **environment: str) -> tuple[str, str]:
        """The same of a process that loads numba itself, with more in its environment."""
        here, pipe = self.package.parent, subprocess.PIPE  # python -c looks for modules in the working folder first
        words, known = [sys.executable, "-B", "-c", code], self.environment | environment
        return said(subprocess.Popen(words, cwd=here, env=known, stdout=pipe, stderr=pipe, text=True))

    def files(self) -> list[str]:
        """Names of the files in the cache, keyed folders left out."""
        return sorted(path.name for path in self.cache.rglob("*") if path.is_file())


def said(process: subprocess.Popen | Forked) -> tuple[str, str]:
    """What a process that must end well has printed: its line and its errors."""
    out, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    assert out.count("\n") == 1
    return out.strip(), errors

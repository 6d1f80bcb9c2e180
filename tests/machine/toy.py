"""A package of a few lines around dynlab's cache and compiler, so that a kernel compiles in a moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dynlab
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

    def __init__(self, root: Path):
        self.package, self.cache = root / "source" / "dynlab", root / "cache"
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

    def start(self, code: str = RUN, **environment: str) -> subprocess.Popen:
        """Start a process that runs the code."""
        here, pipe = self.package.parent, subprocess.PIPE  # python -c looks for modules in the working folder first
        own = {"PYTHONPATH": str(here), "DYNLAB_CACHE_DIR": str(self.cache)}
        words = [sys.executable, "-B", "-c", code]
        return subprocess.Popen(words, cwd=here, env=os.environ | own | environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, code: str = RUN, **environment: str) -> tuple[str, str]:
        """Standard output, which must be a line, and standard error of a process that must end well."""
        return said(self.start(code, **environment))

    def files(self) -> list[str]:
        """Names of the files in the cache, keyed folders left out."""
        return sorted(path.name for path in self.cache.rglob("*") if path.is_file())


def said(process: subprocess.Popen) -> tuple[str, str]:
    """What a process that must end well has printed: its line and its errors."""
    out, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    assert out.count("\n") == 1
    return out.strip(), errors

"""Plants faults in a copy of the sources, one at a time, and shows which tests fail for each (the first few).

For the modules of `planted`, which are run on demand: each has its faults, the tests that should see them, and
what it copies.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dynlab
from tests import ROOT

SOURCES = Path(dynlab.__file__).parents[1]
"""The folder that holds dynlab: the clone's, or where a wheel is installed."""
Change = tuple[str, str, str]
"""A file, text as it stands, text with the fault; the text must occur, or the fault could not be planted."""


@dataclass(frozen=True)
class Planting:
    """What to plant, and which tests should see it.

    program: the module's name, for its errors. faults: by name. tests: words for pytest that choose the tests which should
    see a fault (None: the sources as they are). prepare(root): changes the copy before it is used. most: failing tests after
    which no more are tried. longest: seconds of the processor for the tests under one fault;
    what takes longer is taken to go on for ever, and is not caught.
    own_cache: each fault begins without compiled kernels (for faults in the cache itself); else those that a fault cannot
    touch are compiled once.
    """

    program: str
    faults: Mapping[str, Change]
    tests: Callable[[str | None], Sequence[str]]
    prepare: Callable[[Path], None] = lambda root: None
    most: int = 6
    longest: int = 600
    own_cache: bool = False

    def lost(self, root: Path = SOURCES) -> list[str]:
        """Faults whose text is not in the sources any more, so that they could not be planted."""
        found = []
        for name, (file, right, wrong) in self.faults.items():
            text = (root / file).read_text(encoding="utf-8") if (root / file).is_file() else ""
            if right not in text:
                found.append(f"{name}: {file} does not hold {right!r}")
            elif right == wrong:
                found.append(f"{name}: changes nothing")
        return found

    def change(self, root: Path, name: str, file: str, right: str, wrong: str) -> None:
        """Replace text in a file of the copy; an error where it is not there."""
        text = (root / file).read_text(encoding="utf-8")
        if right not in text:
            sys.exit(f"{self.program}: error: {name}: {file} does not hold {right!r}")
        (root / file).write_text(text.replace(right, wrong), encoding="utf-8")

    def failing(self, name: str | None, cache: Path | None = None) -> list[str] | None:
        """Names of the tests that fail under a fault (None: of the sources as they are); None where they do not end."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            shutil.copytree(SOURCES / "dynlab", root / "dynlab", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(ROOT / "tests", root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", root)
            self.prepare(root)
            if name is not None:
                self.change(root, name, *self.faults[name])
            return self._run(root, self.tests(name), root / "cache" if cache is None or self.own_cache else cache)

    def _run(self, root: Path, tests: Sequence[str], cache: Path) -> list[str] | None:
        words = [
            sys.executable,
            "-m",
            "pytest",
            *tests,
            "-q",
            "--numprocesses=0",
            "--tb=no",
            f"--maxfail={self.most}",
            "-p",
            "no:cacheprovider",
        ]
        environment = os.environ | {"PYTHONPATH": str(root), "DYNLAB_CACHE_DIR": str(cache)}
        limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (self.longest, self.longest + 5))  # noqa: E731
        done = subprocess.run(
            words, cwd=root, env=environment, capture_output=True, text=True, check=False, preexec_fn=limit
        )
        if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            print(f"not finished after {self.longest} s of the processor", file=sys.stderr)
            return None
        failed = re.findall(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)
        if done.returncode not in (0, 1) and not failed:  # several processes that stop at --maxfail end with 2
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
            return None
        return failed

    def caught(self, names: Sequence[str] = ()) -> Iterator[tuple[str | None, list[str] | None]]:
        """The unchanged sources (None), then each fault (or those named), with the names of the tests that failed."""
        with tempfile.TemporaryDirectory() as folder:
            for name in (None, *(names or self.faults)):
                yield name, self.failing(name, Path(folder))

    def main(self, names: list[str]) -> int:
        """Try the unchanged sources, then each fault (or those named); 1 if a fault is not caught or the sources fail."""
        for name in names:
            if name not in self.faults:
                sys.exit(f"{self.program}: error: {name}: must be one of: {'; '.join(self.faults)}")
        missed = 0
        for name, failing in self.caught(names):
            if name is None:
                missed += failing != []
                print(f"unchanged: {'all tests pass' if failing == [] else f'FAILS: {failing}'}", flush=True)
                continue
            missed += not failing
            print(f"{name}: {'NOT CAUGHT' if not failing else f'caught by {len(failing)}'}", flush=True)
            for test in failing or ():
                print(f"    {test}", flush=True)
        return 1 if missed else 0

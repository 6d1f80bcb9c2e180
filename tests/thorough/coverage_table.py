"""Which lines of dynlab's functions the tests run, module by module, with the compiler off: what is compiled cannot be seen.

    python -m tests.thorough.coverage_table [FILE ...]

Each file of tests (or each folder of them: quicker, and tells less) runs in a process of its own under `coverage`, with
NUMBA_DISABLE_JIT=1, for at most so many seconds of the processor and a tenth of them a test; lines that importing dynlab
runs are not counted. Processes that tests start are not seen. Without the compiler loops take hundreds of times longer and
divisions by zero raise, so that some tests fail or do not end: what they ran until then counts, and the files are named.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import dynlab
from tests import ROOT

PACKAGE = Path(dynlab.__file__).parent
SECONDS = 60  # of the processor, for a process
STOPPED = 99  # the exit status then
# Numba hands functions back as they are; some are asked for what a compiled one has.
PLAIN = """
import numba
def plain(function=None, **options):
    if function is None:
        return plain
    function.targetoptions, function.py_func, function.signatures = {}, function, []
    return function
numba.njit = plain
from dynlab.machine import parts
parts.part = plain
"""
IMPORT = """
import importlib, pathlib, sys, dynlab
for path in sorted(pathlib.Path(dynlab.__file__).parent.rglob("*.py")):
    parts = path.relative_to(pathlib.Path(dynlab.__file__).parents[1]).with_suffix("").parts
    if parts[-1] not in ("__main__", "conf", "tutorial") and parts[1] != "figures":
        try:
            importlib.import_module(".".join(parts))
        except Exception as error:
            print(".".join(parts), type(error).__name__, error)
"""
# coverage writes when the process ends; at the limit of the processor's time it is made to end in order. A test that takes
# too long fails.
RUN = """
import resource, signal, sys, pytest
stopped = []
class TooLong(BaseException): pass
class Limit:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        signal.setitimer(signal.ITIMER_PROF, resource.getrlimit(resource.RLIMIT_CPU)[0] / 10)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
def late(*_):
    raise TooLong
signal.signal(signal.SIGPROF, late)
def stop(*_):
    stopped.append(True)
    raise KeyboardInterrupt
signal.signal(signal.SIGXCPU, stop)
status = pytest.main(sys.argv[1:], plugins=[Limit()])
sys.exit(STOPPED if stopped else status)
"""


@dataclass
class Reached:
    """What the tests run of one module: lines of its functions, those of them that ran, and in which files of tests."""

    lines: set[int]
    ran: set[int] = field(default_factory=set)
    files: list[str] = field(default_factory=list)


def measured(folder: Path, name: str, words: list[str], seconds: int = SECONDS) -> tuple[dict[str, set[int]], int]:
    """{source: lines that ran} of a command under coverage, with the compiler off; and its exit status."""
    data = folder / name
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": str(data), "PYTHONPATH": str(ROOT)}
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 20))  # noqa: E731
    command = [sys.executable, "-m", "coverage", "run", f"--source={PACKAGE}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, preexec_fn=limit)
    from coverage import CoverageData

    found = CoverageData(str(data))
    if data.is_file():
        found.read()
    return {source: set(found.lines(source) or ()) for source in found.measured_files()}, done.returncode


def table(files: list[str], told=print, seconds: int = SECONDS) -> tuple[dict[str, Reached], dict[str, str]]:
    """{module: what is reached of it} and {file of tests: why it was not run to its end}. files: or folders of them."""
    from coverage import Coverage

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "run.py").write_text(PLAIN + RUN.replace("STOPPED", str(STOPPED)))
        (folder / "importing.py").write_text(PLAIN + IMPORT)
        at_import, _ = measured(folder, "import", [str(folder / "importing.py")])
        reader, found = Coverage(data_file=None), {}
        for path in sorted(PACKAGE.rglob("*.py")):
            statements = set(reader.analysis2(str(path))[1])
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            inside = statements - at_import.get(str(path), set())
            if inside:
                found[module] = Reached(inside)
        cannot = {}
        for number, file in enumerate(files):
            given = files_of(file) if (ROOT / file).is_dir() else [file]
            words = [str(folder / "run.py"), *given, "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no"]
            ran, status = measured(folder, f"data{number}", words, seconds)
            for source, lines in ran.items():
                module = ".".join(Path(source).relative_to(PACKAGE.parent).with_suffix("").parts)
                if module in found and lines & found[module].lines:
                    found[module].ran |= lines & found[module].lines
                    found[module].files.append(re.sub(r"^tests/", "", file))
            if status == 1:
                cannot[file] = "some tests fail without the compiler"
            elif status in (STOPPED, -signal.SIGXCPU, -signal.SIGKILL):
                cannot[file] = f"stopped after {seconds} s of the processor"
            elif status == 2:
                cannot[file] = "cannot be loaded without the compiler"
            elif status not in (0, 5):
                cannot[file] = f"ends with {status} without the compiler"
            told(f"{number + 1} of {len(files)}: {file}: {cannot.get(file, 'all')}")
    return found, cannot


def rows(found: dict[str, Reached], cannot: dict[str, str]) -> list[str]:
    """The table in Markdown, with the files of tests that could not be run to their end."""
    from tests.architecture import named

    names = named.table()
    lines = ["| module | lines of its functions that ran | named by | files or folders it ran under |", "|---|---|---|---|"]
    for module, one in sorted(found.items()):
        by, files = names.get(module, []), one.files
        share = f"{len(one.ran)} of {len(one.lines)}"
        through = named.THROUGH.get(module)
        shown = f"{len(by)} files, {by[0]}" if by else f"none; through {through[0]}" if through else "none"
        lines.append(f"| {module.removeprefix('dynlab.')} | {share} | {shown} | {len(files)} |")
    return lines + [""] + [f"* {file}: {why}" for file, why in sorted(cannot.items())]


def all_files() -> list[str]:
    """Every file of tests, by its path."""
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]


def all_folders() -> list[str]:
    """Every folder that holds files of tests."""
    return sorted({file.rpartition("/")[0] for file in all_files()})


def files_of(folder: str) -> list[str]:
    """The files of tests that lie in a folder itself."""
    return [file for file in all_files() if file.rpartition("/")[0] == folder]


if __name__ == "__main__":
    found, cannot = table(sys.argv[1:] or all_files(), lambda line: print(line, file=sys.stderr, flush=True))
    print("\n".join(rows(found, cannot)))

"""python -m tests.thorough: what is checked on demand, part by part; the page "What was checked last" is written anew.

PyTorch's comparisons need an interpreter that has PyTorch and the packages of the tests (--torch); without one that part is
not run, which is said. Parts take from a minute (pytorch) to hours (explore, planted); --only takes some of them, of planted
faults also one module: planted.samples.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from tests import ROOT
from tests.processors import kinds
from tests.thorough import results
from tests.thorough.results import CUT, FAILED, PASSED, SKIPPED, Result

PLANTED = tuple(
    path.stem for path in sorted((Path(__file__).parent / "planted").glob("*.py")) if path.stem != "__init__"
)  # fmt: skip
PARTS = {
    "pytorch": "optimisers, encoders and a loss curve against PyTorch",
    **{f"planted.{name}": f"faults planted one at a time: {name.replace('_', ' ')}" for name in PLANTED},
    "faults": "every command killed, out of disk and interrupted at more moments, more bad input",
    "browser": "the page with sliders and every page of the documentation in chromium, by playwright",
    "kernels": "every CUDA kernel compiled, without a device",
    "explore": "the properties of hypothesis, with new random examples",
    "coverage": "which lines of dynlab the tests run, with the compiler off",
    "processors": "tests and results in the arithmetic of other processors",
}


def tested(words: Sequence[str], python: str = sys.executable, **environment: str) -> Result:
    """What pytest makes of some words, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junit-xml={report}", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True
        )
        if not report.is_file():
            return Result(FAILED, f"pytest ends with {done.returncode}", tuple(done.stderr.splitlines()[-5:]))
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    passed = len(cases) - len(bad) - len(skipped)
    counts = f"{passed} passed, {len(bad)} failed, {len(skipped)} skipped"
    lines = [f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')} fails" for case in bad]
    lines += sorted({f"skipped: {case.find('skipped').get('message')}" for case in skipped})
    return Result(FAILED if bad or not passed else PASSED, counts, tuple(lines))


def files_with(word: str) -> list[str]:
    """Files of tests that hold a word."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path.relative_to(ROOT).as_posix() for path in paths if word in path.read_text(encoding="utf-8")]


def pytorch(given: argparse.Namespace) -> Result:
    python = given.torch or (sys.executable if find_spec("torch") else None)
    if python is None:
        return Result(SKIPPED, "PyTorch is not installed here, and --torch names no interpreter that has it")
    return tested(["-n", "0", "-k", "torch", *files_with("torch")], python)


def planted(name: str, given: argparse.Namespace) -> Result:
    planting = import_module(f"tests.thorough.planted.{name}").PLANTING
    if lost := planting.lost():
        return Result(FAILED, f"{len(lost)} faults have lost their text", tuple(lost))
    end = time.monotonic() + 60.0 * given.minutes
    caught, missed, lines = 0, 0, []
    try:
        for fault, failing in planting.caught():
            if fault is None and failing != []:
                return Result(FAILED, "the sources as they are fail", tuple(failing or ("they do not end",)))
            if fault is not None:
                caught, missed = caught + bool(failing), missed + (not failing)
                lines.append(f"{fault}: {f'caught by {failing[0]}' if failing else 'NOT CAUGHT'}")
                print(f"  {lines[-1]}", flush=True)
            if time.monotonic() > end:
                break
    except KeyboardInterrupt:  # what was found counts
        print("stopped", file=sys.stderr)
    lines.sort(key=lambda line: "NOT CAUGHT" not in line)
    rest = len(planting.faults) - caught - missed
    counts = f"{caught} faults caught, {missed} not" + (f", {rest} not tried" if rest else "")
    return Result(FAILED if missed else CUT if rest else PASSED, counts, tuple(lines))


def faults(given: argparse.Namespace) -> Result:
    found = tested(["tests/faults"], DYNLAB_FAULTS=str(given.times))
    return Result(found.outcome, f"{given.times} times as many: {found.counts}", found.lines)


def browser(given: argparse.Namespace) -> Result:
    if find_spec("playwright") is None or not (shutil.which("chromium") or shutil.which("chromium-browser")):
        return Result(SKIPPED, "chromium (Debian's) or the package playwright is not installed here")
    return tested(["-n", "0", "tests/explorer/browser.py", "tests/docs/browser.py"])


def compiled(given: argparse.Namespace) -> Result:
    return tested(
        ["-n", "0", "tests/machine/gpu/test_compile.py", "tests/images/cuda/test_compile.py"], DYNLAB_EVERY_KERNEL="1"
    )


def explore(given: argparse.Namespace) -> Result:
    files = [file for file in files_with("hypothesis") if given.files in file]
    found = tested(["-m", "hypothesis", *files], HYPOTHESIS_PROFILE="explore", DYNLAB_EXAMPLES=str(given.examples))
    where = f"{len(files)} files of tests, " + (f"those with {given.files!r} in their path, " if given.files else "")
    return Result(found.outcome, f"{where}{given.examples} examples a test: {found.counts}", found.lines)


def coverage(given: argparse.Namespace) -> Result:
    if find_spec("coverage") is None:
        return Result(SKIPPED, "the package coverage is not installed (python -m pip install coverage)")
    from tests.thorough import coverage_table

    every = coverage_table.all_folders() if given.folders else coverage_table.all_files()
    files = [file for file in every if given.files in file]
    found, cannot = coverage_table.table(files, lambda line: print(f"  {line}", flush=True), given.seconds)
    ran, lines = sum(len(one.ran) for one in found.values()), sum(len(one.lines) for one in found.values())
    counts = f"{ran} of {lines} lines of functions ran; {len(files)} {'folders' if given.folders else 'files'} of tests, "
    counts += f"{len(cannot)} not to their end"
    counts += f" (those with {given.files!r} in their path)" if given.files else ""
    return Result(PASSED, counts, tuple(coverage_table.rows(found, cannot)))


def processors(given: argparse.Namespace) -> Result:
    words = [sys.executable, "-m", "tests.processors", *(["--quick"] if given.quick else [])]
    words += ["--only", given.kinds] if given.kinds else []
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    lines = tuple(done.stdout.splitlines()) or tuple(done.stderr.splitlines()[-5:])
    counts = ("the quick tests, " if given.quick else "") + (given.kinds or "; ".join(kinds.KINDS))
    return Result(FAILED if done.returncode else PASSED, counts, lines)


def run(part: str, given: argparse.Namespace) -> Result:
    """One part, timed."""
    begun = time.monotonic()
    if part.startswith("planted."):
        found = planted(part.partition(".")[2], given)
    else:
        found = {
            "pytorch": pytorch,
            "faults": faults,
            "browser": browser,
            "kernels": compiled,
            "explore": explore,
            "coverage": coverage,
            "processors": processors,
        }[part](given)
    return Result(found.outcome, found.counts, found.lines, time.monotonic() - begun)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m tests.thorough", description=__doc__)
    made.add_argument("--only", help="parts, separated by commas: " + ", ".join((*PARTS, "planted")))
    made.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch and the packages of the tests")
    made.add_argument("--examples", type=int, default=2000, help="of explore, a test (default: %(default)s)")
    made.add_argument("--minutes", type=float, default=600.0, help="begin no further fault of a module after so many")
    made.add_argument(
        "--times",
        type=int,
        default=3,
        help="of faults: as many moments and inputs as in the usual tests (default: %(default)s)",
    )
    made.add_argument("--files", default="", help="of coverage and explore: files of tests whose path holds this")
    made.add_argument(
        "--folders", action="store_true", help="of coverage: a process for each folder of tests, not each file"
    )
    made.add_argument(
        "--seconds", type=int, default=60, help="of coverage: of the processor, a process (default: %(default)s)"
    )
    made.add_argument("--quick", action="store_true", help="of processors: fewer tests")
    made.add_argument("--kinds", help="of processors: kinds, separated by ';'")
    return made


def chosen(only: str | None) -> list[str]:
    """The parts that --only names; ValueError where there is no such part."""
    names = [name.strip() for name in only.split(",")] if only else list(PARTS)
    found = [part for name in names for part in PARTS if part == name or part.startswith(f"{name}.")]
    if unknown := [name for name in names if not any(part == name or part.startswith(f"{name}.") for part in PARTS)]:
        raise ValueError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return found


def main(words: list[str] | None = None) -> int:
    """Run the parts, keep what they found, write the page; 1 where one failed."""
    words = list(sys.argv[1:] if words is None else words)
    made = parser()
    given = made.parse_args(words)
    try:
        parts = chosen(given.only)
    except ValueError as error:
        made.error(str(error))
    command, failed = shlex.join(["python", "-m", "tests.thorough", *_public(words)]), False
    for part in parts:
        print(f"{part}: {PARTS[part]}", flush=True)
        found = run(part, given)
        print(f"{part}: {found.outcome}, {found.counts} ({found.seconds / 60:.0f} min)", flush=True)
        for line in found.lines if found.outcome == FAILED else ():
            print(f"    {line}", flush=True)
        failed |= found.outcome == FAILED
        kept = results.keep(part, found, command)
        if results.PAGE.parent.is_dir():
            results.PAGE.write_text(results.page(kept, PARTS), encoding="utf-8")
    return 1 if failed else 0


def _public(words: list[str]) -> list[str]:
    """The words without the place of an interpreter, which is another machine's affair."""
    return ["PYTHON" if i and words[i - 1] == "--torch" else word for i, word in enumerate(words)]


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())

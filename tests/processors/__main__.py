"""python -m tests.processors: tests and results in the arithmetic of several processors, and what differs.

--quick takes a minute or two: those tests that lean most on the libraries, and of the generic processor, for which every
kernel is compiled anew, a few. Named tests take the place of the table's; --only takes kinds by their names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tests.processors import kinds
from tests.processors.results import PARTS

# What multiplies, decomposes, fits, sorts or integrates by libraries.
QUICK_TESTS = (
    "tests/images/worth/test_evaluation.py", "tests/images/networks/test_head.py", "tests/linear/test_model.py",
    "tests/linear/test_laws.py",
)  # fmt: skip
TESTS = (
    *QUICK_TESTS, "tests/linear", "tests/population", "tests/formulas", "tests/settings", "tests/samples", "tests/planes",
    "tests/ensembles", "tests/images/test_losses.py", "tests/images/layers", "tests/images/networks",
    "tests/images/training", "tests/images/test_objectives_together.py", "tests/images/data/test_augment.py",
    "tests/commands/test_pretrain.py", "tests/explanation", "tests/claims", "tests/maps/test_map.py",
    "tests/machine/test_twofloat.py",
)  # fmt: skip
GENERIC_TESTS, GENERIC_PARTS = ("tests/images/worth/test_evaluation.py",), ("linear", "features", "heads")


def results(name: str, parts: tuple[str, ...]) -> dict:
    """What `tests.processors.results` prints in a process of this kind."""
    words = [sys.executable, "-W", "error::RuntimeWarning:dynlab", "-m", "tests.processors.results", *parts]
    made = subprocess.run(words, env=kinds.environment(name), capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"{name}: {made.stderr}")
    return json.loads(made.stdout)


def differences(found: dict[str, dict]) -> list[str]:
    """One line for each part of the results that is not the same on all kinds {name: parts}, the first being the measure."""
    lines = []
    names = list(found)
    for part, wanted in found[names[0]].items():
        for name in names[1:]:
            other = found[name].get(part, wanted)
            if other["told"] != wanted["told"]:
                lines.append(f"{part}: {name} tells {other['told']}, {names[0]} {wanted['told']}")
            away = distance(wanted["numbers"], other["numbers"])
            if not away <= wanted["within"]:
                lines.append(f"{part}: {name} is {away:.2g} away from {names[0]}, more than {wanted['within']:.2g}")
    threads = [name for name in names if name.startswith("here")]
    for part in found[names[0]]:
        if len({found[name][part]["bits"] for name in threads if part in found[name]}) > 1:
            lines.append(f"{part}: other bits with another number of threads")
    return lines


def distance(numbers: list, others: list) -> float:
    """The largest difference relative to the largest number; infinite where one is not finite and the other is."""
    a, b = np.array(numbers, dtype=float), np.array(others, dtype=float)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    a, b = a[np.isfinite(a)], b[np.isfinite(a)]
    return float(np.abs(a - b).max(initial=0.0) / max(np.abs(a).max(initial=0.0), np.finfo(float).tiny))


def tested(name: str, tests: tuple[str, ...]) -> tuple[int, list[str]]:
    """How many tests passed on this kind, and the names of the others."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-q", "-n", "0", "-p", "no:cacheprovider", "--basetemp", f"{folder}/made", f"--junit-xml={report}", *tests]
        made = subprocess.run(
            [sys.executable, "-m", "pytest", *words], env=kinds.environment(name), capture_output=True, text=True
        )
        if not report.is_file() or made.returncode not in (0, 1):
            raise RuntimeError(f"{name}: {made.stdout[-2000:]}{made.stderr}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = [f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}" for case in bad]
    return len(cases) - len(bad) - skipped, names


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.processors", description="Tests and results on several processors.")
    parser.add_argument("tests", nargs="*", help="files of tests in place of the table's")
    parser.add_argument("--quick", action="store_true", help="a minute or two: fewer tests")
    parser.add_argument("--only", help="kinds of processors, separated by ';': " + "; ".join(kinds.KINDS))
    parser.add_argument("--jobs", type=int, default=1, help="kinds at a time")
    given = parser.parse_args(words)
    chosen = [name.strip() for name in given.only.split(";")] if given.only else list(kinds.KINDS)
    if unknown := [name for name in chosen if name not in kinds.KINDS]:
        parser.error(f"no such kind: {', '.join(unknown)}; there are {'; '.join(kinds.KINDS)}")
    work = {}
    for name in chosen:
        some = given.quick and name == "generic"
        tests = tuple(given.tests) or (GENERIC_TESTS if some else QUICK_TESTS if given.quick else TESTS)
        work[name] = tests, () if given.tests else GENERIC_PARTS if some else tuple(PARTS)
    return run(work, given.jobs)


def run(work: dict[str, tuple[tuple[str, ...], tuple[str, ...]]], jobs: int) -> int:
    """Print a table of kinds and what differs between them; 1 where a test fails or a result differs.

    work: {kind: (tests, parts of the results)}.
    """
    possible = []
    for name in work:
        if reason := kinds.why_not(name):
            print(f"{name}: left out, {reason}", flush=True)
        else:
            possible.append(name)

    def one(name: str) -> tuple[dict, int, list[str], float]:
        begun = time.monotonic()
        tests, parts = work[name]
        answer = results(name, parts) if parts else {}
        passed, failed = tested(name, tests)
        return answer, passed, failed, time.monotonic() - begun

    found: dict[str, dict] = {}
    fails: dict[str, list[str]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for name, (answer, passed, failed, seconds) in zip(possible, pool.map(one, possible), strict=True):
            found[name] = answer
            print(f"{name:<18} {passed:5} passed {len(failed):3} failed  {seconds:5.0f} s", flush=True)
            for test in failed:
                fails.setdefault(test, []).append(name)
    lines = [f"{test} fails on {', '.join(names)}" for test, names in fails.items()] + differences(found)
    print("\n".join(lines or ["nothing differs"]))
    return 1 if lines or not possible else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())

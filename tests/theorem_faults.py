"""Plants faults in the dynamics, one at a time, and shows which tests of tests/theorem fail for each (the first few).

    python tests/theorem_faults.py [NAME ...]

Works on a copy of the sources in a temporary folder; each fault compiles everything anew, about a minute. The exit status is
1 if a fault is not caught, or if the unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOW = "dynlab/formulas/cubic_flow.py"
OBJECTIVE = "dynlab/formulas/objective.py"
MASKS = "dynlab/formulas/masks.py"
# name: (file, text as it stands, text with the fault); the text must occur, or the fault could not be planted.
FAULTS = {
    "head's gradient with the wrong sign": (FLOW, "-par[HEAD_RATE] * h", "par[HEAD_RATE] * h"),
    "factor 2 in the head's gradient": (FLOW, "-par[HEAD_RATE] * h", "-2.0 * par[HEAD_RATE] * h"),
    "sign of the determinant term": (FLOW, "turn = a * e * det", "turn = -a * e * det"),
    "variance without the borrowed feature": (
        FLOW,
        "1.0 / (a * (f1 * f1 + f2 * f2) + cff)",
        "1.0 / (a * (x1 * x1 + x2 * x2) + cff)",
    ),
    "noise term of the normalisation dropped": (FLOW, "noise * rho * inverse_v, d_e", "0.0 * rho * inverse_v, d_e"),
    "no stop-gradient on the target's noise": (
        FLOW,
        "noise * rho * inverse_v, d_e",
        "noise * rho * (inverse_v + inverse_u), d_e",
    ),
    "lender not trained through the head": (FLOW, "(p2 + e2 * r2)", "(p2 + 0.0 * r2)"),
    "fourth moment of the noise": (FLOW, "15.0 * s6", "9.0 * s6"),
    "wrong mask moment": (MASKS, "(4.0 * (patches - 1.0))", "(4.0 * patches)"),
    "chain rule with alpha^2": (FLOW, "3.0 * cube(par[STRENGTHS])", "3.0 * par[STRENGTHS] ** 2"),
    "head entries swapped": (FLOW, "rates[7] = -par[HEAD_RATE] * h1", "rates[7] = -par[HEAD_RATE] * h2"),
    "gradient: the borrowing output does not train the lender": (
        OBJECTIVE,
        "share = scale * head[j, p] * value",
        "share = scale * (1.0 if j == p else 0.0) * value",
    ),
}
CONFTEST = """
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("faults", derandomize=True, deadline=None, database=None, max_examples={examples},
                          phases=[Phase.generate], suppress_health_check=list(HealthCheck))
settings.load_profile("faults")
"""
EXAMPLES = 12
# A wrong trajectory may never settle: give up on it (a failure of its test) long before the solver's own limit.
STEPS = ("dynlab/population/flow.py", "MAX_STEPS = 200_000", "MAX_STEPS = 2_000")
MOST = 6  # failing tests after which no more are tried
LONGEST = 400  # seconds for the tests under one fault


def failing_tests(root: Path) -> list[str] | None:
    """Names of the tests of tests/theorem that fail in a copy of the sources; None where they cannot be run."""
    words = [sys.executable, "-m", "pytest", "tests/theorem/test_claims.py", "-q", "--tb=no", f"--maxfail={MOST}"]
    words += ["-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(root), "DYNLAB_CACHE_DIR": str(root / "cache")}
    try:
        done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        print(f"not finished after {LONGEST} s", file=sys.stderr)
        return None
    if done.returncode not in (0, 1):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return None
    return re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)


def copy_sources(root: Path) -> None:
    """The package and the tests that are wanted, with fewer examples and no shrinking."""
    shutil.copytree(ROOT / "dynlab", root / "dynlab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("theorem", "oracles"):
        shutil.copytree(ROOT / "tests" / name, root / "tests" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests" / "__init__.py").touch()
    (root / "tests" / "conftest.py").write_text(CONFTEST.format(examples=EXAMPLES))
    shutil.copy(ROOT / "pyproject.toml", root)


def change(root: Path, name: str, file: str, right: str, wrong: str) -> None:
    """Replace text in a file of the copy; an error where it is not there."""
    text = (root / file).read_text(encoding="utf-8")
    if right not in text:
        sys.exit(f"theorem_faults: error: {name}: {file} does not hold {right!r}")
    (root / file).write_text(text.replace(right, wrong), encoding="utf-8")


def with_fault(name: str | None) -> list[str] | None:
    """The failing tests under a fault, or of the sources as they are."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_sources(root)
        change(root, "fewer steps", *STEPS)
        if name is not None:
            change(root, name, *FAULTS[name])
        return failing_tests(root)


def main(names: list[str]) -> int:
    """Try the unchanged sources, then each fault."""
    for name in names:
        if name not in FAULTS:
            sys.exit(f"theorem_faults: error: {name}: must be one of: {'; '.join(FAULTS)}")
    sound = with_fault(None)
    print(f"unchanged: {'all tests pass' if sound == [] else f'FAILS: {sound}'}", flush=True)
    missed = 0 if sound == [] else 1
    for name in names or FAULTS:
        failing = with_fault(name)
        missed += not failing
        print(f"{name}: {'NOT CAUGHT' if not failing else f'caught by {len(failing)}'}", flush=True)
        for test in failing or ():
            print(f"    {test}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

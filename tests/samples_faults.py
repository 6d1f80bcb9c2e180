"""Plants faults in the minibatch path, one at a time, and shows which tests of tests/samples fail for each (the first few).

    python tests/samples_faults.py [NAME ...]

Works on a copy of the sources in a temporary folder. The exit status is 1 if a fault is not caught, or if the unchanged
sources fail. Run on demand; pytest does not collect it.
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
RNG, KERNELS, OBJECTIVE = "dynlab/_rng.py", "dynlab/samples/kernels.py", "dynlab/samples/objective.py"
CONTENT, GRADIENT, TRAIN = "dynlab/samples/content.py", "dynlab/samples/gradient.py", "dynlab/samples/train.py"
CHECKPOINT, OPTIMISERS = "dynlab/samples/checkpoint.py", "dynlab/samples/optimisers.py"
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "nine rounds of Philox": (RNG, "range(10)", "range(9)"),
    "a sign of normals from a comparison": (
        RNG,
        "np.float64(1 - (quadrant & 2)) * radius * y",
        "(radius if quadrant < 2 else -radius) * y",
    ),
    "radius without the factor 2": (RNG, "sqrt(-2.0 * logarithm", "sqrt(-1.99 * logarithm"),
    "the step is not in the counter": (
        KERNELS,
        "numbers[BLOCKS], numbers[CONTENT_STEP]",
        "numbers[BLOCKS], 0 * numbers[CONTENT_STEP]",
    ),
    "views drawn with the words of the content": (
        CONTENT,
        "draw_subset(patches, patches // 2, VIEWS",
        "draw_subset(patches, patches // 2, CONTENT",
    ),
    "subset too large": (CONTENT, "(word * (size - p)) >> 32 < left", "(word * (size - p)) >> 32 <= left"),
    "feature's slope without its strength": (KERNELS, "shown * strength * _slope", "shown * _slope"),
    "gradient through view 2's patches in view 1's place": (
        KERNELS,
        "c = coefficient[view, b, j]",
        "c = coefficient[0, b, j]",
    ),
    "one row of a tile left out": (KERNELS, "range(count - count % 4, count)", "range(count - count % 4, count - 1)"),
    "sums in another order with threads": (
        GRADIENT,
        "_pool(self.threads).map(chunk, range(CHUNKS))",
        "reversed(list(_pool(self.threads).map(chunk, range(CHUNKS))))",
    ),
    "chunks that follow the threads": (
        GRADIENT,
        "edges = [batch * i // CHUNKS for i in range(CHUNKS + 1)]",
        "edges = [min(batch * i // (2 * self.threads), batch) for i in range(CHUNKS + 1)]",
    ),
    "no gradient through the batch's deviation": (OBJECTIVE, "rho / size, rho / own", "0.0 * rho / size, rho / own"),
    "the means not taken off": (KERNELS, "(z[s, a] - mean[a]) * (z[s, b] - mean[b])", "z[s, a] * z[s, b]"),
    "variance divided by n - 1": (KERNELS, "cov[a, b] = total / n", "cov[a, b] = total / (n - 1)"),
    "no stop-gradient": (
        OBJECTIVE,
        'if training.stop_gradient != "target":\n        slope.linear',
        "if True:\n        slope.linear",
    ),
    "head's gradient transposed": (OBJECTIVE, "d_overlap[:, None] * across.T)", "d_overlap[:, None] * across)"),
    "mean of the outputs forgotten in one pass": (
        GRADIENT,
        "slope.const[column + j] - linear @ moments.mean",
        "slope.const[column + j]",
    ),
    "head decay on the diagonal's identity": (
        GRADIENT,
        "training.head_decay, head, d_head",
        "training.head_decay, head - 1.0, d_head",
    ),
    "target moves before the weights": (
        TRAIN,
        "* (weights - state.target)",
        "* (state.weights * 0 + weights * 0.9 - state.target)",
    ),
    "Adam without bias correction": (OPTIMISERS, "memory[0] / (1.0 - BETA_1**count)", "memory[0]"),
    "momentum not kept in checkpoints": (
        TRAIN,
        "state, records, first = _unpack(checkpoint.load(found, fingerprint))",
        "state, records, first = _unpack(checkpoint.load(found, fingerprint))\n        state.weights_memory[...] = 0.0",
    ),
    "checkpoint one step late": (TRAIN, 'packed | {"step": np.array(step)}', 'packed | {"step": np.array(step + 1)}'),
    "checksum not looked at": (CHECKPOINT, "hashlib.sha256(packed[:-DIGEST]).digest() != packed[-DIGEST:]", "False"),
    "checkpoints of other runs accepted": (
        CHECKPOINT,
        "if not np.array_equal(contents.pop(SETTINGS), _text(settings))",
        "if contents.pop(SETTINGS) is None",
    ),
    "overflow goes on": (TRAIN, "if not finite:", "if False:"),
}
# The tests that look at a file.
TESTS = {RNG: "test_random.py", CONTENT: "test_random.py", KERNELS: "test_gradient.py", OBJECTIVE: "test_gradient.py"}
TESTS |= {GRADIENT: "test_gradient.py", TRAIN: "test_train.py", CHECKPOINT: "test_train.py", OPTIMISERS: "test_train.py"}
MOST = 2
LONGEST = 280  # seconds for the tests under one fault


def failing_tests(root: Path, names) -> list[str] | None:
    """Names of the tests that fail in a copy of the sources; None where they cannot be run."""
    words = [sys.executable, "-m", "pytest", *(f"tests/samples/{name}" for name in names), "-q", "--tb=no"]
    words += [f"--maxfail={MOST}", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(root), "DYNLAB_CACHE_DIR": str(root / "cache")}
    try:
        done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return [f"not finished after {LONGEST} s"]
    if done.returncode not in (0, 1):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return None
    return re.findall(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)


def with_fault(name: str | None) -> list[str] | None:
    """The failing tests under a fault, or of the sources as they are."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in ("dynlab", "tests"):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        names = sorted(set(TESTS.values()))
        if name is not None:
            names = [TESTS[FAULTS[name][0]]]
            file, right, wrong = FAULTS[name]
            text = (root / file).read_text(encoding="utf-8")
            if right not in text:
                sys.exit(f"samples_faults: error: {name}: {file} does not hold {right!r}")
            (root / file).write_text(text.replace(right, wrong), encoding="utf-8")
        return failing_tests(root, names)


def main(names: list[str]) -> int:
    """Try the unchanged sources (unless faults are named), then each fault."""
    for name in names:
        if name not in FAULTS:
            sys.exit(f"samples_faults: error: {name}: must be one of: {'; '.join(FAULTS)}")
    missed = 0
    if not names:
        sound = with_fault(None)
        print(f"unchanged: {'all tests pass' if sound == [] else f'FAILS: {sound}'}", flush=True)
        missed += sound != []
    for name in names or FAULTS:
        failing = with_fault(name)
        missed += not failing
        print(f"{name}: {'NOT CAUGHT' if not failing else f'caught by {failing}'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Plants faults in the minibatch path, one at a time, and shows which tests of tests/samples fail for each (the first few).

    python -m tests.thorough.planted.samples [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

RNG, KERNELS, OBJECTIVE = "dynlab/machine/rng.py", "dynlab/samples/kernels.py", "dynlab/samples/objective.py"
CONTENT, GRADIENT, TRAIN = "dynlab/samples/one_sample.py", "dynlab/samples/gradient.py", "dynlab/samples/train.py"
LAYER = "dynlab/samples/hidden_layer.py"
CHECKPOINT, OPTIMISERS = "dynlab/tools/checkpoint.py", "dynlab/samples/optimisers.py"
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
    "the target's readout is the online side's": (
        LAYER,
        "(readout if block == 0 else behind, block == 0)",
        "(readout, block == 0)",
    ),
    "back to the units without the readout": (
        LAYER,
        "whole.T @ slope.linear @ whole",
        "whole.T @ slope.linear @ abs(whole)",
    ),
    "back by the second pass without the readout's sign": (
        LAYER,
        '"sj,ju->su", part, readout',
        '"sj,ju->su", part, abs(readout)',
    ),
    "a readout that joins other units trains": (LAYER, "np.where(own_units(model), total, 0.0)", "total"),
    "the readout at the rate of the weights": (TRAIN, 'settings["eta"] * training.readout_rate', 'settings["eta"]'),
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
        "* (weights - target)",
        "* (state.weights - target)",
    ),
    "Adam without bias correction": (OPTIMISERS, "memory[0] / (1.0 - BETA_1**count)", "memory[0]"),
    "momentum not kept in checkpoints": (
        TRAIN,
        "_unpack(checkpoint.load(found, fingerprint, named=resume is not None))",
        "_unpack(checkpoint.load(found, fingerprint, named=resume is not None))\n        state.weights_memory[...] = 0.0",
    ),
    "checkpoint one step late": (TRAIN, 'packed | {"step": np.array(step)}', 'packed | {"step": np.array(step + 1)}'),
    "checksum not looked at": (CHECKPOINT, "hashlib.sha256(packed[:-DIGEST]).digest() != packed[-DIGEST:]", "False"),
    "checkpoints of other runs accepted": (
        CHECKPOINT,
        "if not np.array_equal(theirs, _text(settings))",
        "if theirs is None",
    ),
    "overflow goes on": (TRAIN, "if not finite:", "if False:"),
}
# The tests that look at a file.
TESTS = {RNG: "test_random.py", CONTENT: "test_random.py", KERNELS: "test_gradient.py", OBJECTIVE: "test_gradient.py"}
TESTS |= {
    GRADIENT: "test_gradient.py",
    TRAIN: "test_train.py test_hidden_train.py",
    CHECKPOINT: "test_train.py",
    OPTIMISERS: "test_train.py",
}
TESTS |= {LAYER: "test_hidden_gradient.py"}


def tests_for(name: str | None) -> list[str]:
    """The tests of the file that a fault is in; all of them for the sources as they are."""
    chosen = list(TESTS.values()) if name is None else [TESTS[FAULTS[name][0]]]
    return [f"tests/samples/{file}" for file in sorted({file for files in chosen for file in files.split()})]


PLANTING = Planting("samples", FAULTS, tests_for, most=2)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))

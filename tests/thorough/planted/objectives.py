"""Plants faults in losses, heads, optimisers and evaluation of pictures, and shows which tests fail for each.

    python -m tests.thorough.planted.objectives [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

LOSSES, HEAD, ROWS = "dynlab/images/losses.py", "dynlab/images/networks/head.py", "dynlab/images/layers/rows.py"
FORMULAS, UPDATES = "dynlab/formulas/updates.py", "dynlab/images/layers/updates.py"
OPTIMISE, ACCURACY = "dynlab/images/training/optimise.py", "dynlab/images/worth/accuracy.py"
SCHEDULES = "dynlab/tools/schedules.py"
DENSE, NORMALISE = "dynlab/images/layers/dense.py", "dynlab/images/layers/normalise.py"
PROBE, LINEAR, SPECTRUM = "dynlab/images/logistic.py", "dynlab/images/worth/probe.py", "dynlab/images/worth/spectrum.py"
FITS = "dynlab/images/worth/span.py"
NEIGHBOURS, ROTATIONS = "dynlab/images/worth/neighbours.py", "dynlab/images/networks/rotations.py"
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "views paired with themselves": (ROWS, "out[:half] = x[half:]", "out[:half] = x[:half]"),
    "gradient of half the size": (LOSSES, "2.0 / self.rows", "1.0 / self.rows"),
    "gradient through a stopped target": (LOSSES, 'if stop == "target":', 'if stop == "no":'),
    "one group of statistics for both views": (LOSSES, "self.ops.batch_norm(y, 2,", "self.ops.batch_norm(y, 1,"),
    "Barlow Twins' derivative not transposed": (LOSSES, "self.slope[:half], transpose_b=True)", "self.slope[:half])"),
    "VICReg's invariance a sum over outputs": (LOSSES, "        invariance /= self.outputs\n", ""),
    "VICReg's covariances counted once": (LOSSES, "ops.axpy(2.0, self.other,", "ops.axpy(1.0, self.other,"),
    "VICReg's hinge with a slope above 1": (ROWS, "if below and deviation > 0.0 else 0.0", "if deviation > 0.0 else 0.0"),
    "DINO's centre moves before the loss": (
        LOSSES,
        'ops.softmax(target, self.state["centre"]',
        'ops.mix(0.1, target[0], self.state["centre"])\n        ops.softmax(target, self.state["centre"]',
    ),
    "DINO's teacher as soft as its student": (LOSSES, "self.teacher_temperature, self.teacher", "0.1, self.teacher"),
    "SimCLR counts a row as its own rival": (LOSSES, '-float("inf")', "1.0"),
    "decorrelation of the whole matrix": (ROWS, "factor * c[i, j] if i != j else 0.0", "factor * c[i, j]"),
    "the head's diagonal trains": (HEAD, "self.ops.project_head_gradient(self._slope, self._d_matrix)", "pass"),
    "the head's diagonal decays": (HEAD, "entries = [[head_rules.trains(self._slope, j, r)", "entries = [[True"),
    "the head transposed": (HEAD, "self.matrix, out, transpose_b=True)", "self.matrix, out)"),
    "the moving correlation forgets": (HEAD, "moving_correlation(self.correlation,", "moving_correlation(None,"),
    "DirectPred without a square root": (HEAD, "np.sqrt(np.where(share > head_rules.RESOLVED, share, 0.0))", "share"),
    "rotations the wrong way": (ROTATIONS, "t = 2.0 * off", "t = -2.0 * off"),
    "rotations that end too early": (ROTATIONS, "ORTHOGONAL, NOTHING = 1e-15,", "ORTHOGONAL, NOTHING = 1e-4,"),
    "no correction of Adam's second moment": (UPDATES, "np.sqrt(1.0 - b_2**count)", "1.0"),
    "Adam's eps inside the correction": (FORMULAS, "(sqrt(s) / root + eps)", "((sqrt(s) + eps) / root)"),
    "decay of everything": (UPDATES, "decay * mask[i]", "decay"),
    "Nesterov left out": (FORMULAS, "rate * (h + momentum * v), v", "rate * v, v"),
    "LARS adapts norms": (UPDATES, "if adapts[tensor] else 1.0", "if True else 1.0"),
    "LARS without decay in its ratio": (FORMULAS, "(gradients + decay * weights)", "gradients"),
    "the last entries are not updated": (UPDATES, "(len(p) + CHUNK - 1) // CHUNK", "max(1, len(p) // CHUNK)"),
    "count not saved": (OPTIMISE, 'self.count = int(saved["count"])', "pass"),
    "cosine that ignores the warm-up": (SCHEDULES, "(step - warm_up, max(steps - warm_up, 1)", "(step, max(steps, 1)"),
    "the last of equal neighbours": (NEIGHBOURS, "row[j] > best[0]", "row[j] >= best[0]"),
    "votes without temperature": (NEIGHBOURS, "(values[i, j] - top) / temperature", "(values[i, j] - top)"),
    "test pictures standardised in another way": (LINEAR, "logistic.ROWS] - mean)", "logistic.ROWS] - mean - 1.0)"),
    "C chosen upside down": (LINEAR, "if right > best[0] else best", "if right < best[0] or best[0] < 0 else best"),
    "every C is tried": (LINEAR, "if best[0] - right > DOUBT", "if best[0] - right > 1e9 * DOUBT"),
    "the penalty's slope without C": (PROBE, "self.count + self.penalty * weights", "self.count + weights"),
    "a probe that has always converged": (PROBE, "return self.left <= self.tolerance", "return True"),
    "the factor not transposed": (PROBE, "self._with(self._of_turned, gradient", "self._with(self._of_inverse, gradient"),
    "known scores are not added": (PROBE, "return out if block.known is None else", "return out if True else"),
    "strips without the rows below": (PROBE, "(low, self.size) if lower", "(low, high) if lower"),
    "strips in the wrong place": (
        PROBE,
        "out[:, low:high] = multiply_packed(left",
        "out[:, : high - low] = multiply_packed(left",
    ),
    "what lies beside the span is lost": (FITS, "product(self.span, found[:-1]) + beside", "product(self.span, found[:-1])"),
    "a span of another matrix": (FITS, "orthonormal(product(moments, found))", "orthonormal(found)"),
    "more pictures are forgotten": (FITS, "self.parts += parts", "self.parts += []"),
    "a step that is not judged": (PROBE, "if abs(slope) <= -STEEP * before:", "if True:"),
    "votes that overflow": (NEIGHBOURS, "top = np.float64(values[i].max())", "top = 0.0"),
    "lengths of squares as they are": (DENSE, "top = top if top > 0.0 else 1.0", "top = 1.0"),
    "what DINO's outputs have in common": (ROWS, "goal[i, j] * (top - x[i, j])", "goal[i, j] * (0.0 - x[i, j])"),
    "a softmax of quotients": (ROWS, "out[i, j] = (y - top) / temperature", "out[i, j] = y / temperature"),
    "squares that float32 does not hold": (NORMALISE, "if not SMALL * (high - low) < square[k] < LARGE:", "if False:"),
    "means that single precision adds": (ROWS, "total = np.zeros(x.shape[1])", "total = np.zeros(x.shape[1], np.float32)"),
    "correlations with their diagonal": (SPECTRUM, "correlation.sum() - np.trace(correlation)", "correlation.sum()"),
}
FILES = (
    "images/test_losses.py", "images/networks/test_head.py", "images/training/test_optimise.py",
    "images/worth/test_evaluation.py", "images/test_scales.py", "tools/test_schedules.py", "images/worth/test_span.py",
)  # fmt: skip


def tests(name: str | None) -> list[str]:
    """All files for the sources as they are, for a fault those that are about its place."""
    of = {LOSSES: 1, ROWS: 17, HEAD: 2, FORMULAS: 4, UPDATES: 6, OPTIMISE: 4, ACCURACY: 8, NEIGHBOURS: 24, ROTATIONS: 2}
    of |= {DENSE: 16, NORMALISE: 16, PROBE: 8 + 64, LINEAR: 8, SPECTRUM: 8, FITS: 64}
    of[SCHEDULES] = 32
    chosen = 127 if name is None else of[FAULTS[name][0]]
    return [f"tests/{file}" for i, file in enumerate(FILES) if chosen >> i & 1]


PLANTING = Planting("objectives", FAULTS, tests, most=200)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))

"""Plants faults in the switches, one at a time, and shows which tests fail for each (the first few).

    python -m tests.thorough.planted.switches [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Nothing is compiled: a few seconds a fault. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

SWITCHED, MOMENTS = "dynlab/formulas/switched.py", "dynlab/formulas/second_moments.py"
HIDDEN, STEPS = "dynlab/formulas/hidden_switched.py", "dynlab/population/dense/hidden_switched_steps.py"
OBJECTIVES, HEADS, TRAINING = (
    "dynlab/formulas/decorrelation.py",
    "dynlab/formulas/head_rules.py",
    "dynlab/settings/training.py",
)
SWITCHES, TWO_FLOAT = "dynlab/population/any_training/gradient.py", "dynlab/machine/twofloat.py"
NUMBERS = "dynlab/population/any_training/switch_numbers.py"
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "target's variance forgotten in its own gradient": (
        SWITCHED,
        "turned(width, -2.0 / (goal_variance * root)",
        "turned(width, -2.0 / (variance * root)",
    ),
    "half of the noise in the head's gradient": (
        SWITCHED,
        "2.0 * d_noise * mixed_cov[j, p]",
        "d_noise * mixed_cov[j, p]",
    ),
    "sides not exchanged for the target": (SWITCHED, "mixed[i, k] = -mixed[i, k]", "mixed[i, k] = mixed[i, k]"),
    "means left out of raw moments": (
        SWITCHED,
        "    if raw_moments:\n        variance = variance",
        "    if False:\n        variance = variance",
    ),
    "sign of the means' turn": (SWITCHED, "value = w_i * c_k - c_i * w_k", "value = w_i * c_k + c_i * w_k"),
    "target's noise has no gradient without normalisation": (
        SWITCHED,
        "apart * apart, one, one",
        "apart * apart, one, 0.0 * one",
    ),
    "sign of the unit length's force": (
        SWITCHED,
        "ahead = ahead + out[r, i] * apart",
        "ahead = ahead - out[r, i] * apart",
    ),
    "noise patches not counted on the target's side": (
        SWITCHED,
        "d_cov[j, j] = d_cov[j, j] + patches * d_u",
        "d_cov[j, j] = d_cov[j, j] + d_u",
    ),
    "head's diagonal forgotten where the target lags": (
        SWITCHED,
        "lent[j, i] + head[j, j] * (raw[j, i] - goal[j, i])",
        "lent[j, i] + (raw[j, i] - goal[j, i])",
    ),
    "correlation without means": (
        MOMENTS,
        "middle * (mean_weight(par) * mean[r] + par[NOISE_PATCHES] * raw[r, count])",
        "0.0 * middle",
    ),
    "Barlow Twins: sign of the diagonal": (OBJECTIVES, "slope = -2.0 * short", "slope = 2.0 * short"),
    "VICReg: invariance a sum over outputs": (
        OBJECTIVES,
        "invariance * 2.0 / m * (var[i, i]",
        "invariance * 2.0 * (var[i, i]",
    ),
    "VICReg: hinge twice as steep": (
        OBJECTIVES,
        "d_var[i, i] - variance / (m * deviation)",
        "d_var[i, i] - 2 * variance / (m * deviation)",
    ),
    "decorrelation: half the slope": (OBJECTIVES, "d_var[i, j] = 2.0 * slope", "d_var[i, j] = slope"),
    "symmetric head: twice the gradient": (
        HEADS,
        "0.5 * (d_head[j, r] + d_head[r, j])",
        "(d_head[j, r] + d_head[r, j])",
    ),
    "eps multiplied": (HEADS, "head[j, j] = head[j, j] + eps", "head[j, j] = head[j, j] * (1 + eps)"),
    "half a rotation": (HEADS, "t = 2.0 * off / total", "t = off / total"),
    "diagonal of the wrong rule": (
        HEADS,
        "if rule == OFF_DIAGONAL and j == r:",
        "if rule == LINEAR_HEAD and j == r:",
    ),
    "average with open stop-gradient accepted": (
        TRAINING,
        'self.target == "same" or self.stop_gradient == "target"',
        "True",
    ),
    "both views hold a feature too often": (NUMBERS, "1.0 - 2.0 * empty", "1.0 - empty"),
    "no weight decay": (SWITCHES, "d_weights + training.weight_decay * weights", "d_weights"),
    "arc tangent of twice the digits": (
        TWO_FLOAT,
        "(y * cosine - x * sine) / size",
        "(y * cosine + x * sine) / size",
    ),
    "hidden units: half of the noise in the readout's gradient": (
        HIDDEN,
        "value + 2.0 * d_cov[j, r] * line[h]",
        "value + d_cov[j, r] * line[h]",
    ),
    "hidden units: the target's read by the online readout": (
        HIDDEN,
        "target, readouts[1], theirs",
        "target, readouts[0], theirs",
    ),
    "hidden units: noise of other outputs not led back to them": (
        HIDDEN,
        "readout[j, h] * d_cov[j, r] * readout[r, k]",
        "readout[j, h] * d_cov[j, r] * readout[j, k]",
    ),
    "hidden units: noise of the target not counted by patches": (
        HIDDEN,
        "par[NOISE_PATCHES] * behind[j, j]",
        "behind[j, j]",
    ),
    "hidden units: the target's readout stays": (
        STEPS,
        "_follow_behind(share, state.readout, goal.readout)",
        "_follow_behind(0.0, state.readout, goal.readout)",
    ),
    "hidden units: the readout does not decay": (
        STEPS,
        "d_readout[j, h] += switches.weight_decay * state.readout[j, h]",
        "d_readout[j, h] += 0.0",
    ),
}
TESTS = (
    "tests/population/any_training/test_gradient.py", "tests/formulas/test_head_rules.py", "tests/settings/test_training.py",
)  # fmt: skip
OF_UNITS = {
    HIDDEN: ("tests/population/any_training/test_hidden_gradient.py",),
    STEPS: ("tests/population/dense/test_hidden_switched_descent.py",),
}


def tests_for(name: str | None) -> tuple[str, ...]:
    """The tests of the file that a fault is in; those of neurons, with units besides, for the sources as they are."""
    of_units = OF_UNITS.get(FAULTS[name][0]) if name is not None else None
    every = (*TESTS, *(test for tests in OF_UNITS.values() for test in tests))
    return (of_units or (every if name is None else TESTS)) + ("-k", "not any_combination")


PLANTING = Planting("switches", FAULTS, tests_for)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))

"""Plants faults in the dynamics, one at a time, and shows which tests of tests/claims fail for each (the first few).

    python -m tests.thorough.planted.theorem [NAME ...]

Works on a copy of the sources in a temporary folder; each fault compiles everything anew, about a minute. The exit status is
1 if a fault is not caught, or if the unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.thorough.planting import Planting

FLOW = "dynlab/formulas/cubic_flow_rates.py"
OBJECTIVE = "dynlab/formulas/objective.py"
MASKS = "dynlab/formulas/masks.py"
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
STEPS = ("dynlab/population/pair/flow.py", "MAX_STEPS = 200_000", "MAX_STEPS = 2_000")


def prepare(root: Path) -> None:
    """Fewer examples, no shrinking, fewer steps."""
    (root / "tests" / "conftest.py").write_text(CONFTEST.format(examples=EXAMPLES))
    PLANTING.change(root, "fewer steps", *STEPS)


PLANTING = Planting("theorem", FAULTS, lambda name: ["tests/claims/test_claims.py"], prepare)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))

"""How a trajectory ends."""

from __future__ import annotations

# The last only under a `Training` that shrinks the weights: see `switched_solver.VANISHED`.
STATUS = ("until", "stationary", "too many steps", "step underflow", "not finite", "vanished")
SUCCESS = ("until", "stationary", "waiting", "vanished")

# Status of a trajectory; the first two are success, the last is the first before its end: nothing moves any more.
UNTIL, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, NOT_FINITE, AT_REST = 0, 1, 2, 3, 4, 6

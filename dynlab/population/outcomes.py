"""What a start has learnt, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.population import moments
from dynlab.population.moments import LEARNT
from dynlab.population.order_parameters import squared_lengths
from dynlab.settings.model import Model

if TYPE_CHECKING:
    from dynlab.tools.types import Array


# "waiting": the end came before any feature was learnt, and the state was not at rest; no word about what is learnt.
OUTCOMES = ("both", "only_strong", "only_weak", "neither", "waiting", "failed")


def outcome_names(model: Model) -> dict:
    """Outcomes in `frame` and the columns of the summary that count them."""
    if model.features == 2:
        return {name: name for name in OUTCOMES}
    return {str(n): f"learnt_{n}" for n in range(model.features + 1)} | {
        "waiting": "waiting", "failed": "failed"
    }  # fmt: skip


def squared_cosines(model: Model, signal: Array, gram: Array) -> np.ndarray:
    """(..., m, K) squared cosines between weights and features."""
    with np.errstate(invalid="ignore"):
        return signal**2 / squared_lengths(model, signal, gram)[..., None]


def outcomes(model: Model, signal: Array, gram: Array, failed: np.ndarray) -> np.ndarray:
    """Outcome (N,) of each end state signal (N, m, K), noise Gram (N, m, m), by what its outputs carry.

    A feature is learnt when it carries more than `LEARNT` of some output's variance. failed (N,): these are "failed".
    """
    return named_outcomes(model, moments.carried(model, signal, gram), failed)


def named_outcomes(model: Model, carried: Array, failed: np.ndarray) -> np.ndarray:
    """Outcome (N,) from shares carried (N, m, K)."""
    learnt = np.any(carried > LEARNT, axis=1)
    if model.features == 2:
        names = np.array([["neither", "only_weak"], ["only_strong", "both"]])
        result = names[learnt[:, 0].astype(int), learnt[:, 1].astype(int)].astype(object)
    else:
        result = learnt.sum(1).astype(str).astype(object)
    result[failed] = "failed"
    return result

"""A `Training` as the numbers that `dynlab.formulas.switched` takes, and VICReg's corner with no output on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import decorrelation, head_rules
from dynlab.settings.training import NORMALISATIONS, OBJECTIVES, STOP_GRADIENTS, Training

if TYPE_CHECKING:
    from dynlab.settings.model import Model


def choices(training: Training) -> np.ndarray:
    """The switches that are names, as the integers that `switched.HEAD_RULE` ... say."""
    objective = OBJECTIVES.index(training.objective)
    return np.array(
        [
            head_rules.rule_number(training.head),
            int(training.target == "average"),
            STOP_GRADIENTS.index(training.stop_gradient),
            NORMALISATIONS.index(training.normalisation),
            objective,
        ],
        dtype=np.int64,
    )


def numbers(model: Model, training: Training) -> np.ndarray:
    """The switches that are numbers, as `switched.WEIGHT_DECAY` ... say."""
    one, both = view_probabilities(model)
    values = (
        training.weight_decay, training.head_decay, training.target_rate, training.decorrelation, training.barlow_weight,
        *training.vicreg_weights, training.directpred_eps, one, both,
        head_rules.RESOLVED,
    )  # fmt: skip
    return np.array(values, dtype=np.float64)


def view_probabilities(model: Model) -> tuple[float, float]:
    """Probabilities that one view, and that both views, hold a feature patch (at least one of them always does)."""
    n, patches = model.feature_patches, model.patches
    if model.mask == "half":
        empty = math.comb(patches - n, patches // 2) / math.comb(patches, patches // 2)
    else:
        empty = 0.5**n
    return 1.0 - empty, 1.0 - 2.0 * empty


def free_corner(m: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """VICReg's corner for m outputs that none is held on (`sliding.slide`): what sd says counts."""
    return np.full(m, decorrelation.BY_VALUE, np.int64), np.zeros(m, dtype), np.zeros(m, dtype)

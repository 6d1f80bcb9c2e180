"""Effective ranks from eigenvalues, and which features vary at all; NumPy alone, so that it loads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dynlab.tools.types import Array


def varying(features: np.ndarray) -> np.ndarray:
    """Mask (d,) of the columns that vary by more than their own rounding, four spacings of their largest entry: a network
    gives one number for two pictures only but for that, in an order of its sums that depends on the processor."""
    return varying_between(features.min(0), features.max(0), float(np.finfo(features.dtype).eps))


def varying_between(low: Array, high: Array, eps: float) -> np.ndarray:
    """`varying` of columns whose least and largest entries are low, high (d,), of numbers with the spacing eps at 1."""
    with np.errstate(over="ignore"):
        found: np.ndarray = high - low > 4.0 * eps * np.maximum(-low, high)
    return found


def entropy_rank(weights: Array) -> float:
    """exp(entropy) of weights >= 0 over their sum; 1 where all vanish."""
    share = weights[weights > 0.0] / weights.sum() if weights.sum() > 0.0 else np.ones(1)
    return float(np.exp(-(share * np.log(share)).sum()))

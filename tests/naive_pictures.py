"""Pictures from files by slow loops: the square in the middle in a smaller or larger size. Imports nothing of dynlab."""

from __future__ import annotations

import numpy as np


def triangle(length: int, side: int) -> np.ndarray:
    """Weights (side, length) of sum 1: a triangle around each new pixel's middle, as wide as the larger of the pixels."""
    scale = length / side
    reach = max(scale, 1.0)
    out = np.zeros((side, length))
    for i in range(side):
        middle = (i + 0.5) * scale
        for k in range(length):
            out[i, k] = max(0.0, 1.0 - abs(k + 0.5 - middle) / reach)
        out[i] /= out[i].sum()
    return out


def square(picture: np.ndarray, side: int) -> np.ndarray:
    """float64 (side, side, c) of a picture (h, w, c): of two middles the first."""
    height, width, _ = picture.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = picture[top : top + short, left : left + short].astype(np.float64)
    weights = triangle(short, side)
    return np.einsum("ik,klc,jl->ijc", weights, middle, weights)

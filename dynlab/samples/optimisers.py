r"""Gradient steps: plain, with momentum (heavy ball, Polyak 1964), and Adam (Kingma & Ba 2015, with its bias corrections).

    sgd         x <- x - rate g
    momentum    v <- momentum v + g,                                        x <- x - rate v
    adam        p <- 0.9 p + 0.1 g,   q <- 0.999 q + 0.001 g^2,             x <- x - rate p^/(sqrt(q^) + 1e-8),
                p^ = p/(1 - 0.9^t),   q^ = q/(1 - 0.999^t)

Weights and head have memories of their own; only the exact descent of "sgd" is the theory's.
"""

from __future__ import annotations

import numpy as np

from dynlab.settings.optimisation import BETA_1, BETA_2, EPS, OPTIMISERS


def new_memory(optimiser: str, shape) -> np.ndarray:
    """What the optimiser remembers of an array of this shape: (0, 1 or 2, *shape)."""
    return np.zeros((OPTIMISERS.index(optimiser), *shape))


def stride(optimiser: str, gradient, memory, count: int, momentum: float) -> np.ndarray:
    """What times the rate is taken off in step `count` = 1, 2, ...; updates memory in place."""
    if optimiser == "sgd":
        return gradient
    if optimiser == "momentum":
        memory[0] = momentum * memory[0] + gradient
        return memory[0]
    memory[0] = BETA_1 * memory[0] + (1.0 - BETA_1) * gradient
    memory[1] = BETA_2 * memory[1] + (1.0 - BETA_2) * gradient * gradient
    first, second = memory[0] / (1.0 - BETA_1**count), memory[1] / (1.0 - BETA_2**count)
    return first / (np.sqrt(second) + EPS)

"""The activations that these tests register, with their closed forms; names that collide with nothing built in."""

from __future__ import annotations

import math

import numpy as np

import dynlab
from tests.strategies import SeededDraws, a_state

QUINTIC = {
    "function": lambda z: z**5,
    "degree": 5,
    "odd": True,
    "slope": lambda z: 5 * z**4,
    "mean": 0.0,
    "covariance": lambda c, s, eps: 225 * c + 600 * c**3 + 120 * c**5,
    "cross": lambda c, s, eps: 225 + 1800 * c**2 + 600 * c**4,
}
# The arc-cosine kernels of order 2 and 1 (Cho & Saul, NeurIPS 2009).
RELU2 = {
    "function": lambda z: max(0.0, z) ** 2,
    "degree": 2,
    "odd": False,
    "slope": lambda z: 2 * max(0.0, z),
    "mean": 0.5,
    "covariance": lambda c, s, eps: (3 * s * c + eps * (1 + 2 * c * c)) / (2 * math.pi) - 0.25,
    "cross": lambda c, s, eps: 4 * (s + eps * c) / (2 * math.pi),
}
TWINS = {"cubic": "cubic_again", "relu3": "relu3_again"}
EXAMPLES = ("quintic", "relu2")


def register_all() -> None:
    """Register the examples, and the built-in activations of degree 3 under other names."""
    dynlab.register_activation("quintic", **QUINTIC)
    dynlab.register_activation("relu2", **RELU2)
    dynlab.register_activation("cubic_again", lambda z: z * z * z, degree=3)
    dynlab.register_activation("relu3_again", lambda z: max(0.0, z) ** 3, degree=3)


def drawn(activation: str, number: int, seed: int, edges: bool = True, **limits):
    """States of a registered activation, as `tests.strategies.drawn_states` draws them."""
    rng = np.random.default_rng([seed, len(activation)])
    for k in range(number):
        yield a_state(SeededDraws(rng), activation, edges=edges and k % 5 > 0, **limits)

"""Models with hidden units and states of theirs, from all over what is allowed."""

from __future__ import annotations

import numpy as np

import dynlab

ACTIVATIONS = ("relu", "cubic", "relu3", "linear")


def drawn(number: int):
    """Model, weights (M, d), head (m, m), readout (m, M): state number `number`; some with noise parts nearly parallel."""
    rng = np.random.default_rng((7, number))
    m, hidden, features = (int(rng.integers(1, most)) for most in (4, 4, 4))
    patches = int(rng.choice([4, 8, 16]))
    readout = str(rng.choice(["own", "shared"])) if hidden > 1 else "own"
    often = np.random.default_rng((8, number)).dirichlet(np.ones(features))
    model = dynlab.Model(
        strengths=tuple(np.sort(10.0 ** rng.uniform(-1.0, 0.5, features))[::-1]), neurons=m, hidden=hidden, readout=readout,
        patches=patches, feature_patches=int(rng.integers(1, patches)), noise=10.0 ** rng.uniform(-1.0, 0.7),
        activation=ACTIVATIONS[number % 4], mask=str(rng.choice(["half", "independent"])),
        probabilities=tuple(often.tolist()) if number % 5 == 0 else None,
        correlation=0.4 if number % 7 == 3 and features > 1 else None,
    )  # fmt: skip
    dim = features + model.units + int(rng.integers(0, 4))
    weights = rng.standard_normal((model.units, dim)) * 10.0 ** rng.uniform(-1.0, 1.0)
    if number % 3 == 0 and model.units > 1:
        weights[1, features:] = weights[0, features:] * rng.choice([-1.0, 1.0]) + 1e-6 * rng.standard_normal(dim - features)
    used = np.kron(np.eye(m), np.ones(hidden)) if readout == "own" else np.ones((m, model.units))
    a = used * rng.standard_normal((m, model.units))
    head = np.eye(m) + 0.5 * rng.standard_normal((m, m)) * (1.0 - np.eye(m))
    return model, weights, head, a

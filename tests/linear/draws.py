"""Random linear models and starts for hypothesis, and averages over views drawn one by one."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from dynlab.linear.model import LinearModel


def covariance(rng, n: int, low: float = 0.0) -> np.ndarray:
    """A covariance with all directions mixed, eigenvalues from about `low` up."""
    factor = rng.standard_normal((n, n))
    matrix = factor @ factor.T / n + low * np.eye(n)
    return (matrix + matrix.T) / 2


@st.composite
def cases(draw, isotropic=False, eta=(0.0, 0.3), moving_average=True, **rule):
    """(model, W, W_p, W_a): anything the rule leaves open is drawn, starts have entries of about 0.7."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n1, n2 = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    beta = draw(st.one_of(st.none(), st.floats(0.1, 5.0))) if moving_average else None
    data = {"X": n1, "sigma": draw(st.floats(0.0, 1.5))}
    if not isotropic and draw(st.booleans()):
        data = {"X": covariance(rng, n1), "X_prime": covariance(rng, n1)}
    rates = {"alpha_p": draw(st.floats(0.2, 5.0)), "eta": draw(st.floats(*eta)), "beta": beta}
    model = LinearModel(**data | rates | rule)
    W, W_a = 0.7 * rng.standard_normal((2, n2, n1))
    W_p = 0.7 * rng.standard_normal((n2, n2)) if model.predictor else np.eye(n2)
    return model, W, (W_p + W_p.T) / 2 if model.symmetric_predictor else W_p, W if model.beta is None else W_a


def views(model):
    """All pairs (x1, x2) of a discrete distribution, equally likely, whose covariances are exactly X and X'."""
    n = model.inputs
    means, moves = (np.sqrt(n) * np.linalg.cholesky(part + 1e-300 * np.eye(n)).T for part in (model.X, model.X_prime))
    means, moves = np.concatenate([means, -means]), np.concatenate([moves, -moves])
    return np.array([(m + a, m + b) for m, a, b in itertools.product(means, moves, moves)])


def mean_loss(pairs, W, W_p, W_a) -> float:
    """1/2 E|W_p W x1 - W_a x2|^2 by the definition."""
    one, two = pairs[:, 0].T, pairs[:, 1].T
    return 0.5 * np.mean(np.sum((W_p @ (W @ one) - W_a @ two) ** 2, axis=0))


def slope(f, at):
    """Gradient of a function that is quadratic in the matrix `at`: central differences are exact, with any step."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[index] = 0.5
        gradient[index] = f(at + step) - f(at - step)
    return gradient

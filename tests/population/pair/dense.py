"""The reference: SciPy integrates the gradient flow of dense weights in d = K + m + 1 dimensions.

Other coordinates (weights, not logarithms and angles), another solver, time and not arc length as the variable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import dynlab


def dense_weights(start, seed: int = 0) -> np.ndarray:
    """Weights (m, K + m + 1) with the order parameters of `start`, their noise parts turned at random."""
    values, vectors = np.linalg.eigh(start.noise_gram)
    rows = vectors * np.sqrt(np.maximum(values, 0.0))
    m = len(rows)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((m + 1, m)))
    return np.hstack([start.signal, rows @ turn.T])


@dataclass(frozen=True)
class DenseRun:
    """States (T, ...) at `times`, and the times of the events that `dynlab.simulate` knows (nan: never)."""

    times: np.ndarray
    signal: np.ndarray
    noise_gram: np.ndarray
    head: np.ndarray
    first: float
    second: float
    peak: float
    at: Callable

    def orbit_at(self, state, time):
        """(time', arrays) of the reference's state that is nearest to the arrays `state`, close to `time`."""
        for _ in range(4):
            here, ahead = self.at(time), self.at(time * (1 + 1e-6))
            way = _flat(ahead) - _flat(here)
            if not way.any():
                break
            time = time * (1 + 1e-6 * (_flat(state) - _flat(here)) @ way / (way @ way))
        return time, self.at(time)


def _flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def dense_flow(model, start, head_rate, times, method="LSODA", rtol=1e-11) -> DenseRun:
    """Integrate dW/dt = -dL/dW, dE/dt = -head_rate dL/dE from 0 to times[-1]."""
    m, features = model.neurons, model.features
    weights = dense_weights(start)
    off, cut = ~np.eye(m, dtype=bool), weights.size

    def split(y):
        head = np.eye(m)
        head[off] = y[cut:]
        return y[:cut].reshape(weights.shape), head

    def slope(_, y):
        _, d_weights, d_head = dynlab.population_gradient(model, *split(y))
        return -np.concatenate([d_weights.ravel(), head_rate * d_head[off]])

    def learnt(feature):
        def excess(_, y):
            rows = split(y)[0]
            return ((rows[:, feature] ** 2) / (rows**2).sum(1)).max() - 0.5

        excess.direction = 1
        return excess

    solution = solve_ivp(
        slope, (0.0, times[-1]), np.concatenate([weights.ravel(), start.head[off]]), method=method, rtol=rtol,
        atol=1e-13, events=[learnt(feature) for feature in range(features)], dense_output=True,
    )  # fmt: skip
    assert solution.success, solution.message

    def at(time):
        rows, head = split(solution.sol(time))
        noise = rows[:, features:]
        return rows[:, :features], noise @ noise.T, head

    states = [np.array(part) for part in zip(*map(at, times), strict=True)]
    passed = sorted(hit[0] for hit in solution.t_events if len(hit))
    return DenseRun(np.asarray(times), *states, *(passed + [np.nan] * 2)[:2], _peak(solution, slope, cut), at)


def _peak(solution, slope, cut) -> float:
    """Time of the largest |E_jr|, where its rate vanishes: better conditioned than the maximum itself."""
    sizes = np.abs(solution.y[cut:])
    if sizes.size == 0 or sizes.max() == 0.0:
        return np.nan
    entry, place = np.unravel_index(sizes.argmax(), sizes.shape)
    if place in (0, sizes.shape[1] - 1):
        return np.nan
    return brentq(lambda t: slope(t, solution.sol(t))[cut + entry], solution.t[place - 1], solution.t[place + 1], rtol=1e-12)

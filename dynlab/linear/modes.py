r"""The linear flow mode by mode, its fixed points, the threshold of collapse (Tian, Chen & Ganguli 2021, section 3).

Let X and X' commute, X = V diag(x) V^T, X' = V diag(x') V^T (isotropic: x = 1, x' = sigma^2), and let the start be

    W_p = U diag(p) U^T,    W = U diag(s^(1/2)) V^T,    W_a = U diag(tau s^(1/2)) V^T,

so that s are the eigenvalues of F = W W^T. Then G = U diag((tau x - (x + x') p) s^(1/2)) V^T, every rate has the form of its
matrix, so the form stays, and with g = p (tau x - (x + x') p) - eta each mode obeys

    dp/dt = alpha_p s (tau x - (x + x') p) - eta p,
    ds/dt = 2 s g,
    dtau/dt = beta (1 - tau) - tau g,        [s dtau/dt = beta (1 - tau) s - (tau/2) ds/dt, divided by s]

the last from d(tau s^(1/2))/dt = beta (1 - tau) s^(1/2). Without the stop-gradient

    ds/dt = -2 s [(1 - p)^2 x + (1 + p^2) x' + eta],

without predictor p = 1. W_p is symmetric, so a symmetric predictor obeys the same equations.

*Fixed points*, tau = 1. Balance, W W^T - W_p^T W_p/alpha_p ~ e^(-2 eta t), draws the flow to s = p^2/alpha_p, where

    dp/dt = p g(p) = p [p (x - (x + x') p) - eta].

p = 0 is stable for eta > 0 (rate -eta). If eta < x^2 / (4 (x + x')) there are two more, with D = x^2 - 4 eta (x + x'),

    p_+- = (x +- D^(1/2)) / (2 (x + x')),    rates p g'(p) = -+ p D^(1/2):

p_+ is stable, p_- unstable; between a balanced start and its mirror image p_- parts collapse from learning (p <= 0 stays
there and collapses). They meet in a saddle-node at eta_c = x^2/(4 (x + x')). The other direction, off balance, has the rate
-2 eta. A moving average does not move fixed points or eta_c: with tau free the Jacobian at them has the trace
p g'(p) - beta - p x and the determinant -beta p g'(p), g'(p) = x - 2 (x + x') p, and has the same kind; but basins change.

*Above the threshold every start collapses*, in all matrices, whether or not X and X' commute: |W| is bounded by
`dynlab.linear.laws.decay_rate`, positive for eta > eta_c = lambda_max(X (X + X')^+ X)/4. Where X and X' commute this is the
largest of the modes' thresholds, so it is sharp. Where they do not, collapse may set in below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynlab.linear.laws import overlap
from dynlab.linear.model import ROUNDING, LinearModel
from dynlab.tools import show
from dynlab.tools.checks import SettingError, integer, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.tools.types import Array, Triple

MIX = 0.5857864376269049  # an irrational number: X + MIX X' separates what X or X' alone leaves together


class Spectrum(NamedTuple):
    """Joint eigenvalues x (n1,) of X, x_prime (n1,) of X', vectors V (n1, n1); the highest threshold first."""

    x: np.ndarray
    x_prime: np.ndarray
    vectors: np.ndarray

    def __repr__(self) -> str:
        return show.line("Spectrum", [f"{name}={show.brief(part)}" for name, part in self._asdict().items()])

    def _repr_html_(self) -> str:
        rows = zip(range(1, len(self.x) + 1), self.x, self.x_prime, strict=True)
        return show.table(rows, ("mode", "of X", "of X'"), "Spectrum")


class FixedPoint(NamedTuple):
    """Where a balanced mode rests: p, s = p^2/alpha_p, growth rate of a small displacement of p, and its kind."""

    p: float
    s: float
    rate: float
    kind: str

    def __repr__(self) -> str:
        return f"FixedPoint({self.kind}, p={self.p:.6g}, s={self.s:.6g}, rate={self.rate:.6g})"

    def _repr_html_(self) -> str:
        return show.pairs_table(self._asdict(), "FixedPoint")


def joint_spectrum(model: LinearModel) -> Spectrum:
    """The joint eigenbasis of X and X'. SettingError where they do not commute."""
    X, X_prime = model.covariances
    scale, scale_prime = float(np.linalg.norm(X, 2)), float(np.linalg.norm(X_prime, 2)) or 1.0
    _, V = np.linalg.eigh(X / scale + MIX * X_prime / scale_prime)
    inside = [V.T @ part @ V for part in (X, X_prime)]
    for part, size in zip(inside, (scale, scale_prime), strict=True):
        off = np.abs(part - np.diag(np.diag(part))).max()
        shown = f"array of shape {X_prime.shape}"
        require(off <= ROUNDING * size, "X_prime", shown, "commuting with X")
    x, x_prime = (np.maximum(np.diag(part), 0.0) for part in inside)
    order = np.argsort(-mode_threshold(x, x_prime), kind="stable")
    return Spectrum(x[order], x_prime[order], V[:, order])


def mode_threshold(x: Array, x_prime: Array) -> Array:
    """x^2 / (4 (x + x')), x' = x_prime, the weight decay above which a mode collapses; 0 where x is."""
    return np.where(x > 0.0, x**2 / np.where(x > 0.0, 4 * (x + x_prime), 1.0), 0.0)


def mode_rates(model: LinearModel, p: ArrayLike, s: ArrayLike, tau: ArrayLike = 1.0) -> Triple:
    """(dp/dt, ds/dt, dtau/dt) of the first k modes of `joint_spectrum` at p, s, tau, all of shape (..., k).

    Tian et al. 2021, section 3 (isotropic data there). tau must be 1 where beta is None. SettingError where it is not or
    X and X' do not commute.
    """
    p, s, tau = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (p, s, tau)))
    known = joint_spectrum(model)
    x, total = known.x[: p.shape[-1]], (known.x + known.x_prime)[: p.shape[-1]]
    require(model.beta is not None or bool((tau == 1.0).all()), "tau", "other than 1", "1 where beta is None")
    pull = tau * x - total * p
    growth = p * pull - model.eta
    if model.stop_gradient == "none":
        growth = growth - (total - p * x)
    dp = model.alpha_p * s * pull - model.eta * p if model.predictor else np.zeros_like(p)
    dtau = np.zeros_like(p) if model.beta is None else model.beta * (1.0 - tau) - tau * growth
    return dp, 2 * s * growth, dtau


def commuting_start(
    model: LinearModel, p: ArrayLike, s: ArrayLike | None = None, tau: float = 1.0, outputs: int | None = None,
    rng: np.random.Generator | None = None,
) -> Triple:  # fmt: skip
    """(W, W_p, W_a) with eigenvalues p (k,) of W_p, s (k,) of F, W_a = tau W; s None: balanced, p^2/alpha_p.

    Mode j is the j-th of `joint_spectrum`; k <= n1 and k <= outputs (None: k). U is drawn from `rng` (None: the first axes).
    SettingError for more modes than that.
    """
    p = np.atleast_1d(np.asarray(p, dtype=np.float64))
    s = p**2 / model.alpha_p if s is None else np.broadcast_to(np.asarray(s, dtype=np.float64), p.shape)
    k = integer("modes", len(p), at_least=1, at_most=model.inputs, why="the inputs")
    n2 = k if outputs is None else integer("outputs", outputs, at_least=k)
    require(bool((s >= 0.0).all()), "s", s.tolist(), "not negative")
    U = (np.eye(n2) if rng is None else np.linalg.qr(rng.standard_normal((n2, n2)))[0])[:, :k]
    V = joint_spectrum(model).vectors[:, :k]
    W_p = (U * p) @ U.T
    return (U * np.sqrt(s)) @ V.T, (W_p + W_p.T) / 2, (U * (np.sqrt(s) * tau)) @ V.T


def fixed_points(model: LinearModel, mode: int = 0) -> list[FixedPoint]:
    """Fixed points of a balanced mode with tau = 1, by rising p: 0, p_-, p_+ (see the module).

    Kinds: "stable", "unstable", "half-stable" (where two have met: p_- and p_+ at the threshold, 0 and p_- at eta = 0).
    SettingError for a model whose predictor or stop-gradient is off, or whose X, X' do not commute.
    """
    _learns(model)
    known = joint_spectrum(model)
    mode = integer("mode", mode, at_least=0, at_most=model.inputs - 1, why="inputs - 1")
    x, total, eta = known.x[mode], known.x[mode] + known.x_prime[mode], model.eta
    square = x * x - 4 * eta * total
    root = np.sqrt(max(0.0, square))
    high = (x + root) / (2 * total) if total > 0 else 0.0
    low = 2 * eta / (x + root) if x > 0 else 0.0  # the product of the two is eta/(x + x'): nothing cancels
    if x == 0.0 or square < 0.0:
        points = [(0.0, -eta, "stable")]
    elif square == 0.0:
        points = [(0.0, -eta, "stable"), (high, 0.0, "half-stable")]
    elif eta == 0.0:
        points = [(0.0, 0.0, "half-stable"), (high, -high * root, "stable")]
    else:
        points = [(0.0, -eta, "stable"), (low, low * root, "unstable"), (high, -high * root, "stable")]
    return [FixedPoint(float(p), float(p * p / model.alpha_p), float(rate), kind) for p, rate, kind in points]


def collapse_threshold(model: LinearModel) -> float:
    """eta_c = lambda_max(X (X + X')^+ X)/4: above this weight decay W -> 0 from every start (see the module).

    For X = I, X' = sigma^2 I it is 1/(4 (1 + sigma^2)) (Tian et al. 2021, section 3). Sharp where X and X' commute, and then
    independent of alpha_p and beta. The model's own eta plays no part.
    """
    _learns(model)
    return float(np.linalg.eigvalsh(overlap(model))[-1]) / 4


def basin_boundary(model: LinearModel, mode: int = 0) -> float:
    """p_-: a balanced start of the mode with tau = 1 learns if p > p_-, collapses if p < p_-; inf above the threshold.

    For beta None. With a moving average p_- is still the saddle, but the boundary passes through it at an angle in (p, tau).
    """
    points = fixed_points(model, mode)
    if len(points) == 1:
        return float("inf")
    return points[1].p if points[1].kind != "stable" else 0.0


def _learns(model: LinearModel) -> None:
    if model.stop_gradient != "target":
        raise SettingError("stop_gradient", model.stop_gradient, "target (without it every start collapses)")
    require(model.predictor, "predictor", model.predictor, "True (without it every start collapses)")

r"""Laws of the linear flow: balance, alignment of eigenspaces, guaranteed collapse (Tian, Chen & Ganguli 2021).

*Balance* (their Theorem 1). With G as in `dynlab.linear.model`,

    d(W W^T)/dt = W_p^T (G W^T) + (G W^T)^T W_p - 2 eta W W^T,
    d(W_p^T W_p)/dt = alpha_p [(G W^T)^T W_p + W_p^T (G W^T)] - 2 eta W_p^T W_p,    hence
    W W^T = W_p^T W_p / alpha_p + e^(-2 eta t) C,    C constant,

for every X, X', target and start. The order of the transpose matters where W_p is not symmetric: W_p W_p^T obeys no such
law. What it needs is the stop-gradient, a predictor that trains, and the plain gradient (not its symmetric part).

*Scale.* With V = sqrt(alpha_p) W, V_a = sqrt(alpha_p) W_a the equations no longer contain alpha_p: it is the unit of W.

*Alignment* (their Theorem 3). For X = I, X' = sigma^2 I, W_a = tau W and a predictor trained symmetrically, with
F = W W^T, a = 1 + sigma^2 and {,} the anticommutator,

    dF/dt = -a {W_p^2, F} + tau {W_p, F} - 2 eta F,    dW_p/dt = -(a alpha_p/2) {W_p, F} + alpha_p tau F - eta W_p,

and from [{W_p^n, F}, W_p] = {W_p^n, [F, W_p]}, [F, {W_p, F}] = {F, [F, W_p]} follows for the commutator L = [F, W_p]

    dL/dt = -{K, L},    K = a (W_p^2 + alpha_p F/2) - tau W_p + (3/2) eta I,

hence |L(t)| <= |L(0)| exp(-2 int lambda_min(K) dt). Completing the square, lambda_min(K) >= (3/2) eta - tau^2/(4a).
The plain flow does not keep a symmetric W_p symmetric, and the theorem does not carry over: with eta = 0 it can come to rest
misaligned. With eta > 0 balance does the work: where C has died a state at rest with W_p^T W_p = alpha_p F has
W_p = alpha_p F (eta + alpha_p a F)^-1, symmetric and aligned; it is approached like e^(-2 eta t), as slowly as balance.

*Collapse.* d|W|^2/dt = 2 <W, dW/dt> is bounded for any predictor by taking U = W_p W to be free.

No stop-gradient: d|W|^2/dt = -2 [tr(U A U^T) - 2 tr(U X W^T) + tr(W A W^T)] - 2 eta |W|^2. The bracket is least at
U = W X A^+, namely tr(W S W^T) with S = A - X A^+ X >= 0, so that |W| <= |W(0)| e^(-(lambda_min(S) + eta) t). A joint
eigenvector of X, X' with eigenvalues x, x' gives the rate x'(2x + x')/(x + x') + eta, which W_p(0) = x/(x + x') I meets
exactly at eta = 0, where it stays. For eta > 0 the predictor dies, W_p ~ e^(-eta t), and the rate tends to
lambda_min(A) + eta. This sharpens their Theorem 2: H(t) there is at least S (x) I + eta.

Stop-gradient and predictor: d|W|^2/dt = -2 [tr(U A U^T) - tr(U X W_a^T)] - 2 eta |W|^2 <= 2 c |W_a|^2 - 2 eta |W|^2 with
c = lambda_max(X A^+ X)/4. For W_a = W this is the rate eta - c. With a moving average d|W_a|^2/dt <= beta (|W|^2 - |W_a|^2);
the two inequalities are a cooperative linear system, whose slower rate is positive if and only if eta > c.

No predictor: the flow is linear, W(t) = W(0) e^(-(X' + eta) t), or 2X' without the stop-gradient. With a moving average
d[W, W_a]/dt = -[W, W_a] M, M similar to the symmetric matrix [[A + eta, -(beta X)^(1/2)], [-(beta X)^(1/2), beta]], which is
positive where X' + eta is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.linear.model import LinearModel
from dynlab.tools.checks import require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def balance(model: LinearModel, W: ArrayLike, W_p: ArrayLike, time: ArrayLike = 0.0) -> np.ndarray:
    """C = e^(2 eta t) (W W^T - W_p^T W_p / alpha_p), shape (..., n2, n2), of matrices (..., n2, n1), (..., n2, n2).

    Constant along the flow with a stop-gradient and a trained, not symmetrised predictor (Tian et al. 2021, Theorem 1).
    `time` has shape (...). Rounding and the solver's error grow with the same factor e^(2 eta t).
    """
    W, W_p = np.asarray(W), np.asarray(W_p)
    gap = W @ np.swapaxes(W, -1, -2) - np.swapaxes(W_p, -1, -2) @ W_p / model.alpha_p
    return np.exp(2 * model.eta * np.asarray(time))[..., None, None] * gap


def commutator(W: ArrayLike, W_p: ArrayLike) -> np.ndarray:
    """[F, W_p] with F = W W^T, shape (..., n2, n2)."""
    W, W_p = np.asarray(W), np.asarray(W_p)
    F = W @ np.swapaxes(W, -1, -2)
    return F @ W_p - W_p @ F


def misalignment(W: ArrayLike, W_p: ArrayLike) -> np.ndarray:
    """|[F, W_p]| / (|F| |W_p|) in Frobenius norms, shape (...): 0 where the eigenspaces agree, at most sqrt(2); nan at 0."""
    W, W_p = np.asarray(W), np.asarray(W_p)
    norm = lambda M: np.linalg.norm(M, axis=(-2, -1))  # noqa: E731
    with np.errstate(invalid="ignore", divide="ignore"):
        # F of W over its size, so that nothing underflows on the way to 0.
        unit, unit_p = W / norm(W)[..., None, None], W_p / norm(W_p)[..., None, None]
        return norm(commutator(unit, unit_p)) / norm(unit @ np.swapaxes(unit, -1, -2))


def alignment_matrix(model: LinearModel, W: ArrayLike, W_p: ArrayLike, tau: float = 1.0) -> np.ndarray:
    """K of dL/dt = -(K L + L K), L = [F, W_p], shape (..., n2, n2) (Tian et al. 2021, Theorem 3).

    Exact for isotropic data X = I, X' = sigma^2 I, a symmetrically trained predictor and W_a = tau W.
    SettingError for data that are not isotropic.
    """
    a = _isotropic(model)
    W, W_p = np.asarray(W), np.asarray(W_p)
    F = W @ np.swapaxes(W, -1, -2)
    return a * (W_p @ W_p + model.alpha_p / 2 * F) - tau * W_p + 1.5 * model.eta * np.eye(W.shape[-2])


def decay_rate(model: LinearModel) -> float:
    """Rate r >= 0 per unit of time at which |W| falls at least, like e^(-r t), from every start; 0 where none is sure.

    Exact, for a start that has a part in the slowest mode, without predictor; a bound otherwise (see the module). With a
    moving average it holds up to a constant factor, as the target's start counts too.
    """
    (X, X_prime), A, eta, beta = model.covariances, model.A, model.eta, model.beta
    if not model.predictor and beta is None:
        return (2.0 if model.stop_gradient == "none" else 1.0) * _lowest(X_prime) + eta
    if not model.predictor and beta is not None:
        root = np.sqrt(beta) * _square_root(X)
        return _lowest(np.block([[A + eta * np.eye(len(A)), -root], [-root, beta * np.eye(len(A))]]))
    if model.stop_gradient == "none":
        return _lowest(A - overlap(model)) + eta
    c = np.linalg.eigvalsh(overlap(model))[-1] / 4
    if beta is None:
        return max(0.0, eta - c)
    return max(0.0, (2 * eta + beta - np.hypot(2 * eta - beta, np.sqrt(8 * c * beta))) / 4)


def overlap(model: LinearModel) -> np.ndarray:
    """X A^+ X, shape (n1, n1): what the best linear prediction explains of the other view."""
    X, _ = model.covariances
    product = X @ np.linalg.pinv(model.A, hermitian=True) @ X
    return (product + product.T) / 2


def _isotropic(model: LinearModel) -> float:
    identity, (X, X_prime) = np.eye(model.inputs), model.covariances
    known = np.array_equal(X, identity) and np.array_equal(X_prime, X_prime[0, 0] * identity)
    require(known, "X", f"array of shape {X.shape}", "the identity, and X' a multiple of it")
    return 1.0 + float(X_prime[0, 0])


def _lowest(matrix: np.ndarray) -> float:
    """Smallest eigenvalue of a positive semi-definite matrix, not below 0."""
    return max(0.0, float(np.linalg.eigvalsh(matrix)[0]))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T

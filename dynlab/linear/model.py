r"""The linear model of Tian, Chen & Ganguli (ICML 2021, arXiv 2102.06810, section 2): settings and loss.

Two augmented views x1, x2 of a sample are independent given the sample; xbar is their common mean. With

    X = E[xbar xbar^T],    X' = E[covariance of a view given the sample],    A = X + X',

E[x1 x1^T] = E[x2 x2^T] = A and E[x1 x2^T] = X. An online encoder W (n2, n1), a predictor W_p (n2, n2) and a target
encoder W_a (n2, n1) have the loss

    L = 1/2 E|W_p W x1 - W_a x2|^2 = 1/2 tr(W_p W A W^T W_p^T) - tr(W_p W X W_a^T) + 1/2 tr(W_a A W_a^T).

With G = W_a X - W_p W A its gradients are

    dL/dW_p = -G W^T,    dL/dW = -W_p^T G,    dL/dW_a = W_a A - W_p W X.

Training with a *stop-gradient* on the target follows the first two, each with weight decay eta and the predictor alpha_p
times as fast, while the target follows the encoder with rate beta (their Lemma 1):

    dW_p/dt = alpha_p G W^T - eta W_p,    dW/dt = W_p^T G - eta W,    dW_a/dt = beta (W - W_a).

SimSiam is beta -> infinity, W_a = W. *Without the stop-gradient* W_a = W is differentiated too, which adds its gradient to
that of W:

    dW/dt = W_p^T G - (W A - W_p W X) - eta W = -(W_p - I)^T (W_p - I) W X - (I + W_p^T W_p) W X' - eta W,

the form of their Theorem 2, W_p's equation unchanged. *Without a predictor* W_p = I is frozen: G = W_a X - W A, so that

    dW/dt = W_a X - W (A + eta)  with the stop-gradient;  = -W (X' + eta) where W_a = W,
    dW/dt = -W (2 X' + eta)      without it.

A *symmetric predictor* trains on the symmetric part of its gradient, (G W^T + W G^T)/2: the paper's section 3 assumes a
symmetric W_p, which the plain flow does not keep symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.tools import show
from dynlab.tools.checks import choice, integer, real, require, truth

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

STOPS = ("target", "none")
ROUNDING = 1e-10  # relative: how far from symmetric, positive or commuting a matrix may be through rounding


def checked_matrix(name: str, value: object, shape: tuple[int | None, int | None], allowed: str) -> np.ndarray:
    """A finite real matrix as a read-only float64 copy; None in `shape` is any size. SettingError otherwise."""
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    fits = array.ndim == 2 and all(want in (None, n) and n > 0 for n, want in zip(array.shape, shape, strict=True))
    shown = f"array of shape {array.shape}" if array.ndim else value
    require(fits and array.dtype.kind in "iuf", name, shown, allowed)
    array = array.astype(np.float64)
    require(bool(np.isfinite(array).all()), name, shown, allowed + ", all finite")
    array.setflags(write=False)
    return array


def covariance(name: str, value: object, size: int | None) -> np.ndarray:
    """A symmetric positive semi-definite matrix, read-only, symmetric to the last bit. SettingError otherwise."""
    free = "a square matrix, symmetric and positive semi-definite, or its size"
    allowed = f"a {size} x {size} covariance" if size else free
    array = checked_matrix(name, value, (size, size), allowed)
    shown = f"array of shape {array.shape}"
    require(array.shape[0] == array.shape[1], name, shown, allowed)
    scale = np.abs(array).max()
    require(np.abs(array - array.T).max() <= ROUNDING * scale, name, shown, f"{allowed}: it is not symmetric")
    array = (array + array.T) / 2
    low = np.linalg.eigvalsh(array)[0]
    require(low >= -ROUNDING * scale, name, shown, f"{allowed}: it has the eigenvalue {low:.3g}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Data and training rule of the linear theory: frozen, validated, hashable.

    Parameters
    ----------
    X : (n1, n1) array, or an integer n1 for the identity
        Covariance of the mean over augmentations; not 0. Always an array afterwards.
    X_prime : (n1, n1) array, optional
        Covariance X' that augmentation adds. None: sigma^2 I. Always an array afterwards.
    sigma : float, optional
        Standard deviation of isotropic augmentation, 1.0 where neither is given; None where X' is not sigma^2 I.
    alpha_p : float
        Rate > 0 of the predictor relative to the encoder.
    eta : float
        Weight decay >= 0 of predictor and encoder, per unit of time.
    beta : float, optional
        Rate > 0 of the target's moving average, per unit of time. None: the target is the encoder, W_a = W.
    stop_gradient : str
        "target": the target is not differentiated; "none": it is, which needs W_a = W, beta None.
    predictor : bool
        False freezes W_p at the identity.
    symmetric_predictor : bool
        The predictor trains on the symmetric part of its gradient.

    Raises
    ------
    SettingError
        A ValueError of one line, naming the setting, its value and what is allowed.
    """

    X: np.ndarray | int = 2
    X_prime: np.ndarray | None = None
    sigma: float | None = None
    alpha_p: float = 1.0
    eta: float = 0.01
    beta: float | None = None
    stop_gradient: str = "target"
    predictor: bool = True
    symmetric_predictor: bool = False

    def __post_init__(self) -> None:
        X = self._data()
        X_prime, sigma = self._augmentation(len(X))
        stop = choice("stop_gradient", self.stop_gradient, STOPS)
        beta = None if self.beta is None else real("beta", self.beta, above=0.0)
        require(beta is None or stop == "target", "beta", beta, 'None for stop_gradient "none" (W_a = W)')
        values = {
            "X": X,
            "X_prime": X_prime,
            "sigma": sigma,
            "alpha_p": real("alpha_p", self.alpha_p, above=0.0),
            "eta": real("eta", self.eta, at_least=0.0),
            "beta": beta,
            "stop_gradient": stop,
            "predictor": truth("predictor", self.predictor),
            "symmetric_predictor": truth("symmetric_predictor", self.symmetric_predictor),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, LinearModel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        n = self.inputs
        data = f"X={n}" if np.array_equal(self.X, np.eye(n)) else f"X=<{n} x {n}>"
        data += f", X_prime=<{n} x {n}>" if self.sigma is None else f", sigma={self.sigma!r}"
        return show.line("LinearModel", [data, *show.changed(self, ("X", "X_prime", "sigma"))])

    def _repr_html_(self) -> str:
        X, X_prime = show.matrix_table(self.X, "X"), show.matrix_table(self.X_prime, "X_prime")
        return show.settings_table(self, ("X", "X_prime")) + X + X_prime

    @property
    def inputs(self) -> int:
        """Dimension n1 of the data."""
        return len(self.covariances[0])

    @property
    def A(self) -> np.ndarray:
        """(n1, n1) covariance X + X' of one view."""
        X, X_prime = self.covariances
        return X + X_prime

    @property
    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """(X, X'), arrays (n1, n1)."""
        assert isinstance(self.X, np.ndarray) and self.X_prime is not None  # since `__post_init__`
        return self.X, self.X_prime

    def _key(self) -> tuple:
        rest = (self.alpha_p, self.eta, self.beta, self.stop_gradient, self.predictor, self.symmetric_predictor)
        return (self.inputs, *((part + 0.0).tobytes() for part in self.covariances), *rest)

    def _data(self) -> np.ndarray:
        if isinstance(self.X, int | np.integer):
            X = np.eye(integer("X", self.X, at_least=1))
        else:
            X = covariance("X", self.X, None)
        require(bool(X.any()), "X", "zero", "a covariance that is not 0")
        X.setflags(write=False)
        return X

    def _augmentation(self, n: int) -> tuple[np.ndarray, float | None]:
        sigma = None if self.sigma is None else real("sigma", self.sigma, at_least=0.0)
        if self.X_prime is None:
            sigma = 1.0 if sigma is None else sigma
            X_prime = sigma**2 * np.eye(n)
            X_prime.setflags(write=False)
            return X_prime, sigma
        X_prime = covariance("X_prime", self.X_prime, n)
        # dataclasses.replace(model, sigma=0.5) hands the old X' on: refuse rather than ignore the 0.5.
        agrees = sigma is None or np.array_equal(X_prime, sigma**2 * np.eye(n))
        require(agrees, "sigma", sigma, "as in X_prime, X' = sigma^2 I (or give X_prime=None)")
        return X_prime, sigma


def check_state(
    model: LinearModel, W: ArrayLike, W_p: ArrayLike | None = None, W_a: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(W, W_p, W_a) of one state, checked against the model and filled in where they are None.

    W_p None is the identity for a model without predictor, W_a None is W. SettingError (a ValueError of one
    line) for wrong shapes, entries that are not finite, a W_p that should be the identity, a W_a that should be W.
    """
    n1 = model.inputs
    W = checked_matrix("W", W, (None, n1), f"a matrix of {n1} columns, one an input")
    n2 = len(W)
    if W_p is None:
        require(not model.predictor, "W_p", W_p, "given for a model with a predictor")
        W_p = np.eye(n2)
    W_p = checked_matrix("W_p", W_p, (n2, n2), f"a {n2} x {n2} matrix, as W has {n2} rows")
    frozen = model.predictor or np.array_equal(W_p, np.eye(n2))
    require(frozen, "W_p", f"array of shape {W_p.shape}", "the identity (or left out) without a predictor")
    W_a = W if W_a is None else checked_matrix("W_a", W_a, W.shape, f"a {n2} x {n1} matrix, as W")
    follows = model.beta is not None or np.array_equal(W_a, W)
    require(follows, "W_a", f"array of shape {W_a.shape}", "W itself (or left out) where beta is None")
    require(not model.symmetric_predictor or np.allclose(W_p, W_p.T, rtol=0, atol=ROUNDING * np.abs(W_p).max()),
            "W_p", f"array of shape {W_p.shape}", "symmetric for symmetric_predictor")  # fmt: skip
    return W, W_p, W_a


def loss(model: LinearModel, W: np.ndarray, W_p: np.ndarray, W_a: np.ndarray) -> np.ndarray:
    """1/2 E|W_p W x1 - W_a x2|^2, shape (...), of matrices (..., n2, n1), (..., n2, n2), (..., n2, n1)."""
    online, A = W_p @ W, model.A
    own = ((online @ A) * online).sum((-2, -1)) + ((W_a @ A) * W_a).sum((-2, -1))
    return own / 2 - ((online @ model.X) * W_a).sum((-2, -1))

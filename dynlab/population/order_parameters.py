r"""Order parameters: the few numbers that the population dynamics closes on, whatever the dimension d.

    A_jl = <w_j, v_l>  (m, K) signal,     Q_jr = <w~_j, w~_r>  (m, m) noise Gram matrix,     E  (m, m) head,

w~_j being the part of w_j orthogonal to all features. The paper's start w_j ~ N(0, I/d) needs no d-vector:
A ~ N(0, 1/d) entrywise, and Q is Wishart with d - K degrees of freedom and scale 1/d, drawn by its Bartlett
factor Q = L L^T: L_jj^2 ~ chi^2_(d-K-j) / d (j = 0, 1, ...), L_jr ~ N(0, 1/d) below the diagonal.

**Correlated features.** With <v_l, v_k> = G_lk the A_jl are not coordinates of w_j in orthonormal axes. Let G = R R^T be the
Cholesky factorisation: on K axes that span the features v_l is row l of R, and with B (m, K) the weights on those axes

    A = B R^T,    dL/dB = (dL/dA) R,    |w_j|^2 = (A G^-1 A^T)_jj + Q_jj.

The loss is the same function of (A, Q, E): data and noise enter by A and Q alone. A step of descent is
A' = A - eta (dL/dA) G, and the start is A ~ N(0, G/d), rows being independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.tools import show
from dynlab.tools.checks import SettingError, integer, memory, real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model


def matrix(name: str, value: ArrayLike, shape: tuple) -> np.ndarray:
    """`value` as a read-only float64 array; ValueError unless it has this shape and is finite."""
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name}: shape {array.shape}, must be {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: holds nan or infinity, must be finite")
    array.setflags(write=False)
    return array


def check_head(head: ArrayLike | None, neurons: int) -> np.ndarray:
    """Return `head` as a read-only (m, m) float64 array; ValueError unless its diagonal is 1."""
    head = matrix("head", np.eye(neurons) if head is None else head, (neurons, neurons))
    if not (np.diagonal(head) == 1.0).all():
        raise ValueError(f"head: diagonal {np.diagonal(head).tolist()}, must be 1 (only off-diagonal entries train)")
    return head


@dataclass(frozen=True)
class OrderParameters:
    """A state of the theory: frozen, its arrays read-only copies.

    Parameters
    ----------
    signal : (m, K) array
        <w_j, v_l>, in units of the weights.
    noise_gram : (m, m) array
        <w~_j, w~_r>, in units of the weights squared; the noise's standard deviation is in the model, not here.
    head : (m, m) array
        E (None: the identity). Only heads with unit diagonal can start a run of the paper's training.
    readout : (m, M) array, optional
        a, where neurons have hidden units: then signal is (M, K) and noise_gram (M, M), a row for each of the M units.

    Raises ValueError for shapes that do not fit, values that are not finite, a Gram matrix that is not symmetric and
    positive semidefinite (to rounding).
    """

    signal: np.ndarray
    noise_gram: np.ndarray
    head: np.ndarray = None  # type: ignore[assignment]  # None stands for the identity; always an array afterwards
    readout: np.ndarray | None = None

    def __post_init__(self) -> None:
        signal = np.array(self.signal, dtype=np.float64)
        if signal.ndim != 2 or 0 in signal.shape:
            raise ValueError(f"signal: shape {signal.shape}, must be (neurons, features)")
        units = neurons = signal.shape[0]
        if self.readout is not None:
            readout = np.array(self.readout, dtype=np.float64)
            if readout.ndim != 2 or readout.shape[1] != units or not len(readout):
                raise ValueError(
                    f"readout: shape {readout.shape}, must be (neurons, {units}), a column for each row of signal"
                )
            object.__setattr__(self, "readout", matrix("readout", readout, readout.shape))
            neurons = len(readout)
        object.__setattr__(self, "signal", matrix("signal", signal, signal.shape))
        object.__setattr__(self, "noise_gram", matrix("noise_gram", self.noise_gram, (units, units)))
        head = np.eye(neurons) if self.head is None else self.head
        object.__setattr__(self, "head", matrix("head", head, (neurons, neurons)))
        gram = self.noise_gram
        size = np.sqrt(np.abs(np.diagonal(gram)))
        slack = 1e-12 * np.outer(size, size)
        if (np.diagonal(gram) < 0).any() or (np.abs(gram - gram.T) > slack).any():
            raise ValueError("noise_gram: must be symmetric with non-negative diagonal")
        unit = np.where(size > 0, size, 1.0)
        if np.linalg.eigvalsh(gram / np.outer(unit, unit)).min() < -1e-12 * units:
            raise ValueError("noise_gram: must be positive semidefinite")

    def __repr__(self) -> str:
        (m, k), off = self.signal.shape, np.linalg.norm(self.head - np.eye(len(self.head)))
        units = "" if self.readout is None else f"{len(self.readout)} neurons of "
        m = f"{m} hidden units" if units else f"{m} neurons"
        sizes = f"largest signal {np.abs(self.signal).max():.4g}, largest noise {np.sqrt(self.noise_gram.max()):.4g}"
        return f"OrderParameters({units}{m}, {k} features: {sizes}, |head - I| {off:.4g})"

    def _repr_html_(self) -> str:
        parts = {"signal: neurons by features": self.signal, "noise Gram matrix": self.noise_gram, "head": self.head}
        if self.readout is not None:
            parts |= {"readout: neurons by hidden units": self.readout}
        return "".join(show.matrix_table(values, caption) for caption, values in parts.items())

    def size(self) -> float:
        """Root mean square over rows of |w|."""
        return float(np.sqrt(((self.signal**2).sum(1) + np.diagonal(self.noise_gram)).mean()))

    @classmethod
    def from_weights(
        cls, model: Model, weights: ArrayLike, head: ArrayLike | None = None, readout: ArrayLike | None = None
    ) -> OrderParameters:
        """The state of dense weights (m, d), d >= K, whose first K axes are the features; ValueError for other shapes.

        The axes span the features where those are correlated: v_l is then row l of `Model.feature_rows`.

        With hidden units: weights (M, d), row j * hidden + h for unit h of neuron j, and their readout (m, M).
        """
        weights = check_weights(model, weights)
        noise = weights[:, model.features :]
        matrix_e = np.eye(model.neurons) if head is None else np.asarray(head)
        matrix_a = check_readout(model, readout) if model.layered else None
        return cls(signals_of(model, weights), noise @ noise.T, matrix_e, matrix_a)

    @classmethod
    def sample(cls, model: Model, dim: int, rng: np.random.Generator | int, scale: float = 1.0) -> OrderParameters:
        """A random start w_j ~ N(0, scale^2 I/dim), E = I, drawn by `rng`; dim = 10**12 costs what dim = 10 costs.

        With hidden units, then a_jh ~ N(0, 1/H), H the units that a neuron sums over. dim must be at least K + M, so that
        the noise parts are linearly independent. rng : a numpy.random.Generator, or an integer >= 0, which seeds one. scale
        > 0. SettingError for other values.
        """
        least = model.features + model.units
        dim = integer("dim", dim, at_least=least, why="features + hidden units" if model.layered else "features + neurons")
        rng = generator(rng)
        signal, gram = draw_order_parameters(model, dim, rng, real("scale", scale, above=0.0))
        return cls(signal, gram, np.eye(model.neurons), draw_readout(model, rng) if model.layered else None)


def generator(rng: object) -> np.random.Generator:
    """The generator itself, or the one that an integer seeds; SettingError for anything else."""
    if isinstance(rng, np.random.Generator):
        return rng
    try:
        return np.random.default_rng(integer("rng", rng, at_least=0))
    except SettingError as error:
        raise SettingError("rng", rng, f"a numpy.random.Generator or {error.allowed}") from None


def draw_order_parameters(
    model: Model, dim: int, rng: np.random.Generator, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Signal (M, K) and noise Gram matrix (M, M) of a random start, without the checks of `OrderParameters`.

    M = m where neurons have no hidden units.
    """
    m, features = model.units, model.features
    memory("neurons", m, 8.0 * m * (4.0 * m + features), "a state of so many")
    scale = scale / np.sqrt(float(dim))
    signal = along_features(model, rng.standard_normal((m, features)) * scale)
    factor = np.tril(rng.standard_normal((m, m)), -1) * scale
    degrees = float(dim - features) - np.arange(m)
    factor[np.arange(m), np.arange(m)] = np.sqrt(rng.chisquare(degrees)) * scale
    gram = factor @ factor.T
    return signal, (gram + gram.T) / 2


def along_features(model: Model, axes: np.ndarray) -> np.ndarray:
    """A (..., m, K) from the weights (..., m, K) on the axes that the features span: A = B R^T of the module's head."""
    return axes if model.correlation is None else axes @ np.array(model.feature_rows).T


def signals_of(model: Model, weights: np.ndarray) -> np.ndarray:
    """A (m, K) of dense weights (m, d)."""
    return along_features(model, weights[:, : model.features])


def onto_axes(model: Model, d_signal: np.ndarray) -> np.ndarray:
    """dL/dB (..., m, K) from dL/dA."""
    return d_signal if model.correlation is None else d_signal @ np.array(model.feature_rows)


def on_axes(model: Model, signal: np.ndarray) -> np.ndarray:
    """B (..., m, K) from A: what rows of weights have on the axes that the features span."""
    if model.correlation is None:
        return signal
    return np.swapaxes(np.linalg.solve(np.array(model.feature_rows), np.swapaxes(signal, -1, -2)), -1, -2)


def squared_lengths(model: Model, signal: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """|w_j|^2 (..., m) of signals (..., m, K) and noise Gram matrices (..., m, m)."""
    return (on_axes(model, signal) ** 2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1)


def own_units(model: Model) -> np.ndarray:
    """Which entries (m, M) of the readout are in use: those of a neuron's own units, or all if they are shared."""
    if model.readout == "shared":
        return np.ones((model.neurons, model.units), dtype=bool)
    return np.kron(np.eye(model.neurons), np.ones(model.hidden)) > 0.0


def draw_readout(model: Model, rng: np.random.Generator) -> np.ndarray:
    """Readout (m, M) of a random start: N(0, 1/H) where it is in use, H being how many units a neuron sums over."""
    used = own_units(model)
    return np.where(used, rng.standard_normal(used.shape) / np.sqrt(used[0].sum()), 0.0)


def check_readout(model: Model, readout: ArrayLike | None) -> np.ndarray:
    """Return `readout` as a read-only (m, M) float64 array; ValueError unless it is 0 where units are not a neuron's own."""
    if readout is None:
        raise ValueError(f"readout: missing, must be {(model.neurons, model.units)} for a model with hidden units")
    values = matrix("readout", readout, (model.neurons, model.units))
    if values[~own_units(model)].any():
        raise ValueError(
            'readout: joins a neuron to units of another, which must be 0 unless the model\'s readout is "shared"'
        )
    return values


def check_no_readout(readout: ArrayLike | None) -> None:
    """ValueError if a readout is given for a model without hidden units."""
    if readout is not None:
        raise ValueError("readout: given, but the model's neurons have no hidden units (Model(hidden=..., readout=...))")


def check_bias(model: Model, bias: ArrayLike | None) -> np.ndarray | None:
    """Return `bias` as a read-only (m,) float64 array, None for a model without; ValueError unless one fits the other."""
    if model.bias == "none":
        if bias is not None:
            raise ValueError('bias: given, but the model\'s neurons have none (Model(bias="trained"))')
        return None
    if bias is None:
        raise ValueError(f"bias: missing, must be {(model.neurons,)} for a model with biases")
    return matrix("bias", bias, (model.neurons,))


def check_weights(model: Model, weights: ArrayLike) -> np.ndarray:
    """Return `weights` as (M, d) float64; ValueError unless M = model.units, d >= model.features and finite."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[0] != model.units or weights.shape[1] < model.features:
        raise ValueError(f"weights: shape {weights.shape}, must be ({model.units}, d) with d >= {model.features}")
    if not np.isfinite(weights).all():
        raise ValueError("weights: hold nan or infinity, must be finite")
    return weights

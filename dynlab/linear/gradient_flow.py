"""The gradient flow of the linear model in matrices: its rates, their derivative, and `simulate_linear`.

Equations and their derivation are in `dynlab.linear.model` (Tian, Chen & Ganguli 2021, Lemma 1 and Theorem 2).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import solve_ivp

from dynlab.linear.laws import balance, misalignment
from dynlab.linear.model import LinearModel, check_state, loss
from dynlab.tools import plots, show
from dynlab.tools.checks import SettingError, choice, real

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from dynlab.tools.types import Array, Triple

METHODS = {"explicit": "DOP853", "implicit": "Radau"}
STIFF = 3000.0  # time constants in a run from which on "auto" takes the implicit method
MOST = 2_000_000  # evaluations of the rates: a run that needs more is given up


def linear_flow_rates(model: LinearModel, W: Array, W_p: Array, W_a: Array) -> Triple:
    """(dW/dt, dW_p/dt, dW_a/dt) of one state or of a stack of them, shapes as given; per unit of time.

    Where the target is the encoder (beta None) W_a must be W and dW_a/dt = dW/dt.
    """
    X, A, eta = model.X, model.A, model.eta
    G = W_a @ X - W_p @ W @ A
    dW = _t(W_p) @ G - eta * W
    if model.stop_gradient == "none":
        dW = dW - (W @ A - W_p @ W @ X)
    dW_p = _predictor(model, G @ _t(W)) - eta * W_p if model.predictor else np.zeros_like(W_p)
    dW_a = dW if model.beta is None else model.beta * (W - W_a)
    return dW, dW_p, dW_a


def tangent(model: LinearModel, state: Triple, move: Triple) -> Triple:
    """Derivative of `linear_flow_rates` at `state` = (W, W_p, W_a) along `move` = (V, V_p, V_a); stacks of moves broadcast.

    V_a must be V where beta is None, V_p 0 for a model without predictor.
    """
    (W, W_p, W_a), (V, V_p, V_a) = state, move
    X, A, eta = model.X, model.A, model.eta
    G = W_a @ X - W_p @ W @ A
    dG = V_a @ X - (V_p @ W + W_p @ V) @ A
    dV = _t(V_p) @ G + _t(W_p) @ dG - eta * V
    if model.stop_gradient == "none":
        dV = dV - (V @ A - (V_p @ W + W_p @ V) @ X)
    dV_p = _predictor(model, dG @ _t(W) + G @ _t(V)) - eta * V_p if model.predictor else np.zeros_like(V_p)
    dV_a = dV if model.beta is None else model.beta * (V - V_a)
    return dV, dV_p, dV_a


def jacobian(model: LinearModel, W: ArrayLike, W_p: ArrayLike | None = None, W_a: ArrayLike | None = None) -> np.ndarray:
    """(N, N) derivative of the rates by the matrices that move: W, then W_p (predictor), then W_a (beta), row by row."""
    return _Packing(model, check_state(model, W, W_p, W_a)[0].shape).jacobian(check_state(model, W, W_p, W_a))


@dataclass(frozen=True, eq=False)
class LinearTrajectory:
    """One run of the linear flow.

    Parameters
    ----------
    model : LinearModel
    time : (n,) array
        From 0, increasing.
    W, W_p, W_a : (n, n2, n1), (n, n2, n2), (n, n2, n1) arrays
    status : str
        "until" (success), "stopped" (by the caller's condition) or "step underflow" (what it had is kept).
    method : str
        SciPy's solver.
    evaluations : int
        Evaluations of the rates.
    """

    model: LinearModel
    time: np.ndarray
    W: np.ndarray
    W_p: np.ndarray
    W_a: np.ndarray
    status: str
    method: str
    evaluations: int

    def __repr__(self) -> str:
        when = f"{len(self.time)} times to {self.time[-1]:.3g}"
        sizes = f"{self.W.shape[2]} inputs, {self.W.shape[1]} outputs"
        return f"LinearTrajectory({sizes}, {when}, {self.status} after {self.evaluations} evaluations)"

    def _repr_html_(self) -> str:
        table = self.frame()
        rows = [(name, table[name].iloc[0], table[name].iloc[-1]) for name in table]
        told = {"status": self.status, "method": self.method, "evaluations": self.evaluations}
        return show.table(rows, ("", "start", "end"), repr(self)) + show.pairs_table(told)

    def plot(self) -> Figure:
        """Norms, loss and misalignment against time; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    @property
    def final(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(W, W_p, W_a) at the last time."""
        return self.W[-1], self.W_p[-1], self.W_a[-1]

    def frame(self) -> pd.DataFrame:
        """One row a time: loss, Frobenius norms, e^(2 eta t) balance drift (absolute), misalignment, asymmetry of W_p."""
        import pandas as pd

        law = balance(self.model, self.W, self.W_p, self.time)
        skew = self.W_p - _t(self.W_p)
        columns = {
            "time": self.time,
            "loss": loss(self.model, self.W, self.W_p, self.W_a),
            "encoder": _norm(self.W),
            "predictor": _norm(self.W_p),
            "target": _norm(self.W_a),
            "balance_drift": _norm(law - law[0]),
            "misalignment": misalignment(self.W, self.W_p),
            "asymmetry": _norm(skew),
        }
        return pd.DataFrame(columns)


def simulate_linear(
    model: LinearModel, W: ArrayLike, W_p: ArrayLike | None = None, W_a: ArrayLike | None = None, until: float = 100.0, *,
    times: ArrayLike | None = None, rtol: float = 1e-9, atol: float | None = None, method: str = "auto",
    stop: Callable | None = None,
) -> LinearTrajectory:  # fmt: skip
    """Follow the gradient flow of the linear model from (W, W_p, W_a).

    Parameters
    ----------
    model : LinearModel
    W, W_p, W_a : (n2, n1), (n2, n2), (n2, n1) arrays, n1 = model.inputs
        The start. W_p may be left out for a model without predictor (it is the identity), W_a for W_a = W.
    until : end time > 0.
    times : increasing times to record, within [0, until]. None: every step of the solver.
    rtol, atol : tolerances of a step, rtol in [1e-13, 1e-2], atol > 0. atol None: rtol/1000 times the start's
        largest entry. Decay by many decades is only followed relatively with an atol below its end, which entries
        that are 0 but for rounding can make slow.
    method : "explicit" (DOP853, order 8), "implicit" (Radau IIA, order 5, exact Jacobian) or "auto": implicit
        where `until` is thousands of the start's shortest time constants.
    stop : function of (t, W, W_p, W_a), optional. The run ends where its value falls through 0.

    Returns
    -------
    LinearTrajectory

    Raises SettingError (a ValueError of one line) for values that are not allowed, RuntimeError of one line for a run
    that takes more than two million evaluations.
    """
    start = check_state(model, W, W_p, W_a)
    until = real("until", until, above=0.0)
    rtol = real("rtol", rtol, at_least=1e-13, at_most=1e-2)
    choice("method", method, ("auto", *METHODS))
    times = None if times is None else _times(times, until)
    packing = _Packing(model, start[0].shape)
    y = packing.pack(start)
    atol = rtol * 1e-3 * (np.abs(y).max() or 1.0) if atol is None else real("atol", atol, above=0.0)
    if method == "auto":
        method = "implicit" if until * _fastest(model, start) > STIFF else "explicit"
    extra = {"jac": lambda t, y: packing.jacobian(packing.unpack(y))} if method == "implicit" else {}
    event, used = _event(stop, packing), itertools.count(1)

    def rates(t: float, y: Array) -> Array:
        if next(used) > MOST:
            raise RuntimeError(f"gave up at time {t:.6g} of {until:g}: use a larger rtol or atol, or another method")
        return packing.pack(linear_flow_rates(model, *packing.unpack(y)))

    with np.errstate(over="ignore", invalid="ignore"):
        run = solve_ivp(rates, (0.0, until), y, method=METHODS[method], t_eval=times, rtol=rtol, atol=atol,
                        events=event, **extra)  # fmt: skip
    time, states = run.t, run.y.T.reshape(-1, len(y))
    if run.status == 1 and times is None:
        # SciPy's last step ends beyond the event: put the event in its place.
        time, states = np.append(time[:-1], run.t_events[0]), np.concatenate([states[:-1], run.y_events[0]])
    status = {0: "until", 1: "stopped"}.get(run.status, "step underflow")
    return LinearTrajectory(model, time, *packing.unpack(states), status, METHODS[method], int(run.nfev))


class _Packing:
    """The matrices that move, as one vector: W, then W_p where it trains, then W_a where it is not W."""

    def __init__(self, model: LinearModel, shape: tuple[int, int]):
        n2, n1 = shape
        self.model, self.shape, self.outputs = model, shape, n2
        self.ends = np.cumsum([n2 * n1, n2 * n2 if model.predictor else 0, 0 if model.beta is None else n2 * n1])

    def pack(self, state: Triple) -> np.ndarray:
        W, W_p, W_a = (part.reshape(*part.shape[:-2], -1) for part in state)
        parts = [W] + [W_p] * self.model.predictor + [W_a] * (self.model.beta is not None)
        return np.concatenate(parts, axis=-1)

    def unpack(self, y: np.ndarray, frozen: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Matrices of a vector or of a stack of them; a predictor that does not train is `frozen` times I."""
        stack, n2 = y.shape[:-1], self.outputs
        first, second, third = self.ends
        W = y[..., :first].reshape(*stack, *self.shape)
        if self.model.predictor:
            W_p = y[..., first:second].reshape(*stack, n2, n2)
        else:
            W_p = np.broadcast_to(frozen * np.eye(n2), (*stack, n2, n2))
        return W, W_p, W if self.model.beta is None else y[..., second:third].reshape(*stack, *self.shape)

    def jacobian(self, state: Triple) -> np.ndarray:
        moves = self.unpack(np.eye(self.ends[-1]), frozen=0.0)
        return self.pack(tangent(self.model, state, moves)).T


def _predictor(model: LinearModel, force: Array) -> Array:
    """alpha_p times the force on the predictor, or its symmetric part."""
    return model.alpha_p * ((force + _t(force)) / 2 if model.symmetric_predictor else force)


def _event(stop: Callable | None, packing: _Packing) -> Any:
    if stop is None:
        return None

    def value(t: float, y: Array) -> float:
        return stop(t, *packing.unpack(y))

    event: Any = value
    event.terminal, event.direction = True, -1
    return event


def _fastest(model: LinearModel, start: Triple) -> float:
    """Bound on the rates at which a start near (W, W_p, W_a) changes, per unit of time."""
    W, W_p, _ = (float(np.linalg.norm(part, 2)) for part in start)
    return float(np.linalg.norm(model.A, 2)) * (W_p**2 + model.alpha_p * W**2) + model.eta + (model.beta or 0.0)


def _times(times: ArrayLike, until: float) -> np.ndarray:
    try:
        values = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    right = values.ndim == 1 and len(values) and np.isfinite(values).all() and (np.diff(values) > 0).all()
    if not right or values[0] < 0.0 or values[-1] > until:
        raise SettingError("times", times if np.size(times) < 6 else f"{np.size(times)} numbers",
                           f"increasing and within [0, until = {until:g}]")  # fmt: skip
    return values


def _t(matrices: Array) -> Array:
    return np.swapaxes(matrices, -1, -2)


def _norm(matrices: Array) -> Array:
    return np.linalg.norm(matrices, axis=(-2, -1))

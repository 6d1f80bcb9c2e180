r"""The threshold of collapse and the edge of the basin, found by simulating the flow of the full matrices.

*Slowing down.* A share eps above the threshold eta_c = x^2/(4a), a = x + x', the saddle-node has just gone, and the flow
creeps through where it was: with q = p - x/(2a), dp/dt = -(x/2a)(eps eta_c + a q^2), which takes the time

    T = (2a/x) pi / (a eps eta_c)^(1/2) = pi / (eta_c eps^(1/2)).

A run of length T therefore calls a start "not collapsed" up to eps = (pi/(eta T))^2: an error always to the same side that
only falls like T^-2. To find eta_c to a relative error `tol` takes about eta T = 2 pi tol^(-1/2) (a bias of tol/4), a
thousand times longer for six more digits; the implicit method crosses the bottleneck in a few steps all the same. At the
edge of a basin, p_-, the delay is only logarithmic, ln(1/tol)/rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynlab.linear.gradient_flow import simulate_linear
from dynlab.linear.model import LinearModel, check_state
from dynlab.linear.modes import commuting_start
from dynlab.population.status import remedy
from dynlab.tools.checks import real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

GONE = 1e-3  # an encoder of less than this share of its start has collapsed
HALVINGS = 60


def has_collapsed(
    model: LinearModel, W: ArrayLike, W_p: ArrayLike | None, W_a: ArrayLike | None = None, *, patience: float,
    rtol: float = 1e-9,
) -> bool:  # fmt: skip
    """Whether |W| falls below a thousandth of its start within the time patience / eta, by the full flow.

    SettingError for eta 0.
    """
    limit = GONE * np.linalg.norm(W)
    run = simulate_linear(
        model, W, W_p, W_a, until=patience / real("eta", model.eta, above=0.0), rtol=rtol, method="implicit",
        stop=lambda t, W, W_p, W_a: np.linalg.norm(W) - limit,
    )  # fmt: skip
    if run.status == "step underflow":
        raise RuntimeError(f"{model}: the solver failed at time {run.time[-1]:.6g}. {remedy(run.status)}")
    return run.status == "stopped"


def find_collapse_threshold(
    model: LinearModel, W: ArrayLike, W_p: ArrayLike | None, W_a: ArrayLike | None = None, *, tol: float = 1e-4,
    patience: float | None = None, rtol: float = 1e-7,
) -> float:  # fmt: skip
    """The weight decay above which this start collapses, by bisection of simulated flows; model.eta plays no part.

    Parameters
    ----------
    model : LinearModel
    W, W_p, W_a : the start, W not 0. The result is the model's threshold for a start beyond the saddle of every eta below
        it, for instance `commuting_start(model, p)` with p >= x/(x + x'); a start in the basin of 0 has a lower one.
    tol : relative width at which the bisection ends, in [1e-10, 0.5].
    patience : eta times the length of a run. None: 2 pi / sqrt(tol), which biases the result by tol/4 upwards; any
        other value by (pi / patience)^2 (see the module).
    rtol : of `simulate_linear`.

    Returns the middle of the last bracket; 0.0 for a start that collapses however small eta is (2^-60 of the data's scale).
    Raises SettingError for values that are not allowed.
    """
    tol = real("tol", tol, at_least=1e-10, at_most=0.5)
    patience = 2 * np.pi / np.sqrt(tol) if patience is None else real("patience", patience, above=10.0)
    W, W_p, W_a = check_state(model, W, W_p, W_a)
    require(bool(W.any()), "W", "zero", "not 0")

    def gone(eta: float) -> bool:
        return has_collapsed(replace(model, eta=eta), W, W_p, W_a, patience=patience, rtol=rtol)

    high = float(np.linalg.norm(model.X, 2))  # four times the largest threshold there can be, or more
    low = high / 2
    for _ in range(HALVINGS):
        if not gone(low):
            break
        low, high = low / 2, low
    else:
        return 0.0
    return _bisect(gone, low, high, tol)


def find_basin_boundary(
    model: LinearModel, *, modes: int = 1, outputs: int | None = None, rng: np.random.Generator | None = None,
    tol: float = 1e-8, patience: float = 300.0,
) -> float:  # fmt: skip
    """The smallest p from which a balanced start, W_p = p on its first `modes` modes, does not collapse, by bisection.

    Simulates the full matrices, from `commuting_start(model, [p] * modes, outputs=outputs, rng=rng)`. inf where even p = 1
    collapses (p_+ < 1). `tol` is relative; `patience` is eta times the length of a run. SettingError as there; eta > 0.
    """
    real("eta", model.eta, above=0.0)
    tol = real("tol", tol, at_least=1e-13, at_most=0.5)
    seed = None if rng is None else rng.integers(2**63)

    def learns(p: float) -> bool:
        again = None if seed is None else np.random.default_rng(seed)
        start = commuting_start(model, np.full(modes, p), outputs=outputs, rng=again)
        return not has_collapsed(model, *start, patience=patience, rtol=min(1e-6, max(1e-13, tol / 100)))

    if not learns(1.0):
        return float("inf")
    return _bisect(learns, 0.0, 1.0, tol)


def _bisect(above: Callable[[float], bool], low: float, high: float, tol: float) -> float:
    """Where `above` turns from False (at low) to True (at high), to a relative width `tol`."""
    while high - low > tol * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2

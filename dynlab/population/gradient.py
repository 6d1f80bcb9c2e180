"""The exact population loss and gradient, for dense weights and for order parameters.

The formulas are in `dynlab.formulas.objective`; here they are compiled and given arrays.
"""

from __future__ import annotations

import numpy as np

from dynlab import _jit
from dynlab.formulas import activations, masks, objective
from dynlab.population.order_parameters import OrderParameters, check_head, check_weights

_jit.compile_module(activations)
compiled = _jit.compile_module(objective)
_compiled_gradient = compiled.gradient


def parameter_vector(model, head_rate: float = 0.0) -> np.ndarray:
    """The model as the float64 vector that kernels take (layout: `objective.SAME` ... `objective.STRENGTHS`)."""
    counts = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    return np.array([*counts, model.noise, head_rate, *model.strengths], dtype=np.float64)


def activation_kind(model) -> int:
    """The number by which compiled code tells the model's activation."""
    return activations.ACTIVATIONS[model.activation].kind


def new_workspace(m: int, features: int, dtype=np.float64) -> tuple:
    """Scratch arrays for one thread's calls of `objective.gradient`."""
    return tuple(np.empty(shape, dtype) for shape in objective.workspace_sizes(m, features))


@_jit.kernel
def gradient_kernel(kind, par, signal, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head):
    """`objective.gradient` at a point, the half-line of each response being the sign of its signal."""
    m, features = signal.shape
    side = np.empty((m, features), np.int64)
    for j in range(m):
        for f in range(features):
            side[j, f] = 1 if signal[j, f] > 0.0 else (-1 if signal[j, f] < 0.0 else 0)
    return _compiled_gradient(
        kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head
    )


def _evaluate(model, signal, norm, dot, wedge, head):
    """Loss and the three derivative arrays for given pair geometry; ValueError where an output has no variance."""
    m, features = signal.shape
    out = np.empty((m, features)), np.empty((m, m)), np.empty((m, m))
    loss = gradient_kernel(
        activation_kind(model), parameter_vector(model), np.ascontiguousarray(signal), norm, dot, wedge,
        np.arctan2(wedge, -dot), np.ascontiguousarray(head), new_workspace(m, features), *out,
    )  # fmt: skip
    if not np.isfinite(loss) or not all(np.isfinite(a).all() for a in out):
        raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
    return loss, *out


def order_parameter_gradient(model, state: OrderParameters):
    """Return (loss, dL/dA (m, K), D (m, m), dL/dE (m, m)) with dL/dw~_p = sum_q D_pq w~_q.

    Raises ValueError where an output has zero variance.
    """
    gram = state.noise_gram
    norm = np.sqrt(np.diagonal(gram))
    square = np.outer(norm, norm)
    wedge = np.sqrt(np.maximum((square - gram) * (square + gram), 0.0))
    np.fill_diagonal(wedge, 0.0)
    return _evaluate(model, state.signal, norm, np.array(gram), wedge, state.head)


def noise_geometry(noise: np.ndarray):
    """Norms, Gram matrix and |w_j||w_r| sin(angle) of rows (m, n), the last without the cancellation of the Gram."""
    norm = np.linalg.norm(noise, axis=1)
    dot = noise @ noise.T
    wedge = np.zeros_like(dot)
    for j in range(len(noise)):
        for r in range(j):
            long, short = (j, r) if norm[j] >= norm[r] else (r, j)
            if norm[short] > 0.0:
                axis = noise[long] / norm[long]
                rest = noise[short] - (noise[short] @ axis) * axis
                wedge[j, r] = wedge[r, j] = norm[long] * np.linalg.norm(rest)
    return norm, dot, wedge


def population_gradient(model, weights, head):
    """Exact loss and gradient over the population for dense weights.

    Parameters
    ----------
    model : Model
    weights : (m, d) array, d >= K; its first K axes are the features v_1..v_K, the others carry noise only.
    head : (m, m) array with unit diagonal; online output F = head @ f.

    Returns
    -------
    loss : float, sum_j (2 - 2 rho_j), 0 <= loss <= 4 m (DESIGN: `dynlab.formulas.objective`)
    d_weights : (m, d), gradient through view 1 only (stop-gradient on the target)
    d_head : (m, m), zero diagonal

    Raises ValueError for shapes that do not fit, values not finite, a head without unit diagonal, and where an output
    has zero variance. Cost: O(m^2 d) for the Gram matrix, then independent of d.
    """
    weights = check_weights(model, weights)
    head = check_head(head, model.neurons)
    signal, noise = weights[:, : model.features], weights[:, model.features :]
    loss, d_signal, coefficients, d_head = _evaluate(model, signal, *noise_geometry(noise), head)
    return loss, np.hstack([d_signal, coefficients @ noise]), d_head


def population_loss(model, weights, head) -> float:
    """Exact loss over the population for dense weights (m, d); parameters and errors as `population_gradient`."""
    return population_gradient(model, weights, head)[0]

"""The exact population loss and gradient under any `Training`: the formulas of `dynlab.formulas.switched`, given arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import (
    activations,
    components,
    decorrelation,
    expansions,
    head_rules,
    masks,
    objective,
    second_moments,
    sliding,
    switched,
)
from dynlab.machine import jit
from dynlab.machine.twofloat import TwoFloat, arc_tangent, extended, two_floats
from dynlab.population import moments
from dynlab.population.any_training.compiled import compiled_formulas
from dynlab.population.any_training.hidden_gradient import hidden_training_gradient
from dynlab.population.any_training.switch_numbers import choices, free_corner, numbers
from dynlab.population.forms import state_roots
from dynlab.population.gradient import (
    Gradient,
    activation_kind,
    noise_geometry,
    noise_gradient,
    parameter_vector,
)
from dynlab.population.head_matrices import from_correlation
from dynlab.population.order_parameters import check_no_readout, check_weights, matrix, onto_axes, signals_of
from dynlab.settings.model import without_bias
from dynlab.settings.training import Training

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

_forces = compiled_formulas.switched_forces
_extended = extended(
    expansions, activations, components, head_rules, decorrelation, second_moments, objective, sliding, switched
)

EXTENDED_WORK = 3000  # if m^2 (m + 2K) + 4 m K^2 is at most this, the dense gradient is evaluated with twice the digits


def new_workspace(m: int, features: int, dtype: type = np.float64) -> tuple:
    """Scratch arrays for one thread's calls of `switched.switched_forces`."""
    return tuple(np.zeros(shape, dtype) for shape in switched.switched_sizes(m, features))


def start_head(model: Model, training: Training) -> np.ndarray:
    """Where the head starts (m, m): the given matrix or the identity."""
    return np.eye(model.neurons) if training.head_matrix is None else np.array(training.head_matrix)


def correlations(model: Model, signal: Array, gram: Array) -> np.ndarray:
    """E f f^T of one view (N, m, m), means included, for signal (N, m, K) and noise Gram matrices (N, m, m)."""
    variance, _ = moments.output_moments(model, signal, gram)
    mean = moments.output_means(model, signal, gram)
    return variance + mean[..., :, None] * mean[..., None, :]


def made_heads(model: Model, training: Training, signal: Array, gram: Array) -> np.ndarray:
    """E (..., m, m) of "directpred" and "directcopy" at states signal (..., m, K), noise Gram (..., m, m)."""
    m = model.neurons
    flat = [part.reshape(-1, *part.shape[-2:]) for part in (signal, gram)]
    made = [
        from_correlation(training.head, correlation, training.directpred_eps)
        if np.isfinite(correlation).all() else np.full((m, m), np.nan)
        for correlation in correlations(model, *flat)
    ]  # fmt: skip
    return np.array(made).reshape(gram.shape)


def losses(model: Model, training: Training, signal: Array, gram: Array, head: Array) -> np.ndarray:
    """Loss (N,) of states signal (N, m, K), noise Gram (N, m, m), head (N, m, m), in float64.

    For a target that is a moving average: that of a target which has caught up.
    """
    found = np.full(len(signal), np.nan)
    for i, (a, q, e) in enumerate(zip(signal, gram, head, strict=True)):
        norm = np.sqrt(np.diagonal(q))
        k = np.outer(norm, norm)
        wedge = np.sqrt(np.maximum((k - q) * (k + q), 0.0))
        np.fill_diagonal(wedge, 0.0)
        found[i] = evaluate_float(model, training, a, norm, q, wedge, a, norm, np.array(e))[0]
    return found


@jit.kernel
def switched_kernel(  # type: ignore[no-untyped-def]  # compiled: numba finds the types
    kind, par, choice, values, point, corner, goal, head, work, out
):
    """`switched.switched_forces` at a point; fills out = (d_signal, d_noise, d_head) and returns the loss.

    point: (signal, norm, dot, wedge, eps); goal: (signal, norm) of the target.
    """
    signal, norm, dot, wedge, eps = point
    target, target_norm = goal
    m, features = signal.shape
    side = np.sign(signal).astype(np.int64)
    target_side = np.sign(target).astype(np.int64)
    online = (signal, side, norm, dot, wedge, eps, corner)
    return _forces(kind, m, features, par, choice, values, online, (target, target_side, target_norm), head, work, *out)


def training_gradient(
    model: Model, training: Training, weights: ArrayLike, head: ArrayLike | None = None,
    target_weights: ArrayLike | None = None, readout: ArrayLike | None = None, target_readout: ArrayLike | None = None,
) -> Gradient:  # fmt: skip
    """Exact loss and gradient over the population under `training`, for dense weights.

    Parameters
    ----------
    model : Model
    training : Training
    weights : (m, d) array, d >= K; its first K axes are the features, or span them, the others carry noise only.
    head : (m, m) array, the head E for rules that train or fix it (None: where it starts). Left out for "none",
        "directpred" and "directcopy", which know theirs.
    target_weights : (m, d) array, the weights of the target for target "average" (None: the online ones).
    readout, target_readout : (m, M) arrays a, where neurons have hidden units, as in `population_gradient` (rows of the
        weights are then the M units), and that of the target for target "average" (None: the online one).

    Returns
    -------
    Gradient, of three parts and the attribute d_readout (m, M), None without hidden units:
    loss : float
    d_weights : (m, d), dL/dw through the sides that are not stopped, plus weight_decay w
    d_head : (m, m), dL/dE plus head_decay E on the entries that train, 0 elsewhere

    d_readout is dL/da plus weight_decay a, 0 where the readout is not in use; of one that is "fixed" without the decay.

    Raises ValueError for shapes that do not fit, values not finite, combinations without closed form, and where an output
    has zero variance. Cost: O(m^2 d) for the Gram matrix, then O(m^2 K + m K^2), and m^3 for a dense head.

    Every component is accurate to 1e-11 of itself or to what rounding the inputs moves it by, up to m^2 (m + 2K) + 4 m K^2 =
    `EXTENDED_WORK`; beyond that, and with hidden units, relative to the largest of the terms that it is the sum of.
    """
    training.check_model(model, stepped=True)
    without_bias(model, "training_gradient; population_gradient is exact for the paper's training")
    weights = check_weights(model, weights)
    if head is not None and training.head not in ("fixed", *head_rules.TRAINED):
        raise ValueError(f"head: given, must be left out with head {training.head!r}")
    entries = start_head(model, training) if head is None else matrix("head", head, (model.neurons,) * 2).copy()
    for name, part in (("target_weights", target_weights), ("target_readout", target_readout)):
        if part is not None and training.target != "average":
            raise ValueError(f"{name}: given, must be left out with target {training.target!r}")
    if model.layered:
        return hidden_training_gradient(model, training, weights, entries, target_weights, readout, target_readout)
    check_no_readout(readout)
    check_no_readout(target_readout)
    target = weights if target_weights is None else check_weights(model, target_weights)
    if target.shape != weights.shape:
        raise ValueError(f"target_weights: shape {target.shape}, must be {weights.shape}")
    features = model.features
    geometry = noise_geometry(weights[:, features:])
    own = target_weights is None
    other = geometry[0] if own else np.array([math.hypot(*row) for row in target[:, features:]])
    loss, d_signal, forces, d_head = evaluate(
        model, training, signals_of(model, weights), *geometry, signals_of(model, target), other, entries
    )
    d_weights = np.hstack([onto_axes(model, d_signal), noise_gradient(weights[:, features:], geometry[0], forces)])
    return Gradient(loss, d_weights + training.weight_decay * weights, d_head)


def evaluate(
    model: Model, training: Training, signal: Array, norm: Array, dot: Array, wedge: Array, target: Array,
    target_norm: Array, head: Array,
) -> tuple[float, Array, Array, Array]:  # fmt: skip
    """Loss and the derivatives that `switched.switched_forces` fills; `head` (m, m) is filled for rules that make it.

    Raises ValueError where an output has zero variance.
    """
    m, features = signal.shape
    if m * m * (m + 2 * features) + 4 * m * features**2 <= EXTENDED_WORK:
        found = _evaluate_extended(model, training, signal, norm, dot, wedge, target, target_norm, head)
        if all(np.isfinite(part).all() for part in found):
            return found
    # Also where numbers of twice the digits overflow, which they do earlier.
    found = evaluate_float(model, training, signal, norm, dot, wedge, target, target_norm, head)
    if not all(np.isfinite(part).all() for part in found):
        raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
    return found


def evaluate_float(
    model: Model, training: Training, signal: Array, norm: Array, dot: Array, wedge: Array, target: Array,
    target_norm: Array, head: Array,
) -> tuple[float, Array, Array, Array]:  # fmt: skip
    """`evaluate` in float64 by the compiled kernel; what is not defined comes back as nan."""
    kind, par = activation_kind(model), parameter_vector(model)
    m, features = signal.shape
    given = signal, norm, dot, wedge, np.arctan2(wedge, -dot), target, target_norm
    parts = tuple(np.array(part, dtype=np.float64, order="C") for part in given)
    out = np.zeros((m, features)), np.zeros((m, m)), np.zeros((m, m))
    choice, values = choices(training), numbers(model, training)
    corner, work = free_corner(m), new_workspace(m, features)
    loss = switched_kernel(kind, par, choice, values, parts[:5], corner, parts[5:], head, work, out)
    return loss, *out


def _evaluate_extended(
    model: Model, training: Training, signal: Array, norm: Array, dot: Array, wedge: Array, target: Array,
    target_norm: Array, head: Array,
) -> tuple[float, Array, Array, Array]:  # fmt: skip
    """The same formulas with numbers of twice the digits, run by Python."""
    m, features = signal.shape
    counts: tuple = masks.count_moments(TwoFloat(model.patches), TwoFloat(model.feature_patches), model.mask == "half")
    par = [*counts, TwoFloat(model.noise), 0.0, *model.effective_strengths, *state_roots(model).tolist()]
    values = [*numbers(model, training)[: switched.RESOLVED].tolist(), 1e-28]
    wide = [two_floats(part) for part in (signal, norm, target, target_norm, head)]
    out = tuple(two_floats(np.zeros(shape)) for shape in ((m, features), (m, m), (m, m)))
    hinge, *numbers_of = free_corner(m)
    corner = hinge, *(two_floats(part) for part in numbers_of)
    online = wide[0], np.sign(signal).astype(np.int64), wide[1], *_consistent(wide[1], dot, wedge), corner
    goal = wide[2], np.sign(target).astype(np.int64), wide[3]
    work = tuple(two_floats(np.zeros(shape)) for shape in switched.switched_sizes(m, features))
    with np.errstate(all="ignore"):  # overflows show in the result
        loss = _extended["switched_forces"](
            activation_kind(model), m, features, par, choices(training).tolist(), values, online, goal, wide[4], work, *out
        )
        head[...] = wide[4].astype(np.float64)
        d_signal, d_noise, d_head = (array.astype(np.float64) for array in out)
        return float(loss), d_signal, d_noise, d_head


def _consistent(norm: np.ndarray, dot: Array, wedge: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dot, wedge, eps (m, m) as numbers of twice the digits with dot^2 + wedge^2 = k^2, k = |w~_j||w~_r|, exactly."""
    shape = dot.shape
    made = two_floats(np.zeros(shape)), two_floats(np.zeros(shape)), two_floats(np.zeros(shape))
    for j in range(shape[0]):
        for r in range(shape[0]):
            x, y = TwoFloat(dot[j, r]), TwoFloat(wedge[j, r])
            size = (x * x + y * y) ** 0.5
            if size.real > 0.0:
                scale = norm[j] * norm[r] / size
                made[0][j, r], made[1][j, r] = x * scale, y * scale
            made[2][j, r] = arc_tangent(y, -x)
    return made

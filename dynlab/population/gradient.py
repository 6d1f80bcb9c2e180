"""The exact population loss and gradient, for dense weights and for order parameters.

The formulas are in `dynlab.formulas.objective`, for neurons with hidden units in `dynlab.formulas.hidden_units`; here they
are compiled and given arrays.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynlab.formulas import activations, components, expansions, hidden_units, masks, objective
from dynlab.machine import jit
from dynlab.machine.twofloat import TwoFloat, two_floats
from dynlab.population.biased import biased_gradient
from dynlab.population.forms import state_roots
from dynlab.population.order_parameters import (
    OrderParameters,
    along_features,
    check_bias,
    check_head,
    check_no_readout,
    check_readout,
    check_weights,
    onto_axes,
    own_units,
)
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import without_bias
from dynlab.tools import show

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

jit.compile_module(expansions)
jit.compile_module(activations)
jit.compile_module(components, entries=())
compiled = jit.compile_module(objective, entries=("gradient", "forces"))
_forces = compiled.forces
_hidden = jit.compile_module(hidden_units, entries=("hidden_forces",))
for _function in vars(_hidden).values():
    _function.targetoptions["_nrt"] = False  # nothing there allocates
forces_of_hidden = _hidden.hidden_forces
_extended_forces = FunctionType(objective.forces.__code__, {**vars(objective), "sqrt": TwoFloat.sqrt})

CANCELLED = 1e-3  # where outputs cancel to less than this, they are evaluated again with twice the digits
EXTENDED_WORK = 5000  # if m^3 K^2 is at most this: it takes about 0.1 ms times that


def parameter_vector(model: Model, head_rate: float = 0.0) -> np.ndarray:
    """The model as the float64 vector that kernels take, laid out as `components.SAME` ... `STRENGTHS` say."""
    without_bias(model, "this: population_gradient(..., bias=b) is what there is for biases")
    counts: tuple = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    values = *counts, model.noise, head_rate, *model.effective_strengths, *state_roots(model)
    return np.array(values, dtype=np.float64)


def activation_kind(model: Model) -> int:
    """The number by which compiled code tells the model's activation."""
    return ACTIVATIONS[model.activation].kind


def new_workspace(m: int, features: int, dtype: type = np.float64, tail: tuple[int, ...] = ()) -> tuple:
    """Scratch arrays for one thread's calls of `objective.gradient`; tail: axes behind those of each array."""
    return tuple(np.empty(shape + tail, dtype) for shape in objective.workspace_sizes(m, features))


@jit.kernel
def forces_kernel(  # type: ignore[no-untyped-def]  # compiled: numba finds the types
    kind, par, signal, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head
):
    """`objective.forces` at a point, the half-line of each response being the sign of its signal."""
    m, features = signal.shape
    side = np.empty((m, features), np.int64)
    for j in range(m):
        for f in range(features):
            side[j, f] = 1 if signal[j, f] > 0.0 else (-1 if signal[j, f] < 0.0 else 0)
    return _forces(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head)


class _Parts(NamedTuple):
    loss: float
    d_weights: Array
    d_head: Array


class Gradient(_Parts):
    """Loss and gradient: loss, d_weights (m, d), d_head (m, m); it unpacks like a plain tuple of the three.

    d_readout (m, M) and d_bias (m,) are attributes beside them: None where neurons have no hidden units, no biases.
    """

    d_readout: Array | None = None
    d_bias: Array | None = None

    def __repr__(self) -> str:
        sizes = [f"|{name}| {np.linalg.norm(part):.4g} <{part.shape[0]} x {part.shape[1]}>" for name, part in self._named()]
        return show.line("Gradient", [f"loss {self.loss:.6g}", *sizes])

    def _repr_html_(self) -> str:
        tables = [show.table([("loss", self.loss)], (), "Gradient")]
        return "".join([*tables, *(show.matrix_table(part, name) for name, part in self._named())])

    def _named(self) -> list[tuple[str, Array]]:
        parts = [("d_weights", self.d_weights), ("d_head", self.d_head)]
        parts += [] if self.d_readout is None else [("d_readout", self.d_readout)]
        return parts if self.d_bias is None else [*parts, ("d_bias", self.d_bias[:, None])]


@jit.kernel
def hidden_forces_kernel(  # type: ignore[no-untyped-def]  # compiled: numba finds the types
    kind, par, signal, geometry, readout, head, work, found
):
    """`hidden_units.hidden_forces` at a point, the half-line of each response being the sign of its signal."""
    units, features = signal.shape
    side = np.empty((units, features), np.int64)
    for h in range(units):
        for f in range(features):
            side[h, f] = 1 if signal[h, f] > 0.0 else (-1 if signal[h, f] < 0.0 else 0)
    return forces_of_hidden(kind, len(readout), units, features, par, signal, side, geometry, readout, head, work, found)


class HiddenForces(NamedTuple):
    """What `hidden_units.hidden_forces` fills: d_response (M, N), d_signal (M, K), d_noise (M, M), d_readout (m, M), d_head
    (m, m)."""

    d_response: Array
    d_signal: Array
    d_noise: Array
    d_readout: Array
    d_head: Array


def hidden_workspace(model: Model) -> tuple:
    """Scratch arrays for one thread's calls of `hidden_units.hidden_forces`."""
    sizes = hidden_units.hidden_workspace_sizes(model.neurons, model.units, model.features)
    return tuple(np.zeros(size) for size in sizes)


def hidden_found(model: Model) -> HiddenForces:
    """Empty arrays for `hidden_units.hidden_forces` to fill."""
    m, units, features = model.neurons, model.units, model.features
    shapes = (units, 2 * features), (units, features), (units, units), (m, units), (m, m)
    return HiddenForces(*(np.zeros(shape) for shape in shapes))


def _evaluate_hidden(
    model: Model, signal: Array, norm: Array, dot: Array, wedge: Array, readout: Array, head: Array
) -> tuple[float, HiddenForces]:
    """Loss and forces where neurons have hidden units; the readout's are 0 where it is not in use."""
    geometry = norm, dot, wedge, np.arctan2(wedge, -dot)
    state = np.array(signal, order="C"), geometry, np.array(readout, order="C"), np.array(head, order="C")
    found = hidden_found(model)
    loss = hidden_forces_kernel(
        activation_kind(model), parameter_vector(model), *state, hidden_workspace(model), tuple(found)
    )
    if not np.isfinite(loss) or not all(np.isfinite(part).all() for part in found):
        raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
    found.d_readout[~own_units(model)] = 0.0
    return loss, found


def _evaluate(
    model: Model, signal: Array, norm: Array, dot: Array, wedge: Array, head: Array
) -> tuple[float, Array, Array, Array]:
    """Loss and the derivatives that `objective.forces` fills, for given geometry of the noise parts.

    Raises ValueError where an output has no variance.
    """
    kind, par = activation_kind(model), parameter_vector(model)
    # Copies, so that the kernel meets one layout only (C order, writable) and is compiled once.
    state = np.array(signal, order="C"), norm, dot, wedge, np.arctan2(wedge, -dot), np.array(head, order="C")
    m, features = signal.shape
    work = new_workspace(m, features)
    out = np.empty((m, features)), np.empty((m, m)), np.empty((m, m))
    loss = forces_kernel(kind, par, *state, work, *out)
    if not np.isfinite(loss) or not all(np.isfinite(a).all() for a in out):
        raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
    if m**3 * features**2 <= EXTENDED_WORK and _outputs_cancel(activation_kind(model), work, out[1]):
        _extend(kind, par, state, out)
    return loss, *out


def _outputs_cancel(kind: int, work: tuple, d_noise: Array) -> bool:
    """Whether the contributions of outputs to any force cancel to less than `CANCELLED` of them."""
    d_comp, size_comp, size_noise = work[-3:]
    totals = np.concatenate([d_comp.ravel(), d_noise.ravel()])
    sizes = np.concatenate([size_comp.ravel(), size_noise.ravel()])
    return bool((totals * totals < CANCELLED**2 * sizes).any())


def _extend(kind: int, par: Array, state: tuple, out: tuple) -> None:
    """Fill `out` again by the same formulas, run in Python with numbers of twice the digits.

    Each output's contribution to a force is accurate, but where they cancel between outputs their sum is not.
    """
    signal, *geometry = (two_floats(array) for array in state)
    wide = [two_floats(array) for array in out]
    _extended(kind, par, signal, geometry, wide)
    _narrow(wide, out)


def _extended(kind: int, par: Array, signal: Array, geometry: list, wide: list) -> None:
    """Fill `wide` by `objective.forces`; signal (m, K), geometry and `wide` are arrays of numbers of twice the digits."""
    m, features = signal.shape
    side = np.sign(signal.astype(np.float64)).astype(np.int64)
    work = new_workspace(m, features, object)
    _extended_forces(kind, m, features, par.tolist(), signal, side, *geometry, work, *wide)


def _narrow(wide: list, out: tuple) -> None:
    """Fill `out` with numbers of twice the digits, rounded."""
    found = [values.astype(np.float64) for values in wide]
    # Products are split, which overflows before float64 does.
    if all(np.isfinite(values).all() for values in found):
        for array, values in zip(out, found, strict=True):
            array[...] = values


def _evaluate_on_axes(
    model: Model, axes: Array, norm: Array, dot: Array, wedge: Array, head: Array
) -> tuple[float, Array, Array, Array]:
    """`_evaluate` for weights (m, K) on the axes that the features span; dL/dB in place of dL/dA.

    Of correlated features B and A differ. Where a neuron is along a feature dL/dB nearly cancels between the features (<w,
    dL/dw> vanishes but for the head), and so do the determinants of neurons that are nearly parallel, of which rounding A
    would leave little: up to m^3 K^2 = `EXTENDED_WORK` all of it is done with twice the digits.
    """
    if model.correlation is None:
        return _evaluate(model, axes, norm, dot, wedge, head)
    loss, *out = _evaluate(model, along_features(model, axes), norm, dot, wedge, head)
    m, features = axes.shape
    if m**3 * features**2 > EXTENDED_WORK:
        return loss, onto_axes(model, out[0]), out[1], out[2]
    rows = two_floats(model.feature_rows)
    geometry = [two_floats(array) for array in (norm, dot, wedge, np.arctan2(wedge, -dot), head)]
    wide = [two_floats(array) for array in out]
    _extended(activation_kind(model), parameter_vector(model), two_floats(axes) @ rows.T, geometry, wide)
    found = onto_axes(model, out[0]), out[1], out[2]
    _narrow([wide[0] @ rows, *wide[1:]], found)
    return loss, *found


def order_parameter_gradient(model: Model, state: OrderParameters) -> tuple[float, Array, Array, Array]:
    """Return (loss, dL/dA (m, K), D (m, m), dL/dE (m, m)) at `state`, OrderParameters, with dL/dw~_p = sum_q D_pq w~_q.

    Raises ValueError where an output has zero variance.
    """
    gram = np.array(state.noise_gram)
    norm = np.sqrt(np.diagonal(gram))
    product = np.outer(norm, norm)
    wedge = np.sqrt(np.maximum((product - gram) * (product + gram), 0.0))
    np.fill_diagonal(wedge, 0.0)
    loss, d_signal, d_noise, d_head = _evaluate(model, state.signal, norm, gram, wedge, state.head)
    objective.span_coefficients(len(norm), norm, gram, d_noise)
    return loss, d_signal, d_noise, d_head


def perpendicular(noise: np.ndarray, norm: np.ndarray, p: int) -> np.ndarray:
    """Rows of noise (m, n) less their projections on row p (none if that has norm 0); row p itself is 0."""
    axis = noise[p] / norm[p] if norm[p] > 0.0 else noise[p]
    rest = noise - np.outer(noise @ axis, axis)
    # Again: the first time leaves rounding along the axis, which of nearly parallel rows is all there is.
    rest -= np.outer(rest @ axis, axis)
    rest[p] = 0.0
    return rest


def noise_gradient(noise: Array, norm: Array, forces: Array) -> Array:
    """dL/dw~ (m, n) from radial and transverse forces (m, m) as `objective.forces` fills them."""
    gradient = np.empty_like(noise)
    for p in range(len(noise)):
        # Row p of the second factor is 0, so that the radial force on the diagonal does not enter here.
        gradient[p] = forces[p] @ perpendicular(noise, norm, p)
        if norm[p] > 0.0:
            gradient[p] += forces[p, p] / norm[p] * (noise[p] / norm[p])
    return gradient


def noise_geometry(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Norms, Gram matrix and |w_j||w_r| sin(angle) of rows (m, n), the last without cancellation."""
    norm = np.linalg.norm(noise, axis=1)
    apart = [norm[p] * np.linalg.norm(perpendicular(noise, norm, p), axis=1) for p in range(len(noise))]
    wedge = np.array(apart)
    # Of a pair the shorter is projected on the longer.
    order = np.argsort(np.argsort(-norm, kind="stable"))
    wedge = np.where(order[:, None] < order, wedge, wedge.T)
    return norm, noise @ noise.T, wedge


def population_gradient(
    model: Model, weights: ArrayLike, head: ArrayLike | None, readout: ArrayLike | None = None, bias: ArrayLike | None = None
) -> Gradient:
    """Exact loss and gradient over the population for dense weights.

    Parameters
    ----------
    model : Model
    weights : (m, d) array, d >= K; its first K axes are the features v_1..v_K (or span them, where they are correlated:
        v_l is row l of `Model.feature_rows`), the others carry noise only.
    head : (m, m) array with unit diagonal; online output F = head @ f.
    readout : (m, M) array a, where neurons have hidden units: f_j = sum_h a_jh phi of unit h. Rows of `weights` are then the
        M = neurons * hidden units, unit h of neuron j being row j * hidden + h; a is 0 outside a neuron's own units unless
        the model's readout is "shared".
    bias : (m,) array b, where the model's neurons have biases: f_j = sum_p max(0, <w_j, X_p> + b_j).

    Returns
    -------
    Gradient, of three parts and the attributes d_readout (m, M) and d_bias (m,), None without hidden units and biases:
    loss : float, sum_j (2 - 2 rho_j), 0 <= loss <= 4 m (equation in `dynlab.formulas.objective`)
    d_weights : (m, d), gradient through view 1 only (stop-gradient on the target)
    d_head : (m, m), zero diagonal

    d_readout is 0 where the readout is not in use, and the derivative at the given a even if that is "fixed".
    Raises ValueError for shapes that do not fit, values not finite, a head without unit diagonal, and where
    an output has zero variance. Cost: O(m^2 d) for the Gram matrix, then independent of d.

    Every component is accurate to 1e-11 of itself or to what rounding the inputs moves it by; where the
    outputs' contributions to a component cancel, only up to m^3 K^2 = `EXTENDED_WORK`. With biases: to 1e-10 of the largest
    component of its array, less what cancels (`dynlab.population.biased`).
    """
    weights = check_weights(model, weights)
    head = check_head(head, model.neurons)
    biases = check_bias(model, bias)
    axes, noise = weights[:, : model.features], weights[:, model.features :]
    signal = along_features(model, axes)
    norm, dot, wedge = noise_geometry(noise)
    if model.layered:
        matrix_a = check_readout(model, readout)
        loss, found = _evaluate_hidden(model, signal, norm, dot, wedge, matrix_a, head)
        d_axes = onto_axes(model, found.d_signal)
        result = Gradient(loss, np.hstack([d_axes, noise_gradient(noise, norm, found.d_noise)]), found.d_head)
        result.d_readout = found.d_readout
        return result
    check_no_readout(readout)
    if biases is not None:
        found_b = biased_gradient(model, signal, noise, (norm, dot, wedge), head, biases)
        d_axes = onto_axes(model, found_b.d_signal)
        result = Gradient(found_b.loss, np.hstack([d_axes, found_b.d_noise]), found_b.d_head)
        result.d_bias = found_b.d_bias
        return result
    loss, d_axes, forces, d_head = _evaluate_on_axes(model, axes, norm, dot, wedge, head)
    return Gradient(loss, np.hstack([d_axes, noise_gradient(noise, norm, forces)]), d_head)


def population_loss(model: Model, weights: ArrayLike, head: ArrayLike | None, bias: ArrayLike | None = None) -> float:
    """Exact loss over the population for dense weights.

    Parameters
    ----------
    model : Model
    weights : (m, d) array, d >= K; its first K axes are the features v_1..v_K, the others carry noise only.
    head : (m, m) array with unit diagonal.
    bias : (m,) array, where the model's neurons have biases.

    Returns
    -------
    float : sum_j (2 - 2 rho_j), 0 <= loss <= 4 m

    Raises ValueError as `population_gradient` does, which costs the same.
    """
    return population_gradient(model, weights, head, bias=bias)[0]

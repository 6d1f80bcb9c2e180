"""Loss and gradient under any `Training` with hidden units: `dynlab.formulas.hidden_switched`, given arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynlab.formulas import hidden_switched
from dynlab.machine import jit
from dynlab.population.any_training.compiled import compiled_units
from dynlab.population.any_training.switch_numbers import choices, free_corner, numbers
from dynlab.population.gradient import (
    Gradient,
    activation_kind,
    hidden_workspace,
    noise_geometry,
    noise_gradient,
    parameter_vector,
)
from dynlab.population.head_matrices import from_correlation
from dynlab.population.hidden.moments import hidden_moments
from dynlab.population.moments import output_means
from dynlab.population.order_parameters import check_readout, check_weights, onto_axes, own_units, signals_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.settings.training import Training
    from dynlab.tools.types import Array

_forces = compiled_units.hidden_switched_forces


class HiddenSlope(NamedTuple):
    """What `hidden_switched_forces` fills: d_signal (M, K), d_noise (M, M), d_readout (m, M), d_head (m, m)."""

    d_signal: Array
    d_noise: Array
    d_readout: Array
    d_head: Array


def hidden_switched_work(model: Model) -> tuple:
    """Scratch arrays for one thread's calls of `hidden_switched.hidden_switched_forces`."""
    sizes = hidden_switched.hidden_switched_sizes(model.neurons, model.units, model.features)
    spare = tuple(np.zeros(shape) for shape in sizes)
    return hidden_workspace(model), hidden_workspace(model), spare, free_corner(model.neurons)


def new_hidden_slope(model: Model) -> HiddenSlope:
    """Empty arrays to fill."""
    m, units = model.neurons, model.units
    shapes = (units, model.features), (units, units), (m, units), (m, m)
    return HiddenSlope(*(np.zeros(shape) for shape in shapes))


@jit.kernel
def hidden_switched_kernel(kind, par, switches, online, target, readouts, head, work, found):
    """`hidden_switched.hidden_switched_forces` at a point, the half-line of each response being the sign of its signal.

    switches: (names, numbers); online, target: (signal, (norm, dot, wedge, eps)).
    """
    points = online[0], target[0]
    units, features = points[0].shape
    sides = np.sign(points[0]).astype(np.int64), np.sign(points[1]).astype(np.int64)
    mine = (points[0], sides[0], online[1][0], online[1][1], online[1][2], online[1][3])
    theirs = (points[1], sides[1], target[1][0], target[1][1], target[1][2], target[1][3])
    sizes = (len(head), units, features)
    return _forces(kind, sizes, par, switches[0], switches[1], mine, theirs, readouts, head, work, found)


def evaluate_hidden_switched(
    model: Model, training: Training, online: tuple, target: tuple, readouts: tuple[Array, Array], head: Array
) -> tuple[float, HiddenSlope]:
    """Loss and slope; `head` (m, m) is filled for rules that make it. What is not defined comes back as nan.

    online, target: (signal (M, K), (norm (M,), dot, wedge (M, M))) of the weights and of the target's; readouts: of both.
    """
    points = [
        (np.array(signal, order="C"), (*(np.array(part, order="C") for part in shape), np.arctan2(shape[2], -shape[1])))
        for signal, shape in (online, target)
    ]
    entries = tuple(np.array(part, order="C") for part in readouts)
    found, switches = new_hidden_slope(model), (choices(training), numbers(model, training))
    loss = hidden_switched_kernel(
        activation_kind(model), parameter_vector(model), switches, *points, entries, head, hidden_switched_work(model),
        tuple(found),
    )  # fmt: skip
    found.d_readout[~own_units(model)] = 0.0
    return loss, found


def hidden_training_gradient(
    model: Model, training: Training, weights: ArrayLike, head: Array, target_weights: ArrayLike | None,
    readout: ArrayLike | None, target_readout: ArrayLike | None,
) -> Gradient:  # fmt: skip
    """`gradient.training_gradient` where neurons have hidden units; the head is checked."""
    weights, a = check_weights(model, weights), check_readout(model, readout)
    target = weights if target_weights is None else check_weights(model, target_weights)
    behind = a if target_readout is None else check_readout(model, target_readout)
    if target.shape != weights.shape:
        raise ValueError(f"target_weights: shape {target.shape}, must be {weights.shape}")
    features = model.features
    points = [(signals_of(model, rows), noise_geometry(rows[:, features:])) for rows in (weights, target)]
    loss, found = evaluate_hidden_switched(model, training, points[0], points[1], (a, behind), head)
    if not np.isfinite(loss) or not all(np.isfinite(part).all() for part in found):
        raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
    d_noise = noise_gradient(weights[:, features:], points[0][1][0], found.d_noise)
    decay = training.weight_decay
    result = Gradient(loss, np.hstack([onto_axes(model, found.d_signal), d_noise]) + decay * weights, found.d_head)
    result.d_readout = found.d_readout + (decay * a if model.readout != "fixed" else 0.0)
    return result


def hidden_switched_losses(
    model: Model, training: Training, signal: Array, gram: Array, head: Array, readout: Array
) -> np.ndarray:
    """Loss (N,) of states signal (N, M, K), noise Gram (N, M, M), head (N, m, m), readout (N, m, M), without decays.

    For a target that is a moving average: that of a target which has caught up.
    """
    found = np.full(len(signal), np.nan)
    for i, (rows, products, entries, a) in enumerate(zip(signal, gram, head, readout, strict=True)):
        norm = np.sqrt(np.diagonal(products))
        size = np.outer(norm, norm)
        wedge = np.sqrt(np.maximum((size - products) * (size + products), 0.0))
        np.fill_diagonal(wedge, 0.0)
        point = rows, (norm, products, wedge)
        found[i] = evaluate_hidden_switched(model, training, point, point, (a, a), np.array(entries))[0]
    return found


def made_hidden_head(model: Model, training: Training, signal: Array, gram: Array, readout: Array) -> np.ndarray:
    """E (m, m) of "directpred" and "directcopy" at a state."""
    mean = readout @ output_means(model, signal, gram)
    correlation = hidden_moments(model, signal, gram, readout)[0] + np.outer(mean, mean)
    return from_correlation(training.head, correlation, training.directpred_eps)

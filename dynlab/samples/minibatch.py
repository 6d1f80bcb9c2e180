"""The gradient of a minibatch wherever it is computed: the CPU, or a CUDA device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynlab.machine import rng
from dynlab.machine.device import Device, chosen
from dynlab.population.gradient import Gradient
from dynlab.population.order_parameters import check_no_readout, check_readout, check_weights, matrix
from dynlab.samples.gradient import TILE, Minibatch, Source
from dynlab.settings.training import Training
from dynlab.tools.checks import SettingError, integer, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


def of_samples(device: str | Device, models: Iterable[Model]) -> Device:
    """`chosen` for minibatches of models."""
    models = list(models)
    if device == "cuda":
        allowed = "cpu or auto with hidden units: minibatch kernels of the device are for neurons without"
        require(not any(model.layered for model in models), "device", device, allowed)

    def missing() -> str | None:
        from dynlab.samples import cuda

        return next(filter(None, (cuda.missing(model) for model in models)), None)

    return chosen(device, missing)


def minibatch_class(where: str) -> type[Minibatch]:
    """`Minibatch` for "cpu", its twin for "cuda"."""
    if where == "cpu":
        return Minibatch
    from dynlab.samples.cuda import DeviceMinibatch

    return DeviceMinibatch


def minibatch_gradient(
    model: Model, training: Training, weights: ArrayLike, head: ArrayLike | None = None,
    target_weights: ArrayLike | None = None, *, readout: ArrayLike | None = None, target_readout: ArrayLike | None = None,
    batch: int = 4096, seed: int = 0, step: int = 0, data: int | None = None,
    correlation: Array | None = None, precision: str = "float64", threads: int | None = None,
    passes: int | None = None, tile: int = TILE, device: str | Device = "cpu",
) -> tuple[float, Array, Array]:  # fmt: skip
    """Loss and exact gradient of the minibatch of a step, through the batch's statistics.

    Parameters
    ----------
    model, training : Model, Training
    weights : (m, d) array, d > K; the first K axes are the features.
    head : (m, m) array, or None: where the training's head starts.
    target_weights : (m, d) array for target "average" (None: the online ones).
    readout, target_readout : (m, M) arrays where neurons have hidden units, as in `dynlab.population_gradient`: rows of the
        weights are then the M units. target_readout: for target "average" (None: the online one).
    batch, seed, step, data : the samples: `batch` of them, fresh for (seed, step), or of a fixed set of `data`.
    correlation : (m, m), the moving correlation before this step, for "directpred" and "directcopy".
    precision, threads, passes, tile : see `Minibatch`.
    device : "cpu", "cuda", or "auto".

    Returns Gradient: loss, d_weights (m, d), d_head (m, m), with hidden units the attribute d_readout (m, M), with the
    training's decays; the readout's, where it trains, is that of the weights.
    Raises ValueError for values that are not allowed and where normalisation is undefined.
    """
    rows = check_weights(model, weights)
    require(rows.shape[1] > model.features, "weights", f"of {rows.shape[1]} columns", f"more than {model.features}")
    for name, value in (("target_weights", target_weights), ("target_readout", target_readout)):
        if value is not None and training.target != "average":
            raise SettingError(name, "given", f'left out with target "{training.target}"')
    if not model.layered:
        check_no_readout(readout if target_readout is None else target_readout)
    read = check_readout(model, readout) if model.layered else None
    behind = None if target_readout is None else check_readout(model, target_readout)
    target = None if target_weights is None else check_weights(model, target_weights)
    m = model.neurons
    if head is None:
        head = np.eye(m) if training.head_matrix is None else np.array(training.head_matrix)
    entries = np.array(matrix("head", head, (m, m)))
    given = Source(integer("seed", seed, at_least=0, at_most=2**64 - 1), data)
    kind = minibatch_class(of_samples(device, [model]).where)
    work = kind(model, training, rows.shape[1], batch, given, precision, threads, passes, tile)
    number = integer("step", step, at_least=0, at_most=rng.WORD - 1)
    result = work.gradient(number, rows, entries, target, correlation, read, behind)
    if result.problem is not None:
        raise ValueError(result.problem)
    found = Gradient(result.loss, result.d_weights, result.d_head)
    found.d_readout = result.d_readout
    return found

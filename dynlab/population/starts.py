"""Random starts by number."""

from __future__ import annotations

import numpy as np

from dynlab.machine import cache
from dynlab.population.order_parameters import OrderParameters, along_features, draw_order_parameters
from dynlab.settings.model import Model

# Starts of a call from which on a kernel that draws them is worth compiling; or loading, where the disk has it.
MANY, SOME = 10_000, 500
KERNEL = "dynlab.machine.numpy_streams.fill"


def worth_a_kernel(count: int) -> bool:
    """Whether so many starts are drawn sooner by the kernel: it is compiled first, or found on the disk."""
    if count >= MANY:
        return True
    folder = cache.cache_folder() if count >= SOME else None
    return folder is not None and any(folder.glob(f"{KERNEL}.*{cache.SUFFIX}"))


def draw_start(model: Model, dim: int, seed: int, index: int, scale: float = 1.0) -> OrderParameters:
    """Start number `index` of the ensemble with `seed`: w_j ~ N(0, scale^2 I/dim), E = I."""
    return OrderParameters.sample(model, dim, np.random.default_rng((seed, index)), scale)


def draw_starts(
    model: Model, dim: int, seed: int, numbers: np.ndarray, scale: float = 1.0, many: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Signals (N, m, K) and noise Gram matrices (N, m, m) of the starts called `numbers` (N,), the bits of `draw_start`.

    many: whether they are so many that a kernel is worth compiling, where there is one on the disk or not.
    """
    found = _at_once(model, dim, seed, numbers, scale) if many else None
    if found is not None:
        return found
    drawn = [draw_order_parameters(model, dim, np.random.default_rng((seed, int(i))), scale) for i in numbers]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    return signal, gram


def _at_once(model: Model, dim: int, seed: int, numbers: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray] | None:
    """`order_parameters.draw_order_parameters` for all numbers at once; None where that cannot be had in the same bits."""
    from dynlab.machine import numpy_streams

    m, features = model.neurons, model.features
    if seed >= 2**63:
        return None
    degrees = float(dim - features) - np.arange(m)
    found = numpy_streams.normals_and_squares(seed, numbers, m * features + m * m, degrees)
    if found is None:
        return None
    normals, squares = found
    unit = scale / np.sqrt(float(dim))
    signal = along_features(model, normals[:, : m * features].reshape(-1, m, features) * unit)
    factor = np.tril(normals[:, m * features :].reshape(-1, m, m), -1) * unit
    factor[:, np.arange(m), np.arange(m)] = np.sqrt(squares) * unit
    gram = np.matmul(factor, factor.transpose(0, 2, 1))
    return signal, (gram + gram.transpose(0, 2, 1)) / 2

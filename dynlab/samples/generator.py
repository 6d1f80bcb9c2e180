"""Samples as arrays, for reading, testing and for other people's code: training never makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.samples import kernels
from dynlab.samples.gradient import PRECISIONS, Minibatch, Source, check_batch
from dynlab.settings.training import Training
from dynlab.tools import show
from dynlab.tools.checks import integer


@dataclass(frozen=True)
class Samples:
    """patches (n, P, d); view (n, P), 0 or 1: which view has the patch; feature (n,), 0 ... K - 1; sign (n,), +-1."""

    patches: np.ndarray
    view: np.ndarray
    feature: np.ndarray
    sign: np.ndarray

    __repr__ = show.fields_line
    _repr_html_ = show.fields_table


def samples(model, dim, batch, *, seed=0, step=0, data=None, precision="float64") -> Samples:
    """The samples of a step, as a minibatch of `dynlab.samples.gradient` sees them; arguments as there.

    The features are the first K axes, or lie in their span (`Model.feature_rows`). Memory: n P d numbers. SettingError for
    values that are not allowed.
    """
    dim = integer("dim", dim, at_least=model.features + 1, why="features + 1")
    source = Source(integer("seed", seed, at_least=0), data)
    work = Minibatch(model, Training(), dim, check_batch(batch, data), source, precision)
    numbers, order = work._numbers(step), source.numbers(step, batch)
    dtype, per_block, _ = PRECISIONS[precision]
    made = Samples(
        np.zeros((batch, model.patches, dim), dtype), np.zeros((batch, model.patches), np.int64),
        np.zeros(batch, np.int64), np.zeros(batch),
    )  # fmt: skip
    features = np.array(model.strengths)[:, None] * np.array(model.feature_rows)
    carries, row = np.zeros(model.patches, np.int64), np.zeros(work.blocks * per_block, dtype)
    keys = int(numbers[kernels.KEY_0]), int(numbers[kernels.KEY_1])
    for i, sample in enumerate(order):
        feature, sign = kernels.fill_content(int(sample), numbers, carries, made.view[i])
        made.feature[i], made.sign[i] = feature, sign
        for p in range(model.patches):
            if carries[p]:
                made.patches[i, p, : model.features] = sign * features[feature]
            else:
                kernels.fill_patch(p, int(sample), int(numbers[kernels.CONTENT_STEP]), *keys, work.blocks, row)
                made.patches[i, p, model.features :] = model.noise * row[: dim - model.features]
    return made

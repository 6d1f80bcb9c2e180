"""The layer functions of the CPU: one namespace, which the code that trains knows as `ops`."""

from __future__ import annotations

import numpy as np

from dynlab.images.layers.dense import (
    add_bias,
    axpy,
    column_sums,
    matmul,
    mix,
    unit_length,
    unit_length_backward,
)
from dynlab.images.layers.rows import (
    add_product,
    add_sum,
    barlow_moments,
    centre_columns,
    difference,
    fill,
    off_diagonal_moments,
    scale,
    set_diagonal,
    softmax,
    swap_views,
    vicreg_moments,
)
from dynlab.images.layers.updates import adam_step, lars_layout, lars_step, project_head_gradient, sgd_step

__all__ = [
    "adam_step",
    "add_bias",
    "add_product",
    "add_sum",
    "axpy",
    "barlow_moments",
    "centre_columns",
    "column_sums",
    "copy",
    "difference",
    "empty",
    "fill",
    "lars_layout",
    "lars_step",
    "matmul",
    "mix",
    "off_diagonal_moments",
    "project_head_gradient",
    "scale",
    "set_diagonal",
    "sgd_step",
    "softmax",
    "swap_views",
    "to_device",
    "to_host",
    "unit_length",
    "unit_length_backward",
    "vicreg_moments",
    "zeros",
]


def empty(shape, dtype="float32"):
    """An array for results, its values undefined."""
    return np.empty(shape, dtype)


def zeros(shape, dtype="float32"):
    """An array of zeros."""
    return np.zeros(shape, dtype)


def to_device(host):
    """The array where the layers compute: a contiguous copy."""
    return np.array(host, order="C")


def to_host(array):
    """A copy of the array in the host's memory."""
    return np.array(array)


def copy(source, target):
    """Fill target with source."""
    target[...] = source
    return target

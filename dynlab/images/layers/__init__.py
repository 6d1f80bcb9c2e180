"""The layer functions of the CPU: one namespace, which the code that trains knows as `ops`."""

from __future__ import annotations

import numpy as np

from dynlab.images.data.augment import augment
from dynlab.images.layers.convolution import (
    convolution_work,
    convolve,
    convolve_backward_data,
    convolve_backward_weights,
    output_size,
)
from dynlab.images.layers.dense import add_bias, axpy, column_sums, matmul, mix, unit_length, unit_length_backward
from dynlab.images.layers.normalise import batch_norm, batch_norm_backward, batch_norm_inference, update_running
from dynlab.images.layers.pointwise import add, cube, cube_backward, relu, relu_backward, relu_cube, relu_cube_backward
from dynlab.images.layers.pool import max_pool, max_pool_backward, mean_pool, mean_pool_backward, patches, patches_backward
from dynlab.images.layers.rows import (
    add_cross_entropy,
    add_pair_gaps,
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
    "add",
    "add_bias",
    "add_cross_entropy",
    "add_pair_gaps",
    "add_product",
    "add_sum",
    "augment",
    "axpy",
    "barlow_moments",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "centre_columns",
    "column_sums",
    "convolution_work",
    "convolve",
    "convolve_backward_data",
    "convolve_backward_weights",
    "copy",
    "cube",
    "cube_backward",
    "difference",
    "empty",
    "fill",
    "lars_layout",
    "lars_step",
    "matmul",
    "max_pool",
    "max_pool_backward",
    "mean_pool",
    "mean_pool_backward",
    "mix",
    "off_diagonal_moments",
    "output_size",
    "patches",
    "patches_backward",
    "project_head_gradient",
    "relu",
    "relu_backward",
    "relu_cube",
    "relu_cube_backward",
    "scale",
    "set_diagonal",
    "sgd_step",
    "softmax",
    "swap_views",
    "to_device",
    "to_host",
    "unit_length",
    "unit_length_backward",
    "update_running",
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

"""The layer functions of a CUDA device: the twin of `dynlab.images.layers`, with the same names and arguments.

Arrays live on the device. Everything runs in the order in which it is asked for, nothing waits for it but `to_host`, and
nothing is allocated once every shape has been seen.
"""

from dynlab.images.cuda.augment import augment
from dynlab.images.cuda.convolution import (
    convolution_work,
    convolve,
    convolve_backward_data,
    convolve_backward_weights,
    output_size,
)
from dynlab.images.cuda.dense import add_bias, axpy, column_sums, matmul, mix, unit_length, unit_length_backward
from dynlab.images.cuda.memory import copy, empty, to_device, to_host, zeros
from dynlab.images.cuda.normalise import batch_norm, batch_norm_backward, batch_norm_inference, update_running
from dynlab.images.cuda.pointwise import add, cube, cube_backward, relu, relu_backward, relu_cube, relu_cube_backward
from dynlab.images.cuda.pool import max_pool, max_pool_backward, mean_pool, mean_pool_backward, patches, patches_backward
from dynlab.images.cuda.rows import (
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
from dynlab.images.cuda.updates import adam_step, lars_layout, lars_step, project_head_gradient, sgd_step

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

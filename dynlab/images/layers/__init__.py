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

__all__ = [
    "add_bias",
    "axpy",
    "column_sums",
    "copy",
    "empty",
    "matmul",
    "mix",
    "to_device",
    "to_host",
    "unit_length",
    "unit_length_backward",
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

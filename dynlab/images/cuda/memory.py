"""Arrays on the device: making and moving them, scratch that is kept, and launches with a thread a number."""

from __future__ import annotations

from math import prod

import numpy as np

from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

BLOCK = 16 if gpu.SIMULATED else 256
_scratch: dict = {}


def empty(shape, dtype="float32"):
    """An array for results, its values undefined."""
    return cuda.device_array(shape, np.dtype(dtype))


def zeros(shape, dtype="float32"):
    """An array of zeros."""
    return to_device(np.zeros(shape, dtype))


def to_device(host):
    """A contiguous copy of an array on the device."""
    return cuda.to_device(np.array(host, order="C"))


def to_host(array):
    """A copy of the array in the host's memory; waits for what is under way."""
    return array.copy_to_host() if hasattr(array, "copy_to_host") else np.array(array)


def copy(source, target):
    """Fill target with source, of the same shape and type."""
    target.copy_to_device(source)
    return target


def _kept(array, name, make):
    """What make(array) returns, kept with the array: most live as long as a network, and are asked at every step."""
    kept = vars(array) if hasattr(array, "__dict__") else {}
    if name not in kept:
        kept[name] = make(array)
    return kept[name]


def flat(array):
    """The array as one dimension."""
    return array if array.ndim == 1 else _kept(array, "_dynlab_flat", lambda array: array.reshape(prod(array.shape)))


def aligned(array) -> bool:
    """Whether the array begins at a multiple of 16 bytes."""
    return _kept(array, "_dynlab_aligned", lambda array: _address(array) % 16 == 0)


def _address(array) -> int:
    found = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__  # the latter in the simulator
    return found["data"][0]


def scratch(name: str, count: int, dtype):
    """The first `count` entries of an array that is kept under this name, and made anew only where it is too short.

    All kernels run one after another, so that whoever uses a name has it to itself until the next one who does.
    """
    key = name, dtype
    if key not in _scratch or _scratch[key][0].shape[0] < count:
        _scratch[key] = empty((count,), dtype), {}
    whole, parts = _scratch[key]
    if count not in parts:
        parts[count] = whole[:count]
    return parts[count]


def launch(kernel, count: int, *arguments) -> None:
    """Run a kernel with a thread for each of `count` numbers."""
    kernel[gpu.blocks_for(count, BLOCK), BLOCK](*arguments)


def ordered_sum(store, count):
    """In kernels: the sum of the first `count` entries, in their order."""
    total = store[0]
    for i in range(1, count):
        total += store[i]
    return total


ordered_sum = gpu.inner(ordered_sum)

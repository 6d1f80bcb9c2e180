"""Where pictures are computed with: the layer functions of the CPU, or their twins on a CUDA device."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numba
import numpy as np

from dynlab.machine.device import Device, chosen


def ops_of(device: str | Device, threads: int | None = None) -> ModuleType:
    """The layer functions for a setting of the device (cpu, cuda, auto), or for the `Device` that was decided for it.

    threads: those of the CPU's kernels from now on in this thread of the program (None: as it is).
    Raises SettingError with the reason where "cuda" is asked for and there is no device.
    """
    device = chosen(device)
    if threads is not None:
        numba.set_num_threads(threads)
    if device.where == "cuda":
        from dynlab.images import cuda

        return cuda
    from dynlab.images import layers

    return layers


def in_place(ops: ModuleType, host: np.ndarray) -> Any:
    """An array that is only read, where `ops` computes: itself on the CPU, so that one mapped from a file stays there."""
    from dynlab.images import layers

    return host if ops is layers and host.flags.c_contiguous else ops.to_device(host)

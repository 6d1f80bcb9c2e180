"""Where pictures are computed with: the layer functions of the CPU, or their twins on a CUDA device."""

from __future__ import annotations

from types import ModuleType

import numba

from dynlab.machine import device as _device


def ops_of(device: str, threads: int | None = None) -> tuple[ModuleType, str]:
    """The layer functions for a setting of the device (cpu, cuda, auto), and the choice in words.

    threads: those of the CPU's kernels from now on in this thread of the program (None: as it is).
    Raises SettingError with the reason where "cuda" is asked for and there is no device.
    """
    chosen, words = _device.chosen(device)
    if threads is not None:
        numba.set_num_threads(threads)
    if chosen == "cuda":
        from dynlab.images import cuda

        return cuda, words
    from dynlab.images import layers

    return layers, words

"""Where pictures are computed with: the layer functions of the CPU, or their twins on a CUDA device."""

from __future__ import annotations

from types import ModuleType

from dynlab import _device


def ops_of(device: str) -> tuple[ModuleType, str]:
    """The layer functions for a setting of the device (cpu, cuda, auto), and the choice in words.

    Raises SettingError with the reason where "cuda" is asked for and there is no device.
    """
    chosen, words = _device.chosen(device)
    if chosen == "cuda":
        from dynlab.images import cuda

        return cuda, words
    from dynlab.images import layers

    return layers, words

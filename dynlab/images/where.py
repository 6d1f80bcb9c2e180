"""Where pictures are computed with: the layer functions of the CPU, or their twins on a CUDA device."""

from __future__ import annotations

from types import ModuleType


def ops_of(device: str) -> tuple[ModuleType, str]:
    """The layer functions for a setting of the device (cpu, cuda, auto), and the choice in words.

    Raises SettingError with the reason where "cuda" is asked for and there is no device.
    """
    if device == "cpu":
        from dynlab.images import layers

        return layers, "cpu"
    from dynlab import _gpu

    words = _gpu.describe(device)
    if _gpu.chosen(device) == "cpu":
        from dynlab.images import layers

        return layers, words
    from dynlab.images import cuda

    return cuda, words

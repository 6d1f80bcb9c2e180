"""The setting `device`: where to compute. Loads CUDA only where it is asked for.

A word ("cpu", "cuda", "auto") is decided once, where a command or a call begins, and the `Device` that this makes is handed
on: whatever takes a word takes a `Device` too, as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dynlab.tools.checks import SettingError, choice

DEVICES = ("cpu", "cuda", "auto")


class Device(NamedTuple):
    """A decision: the word that was asked for, where to compute ("cpu" or "cuda"), and that in words with its reason."""

    asked: str
    where: str
    words: str


CPU = Device("cpu", "cpu", "cpu")


def chosen(device: str | Device, missing: Callable[[], str | None] = lambda: None) -> Device:
    """`decide` for a word; a decision as it is."""
    return device if isinstance(device, Device) else decide(device, missing)


def decide(device: str, missing: Callable[[], str | None]) -> Device:
    """Where to compute for a setting of `DEVICES`.

    missing(): what keeps this work from running on a device, in words, None where nothing does; called where there is one.
    Raises SettingError with the reason where "cuda" is asked for and cannot be had.
    """
    if choice("device", device, DEVICES) == "cpu":
        return CPU
    from dynlab.machine import gpu

    reason = gpu.unavailable() or missing()
    if device == "auto" and gpu.SIMULATED:
        reason = "the simulator is for tests"
    if reason is None:
        return Device(device, "cuda", f"cuda ({gpu.name()})")
    if device == "cuda":
        raise SettingError("device", device, f"cpu or auto here: {reason}")
    return Device(device, "cpu", f"cpu ({reason})")

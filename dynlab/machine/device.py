"""The setting `device`: where to compute. Loads CUDA only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from dynlab.tools.checks import SettingError, choice

DEVICES = ("cpu", "cuda", "auto")


def chosen(device: str, missing: Callable[[], str | None] = lambda: None) -> tuple[str, str]:
    """Where to compute, "cpu" or "cuda", for a setting of `DEVICES`; and the choice in words, with its reason.

    missing(): what keeps this work from running on a device, in words, None where nothing does; called where there is one.
    Raises SettingError with the reason where "cuda" is asked for and cannot be had.
    """
    if choice("device", device, DEVICES) == "cpu":
        return "cpu", "cpu"
    from dynlab.machine import gpu

    reason = gpu.unavailable() or missing()
    if device == "auto" and gpu.SIMULATED:
        reason = "the simulator is for tests"
    if reason is None:
        return "cuda", f"cuda ({gpu.name()})"
    if device == "cuda":
        raise SettingError("device", device, f"cpu or auto here: {reason}")
    return "cpu", f"cpu ({reason})"

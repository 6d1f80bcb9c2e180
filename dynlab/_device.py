"""The setting `device`: where to compute. Loads CUDA only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dynlab._checks import SettingError, choice

if TYPE_CHECKING:
    from dynlab.model import Model
    from dynlab.training import Training

DEVICES = ("cpu", "cuda", "auto")


def chosen(device: str, missing: Callable[[], str | None] = lambda: None) -> tuple[str, str]:
    """Where to compute, "cpu" or "cuda", for a setting of `DEVICES`; and the choice in words, with its reason.

    missing(): what keeps this work from running on a device, in words, None where nothing does; called where there is one.
    Raises SettingError with the reason where "cuda" is asked for and cannot be had.
    """
    if choice("device", device, DEVICES) == "cpu":
        return "cpu", "cpu"
    from dynlab import _gpu

    reason = _gpu.unavailable() or missing()
    if device == "auto" and _gpu.SIMULATED:
        reason = "the simulator is for tests"
    if reason is None:
        return "cuda", f"cuda ({_gpu.name()})"
    if device == "cuda":
        raise SettingError("device", device, f"cpu or auto here: {reason}")
    return "cpu", f"cpu ({reason})"


def of_flow(device: str, cases: Iterable[tuple[Model, Training]], method: str = "flow") -> tuple[str, str]:
    """`chosen` for the exact flow of (model, training) cases."""

    def missing() -> str | None:
        from dynlab.population import cuda_ensemble

        return next(filter(None, (cuda_ensemble.missing(model, training, method) for model, training in cases)), None)

    return chosen(device, missing)


def of_samples(device: str, models: Iterable[Model]) -> tuple[str, str]:
    """`chosen` for minibatches of models."""

    def missing() -> str | None:
        from dynlab.samples import cuda

        return next(filter(None, (cuda.missing(model) for model in models)), None)

    return chosen(device, missing)

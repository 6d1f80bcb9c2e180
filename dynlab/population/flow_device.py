"""Where the exact flow is computed: the CPU, or a CUDA device that has a kernel for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dynlab.machine.device import Device, chosen

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.settings.training import Training


def of_flow(device: str | Device, cases: Iterable[tuple[Model, Training]], method: str = "flow") -> Device:
    """`chosen` for the exact flow of (model, training) cases."""

    def missing() -> str | None:
        from dynlab.population.pair import cuda

        return next(filter(None, (cuda.missing(model, training, method) for model, training in cases)), None)

    return chosen(device, missing)

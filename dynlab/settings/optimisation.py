"""How steps of gradient descent are taken: the optimiser and the schedules of its rates."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from dynlab.tools import show
from dynlab.tools.checks import choice, integer, real, require
from dynlab.tools.schedules import SCHEDULES, schedule_factor

if TYPE_CHECKING:
    from dynlab.tools.types import Array

DESCENT_ETA = 0.05  # learning rate of exact descent where none is given
OPTIMISERS = ("sgd", "momentum", "adam")
BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True)
class Optimisation:
    """What is made of a gradient in a step of exact descent: frozen, validated, hashable. The defaults are plain descent.

    Parameters
    ----------
    optimiser : str
        "sgd" (x <- x - rate g), "momentum" (heavy ball) or "adam": the equations stand in `dynlab.samples.optimisers`.
        Weights and head have memories of their own. Weight decay is part of the gradient.
    momentum : float
        In [0, 1], of "momentum"; it must be left at 0.9 for the others.
    schedule : str
        Of the learning rates: "constant", "cosine" (to 0 at the last step) or "step" (a tenth after 60 %, a hundredth after
        80 % of the steps).
    head_schedule : str, optional
        The head's own (None: the same).
    warm_up : int
        Number of steps, >= 0, in which both rates first rise linearly.

    Raises
    ------
    SettingError
        A ValueError of one line, naming the setting, its value and what is allowed.
    """

    optimiser: str = "sgd"
    momentum: float = 0.9
    schedule: str = "constant"
    head_schedule: str | None = None
    warm_up: int = 0

    def __post_init__(self) -> None:
        choice("optimiser", self.optimiser, OPTIMISERS)
        choice("schedule", self.schedule, SCHEDULES)
        if self.head_schedule is not None:
            choice("head_schedule", self.head_schedule, SCHEDULES)
        momentum = real("momentum", self.momentum, at_least=0.0, at_most=1.0)
        used = self.optimiser == "momentum" or momentum == 0.9
        require(used, "momentum", momentum, f'left out with optimiser "{self.optimiser}"')
        object.__setattr__(self, "momentum", momentum)
        object.__setattr__(self, "warm_up", integer("warm_up", self.warm_up, at_least=0))

    def __repr__(self) -> str:
        """What differs from the defaults, as it could be typed."""
        return show.line("Optimisation", show.changed(self))

    def _repr_html_(self) -> str:
        return show.settings_table(self)

    @property
    def is_plain(self) -> bool:
        """Whether this is plain descent at constant rates."""
        return self == Optimisation()

    def changed(self) -> dict:
        """The settings that differ from the defaults, by name."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def factors(self, first: int, count: int, steps: int) -> Array:
        """What the rates (count, 2) of weights and head are multiplied by in steps first, first + 1, ... of `steps`."""
        import numpy as np

        found = np.ones((count, 2))
        schedules = self.schedule, self.head_schedule or self.schedule
        for column, schedule in enumerate(schedules):
            if schedule != "constant" or self.warm_up > first:
                found[:, column] = [schedule_factor(schedule, first + i, steps, self.warm_up) for i in range(count)]
        return found

"""Schedules of a learning rate as functions of the step alone."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from dynlab.tools.checks import SettingError, choice, integer

SCHEDULES = ("constant", "cosine", "step")


def constant(step: float, steps: int) -> float:
    """1."""
    return 1.0


def cosine(step: float, steps: int, last: float = 0.0) -> float:
    """From 1 at step 0 to `last` at `steps` along half a cosine (Loshchilov & Hutter 2017, without restarts)."""
    return last + (1.0 - last) * 0.5 * (1.0 + cos(pi * min(step / steps, 1.0)))


def stepped(step: float, steps: int, milestones: tuple[float, ...] = (0.6, 0.8), drop: float = 0.1) -> float:
    """`drop` to the power of the number of milestones, shares of `steps`, that have been reached."""
    return drop ** sum(step >= share * steps for share in milestones)


def schedule_factor(schedule: str, step: int, steps: int, warm_up: int = 0, **settings: Any) -> float:
    """What the rate is multiplied by in step 0, 1, ..., steps - 1.

    The first `warm_up` steps rise linearly, (step + 1)/warm_up; the schedule runs over the steps that are left.
    """
    functions: dict[str, Any] = {"constant": constant, "cosine": cosine, "step": stepped}
    choice("schedule", schedule, SCHEDULES)
    integer("step", step, at_least=0)
    integer("warm_up", warm_up, at_least=0, at_most=steps)
    if step < warm_up:
        return (step + 1) / warm_up
    try:
        return float(functions[schedule](step - warm_up, max(steps - warm_up, 1), **settings))
    except TypeError:
        raise SettingError("schedule", settings, f"settings of {schedule!r}") from None

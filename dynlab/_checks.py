"""Validators shared by the settings, the Python interface and the commands.

Each takes the name of a setting and its value, returns the value in its plain Python type, or raises
`SettingError`, whose text is one line: the name, the value, what is allowed.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import os
from collections.abc import Iterable


class SettingError(ValueError):
    """A setting with a value that is not allowed.

    Parameters
    ----------
    name, value
        The setting as it is called in Python (`feature_patches`) and what was given for it.
    allowed
        What is allowed, continuing the words "must be".
    """

    def __init__(self, name: str, value: object, allowed: str):
        super().__init__(name, value, allowed)
        self.name, self.value, self.allowed = name, value, allowed

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}: must be {self.allowed}"


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise `SettingError` unless the condition holds."""
    if not condition:
        raise SettingError(name, value, allowed)


def real(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    why: str = "",
) -> float:
    """A finite real number within bounds; `why` says in words where a bound comes from."""
    allowed = "a finite number" + _bounds(above, at_least, at_most, why)
    require(isinstance(value, numbers.Real) and not isinstance(value, bool), name, value, allowed)
    try:
        number = float(value)  # type: ignore[arg-type]  # a numbers.Real, as was required
    except OverflowError:  # an integer beyond the range of float64
        number = math.inf
    inside = (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (at_most is None or number <= at_most)
    )
    require(inside, name, value, allowed)
    return number


def integer(
    name: str, value: object, *, at_least: int | None = None, at_most: int | None = None, why: str = ""
) -> int:
    """An integer within bounds; floats are refused, even whole ones."""
    allowed = "an integer" + _bounds(None, at_least, at_most, why)
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what is no integer raises TypeError
    except TypeError:
        raise SettingError(name, value, allowed) from None
    inside = (at_least is None or number >= at_least) and (at_most is None or number <= at_most)
    require(inside and not isinstance(value, bool), name, value, allowed)
    return number


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """One of a few words."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:  # what was meant is looked for only here: that takes a while
        raise SettingError(name, value, one_of(value, choices))
    return value


def one_of(value: object, choices: Iterable[str]) -> str:
    """What is allowed where only these words are, and the one that was probably meant."""
    choices = tuple(choices)
    return "one of " + ", ".join(choices) + nearest(value, choices)


def nearest(value: object, choices: Iterable[str]) -> str:
    """The words "; did you mean ...?" with the choice most like the value; nothing where none is."""
    found = difflib.get_close_matches(str(value).lower(), list(choices), 1)
    return f"; did you mean {found[0]}?" if found else ""


def available_threads() -> int:
    """Number of threads that a parallel kernel may use here: the cores this process may run on.

    Numba starts no more than NUMBA_NUM_THREADS where that is set.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(limit) if limit.isdigit() and int(limit) > 0 else cores


def threads(value: object) -> int:
    """A number of threads: None for all that are available, otherwise 1 to that many."""
    most = available_threads()
    return most if value is None else integer("threads", value, at_least=1, at_most=most, why="the cores")


def _bounds(above: float | None, at_least: float | None, at_most: float | None, why: str) -> str:
    parts = [
        f"{sign} {bound:.12g}" if isinstance(bound, float) else f"{sign} {bound}"
        for sign, bound in ((">", above), (">=", at_least), ("<=", at_most))
        if bound is not None
    ]
    text = " " + " and ".join(parts) if parts else ""
    return f"{text} ({why})" if why else text

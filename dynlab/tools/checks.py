"""Validators shared by the settings, the Python interface and the commands.

Each takes the name of a setting and its value, returns the value in its plain Python type, or raises
`SettingError`, whose text is one line: the name, the value, what is allowed.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import traceback
from collections.abc import Iterable
from typing import Any

MOST = 2**63 - 1  # what 64 bits hold: more than any size, number of steps or seed can be
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # of dynlab


class OneLine:
    """A mixin of errors that tell a user what to give otherwise: a notebook shows the user's own lines, not dynlab's."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        frames = traceback.extract_tb(getattr(self, "__traceback__", None))
        own = [one for one in frames if not one.filename.startswith(_HERE) and "IPython" not in one.filename]
        return [line.rstrip("\n") for line in traceback.format_list(own)] + [f"{type(self).__name__}: {self}"]


class SettingError(OneLine, ValueError):
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
    given = scalar(value)
    number = math.nan
    if isinstance(given, float) or (isinstance(given, numbers.Real) and not isinstance(given, bool)):
        try:
            number = float(given)
        except OverflowError:  # an integer beyond the range of float64
            number = math.inf
    inside = (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (at_most is None or number <= at_most)
    )
    if not inside:  # what is allowed is put into words only here: that takes longer than the check
        raise SettingError(name, value, "a finite number" + _bounds(above, at_least, at_most, why))
    return number


def integer(name: str, value: object, *, at_least: int | None = None, at_most: int | None = None, why: str = "") -> int:
    """An integer within bounds, at most what 64 bits hold; a float that is a whole number stands for it."""
    most = MOST if at_most is None else at_most
    given = scalar(value)
    if not isinstance(given, bool) and hasattr(given, "is_integer") and given.is_integer():
        given = int(given)
    try:
        number = operator.index(given)
    except TypeError:
        raise SettingError(name, value, "an integer" + _bounds(None, at_least, at_most, why)) from None
    inside = (at_least is None or number >= at_least) and number <= most and not isinstance(given, bool)
    if not inside:
        shown = most if number > most else at_most  # the bound that every integer has is named where it matters
        raise SettingError(name, value, "an integer" + _bounds(None, at_least, shown, why))
    return number


def scalar(value: object) -> Any:
    """What a NumPy scalar or an array without axes holds, as Python's own number; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def truth(name: str, value: object) -> bool:
    """True or False."""
    given = scalar(value)
    require(isinstance(given, bool), name, value, "True or False")
    return bool(given)


def memory(name: str, value: object, size: float, what: str) -> None:
    """Refuse a setting for which `size` bytes are needed, more than this machine has; `what` they hold, in words."""
    most = installed_memory()
    if size > most:
        most_gib, needed = most / 2**30, size / 2**30
        raise SettingError(name, value, f"smaller: {what} would take {needed:.3g} GiB, and this machine has {most_gib:.3g}")


def installed_memory() -> float:
    """Bytes of memory of this machine; infinity where that cannot be told."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no such call
        return math.inf


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """One of a few words."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:  # what was meant is looked for only here: that takes a while
        raise SettingError(name, value, one_of(value, choices))
    return str(value)


def one_of(value: object, choices: Iterable[str]) -> str:
    """What is allowed where only these words are, and the one that was probably meant."""
    choices = tuple(choices)
    return "one of " + ", ".join(choices) + nearest(value, choices)


def nearest(value: object, choices: Iterable[str]) -> str:
    """The words "; did you mean ...?" with the choice most like the value; nothing where none is."""
    import difflib

    word, known = str(value).lower(), list(choices)
    begun = [one for one in known if len(word.strip("-")) > 1 and one.startswith(word)]
    found = difflib.get_close_matches(word, known, 1) or begun
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

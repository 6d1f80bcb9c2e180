"""Python looks for garbage less often while something is compiled, and as often as before when it is done."""

from __future__ import annotations

import gc

import numba
import pytest
from numba.core.errors import TypingError
from numba.extending import overload

from dynlab.machine import jit

SEEN: list[tuple[int, int, int]] = []


def noted(x):
    """What stands for it while a function that calls it is compiled, notes the thresholds."""


@overload(noted)
def _noted(x):
    SEEN.append(gc.get_threshold())
    return (lambda x: x) if x is numba.types.int64 else None


def outer(x):
    return noted(x)


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(123, 45, 6)
    SEEN.clear()
    yield
    gc.set_threshold(*before)


def test_less_often_while_it_compiles_and_as_before_afterwards(thresholds):
    assert numba.njit(outer)(3) == 3
    assert set(SEEN) == {jit.SELDOM}
    assert gc.get_threshold() == (123, 45, 6)


def test_as_before_where_compiling_fails(thresholds):
    with pytest.raises(TypingError):
        numba.njit(outer)("a word")
    assert set(SEEN) == {jit.SELDOM}
    assert gc.get_threshold() == (123, 45, 6)

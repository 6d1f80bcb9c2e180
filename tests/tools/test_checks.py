"""Valid values cost no words: bounds are spelt and neighbours looked for only where a value is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dynlab import Model, Training
from dynlab.tools import checks
from dynlab.tools.checks import SettingError, choice, integer, real, truth


def test_what_is_allowed_is_put_into_words_only_where_it_is_not(monkeypatch):
    asked = []
    monkeypatch.setattr(checks, "_bounds", lambda *bounds: asked.append("bounds") or " in bounds")
    monkeypatch.setattr(checks, "nearest", lambda *words: asked.append("nearest") or "; did you mean")
    assert real("x", np.float32(0.5), above=0.0, at_most=1.0) == 0.5 and integer("n", 16.0, at_least=1) == 16
    assert choice("head", "none", ("none", "linear")) == "none" and truth("symmetric", np.bool_(True)) is True
    assert Model() and Training(eta_head=0.5) and asked == []
    with pytest.raises(SettingError, match=r"^x=2.0: must be a finite number in bounds$"):
        real("x", 2.0, at_most=1.0)
    with pytest.raises(SettingError, match=r"^n=0: must be an integer in bounds$"):
        integer("n", 0, at_least=1)
    with pytest.raises(SettingError, match=r"^head='nine': must be one of none, linear; did you mean$"):
        choice("head", "nine", ("none", "linear"))
    assert asked == ["bounds", "bounds", "nearest"]


REFUSED = [True, np.bool_(False), "0.5", None, 1j, [0.5], np.array([0.5, 0.5]), float("nan"), np.inf, 10**400, 0.0, 1.5]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_no_number_within_its_bounds_is_refused_in_one_line(value):
    with pytest.raises(SettingError) as error:
        real("x", value, above=0.0, at_most=1.0, why="half")
    assert str(error.value).endswith(": must be a finite number > 0 and <= 1 (half)") and "\n" not in str(error.value)

"""Model and the validators: what is allowed is taken as given, anything else is one line that says why."""

import dataclasses
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.settings.model import Model
from dynlab.tools import checks
from dynlab.tools.checks import SettingError


def test_the_defaults_are_the_contract():
    model = Model()
    later = None, None, "none"
    assert dataclasses.astuple(model) == (1.0, 0.3, 16, 4, 0.5, "cubic", 2, "half", (1.0, 0.3), 1, "fixed", *later)
    assert model.features == 2
    assert type(model.weak) is float


def test_strengths_replace_strong_and_weak():
    model = Model(strengths=[2, 1.0, np.float64(0.5)])
    assert model.strengths == (2.0, 1.0, 0.5)
    assert (model.strong, model.weak, model.features) == (2.0, 0.5, 3)
    assert Model(strengths=(3.0,)).weak == 3.0


def test_equal_settings_are_equal_and_hashable():
    assert Model(weak=0.3) == Model(strengths=(1.0, 0.3)) == Model()
    assert len({Model(), Model(patches=np.int64(16)), Model(noise=1)}) == 2


def test_a_model_survives_json_and_pickle():
    model = Model(strengths=(1.0, 0.7, 0.1), mask="independent", patches=7, activation="relu")
    assert Model(**json.loads(json.dumps(dataclasses.asdict(model)))) == model
    assert pickle.loads(pickle.dumps(model)) == model


def test_replace_changes_what_it_says_or_refuses():
    model = Model(weak=0.4)
    assert dataclasses.replace(model, noise=0.1).weak == 0.4
    assert dataclasses.replace(model, weak=0.2, strengths=None).strengths == (1.0, 0.2)
    for weak in (0.2, 0.3):  # 0.3 is the default: it must not be taken for "not given"
        with pytest.raises(SettingError, match="weak"):
            dataclasses.replace(model, weak=weak)


def test_a_model_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Model().weak = 0.1


BAD = [
    *[("strong", value) for value in (0, -1.0, math.nan, math.inf, "1", None, True, 1j)],
    *[("weak", value) for value in (0, -1.0, math.nan, math.inf, "1", None, True, 1j)],
    ("weak", 1.0000001),
    ("strong", 0.2999),
    ("strong", 10**400),
    *[("patches", value) for value in (0, 1, -2, 15, 16.5, math.nan, "16", None, True, 10.5)],
    *[("feature_patches", value) for value in (0, -1, 16, 17, 4.5, None)],
    *[("noise", value) for value in (-1e-300, math.nan, math.inf, "0", None)],
    *[("activation", value) for value in ("tanh", "", None, 3, ["relu"], "Relu")],
    *[("neurons", value) for value in (0, -1, 2.5, None)],
    *[("mask", value) for value in ("quarter", None, 0)],
    *[("strengths", value) for value in ((), (1.0, 2.0), (1.0, 0.0), (1.0, math.nan), 1.0, "11", [[1.0]])],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_each_wrong_setting_is_one_line_naming_it(name, value):
    with pytest.raises(SettingError) as error:
        Model(**{name: value})
    assert error.value.name == name or (name, error.value.name) == ("strong", "weak")
    assert "must be" in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def test_the_odd_patches_of_independent_masks_are_allowed():
    assert Model(patches=15, mask="independent").patches == 15


def test_a_setting_error_survives_pickle():
    error = pickle.loads(pickle.dumps(SettingError("weak", 2.0, "a finite number")))
    assert str(error) == "weak=2.0: must be a finite number"


@given(st.floats() | st.integers() | st.text() | st.none() | st.booleans())
def test_real_takes_exactly_the_numbers_in_its_bounds(value):
    try:
        number = checks.real("x", value, above=0.0, at_most=2.0)
    except SettingError:
        number = None
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 2
    assert number == (value if good else None)


@given(st.floats() | st.integers() | st.text() | st.none() | st.booleans())
def test_integer_takes_exactly_the_integers_in_its_bounds(value):
    try:
        number = checks.integer("x", value, at_least=-3, at_most=5)
    except SettingError:
        number = None
    whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    assert number == (value if whole and -3 <= value <= 5 else None)
    assert number is None or type(number) is int


def test_threads_are_the_cores_or_fewer(monkeypatch):
    most = checks.available_threads()
    assert checks.threads(None) == most
    assert checks.threads(1) == 1
    with pytest.raises(SettingError, match="threads"):
        checks.threads(most + 1)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert checks.available_threads() == 1


def test_checking_settings_loads_nothing_heavy():
    heavy = "('numpy', 'numba', 'pandas', 'matplotlib', 'scipy', 'tqdm')"
    code = f"import sys, dynlab.run; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "given, message",
    [
        ({"strong": 1e-160, "weak": 3e-161}, "strong=1e-160: must be from 1e-20 to 1e+20 in size"),
        ({"strong": 1e160}, "strong=1e+160: must be from 1e-20 to 1e+20 in size"),
        ({"noise": 1e21, "strong": 1e20}, "noise=1e+21: must be from 1e-20 to 1e+20 in size"),
        ({"strengths": (1.0, 1e-3, 1e-30)}, "weak=1e-30: must be from 1e-20 to 1e+20 in size"),
        ({"noise": 1e-11}, "strong=1.0: must be at most 1e+10 times the noise (1e-11), or the noise 0"),
        ({"weak": 1e-15}, "weak=1e-15: must be at least 1e-10 of the noise (0.5)"),
        ({"noise": 4e9}, "weak=0.3: must be at least 1e-10 of the noise (4e+09)"),
    ],
)
def test_sizes_that_cannot_be_computed_are_refused(given, message):
    """Twelfth powers leave the numbers there are, or what the smaller does beside the larger is lost in rounding."""
    with pytest.raises(SettingError) as caught:
        Model(**given)
    assert str(caught.value) == message


def test_sizes_at_the_ends_are_allowed():
    assert Model(strong=1e20, weak=1e20, noise=1e10).noise == 1e10
    assert Model(strong=1e-20, weak=1e-20, noise=0.0).weak == 1e-20
    assert Model(strong=1e8, activation="relu").strong == 1e8 and Model(noise=1e-6).noise == 1e-6

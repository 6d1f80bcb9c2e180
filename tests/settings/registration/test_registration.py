"""What can be registered, and that a claim that is wrong by 1e-6 is refused in one line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import mp, mpf

import dynlab
from dynlab.formulas import activations as formulas
from dynlab.settings import registration
from dynlab.settings.activation_records import ACTIVATIONS
from tests.settings.registration.examples import EXAMPLES, QUINTIC, RELU2

WRONG = 1 + 1e-6


def wrong(function):
    """The same, 1e-6 too large."""
    return lambda *at: function(*at) * WRONG


def refused(match: str, name: str = "candidate", **settings) -> None:
    with pytest.raises(dynlab.SettingError, match=match) as error:
        dynlab.register_activation(name, **settings)
    assert "\n" not in str(error.value)
    assert name not in dynlab.activations() or name in EXAMPLES


@pytest.mark.parametrize("right", [QUINTIC, RELU2], ids=EXAMPLES)
@pytest.mark.parametrize("claim", ["slope", "covariance", "cross"])
def test_a_closed_form_wrong_by_a_millionth_is_refused(right, claim):
    refused(f"^{claim}=.*must be .*at ", **right | {claim: wrong(right[claim])})


@pytest.mark.parametrize(("right", "mean"), [(QUINTIC, 1e-6), (RELU2, 0.5 * WRONG)], ids=EXAMPLES)
def test_a_mean_wrong_by_a_millionth_is_refused(right, mean):
    # That of the quintic is compared with its deviation, 31.
    refused("^mean=.*must be .*by quadrature", **right | {"mean": mean * (1e3 if right is QUINTIC else 1)})


@pytest.mark.parametrize("term", range(3))
def test_one_wrong_coefficient_is_refused(term):
    right = np.array([225.0, 600.0, 120.0])
    right[term] *= WRONG
    claimed = lambda c, s, eps: right @ [c, c**3, c**5]  # noqa: E731
    refused("^covariance=", **QUINTIC | {"covariance": claimed})


def test_a_second_moment_for_a_covariance_is_refused():
    claimed = lambda c, s, eps: RELU2["covariance"](c, s, eps) + 0.25  # noqa: E731
    refused("^covariance=1.5: must be 1.25", **RELU2 | {"covariance": claimed})


def test_degree_and_symmetry_must_be_those_of_the_function():
    refused("^degree=5.000001: must be an integer", **QUINTIC | {"degree": 5.000001})
    refused(r"^degree=3: must be 5, as function\(2\) = 32 says", **QUINTIC | {"degree": 3})
    refused("^degree=5: must be 5.000001", function=lambda z: math.copysign(abs(z) ** 5.000001, z), degree=5)
    refused("^odd=False: must be True", **QUINTIC | {"odd": False})


@pytest.mark.parametrize(
    ("function", "degree", "match"),
    [
        (lambda z: z, 1, "^degree=1: must be an integer >= 2"),
        (lambda z: z**11, 11, "^degree=11: must be .*<= 9"),
        (lambda z: 2 * z**3, 3, "^function=2.0: must be 1, at z=1"),
        (lambda z: z**3 if z > 0 else 0.1 * z**3, 3, r"^function=-0.1: must be -1 \(odd\) or 0 \(rectified\)"),
        (lambda z: z * z, 2, "^function=1.0: must be -1"),
        (lambda z: z**3 if abs(z) < 3 else 0.0, 3, "^function=0.0: must be 64, at z=4, if it is homogeneous"),
        (lambda z: z**3 if z > -3 else 0.0, 3, "^function=0.0: must be -64, at z=-4, if it is odd"),
        (lambda z: z.no_such_thing, 3, "must be a function that works at .*AttributeError"),
        (lambda z: [z], 3, "must be a function that works at .*TypeError"),
        (lambda z: math.nan, 3, "^function=nan: must be a finite number"),
        (3.0, 3, "^function=3.0: must be a function"),
    ],
)
def test_functions_outside_the_family_are_refused(function, degree, match):
    refused(match, function=function, degree=degree)


def test_names():
    for name in ("cubic", "linear"):
        with pytest.raises(dynlab.SettingError, match=f"^name='{name}': must be another"):
            dynlab.register_activation(name, **QUINTIC)
    refused("^name='two words': must be a word", name="two words", **QUINTIC)
    assert dynlab.activations()[:4] == ("relu", "cubic", "relu3", "linear")
    assert set(EXAMPLES) < set(dynlab.activations())
    with pytest.raises(dynlab.SettingError, match="^activation='septic': must be one of relu, .*quintic"):
        dynlab.Model(activation="septic")


def test_the_same_again_is_no_error_and_another_is():
    before = dynlab.activations()
    first = ACTIVATIONS["quintic"]
    assert dynlab.register_activation("quintic", lambda z: z * z**4, degree=5) is first
    assert dynlab.activations() == before
    refused(r"^name='quintic': must be another: it is registered as z\^5", name="quintic", **RELU2)
    assert dynlab.Model(activation="quintic") == dynlab.Model(activation="quintic")


def wedge(q, eps):
    """E z_1+^q z_2+^q at the angle pi - eps, with 60 digits."""
    shape = lambda t: (mp.sin(eps / 2 * (1 + t)) * mp.sin(eps / 2 * (1 - t)) / (eps / 2) ** 2) ** q  # noqa: E731
    factor = mpf(2) ** q * mp.factorial(q) / (2 * mp.pi) * (eps / 2) ** (2 * q + 1)
    return factor * mp.quad(shape, [-1, 0, 1]) if eps > 0 else mpf(0)


@pytest.mark.parametrize(("q", "odd"), [(2, False), (5, True), (9, False), (9, True), (2, True)])
def test_moments_keep_their_digits_at_both_ends(q, odd):
    """Covariance, cross and both gaps relative to themselves, from antiparallel to parallel parts."""
    name = f"{'odd' if odd else 'rectified'}_{q}"
    function = (lambda z: math.copysign(abs(z) ** q, z)) if odd else (lambda z: max(0.0, z) ** q)
    kind = dynlab.register_activation(name, function, degree=q).kind
    with mp.workdps(60):
        for eps in (1e-8, 1e-3, 1.5708, 2.0, math.pi - 1e-8):
            e = mpf(eps)
            theta = mp.pi - e
            moments = [wedge(q, x) - wedge(q, mp.pi - x) if odd else wedge(q, x) - wedge(q, mp.pi / 2) for x in (e, mp.pi)]
            own = wedge(q - 1, e) + wedge(q - 1, theta) if odd else wedge(q - 1, e)
            twice = 2 if odd else 1
            risen = moments[0] + moments[1] if odd else wedge(q, e)
            right = twice * moments[0], twice * q * q * own, 1 - moments[0] / moments[1], risen / moments[1]
            c, s = float(mp.cos(theta)), float(mp.sin(theta))
            found = (
                *formulas.pair_covariance(kind, 1.0, 1.0, c, s, eps),
                formulas.parallel_gap(kind, float(theta), c, s),
                formulas.antiparallel_gap(kind, eps, c, s),
            )
            for what, value, expected in zip(("C", "cross", "near", "far"), found, right, strict=True):
                assert abs(value / expected - 1) < 2e-12, (what, eps, value, float(expected))


@pytest.mark.parametrize("q", [2, 3, 5])
def test_numbers(q):
    mean, variance = registration.numbers_of(q, False)
    assert registration.numbers_of(q, True) == (0.0, pytest.approx(math.prod(range(1, 2 * q, 2))))
    assert mean == pytest.approx({2: 0.5, 3: 2 / math.sqrt(2 * math.pi), 5: 8 / math.sqrt(2 * math.pi)}[q], rel=1e-15)
    assert variance + mean**2 == pytest.approx(math.prod(range(1, 2 * q, 2)) / 2, rel=1e-15)

"""A start whose end came before any feature was learnt is "waiting", not "neither"; horizons follow the exact scalings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dynlab
from dynlab import Model, OrderParameters, SettingError
from dynlab.population.scaling import horizon, in_strength_units
from dynlab.population.starts import draw_start
from dynlab.settings.training import LATEST

FACTORS = st.floats(-12.0, 12.0).map(lambda power: 10.0**power)


def test_an_end_before_the_first_feature_is_waiting():
    frame = dynlab.ensemble(Model(), dim=1000, seeds=6, until=10.0).frame
    assert (frame["outcome"] == "waiting").all() and (frame["status"] == "until").all()
    summary = dynlab.ensemble(Model(), dim=1000, seeds=6, until=10.0).summary_row().iloc[0]
    assert summary["waiting"] == 1.0 and summary["waiting_low"] > 0.5 and summary["waiting_high"] == 1.0
    assert summary["neither"] == summary["failed"] == 0.0


def test_waiting_under_any_training():
    training = dynlab.Training(head="linear")
    model = Model(neurons=2, strengths=(1.0, 0.6))
    early = dynlab.ensemble(model, dim=1000, seeds=3, until=1e-3, training=training).frame
    assert (early["outcome"] == "waiting").all()


def test_a_single_feature_patch_teaches_nothing_and_is_not_waited_for():
    """One feature patch is in one view only: cubic outputs have no common part, the gradient is zero and stays so."""
    model = Model(patches=4, feature_patches=1, activation="cubic")
    frame = dynlab.ensemble(model, dim=100, seeds=3).frame
    assert (frame["outcome"] == "neither").all() and (frame["status"] == "until").all()
    assert np.isfinite(frame["loss_end"]).all()


@pytest.mark.parametrize(("noise", "strong", "weak"), [(5.0, 1.0, 0.3), (20.0, 1.0, 0.3), (0.5, 0.01, 0.003)])
def test_much_noise_learns_later_not_less_often(noise, strong, weak):
    """T_1 ~ (noise/strong)^6 d^2: the default run's share, about .98, whatever the noise."""
    frame = dynlab.ensemble(Model(noise=noise, strong=strong, weak=weak), dim=1000, seeds=50).frame
    assert (frame["outcome"] == "both").mean() > 0.9
    assert not frame["outcome"].isin(("neither", "waiting", "failed")).any()


@given(FACTORS, FACTORS, st.sampled_from(["cubic", "relu", "relu3", "linear"]), st.floats(-3, 1), st.integers(2, 15))
@settings(max_examples=100, deadline=None)
def test_the_horizon_follows_the_exact_scalings(factor, size, activation, noise, carriers):
    """Not changed by strengths and noise together; by the square of the size of the weights; the default's is 1e6 d^2."""
    model = Model(activation=activation, noise=10.0**noise, feature_patches=carriers)
    scaled = Model(
        activation=activation, noise=factor * 10.0**noise, feature_patches=carriers, strong=factor, weak=0.3 * factor
    )
    assert horizon(scaled, 1e5) == pytest.approx(horizon(model, 1e5), rel=1e-9)
    assert horizon(model, 1e5, size) == pytest.approx(size**2 * horizon(model, 1e5), rel=1e-9)
    assert horizon(Model(), 1000) == 1e12


def test_a_default_end_is_one_that_may_be_asked_for():
    """1e-10 for .3, cubic: 1e6 d^2 3e9^6 = 7.29e86 at d = 1e12; from weights 1e20 times as large it is past the last end."""
    model = Model(strong=1e-10, weak=1e-10)
    assert horizon(model, 1e12) == pytest.approx(7.29e86, rel=1e-9)
    assert horizon(model, 1e12, 1e20) == LATEST == 1e100


def small_weights_scaled(start, size):
    return OrderParameters(size * start.signal, size**2 * start.noise_gram)


@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from(["off-diagonal", "none"]), st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_outcomes_are_the_same_and_times_follow(power, size, head, number):
    """(alpha, sigma) -> c (alpha, sigma) changes nothing; w -> s w with r -> r/s^2 multiplies every time by s^2."""
    model = Model()
    c, s = 10.0 ** (power / 3), 10.0 ** (size / 6)
    other = dataclasses.replace(model, strong=c, weak=0.3 * c, strengths=None, noise=0.5 * c)
    start = draw_start(model, 100, 5, number)
    plain = dynlab.simulate(model, start, head=head, eta_head=0.04)
    scaled = dynlab.simulate(other, small_weights_scaled(start, s), head=head, eta_head=0.04 / s**2)
    assert plain.status == scaled.status
    for name in ("first", "second"):
        a, b = plain.events[name], scaled.events[name] / s**2
        assert (np.isnan(a) and np.isnan(b)) or a == pytest.approx(b, rel=1e-4), name
    np.testing.assert_allclose(scaled.cosines[-1], plain.cosines[-1], atol=1e-4)
    np.testing.assert_allclose(scaled.head[-1], plain.head[-1], atol=1e-4)
    assert scaled.settings["until"] == pytest.approx(plain.settings["until"] * s**2, rel=1e-9)


def test_units_of_strength_are_powers_of_two():
    model = Model(strong=3e8, weak=1e7, noise=0.1)
    small = in_strength_units(model)
    unit = model.strong / small.strong
    assert np.log2(unit) == round(np.log2(unit)) and small.weak * unit == model.weak and small.noise * unit == model.noise
    assert 0.5 <= small.strong <= 2.0 and in_strength_units(Model()) is not None and in_strength_units(Model()) == Model()


@pytest.mark.parametrize(
    ("signal", "gram", "words"),
    [
        (np.full((2, 2), 1e80), np.eye(2), "weights of length"),
        (np.full((2, 2), 1e-30), 1e-60 * np.eye(2), "weights of length"),
        (np.full((2, 2), 1e-160), np.eye(2), "a signal of 1e-160"),
    ],
)
def test_starts_beyond_the_range_of_numbers_are_refused(signal, gram, words):
    with pytest.raises(SettingError, match=words) as error:
        dynlab.simulate(Model(), OrderParameters(signal, gram))
    assert "\n" not in str(error.value)

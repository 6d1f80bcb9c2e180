"""Where a trained state rests: what is left of the gradient is not rounding, and the flow says so in few steps."""

import numpy as np
import pytest

from dynlab import Model, Training, ensemble
from dynlab.population.any_training import gradient

MODEL = Model(weak=0.3, activation="cubic")
BARLOW = Training(head="none", stop_gradient="none", objective="barlow-twins")


def test_the_gradient_of_barlow_twins_does_not_cancel_where_both_features_are_learnt():
    """In float64 as with twice the digits: the two parts of the gradient are of order one, their sum 1e-12 or less."""
    signal = np.array([[0.0027575514, -0.9399382], [-0.9989986, -0.0325637]])
    for noise in (1e-2, 1e-3):
        norm = np.array([noise, 3.0 * noise])
        dot = np.diag(norm**2)
        wedge = np.outer(norm, norm) - dot
        state = (MODEL, BARLOW, signal, norm, dot, wedge, signal, norm, np.eye(2))
        rough = gradient.evaluate_float(*state)
        exact = gradient._evaluate_extended(*state)
        assert np.abs(exact[1]).max() < 1e-3
        for found, right in zip(rough[1:3], exact[1:3], strict=True):
            seen = np.abs(right) > 1e-40
            assert (np.abs(found / np.where(seen, right, 1.0) - 1.0)[seen] < 1e-9).all()


def test_barlow_twins_comes_to_rest_in_the_steps_that_its_orbit_takes():
    """Far beyond the second feature's time: every start learns both, none gives up, and none wanders on by rounding."""
    frame = ensemble(MODEL, 1000, seeds=4, training=BARLOW, until=1e16).frame
    assert (frame["status"] == "until").all()
    assert (frame["outcome"] == "both").all()
    assert (frame["steps"] + frame["rejected"] < 1000).all()


@pytest.mark.parametrize("switched", [{"stop_gradient": "online"}, {"eta_head": 0.0, "normalisation": "scale"}])
def test_a_head_that_does_not_move_leaves_what_is_learnt_without_one(switched):
    """The views are exchangeable, and E = I: start by start the same as without head, to rest."""
    fixed = ensemble(MODEL, 1000, seeds=24, training=Training(**switched), until=1e16)
    bare = ensemble(MODEL, 1000, seeds=24, training=Training(head="none"), until=1e16)
    assert list(fixed.frame["outcome"]) == list(bare.frame["outcome"])
    assert (fixed.ends[2] == np.eye(2)).all()


def test_three_neurons_come_to_rest():
    """128 starts: every one learns both features, two neurons sharing one (L = 6 - 6 rho, rho = 2/3)."""
    frame = ensemble(Model(activation="cubic", weak=0.3, neurons=3), 1000, seeds=128, until=1e16).frame
    assert (frame["status"] == "until").all()
    assert (frame["outcome"] == "both").all()
    assert np.abs(frame["loss_end"] - 2.0).max() < 1e-6

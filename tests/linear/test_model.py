"""Settings of the linear model and starts: what is refused, in one line; equality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab.linear.model import LinearModel, check_state
from dynlab.linear.modes import basin_boundary, collapse_threshold, commuting_start, joint_spectrum, mode_rates
from dynlab.linear.search import find_basin_boundary, find_collapse_threshold
from dynlab.tools.checks import SettingError

EYE = np.eye(2)
TURNED = np.array([[2.0, 1.0], [1.0, 2.0]])

BAD = [
    ({"X": 0}, "X=0: must be an integer >= 1"),
    ({"X": True}, "X=True: must be an integer"),
    ({"X": 2.0}, "X="),
    ({"X": np.ones((2, 3))}, "X='array of shape (2, 3)': must be a square matrix"),
    ({"X": [[1.0], [1.0, 2.0]]}, "X="),
    ({"X": np.zeros((2, 2))}, "X='zero': must be a covariance that is not 0"),
    ({"X": [[1.0, 0.5], [0.0, 1.0]]}, "X='array of shape (2, 2)': must be a square matrix, symmetric"),
    ({"X": [[1.0, 2.0], [2.0, 1.0]]}, "it has the eigenvalue -1"),
    ({"X": EYE * np.nan}, "all finite"),
    ({"X_prime": np.eye(3)}, "X_prime='array of shape (3, 3)': must be a 2 x 2 covariance"),
    ({"X_prime": EYE, "sigma": 0.5}, "sigma=0.5: must be as in X_prime"),
    ({"sigma": -1.0}, "sigma=-1.0: must be a finite number >= 0"),
    ({"alpha_p": 0.0}, "alpha_p=0.0: must be a finite number > 0"),
    ({"eta": -0.1}, "eta=-0.1: must be a finite number >= 0"),
    ({"eta": np.inf}, "eta=inf: must be a finite number"),
    ({"beta": 0.0}, "beta=0.0: must be a finite number > 0"),
    ({"stop_gradient": "online"}, "stop_gradient='online': must be one of target, none"),
    ({"stop_gradient": "none", "beta": 1.0}, "beta=1.0: must be None"),
    ({"predictor": 1}, "predictor=1: must be True or False"),
    ({"symmetric_predictor": "yes"}, "symmetric_predictor='yes': must be True or False"),
]


def one_line(error, text):
    assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("settings", "text"), BAD, ids=[next(iter(b)) + str(i) for i, (b, _) in enumerate(BAD)])
def test_settings_are_refused_in_one_line(settings, text):
    with pytest.raises(SettingError) as error:
        LinearModel(**settings)
    one_line(error, text)


def test_starts_are_refused_in_one_line():
    plain, frozen, average = LinearModel(), LinearModel(predictor=False), LinearModel(beta=1.0)
    symmetric = LinearModel(symmetric_predictor=True)
    for model, start, text in [
        (plain, (np.ones((2, 3)), EYE), "W='array of shape (2, 3)': must be a matrix of 2 columns"),
        (plain, (EYE + 0j, EYE), "W="),
        (plain, (EYE, None), "W_p=None: must be given"),
        (plain, (EYE, np.ones((3, 3))), "W_p='array of shape (3, 3)': must be a 2 x 2 matrix"),
        (plain, (EYE, np.full((2, 2), np.inf)), "all finite"),
        (plain, (EYE, EYE, 2 * EYE), "W_a='array of shape (2, 2)': must be W itself"),
        (average, (EYE, EYE, np.ones((1, 2))), "W_a='array of shape (1, 2)': must be a 2 x 2 matrix"),
        (frozen, (EYE, 2 * EYE), "W_p='array of shape (2, 2)': must be the identity"),
        (symmetric, (EYE, [[0.0, 1.0], [0.0, 0.0]]), "symmetric for symmetric_predictor"),
    ]:
        with pytest.raises(SettingError) as error:
            check_state(model, *start)
        one_line(error, text)
    W, W_p, W_a = check_state(frozen, [[1, 2], [3, 4]])
    assert np.array_equal(W_p, EYE) and np.array_equal(W_a, W) and W.dtype == float


def test_calls_are_refused_in_one_line():
    plain = LinearModel()
    mixed = LinearModel(X=np.diag([1.0, 2.0]), X_prime=TURNED)
    for call, text in [
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, until=0.0), "until=0.0: must be a finite number > 0"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, until=1.0, times=[0.5, 2.0]), "within [0, until = 1]"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, until=9.0, times=[1.0, 1.0]), "increasing"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, until=9.0, times=np.arange(99)), "times='99 numbers'"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, until=9.0, times=[]), "times=[]"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, rtol=1e-14), "rtol=1e-14"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, atol=0.0), "atol=0.0"),
        (lambda: dynlab.simulate_linear(plain, EYE, EYE, method="euler"), "method='euler'"),
        (lambda: joint_spectrum(mixed), "X_prime='array of shape (2, 2)': must be commuting with X"),
        (lambda: mode_rates(plain, [1.0], [1.0], [0.5]), "tau='other than 1'"),
        (lambda: commuting_start(plain, [1.0, 1.0, 1.0]), "modes=3: must be an integer >= 1 and <= 2 (the inputs)"),
        (lambda: commuting_start(plain, [1.0, 1.0], outputs=1), "outputs=1"),
        (lambda: commuting_start(plain, [1.0], [-1.0]), "s=[-1.0]: must be not negative"),
        (lambda: collapse_threshold(LinearModel(predictor=False)), "predictor=False: must be True"),
        (lambda: basin_boundary(LinearModel(stop_gradient="none")), "stop_gradient='none': must be target"),
        (lambda: basin_boundary(plain, mode=2), "mode=2: must be an integer >= 0 and <= 1 (inputs - 1)"),
        (lambda: find_collapse_threshold(plain, 0 * EYE, EYE), "W='zero': must be not 0"),
        (lambda: find_collapse_threshold(plain, EYE, EYE, tol=0.0), "tol=0.0"),
        (lambda: find_collapse_threshold(plain, EYE, EYE, patience=1.0), "patience=1.0"),
        (lambda: find_basin_boundary(LinearModel(eta=0.0)), "eta=0.0: must be a finite number > 0"),
    ]:
        with pytest.raises(SettingError) as error:
            call()
        one_line(error, text)


def test_models_are_values():
    model = dynlab.LinearModel(X=[[2.0, 1.0], [1.0, 2.0]], sigma=0.5, eta=0.1)
    same = LinearModel(X=TURNED, X_prime=0.25 * EYE, eta=0.1)
    assert model == same and hash(model) == hash(same) and model != replace(model, eta=0.2)
    assert replace(model, eta=0.2) == LinearModel(X=TURNED, sigma=0.5, eta=0.2)
    with pytest.raises(SettingError, match="sigma=1.0: must be as in X_prime"):
        replace(model, sigma=1.0)
    assert replace(model, sigma=1.0, X_prime=None).X_prime[0, 0] == 1.0
    assert np.array_equal(model.A, TURNED + 0.25 * EYE) and LinearModel(3).inputs == 3
    with pytest.raises(ValueError, match="read-only"):
        model.X[0, 0] = 5.0
    assert repr(LinearModel(3, eta=0.5)) == "LinearModel(X=3, sigma=1.0, eta=0.5)"  # what is not the default, and the data

"""Flows whose online output loses all its variance in finite time: where and when, against the reduced system.

With every signal on the upper side of its kink and parallel noise parts, two relu neurons with K = 2 are linear in three
functions: h_1, h_2 (the number of visible patches with a feature) and h_3 (the sum of relu over visible noise patches). So
f_j = <w_j, h>, F_j = <w_j + E_jr w_r, h>, and the loss needs only the covariances of h in one view and across views, which
are counted here over all masks.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dynlab
from dynlab import Model, OrderParameters

MODEL = Model(strong=1.0, weak=0.3, noise=0.5, patches=2, feature_patches=1, mask="independent", activation="relu")
RATE = 0.01
SIGNAL = np.array([[0.147, 0.0024], [1.135, 0.0652]])
NORM = np.array([0.1012, 0.7824])
HEAD = np.array([[1.0, -0.1311], [-0.0885, 1.0]])


def covariances():
    """(C, R) (3, 3): covariances of h in one view and across the two views, by enumeration."""
    mean, square = 1.0 / np.sqrt(2.0 * np.pi), 0.5  # of relu of a standard Gaussian
    total, first, same, across = 0, np.zeros(3), np.zeros((3, 3)), np.zeros((3, 3))
    for feature, sign, place, *kept in itertools.product((0, 1), (1, -1), (0, 1), (0, 1), (0, 1)):
        counts = []
        for mask in (kept, [1 - k for k in kept]):
            h = np.zeros(3)
            h[feature] = (sign > 0) * mask[place]
            h[2] = mean * mask[1 - place]
            counts.append(h)
        spread = np.zeros((3, 3))
        spread[2, 2] = (square - mean**2) * kept[1 - place]  # noise is independent across views
        total += 1
        first += counts[0]
        same += np.outer(counts[0], counts[0]) + spread
        across += np.outer(counts[0], counts[1])
    first, same, across = first / total, same / total, across / total
    return same - np.outer(first, first), across - np.outer(first, first)


C, R = covariances()
SCALE = np.array([MODEL.strong, MODEL.weak, MODEL.noise])


def slopes(y):
    """d(w, E)/dt and the smallest sd(F_j)/sd(f_j) of y = (w_1, w_2, E_12, E_21), w in units of the weights."""
    w, e = y[:6].reshape(2, 3), y[6:]
    d_w, d_e, smallest = np.zeros((2, 3)), np.zeros(2), np.inf
    for j in range(2):
        own, other = SCALE * w[j], SCALE * w[1 - j]
        online = own + e[j] * other
        v, u, b = online @ C @ online, own @ C @ own, online @ R @ own
        force = -2.0 * (R @ own - b / v * (C @ online)) / np.sqrt(v * u)
        d_w[j] -= SCALE * force
        d_w[1 - j] -= e[j] * SCALE * force
        d_e[j] = -RATE * (force @ other)
        smallest = min(smallest, np.sqrt(v / u))
    return np.concatenate([d_w.ravel(), d_e]), smallest


def reduced_end(rtol):
    """The time at which an output vanishes and the state there: by SciPy, until its share is 1e-6."""

    def gone(_, y):
        return slopes(y)[1] - 1e-6

    gone.terminal = True
    y = np.concatenate([np.column_stack([SIGNAL, NORM]).ravel(), HEAD[[0, 1], [1, 0]]])
    solution = solve_ivp(
        lambda _, y: slopes(y)[0], (0.0, 10.0), y, method="Radau", rtol=rtol, atol=1e-3 * rtol, events=[gone]
    )
    assert solution.status == 1, solution.message
    return solution.t[-1], solution.y[:, -1]


def start():
    return OrderParameters(SIGNAL, np.outer(NORM, NORM), HEAD)


@pytest.fixture(scope="module")
def run():
    return dynlab.simulate(MODEL, start(), eta_head=RATE, until=1e3)


def test_the_output_vanishes_when_the_reduced_system_says(run):
    time, state = reduced_end(1e-9)
    other, _ = reduced_end(1e-7)
    assert abs(time - other) < 1e-5 * time, "the reduced system is not resolved"
    assert run.status == "singular" and run.success
    assert run.time[-1] == pytest.approx(time, rel=3e-3)  # it ends where the end is sure
    np.testing.assert_allclose(run.signal[-1], state[:6].reshape(2, 3)[:, :2], rtol=2e-3)
    np.testing.assert_allclose(run.head[-1][[0, 1], [1, 0]], state[6:], rtol=2e-3)
    output = run.signal[-1] + (run.head[-1] - np.eye(2)) @ run.signal[-1]
    assert np.abs(output[0] / run.signal[-1][0]).max() < 3e-3


@pytest.mark.parametrize("eta", [1e-4, 1e-5])
def test_descent_stays_where_the_output_has_vanished(run, eta):
    """Behind that time descent rattles: a step of eta/sd(F) is as large as sd(F) where that is sqrt(eta)."""
    after = dynlab.simulate(MODEL, start(), eta_head=RATE, method="descent", eta=eta, until=1.05 * run.time[-1])
    noise = np.sqrt(np.diagonal(after.noise_gram[-1]))
    output = np.append(after.signal[-1][0], noise[0]) + after.head[-1][0, 1] * np.append(after.signal[-1][1], noise[1])
    assert np.abs(output).max() < 3.0 * np.sqrt(eta) < 0.5 * noise[0]


def test_times_behind_the_end_have_no_state(run):
    cut = dynlab.simulate(MODEL, start(), eta_head=RATE, times=[0.5 * run.time[-1], 2.0 * run.time[-1]])
    assert cut.status == "singular" and len(cut.time) == 1

"""Outputs whose units cancel, where the flow ends: against SciPy's integrator on dense weights."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

import dynlab
from dynlab.population.hidden.flow import run_hidden
from dynlab.population.status import SINGULAR, STATUS_NAMES

MODEL = dynlab.Model(activation="relu", weak=0.6, hidden=2)
RATE = 0.1
# Start 334 of stream 0 at dim 1000, shortly before its end: the units of the first output are nearly parallel. Signals of
# the other's to the weak feature are held at their kinks.
WEIGHTS = np.array(
    [
        [-0.4988, -0.7301, -0.0140, -0.8324],
        [-0.2829, -0.4541, -0.0083, -0.4935],
        [-0.9331, 0.0, -0.4026, 0.0335],
        [-0.8421, 0.0, 0.4468, -0.0051],
    ]
)
READOUT = np.array([[0.8450, -1.4254, 0.0, 0.0], [0.0, 0.0, -0.8463, -0.7650]])
HEAD = np.array([[1.0, 0.0], [0.06598, 1.0]])
USED, HELD = READOUT != 0.0, WEIGHTS == 0.0


def unpacked(y):
    """Weights, readout, head of a vector of what moves."""
    readout = np.zeros_like(READOUT)
    readout[USED] = y[16:20]
    return y[:16].reshape(4, 4), readout, np.array([[1.0, y[20]], [y[21], 1.0]])


def velocity(_, y):
    """dy/dt; signals that are held do not move."""
    weights, readout, head = unpacked(y)
    found = dynlab.population_gradient(MODEL, weights, head, readout=readout)
    by_weights, by_head = np.where(HELD, 0.0, found.d_weights), found.d_head[[0, 1], [1, 0]]
    return -np.concatenate([by_weights.ravel(), found.d_readout[USED], RATE * by_head])


def left_of(weights, readout):
    """sd(f_1)/sqrt(sum_h a_h^2 Var_h), from moments written out: relu's of features and of Gaussian noise."""
    signal, noise = np.array([1.0, 0.6]) * weights[:2, :2], weights[:2, 2:]
    sides = np.hstack([np.maximum(signal, 0.0), np.maximum(-signal, 0.0)])  # (2 units, 4 feature states)
    length = np.linalg.norm(noise, axis=1)
    angle = np.arccos(np.clip(noise @ noise.T / np.outer(length, length), -1.0, 1.0))
    mean = 0.5 * length / np.sqrt(2.0 * np.pi)
    pairs = 0.25 * np.outer(length, length) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2.0 * np.pi)
    # Four of sixteen patches show the feature, eight are seen: N1 is hypergeometric, and N1 + n1 = 8.
    n1, n1_square = 2.0, 4.0 + 8.0 * (1 / 4) * (3 / 4) * (8 / 15)
    other, other_square, both = 6.0, 36.0 + n1_square - 4.0, 8.0 * n1 - n1_square
    t = sides.mean(1)
    moment = n1_square * sides @ sides.T / 4.0 + both * (np.outer(t, mean) + np.outer(mean, t))
    moment += other_square * np.outer(mean, mean) + other * (pairs - np.outer(mean, mean))
    average = n1 * t + other * mean
    variance = moment - np.outer(average, average)
    a = readout[0, :2]
    return float(np.sqrt(a @ variance @ a / (a**2 @ np.diag(variance))))


def test_units_that_cancel_end_the_flow_when_scipy_sees_them_cancel():
    start = dynlab.OrderParameters(WEIGHTS[:, :2], WEIGHTS[:, 2:] @ WEIGHTS[:, 2:].T, HEAD, READOUT)
    found = run_hidden(MODEL, [start], head_rate=RATE, readout_rate=1.0, until=100.0, rtol=1e-8, settle=True)
    assert found.status[0] == SINGULAR
    assert found.drift[0] < 1e-7

    def crossing(size):
        def left(_, y):
            return np.log(left_of(*unpacked(y)[:2]) / size)

        return left

    ends = [crossing(1e-3), crossing(2e-4)]
    ends[1].terminal = True
    begin = np.concatenate([WEIGHTS.ravel(), READOUT[USED], HEAD[[0, 1], [1, 0]]])
    known = solve_ivp(velocity, (0.0, 100.0), begin, method="LSODA", rtol=1e-8, atol=1e-12, events=ends)
    first, second = (float(times[0]) for times in known.t_events)
    # The run ends behind the first step that is below a thousandth.
    assert first < found.time[0] < first + 2e-3
    # From there on the output falls as steadily as before, to nothing: 0.8 of a thousandth takes 0.1.
    assert 0.05 < second - first < 0.2
    weights, readout, head = unpacked(known.y_events[0][0])
    np.testing.assert_allclose(found.ends[0][0], weights[:, :2], atol=2e-5)
    np.testing.assert_allclose(found.ends[1][0], weights[:, 2:] @ weights[:, 2:].T, atol=2e-5)
    np.testing.assert_allclose(found.ends[2][0], readout, atol=2e-5)
    np.testing.assert_allclose(found.ends[3][0], head, atol=2e-5)
    assert np.abs(readout).max(1).min() > 0.5 and np.linalg.norm(weights, axis=1).min() > 0.5  # nothing else has vanished


def test_starts_that_used_up_their_steps_end_as_singular():
    numbers = [334, 317]
    found = dynlab.ensemble(MODEL, dim=1000, seeds=numbers, eta_head=RATE, threads=1).frame
    assert list(found["status"]) == [STATUS_NAMES[SINGULAR]] * 2
    assert (found["outcome"] != "failed").all()
    assert (found["steps"] < 10_000).all()
    assert found["drift"].max() < 1e-3

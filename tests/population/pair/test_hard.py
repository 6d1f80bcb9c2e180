"""Trajectories that once never ended, or ended too soon: noise parts that reach 0, rest, outputs that vanish.

What is right is taken from the exact map of descent, from the gradient itself, or by hand.
"""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters
from dynlab.formulas.flow_rates import GENERAL, PAIR, state_size
from dynlab.population import gradient
from dynlab.population.pair import at_rest, flow, solver
from dynlab.population.starts import draw_start
from dynlab.population.status import SUCCESS
from tests.population.pair.checkers import charges

# Settings on which trajectories took more steps than they are given; the last number bounds the drift of what is conserved.
# The head of the last one grows to 1e4, and what is conserved is a difference of its squares.
HARD = {
    "much noise": (Model(noise=30.0, activation="relu"), 1000, 0.01, 1e-4),
    "hardly any patches": (Model(patches=2, feature_patches=1, mask="independent", activation="relu"), 1000, 0.01, 1e-4),
    "no noise to speak of": (Model(strong=1e8, activation="relu"), 1000, 0.01, 1e-4),
    "large": (Model(activation="relu3"), 10**6, 0.01, 1e-4),
    "weak, rectified": (
        Model(
            strengths=(1.21583535582938, 0.127680568082295), activation="relu3", patches=16, feature_patches=2,
            noise=1.94797290635129, mask="independent",
        ), 192, 0.6763, 5e-3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_trajectories_end(name):
    model, dim, rate, drift = HARD[name]
    frame = dynlab.ensemble(model, dim=dim, seeds=6, eta_head=rate).frame
    assert frame["status"].isin(SUCCESS).all(), frame["status"].tolist()
    assert (frame["steps"] < 50_000).all(), frame["steps"].tolist()  # a quarter of what they are given
    assert (frame["drift"] < drift).all(), frame["drift"].tolist()
    assert np.isfinite(frame["loss_end"]).all() and (frame["loss_end"] > -1e-9).all()


THREE = Model(
    strengths=(0.4477175864469426, 0.352725045341676, 0.1597517112305759), patches=8, feature_patches=2,
    noise=2.1646601096877767, activation="relu3", mask="independent",
)  # fmt: skip


def test_no_rest_while_the_head_moves():
    """At this start signals grow by 5e-16 in a unit of time, and the head's entries are off by their own rates."""
    start, rate, time = draw_start(THREE, 7744, 0, 0), 0.5713, 1e-3
    weights = at_start(start)
    slope = dynlab.population_gradient(THREE, weights, np.eye(2))[2]
    assert np.abs(slope[~np.eye(2, dtype=bool)]).min() > 0.01
    run = dynlab.simulate(THREE, start, eta_head=rate, times=[time])
    np.testing.assert_allclose(run.head[-1] - np.eye(2), -rate * time * slope, rtol=1e-3, atol=1e-12)
    late = dynlab.simulate(THREE, start, eta_head=rate, times=[1e3])
    assert np.abs(late.head[-1] - np.eye(2)).max() > 0.01


def at_start(start):
    """Dense weights (m, K + m) of a start."""
    values, vectors = np.linalg.eigh(start.noise_gram)
    return np.hstack([start.signal, vectors * np.sqrt(np.maximum(values, 0.0))])


def test_a_noise_part_that_reaches_zero():
    """relu with one feature: |w~_2| falls at a constant speed to 0 at t = 5114, and stays; descent says the same."""
    model = Model(strengths=(1.0,), activation="relu")
    run = dynlab.simulate(model, draw_start(model, 1000, 0, 0), times=[5100.0, 5110.0, 5120.0, 6000.0])
    assert run.status == "until"
    norms = np.sqrt(np.diagonal(run.noise_gram, axis1=1, axis2=2))
    assert norms[1].min() > 1e-3 and norms[2].min() < 1e-12 and norms[3].min() < 1e-12
    before = OrderParameters(run.signal[0], run.noise_gram[0], run.head[0])
    down = dynlab.simulate(model, before, method="descent", eta=1e-3, times=[10.0, 20.0])
    np.testing.assert_allclose(down.signal[-2:], run.signal[1:3], rtol=2e-3)
    np.testing.assert_allclose(down.head[-2:], run.head[1:3], rtol=2e-3)
    assert np.sqrt(np.diagonal(down.noise_gram[-1])).min() < 1e-2


def encoded(model, signal, norm, cosine, head):
    gram = np.outer(norm, norm) * np.array([[1.0, cosine], [cosine, 1.0]])
    z, side = flow.encode(model, OrderParameters(np.array(signal), gram, np.array(head)))
    return (flow.ACTIVATIONS[model.activation].kind, 2, 2, gradient.parameter_vector(model)), z, side


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_the_smallest_output_by_hand(activation):
    """w_2 = 2 w_1: with E_21 = -2^q the second output is 0; with half of that its share is 1/3 of its parts."""
    model = Model(activation=activation, strong=1.0, weak=0.5, noise=0.7)
    factor = 2.0 ** (1 if activation == "relu" else 3)
    for share, expected in ((1.0, 0.0), (0.5, 1.0 / 9.0), (0.0, 1.0)):
        head = [[1.0, 0.0], [-share * factor, 1.0]]
        case = encoded(model, [[0.3, -0.2], [0.6, -0.4]], np.array([0.5, 1.0]), 1.0, head)
        assert at_rest.smallest_output(*case) == pytest.approx(expected, abs=1e-12)
    # another direction of the noise, or another side of a kink, and nothing cancels exactly
    head = [[1.0, 0.0], [-factor, 1.0]]
    for signal, cosine in (([[0.3, -0.2], [0.6, 0.4]], 1.0), ([[0.3, -0.2], [0.6, -0.4]], 0.9)):
        assert at_rest.smallest_output(*encoded(model, signal, np.array([0.5, 1.0]), cosine, head)) > 1e-6


@pytest.mark.parametrize(
    ("jac", "rate", "expected"),
    [
        (np.diag([-1.0, 2.0]), 1.0, True),
        (np.diag([-1.0, 2.0]), 3.0, False),
        (np.diag([-1.0, -2.0, 1e-9]), 1e-8, False),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5, True),  # eigenvalues 1 and -1, rows exchanged
        (np.array([[0.0, 1.0], [1.0, 0.0]]), 2.0, False),
        (np.array([[-1.0, 5.0, 0.0], [0.0, -1.0, 5.0], [0.1, 0.0, -1.0]]), 1e-3, True),  # 2.5^(1/3) - 1 > 0
    ],
)
def test_growth_by_the_sign_of_a_determinant(jac, rate, expected):
    n = len(jac)
    assert at_rest.grows(n, jac, rate, np.zeros((n, n)), np.zeros(n, np.int64)) == expected


def test_what_is_held_does_not_move_and_comes_back():
    assert solver.held(10.0, -1.0, 40.0, -3.0, 1.0) == -3.0
    assert abs(solver.held(60.0, -1.0, 40.0, -3.0, 1.0)) < 1e-30
    assert solver.held(276.0, 1.0, 40.0, 3.0, 1.0) == 0.0
    assert solver.held(60.0, -1.0, 40.0, 3.0, 0.0) == 3.0, "nothing else moves, and the way back is not free"
    for distance in (10.0, 30.0, 50.0, 200.0):
        rate = 0.1 * np.exp(distance)
        assert solver.held(distance, -1.0, 40.0, rate, 1.0) == pytest.approx(rate, rel=3e-4), "the way back is not free"


@pytest.mark.parametrize("speed", [1.0, 1e-15])
@pytest.mark.parametrize(("outward", "distance"), [(-1.0, 50.0), (1.0, 50.0), (1.0, 45.0)])
def test_what_is_held_sets_off_without_a_jump(outward, distance, speed):
    """The rate against the force g, from where it is held to where it is free: it grows with g, and near 0 like g^5."""
    forces = np.geomspace(1e-9, 1.0, 200)
    rates = [solver.held(distance, outward, 40.0, -outward * speed * g * np.exp(distance), speed**2) for g in forces]
    back = -outward * np.array(rates) / speed
    assert (np.diff(back) > 0.0).all() and solver.held(distance, outward, 40.0, 0.0, speed**2) == 0.0
    slopes = np.diff(np.log(back)) / np.diff(np.log(forces))
    np.testing.assert_allclose(slopes[forces[1:] < 1e-5], 5.0, atol=0.01)
    np.testing.assert_allclose(slopes[forces[:-1] > 0.03], 1.0, atol=0.01)
    assert back[np.searchsorted(forces, 2e-6)] > 1.0, "late by more than the tolerance of a step"


# Where a noise part held at 0 is let go: models drawn at random, and starts of theirs that never came past that place.
LET_GO = {
    "one feature": (
        Model(strengths=(2.487817903750961,), activation="relu", patches=32, feature_patches=19, noise=0.9230171108008475),
        64501, 2.56637570407672, (12, 15, 16),
    ),
    "two features": (
        Model(
            strengths=(0.5483551876610545, 0.26484578750464366), activation="relu", patches=32, feature_patches=7,
            noise=3.6650277555368884,
        ), 628718923, 0.3164020944275491, (7,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LET_GO)
def test_a_noise_part_that_is_let_go(name):
    model, dim, rate, seeds = LET_GO[name]
    for seed in seeds:
        start = draw_start(model, dim, 0, seed)
        runs = [dynlab.simulate(model, start, eta_head=rate, rtol=rtol) for rtol in (1e-6, 1e-9)]
        for run, limit in zip(runs, (1e-4, 1e-7), strict=True):
            assert run.success and run.steps + run.rejected < 20_000, (run.status, run.steps)
            kept = charges("relu", run.signal, run.noise_gram, run.head, rate)
            assert np.abs(kept / kept[0] - 1.0).max() < limit
        close, exact = ((run.signal[-1], run.head[-1]) for run in runs)
        for mine, expected in zip(close, exact, strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-4 * np.abs(expected).max())


def test_layouts_of_the_helpers():
    """Entries of the head and angles where the layouts hold them."""
    assert state_size(PAIR, 2, 2) == 9 and state_size(GENERAL, 3, 1) == 3 + 3 + 9 + 6
    z = np.arange(9.0)
    assert at_rest.entry(2, z, 0, 1) == 7.0 and at_rest.entry(2, z, 1, 0) == 8.0 and at_rest.entry(2, z, 1, 1) == 1.0
    z[6] = 0.5 * np.log(3.0)  # tanh = 1/2
    assert at_rest.apart(2, 2, z, 1, 0) == pytest.approx(0.5, abs=1e-15)

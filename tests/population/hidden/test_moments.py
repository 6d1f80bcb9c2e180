"""What outputs of hidden units carry, by hand and by samples."""

from __future__ import annotations

import numpy as np

import dynlab
from dynlab.population.hidden import moments
from tests import naive

MODEL = dynlab.Model(activation="relu", strong=1.0, weak=0.5, hidden=2, noise=0.0)


def state(signal, readout, model=MODEL):
    """Signal, Gram matrix without noise and readout."""
    return np.array(signal, dtype=float), np.zeros((len(signal), len(signal))), np.array(readout, dtype=float)


def test_one_unit_a_sign_by_hand():
    # Output 1: x(+v1) = 2, x(-v1) = -3, nothing of v2: o = 2.5. Mean t = -1/4, mean square 13/4. P = 16, n = 4, half mask:
    # Var N1 = 4 * 12/60 = 0.8, E N1^2 = 4.8; Var f = 4.8 * 13/4 - 4 t^2 = 15.35, carried = 4.8 * 2.5^2/2/15.35.
    signal = [[2.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    readout = [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    carried = moments.hidden_carried(MODEL, *state(signal, readout))
    assert abs(carried[0, 0] - 4.8 * 6.25 / 2 / 15.35) < 1e-14
    assert carried[0, 1] == 0.0
    answers = moments.signed_answers(MODEL, state(signal, readout)[0], np.array(readout))
    assert answers[0].tolist() == [[2.0, -3.0], [0.0, 0.0]]
    assert answers[1].tolist() == [[0.0, 0.0], [0.5, 0.5]]
    # Output 2 answers +v2 and -v2 alike: it tells that v2 is there, not its sign.
    assert (carried[1] == 0.0).all()
    assert moments.features_carried(carried) == 1


def test_shares_are_those_of_samples():
    model = dynlab.Model(activation="relu", weak=0.6, hidden=2, patches=4, feature_patches=2, noise=0.4)
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((4, 8))
    readout = rng.standard_normal((2, 4)) * np.kron(np.eye(2), np.ones(2))
    views = [naive.sample_outputs(model, weights, 100_000, rng)[0] @ readout.T for _ in range(4)]
    outputs = np.concatenate(views)
    noise = weights[:, 2:]
    variance, _ = moments.hidden_moments(model, weights[:, :2], noise @ noise.T, readout)
    np.testing.assert_allclose(np.cov(outputs.T, ddof=0), variance, rtol=0.02, atol=0.02 * variance.max())
    rank = moments.hidden_rank(model, weights[:, :2], noise @ noise.T, readout)
    values = np.linalg.eigvalsh(np.corrcoef(outputs.T)) / 2.0
    assert abs(rank - np.exp(-(values * np.log(values)).sum())) < 0.01


def test_an_output_that_is_constant_carries_nothing():
    signal, gram, readout = state(np.zeros((4, 2)), [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert (moments.hidden_carried(MODEL, signal, gram, readout) == 0.0).all()

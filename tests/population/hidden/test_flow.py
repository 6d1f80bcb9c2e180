"""The flow with hidden units: against SciPy on dense weights, conserved quantities, rest, kinks, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dynlab
from dynlab.population.hidden.flow import run_hidden

MODEL = dynlab.Model(activation="relu", weak=0.6, hidden=2)
RATE, READOUT_RATE = 0.5, 0.7


def dense(start, dim, seed):
    """Weights (M, d) with the order parameters of a start."""
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(start.noise_gram)
    basis, _ = np.linalg.qr(rng.standard_normal((dim - 2, len(values))))
    return np.hstack([start.signal, (vectors * np.sqrt(np.maximum(values, 0.0))) @ basis.T])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_flow_is_that_of_dense_weights(number):
    dim, until = 12, 4.0
    start = dynlab.OrderParameters.sample(MODEL, dim, number)
    weights, shape = dense(start, dim, 1), (4, dim)
    used = start.readout != 0.0

    def velocity(_, y):
        w, a, e = y[: 4 * dim].reshape(shape), y[4 * dim : -2], y[-2:]
        readout = np.zeros((2, 4))
        readout[used] = a
        head = np.array([[1.0, e[0]], [e[1], 1.0]])
        found = dynlab.population_gradient(MODEL, w, head, readout=readout)
        by_head = np.array([found.d_head[0, 1], found.d_head[1, 0]])
        return -np.concatenate([found.d_weights.ravel(), READOUT_RATE * found.d_readout[used], RATE * by_head])

    begin = np.concatenate([weights.ravel(), start.readout[used], [0.0, 0.0]])
    known = solve_ivp(velocity, (0.0, until), begin, method="RK45", rtol=1e-6, atol=1e-9)
    found = run_hidden(MODEL, [start], head_rate=RATE, readout_rate=READOUT_RATE, until=until, rtol=1e-9, settle=False)
    signal, gram, readout, head = (part[0] for part in found.ends)
    w = known.y[: 4 * dim, -1].reshape(shape)
    np.testing.assert_allclose(signal, w[:, :2], atol=2e-4)
    np.testing.assert_allclose(gram, w[:, 2:] @ w[:, 2:].T, atol=2e-4)
    np.testing.assert_allclose(readout[used], known.y[4 * dim : -2, -1], atol=2e-4)
    np.testing.assert_allclose([head[0, 1], head[1, 0]], known.y[-2:, -1], atol=2e-4)


@pytest.fixture(scope="module")
def some():
    """Twelve starts to their rest."""
    return dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, threads=1)


def test_trajectories_end_well_and_conserve_what_the_flow_conserves(some):
    assert set(some.frame["status"]) <= {"stationary", "until", "vanished"}
    assert (some.frame["status"] == "stationary").sum() >= 10
    assert some.frame["drift"].max() < 1e-3
    starts, ends = ([part.astype(float) for part in states] for states in (some.starts, some.ends))

    # By hand from the arrays: |w_h|^2 - a_h^2 of every unit, sum_h a_h^2 + sum_r (E_jr^2 - E_rj^2)/r of every output.
    def units(states):
        signal, gram, _, readout = states
        return (signal**2).sum(-1) + np.diagonal(gram, axis1=1, axis2=2) - (readout**2).sum(1)

    def outputs(states):
        _, _, head, readout = states
        square = head**2
        return (readout**2).sum(-1) + (square.sum(-1) - square.sum(-2)) / 0.1

    np.testing.assert_allclose(units(ends), units(starts), atol=1e-3)
    np.testing.assert_allclose(outputs(ends), outputs(starts), atol=1e-3)


def test_the_frame_follows_from_the_end_states(some):
    signal, gram, head, readout = some.ends
    u = np.array([1.0, 0.6]) * signal
    odd = np.einsum("njh,nhl->njl", readout, np.maximum(u, 0.0) - np.maximum(-u, 0.0)) / 2.0
    learnt = (some.frame[["carried_1_2", "carried_2_2"]].max(axis=1) > 0.05).to_numpy()
    assert (np.abs(odd[learnt, :, 1]).max(1) > 0.01).all()
    assert (some.frame["outcome"].isin(["both", "only_weak"]).to_numpy() == learnt).all()
    assert (some.frame["features_carried"] == 2).to_numpy()[learnt].all()
    assert some.frame["rank"].between(1.0, 2.0).all()
    np.testing.assert_allclose(some.frame["head_end"], np.hypot(head[:, 0, 1], head[:, 1, 0]))
    assert (head[:, [0, 1], [0, 1]] == 1.0).all()
    assert (some.frame["head_peak"] <= 1.001 * some.frame["head_bound"].max()).all()


def test_losses_do_not_rise_above_what_is_possible_and_outcomes_do_not_hang_on_the_tolerance(some):
    finer = dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, rtol=1e-8, threads=1)
    assert (finer.frame["outcome"] == some.frame["outcome"]).sum() >= 11
    best = 4.0 - 4.0 * 3.2 / 4.8  # 1.5 of the data model: no encoder does better
    assert (some.frame["loss_end"] > best - 1e-6).all()


def test_any_number_of_threads_gives_the_same_bits(some):
    other = dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, threads=3)
    assert other.frame.equals(some.frame)


def test_one_trajectory_is_the_ensembles_and_is_kept_on_disk(some, tmp_path):
    start = dynlab.OrderParameters.sample(MODEL, 200, np.random.default_rng((0, 3)))
    run = dynlab.simulate(MODEL, start, eta_head=0.1)
    assert run.success
    assert run.time[-1] == pytest.approx(some.frame["time_end"][3], rel=1e-12)
    assert run.loss[-1] == pytest.approx(some.frame["loss_end"][3], abs=1e-9)
    run.save(tmp_path / "run.csv")
    again = dynlab.Trajectory.load(tmp_path / "run.csv")
    assert np.array_equal(again.readout, run.readout)
    assert np.array_equal(again.signal, run.signal)
    at = dynlab.simulate(MODEL, start, eta_head=0.1, times=[1.0, 10.0])
    for k in (0, 1):
        near = np.argmin(np.abs(run.time - at.time[k]))
        assert np.abs(at.answers[k] - run.answers[near]).max() < 0.1


def test_a_signal_that_is_held_at_its_kink_is_zero_exactly(some):
    signal = some.ends[0]
    assert (signal == 0.0).any()


def test_a_head_that_does_not_train_stays_the_identity():
    run = dynlab.ensemble(MODEL, dim=200, seeds=2, head="none", threads=1)
    assert (run.ends[2] == np.eye(2)).all()
    assert (run.frame["head_end"] == 0.0).all()


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("activation", lambda m: dynlab.ensemble(dynlab.Model(hidden=2), seeds=1)),
        ("method", lambda m: dynlab.ensemble(m, seeds=1, method="descent")),
        ("training", lambda m: dynlab.ensemble(m, seeds=1, training=dynlab.Training(weight_decay=0.1))),
        ("dim", lambda m: dynlab.ensemble(m, dim=5, seeds=1)),
        ("readout", lambda m: dynlab.Model(hidden=2, readout="all")),
        ("hidden", lambda m: dynlab.Model(hidden=0)),
        ("readout_rate", lambda m: dynlab.ensemble(dynlab.Model(), seeds=1, training=dynlab.Training(readout_rate=2.0))),
    ],
)
def test_what_has_no_form_is_refused_in_a_line(words, call):
    with pytest.raises(dynlab.SettingError, match=words) as caught:
        call(MODEL)
    assert "\n" not in str(caught.value)

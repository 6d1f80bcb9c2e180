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


def velocity_of(used, dim):
    """dy/dt of dense weights (4, dim), the readout's entries in use, and the head's two."""

    def velocity(_, y):
        w, a, e = y[: 4 * dim].reshape(4, dim), y[4 * dim : -2], y[-2:]
        readout = np.zeros((2, 4))
        readout[used] = a
        head = np.array([[1.0, e[0]], [e[1], 1.0]])
        found = dynlab.population_gradient(MODEL, w, head, readout=readout)
        by_head = np.array([found.d_head[0, 1], found.d_head[1, 0]])
        return -np.concatenate([found.d_weights.ravel(), READOUT_RATE * found.d_readout[used], RATE * by_head])

    return velocity


def ends_alike(start, y, dim, until, slack):
    """The flow from a start ends at `until` where dense weights do, to slack."""
    used = start.readout != 0.0
    found = run_hidden(MODEL, [start], head_rate=RATE, readout_rate=READOUT_RATE, until=until, rtol=1e-8, settle=False)
    signal, gram, readout, head = (part[0] for part in found.ends)
    w = y[: 4 * dim].reshape(4, dim)
    np.testing.assert_allclose(signal, w[:, :2], atol=slack)
    np.testing.assert_allclose(gram, w[:, 2:] @ w[:, 2:].T, atol=slack)
    np.testing.assert_allclose(readout[used], y[4 * dim : -2], atol=slack)
    np.testing.assert_allclose([head[0, 1], head[1, 0]], y[-2:], atol=slack)
    return signal


def test_the_flow_is_that_of_dense_weights():
    dim, until = 12, 1.0
    signal = np.array([[0.6, 0.5], [-0.5, 0.7], [0.7, -0.6], [-0.8, -0.5]])
    drawn = dynlab.OrderParameters.sample(MODEL, dim, 0)
    start = dynlab.OrderParameters(signal, drawn.noise_gram, np.eye(2), drawn.readout)
    begin = np.concatenate([dense(start, dim, 1).ravel(), start.readout[start.readout != 0.0], [0.0, 0.0]])
    velocity = velocity_of(start.readout != 0.0, dim)
    known = solve_ivp(velocity, (0.0, until), begin, method="RK45", rtol=1e-8, atol=1e-10)
    end = ends_alike(start, known.y[:, -1], dim, until, 1e-6)
    assert (np.sign(end) == np.sign(signal)).all()  # no kink on the way, where the other method would rattle


@pytest.mark.parametrize("number", [0, 1])
def test_with_kinks_it_is_that_of_small_steps(number):
    # Midpoint steps of dense weights rattle about a signal that is held at 0, by their length.
    dim, until, steps = 12, 3.0, 1500
    start = dynlab.OrderParameters.sample(MODEL, dim, number)
    y = np.concatenate([dense(start, dim, 1).ravel(), start.readout[start.readout != 0.0], [0.0, 0.0]])
    velocity, h = velocity_of(start.readout != 0.0, dim), until / steps
    for _ in range(steps):
        y = y + h * velocity(0.0, y + 0.5 * h * velocity(0.0, y))
    ends_alike(start, y, dim, until, 5e-3)


@pytest.fixture(scope="module")
def some():
    """Twelve starts to their rest."""
    return dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, threads=1)


def test_trajectories_end_well_and_conserve_what_the_flow_conserves(some):
    assert set(some.frame["status"]) <= {"stationary", "until", "vanished", "cycle"}
    assert (some.frame["status"] == "stationary").sum() >= 6
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


@pytest.mark.parametrize("readout", ["shared", "fixed"])
def test_other_readouts_conserve_what_is_theirs(readout):
    model = dynlab.Model(activation="relu", weak=0.6, hidden=2, readout=readout)
    run = dynlab.ensemble(model, dim=100, seeds=3, eta_head=0.2, until=200.0, threads=1)
    kept = []
    for signal, gram, head, a in (run.starts, run.ends):
        square, lent = (signal**2).sum(-1) + np.diagonal(gram, axis1=1, axis2=2), head**2
        turned = (lent.sum(-1) - lent.sum(-2)) / 0.2
        if readout == "shared":  # a unit and its entries in both outputs; an output, all units and its head
            kept.append(np.hstack([square - (a**2).sum(1), (a**2).sum(-1) + turned]))
        else:  # the weights of an output's two units and its head
            kept.append(square.reshape(-1, 2, 2).sum(-1) + turned)
    np.testing.assert_allclose(kept[1], kept[0], atol=1e-3)
    assert run.frame["drift"].max() < 1e-3 and run.frame["head_peak"].min() > 1e-3
    assert (np.abs(run.ends[3] - run.starts[3]).max() > 0.1) == (readout == "shared")


def test_the_frame_follows_from_the_end_states(some):
    rest = (some.frame["status"] == "stationary").to_numpy()  # others are told by means over a round
    signal, gram, head, readout = (part[rest] for part in some.ends)
    frame = some.frame[rest]
    u = np.array([1.0, 0.6]) * signal
    odd = np.einsum("njh,nhl->njl", readout, np.maximum(u, 0.0) - np.maximum(-u, 0.0)) / 2.0
    learnt = (frame[["carried_1_2", "carried_2_2"]].max(axis=1) > 0.05).to_numpy()
    assert (np.abs(odd[learnt, :, 1]).max(1) > 0.01).all()
    assert (frame["outcome"].isin(["both", "only_weak"]).to_numpy() == learnt).all()
    assert (frame["features_carried"] == 2).to_numpy()[learnt].all()
    assert some.frame["rank"].between(1.0, 2.0).all()
    np.testing.assert_allclose(frame["head_end"], np.hypot(head[:, 0, 1], head[:, 1, 0]))
    assert (head[:, [0, 1], [0, 1]] == 1.0).all()


def test_losses_do_not_rise_above_what_is_possible_and_outcomes_do_not_hang_on_the_tolerance(some):
    finer = dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, rtol=1e-8, threads=1)
    assert (finer.frame["outcome"] == some.frame["outcome"]).sum() >= 11
    best = 4.0 - 4.0 * 3.2 / 4.8  # 1.5 of the data model: no encoder does better
    assert (some.frame["loss_end"] > best - 1e-6).all()


def test_any_number_of_threads_gives_the_same_bits(some):
    other = dynlab.ensemble(MODEL, dim=200, seeds=12, eta_head=0.1, threads=3)
    assert other.frame.equals(some.frame)


def test_one_trajectory_is_the_ensembles_and_is_kept_on_disk(some, tmp_path):
    resting = int((some.frame["status"] == "stationary").to_numpy().argmax())
    start = dynlab.OrderParameters.sample(MODEL, 200, np.random.default_rng((0, resting)))
    run = dynlab.simulate(MODEL, start, eta_head=0.1)
    assert run.success
    assert run.time[-1] == pytest.approx(some.frame["time_end"][resting], rel=1e-12)
    assert run.loss[-1] == pytest.approx(some.frame["loss_end"][resting], abs=1e-9)
    run.save(tmp_path / "run.csv")
    again = dynlab.Trajectory.load(tmp_path / "run.csv")
    assert np.array_equal(again.readout, run.readout)
    assert np.array_equal(again.signal, run.signal)
    # The head's peak and its bound are of one output.
    off = np.abs(run.head - np.eye(2))
    at, row, _ = np.unravel_index(off.argmax(), off.shape)
    assert some.frame["head_peak"][resting] == pytest.approx(off.max(), rel=1e-12)
    assert some.frame["time_peak"][resting] == pytest.approx(run.time[at], rel=1e-12)
    bound = np.sqrt(0.1) * np.linalg.norm(start.readout[row])
    assert some.frame["head_bound"][resting] == pytest.approx(bound, rel=1e-12)
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

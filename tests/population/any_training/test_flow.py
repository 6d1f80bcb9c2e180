"""Flows under switches against SciPy on dense weights, and against the solver made for the paper's training."""

import threading

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dynlab import Model, OrderParameters, Training, Trajectory, ensemble, simulate
from dynlab.population.any_training import flow, gradient
from dynlab.population.invariants import conserved
from dynlab.population.pair import flow as pair_flow

TIMES = (0.1, 0.3, 0.8)  # before any relu signal reaches its kink, where SciPy would chatter
ODD_HEAD = ((1.2, 0.3), (-0.2, 0.8))
COMBINATIONS = [
    ("cubic", {}),
    ("cubic", {"head": "linear", "head_decay": 0.2}),
    ("cubic", {"head": "symmetric", "head_matrix": ((1.0, 0.2), (0.2, 0.7)), "normalisation": "scale"}),
    ("cubic", {"target": "average", "target_rate": 0.7}),
    ("cubic", {"stop_gradient": "none", "weight_decay": 0.05}),
    ("relu", {"stop_gradient": "online", "head": "fixed", "head_matrix": ODD_HEAD}),
    ("relu", {"normalisation": "scale", "target": "average", "target_rate": 2.0}),
    ("relu", {"head": "directpred", "normalisation": "none"}),
    ("relu3", {"head": "directcopy", "decorrelation": 0.3}),
    ("relu3", {"head": "linear", "normalisation": "none", "stop_gradient": "none"}),
    # Weights with which no output comes to rest on the corner of the hinge, where SciPy's solver gives up (`test_sliding`).
    ("linear", {"objective": "vicreg", "vicreg_weights": (50.0, 25.0, 1.0), "head": "none", "stop_gradient": "none"}),
    ("linear", {"objective": "barlow-twins", "head": "none", "stop_gradient": "none", "weight_decay": 0.1}),
]


def dense_flow(model, training, weights, times):
    """Order parameters at the times, by SciPy on dense weights, head and target."""
    m, d = weights.shape
    averaged = training.target == "average"
    trained = training.head in ("off-diagonal", "linear", "symmetric")

    def unpack(y):
        w, rest = y[: m * d].reshape(m, d), y[m * d :]
        target, rest = (rest[: m * d].reshape(m, d), rest[m * d :]) if averaged else (None, rest)
        return w, target, rest.reshape(m, m) if trained else None

    def rates(_, y):
        w, target, head = unpack(y)
        _, d_weights, d_head = gradient.training_gradient(model, training, w, head, target)
        parts = [-d_weights.ravel()]
        if averaged:
            parts.append(training.target_rate * (w - target).ravel())
        if trained:
            parts.append(-training.eta_head * d_head.ravel())
        return np.concatenate(parts)

    parts = [weights.ravel()] + [weights.ravel()] * averaged
    if trained:
        parts.append(gradient.start_head(model, training).ravel())
    found = solve_ivp(rates, (0, times[-1]), np.concatenate(parts), "DOP853", times, rtol=1e-9, atol=1e-11, max_step=0.1)
    assert found.success, found.message
    states = [unpack(y) for y in found.y.T]
    k = model.features
    signal = np.array([w[:, :k] for w, _, _ in states])
    gram = np.array([w[:, k:] @ w[:, k:].T for w, _, _ in states])
    return signal, gram, np.array([h for _, _, h in states]) if trained else None


@pytest.mark.parametrize(("activation", "switched"), COMBINATIONS)
def test_against_dense_weights(activation, switched):
    model = Model(activation=activation, weak=0.7)
    training = Training(eta_head=0.4, **switched)
    weights = np.array([[0.9, -0.5, 0.4, 0.1, 0.3], [0.6, 0.8, -0.2, 0.5, 0.1]])
    signal, gram, head = dense_flow(model, training, weights, TIMES)
    run = simulate(model, OrderParameters.from_weights(model, weights), training=training, times=TIMES, rtol=1e-9)
    assert np.abs(run.signal - signal).max() < 1e-6
    assert np.abs(run.noise_gram - gram).max() < 1e-6
    if head is not None:
        assert np.abs(run.head - head).max() < 1e-6


@pytest.mark.parametrize("activation", ["cubic", "relu", "relu3"])
def test_the_papers_training_by_both_solvers(activation, monkeypatch):
    model = Model(activation=activation)
    own = ensemble(model, 1000, 12, until=1e9)
    monkeypatch.setattr("dynlab.ensembles.ensemble.closed_form", lambda model, training: False)
    other = ensemble(model, 1000, 12, until=1e9)
    assert (own.frame["outcome"] == other.frame["outcome"]).all()
    for name in ("time_first", "head_peak"):
        assert np.allclose(own.frame[name], other.frame[name], rtol=1e-3), name
    assert np.abs(own.ends[0] - other.ends[0]).max() < 1e-4


def test_conserved_through_eighteen_decades():
    model = Model()
    start = OrderParameters.sample(model, 10**9, np.random.default_rng(4))
    found = flow.run_switched(model, Training(), start.signal[None], start.noise_gram[None], until=1e22, rtol=1e-8)
    assert found.status[0] == 0
    before, after = (conserved(model, *states, 0.01) for states in (found.starts, found.ends))
    assert np.abs(after / before - 1).max() < 1e-5


def test_symmetric_loss_changes_nothing_on_the_population():
    model = Model(activation="relu", neurons=3)
    weights = np.random.default_rng(1).standard_normal((3, 6))
    for stop in ("target", "none"):
        one, both = (
            gradient.training_gradient(model, Training(head="linear", stop_gradient=stop, symmetric=s), weights)
            for s in (False, True)
        )
        assert all((a == b).all() for a, b in zip(one[1:], both[1:], strict=True))


def test_many_neurons_and_features_learn():
    model = Model(neurons=5, strengths=(1.0, 0.8, 0.6, 0.5))
    run = ensemble(model, 1000, 4, until=1e9)
    assert (run.frame["status"] == "until").all()
    assert (run.frame["outcome"].astype(int) >= 3).all()


def test_a_linear_head_is_written_and_read_with_its_diagonal(tmp_path):
    start = OrderParameters([[0.5, 0.2], [0.3, 0.4]], [[0.3, 0.1], [0.1, 0.2]])
    training = Training(head="linear", eta_head=0.5)
    run = simulate(Model(), start, training=training, times=(1.0, 2.0))
    assert run.head[-1, 0, 0] != 1.0
    run.save(tmp_path / "run.csv")
    again = Trajectory.load(tmp_path / "run.csv")
    assert (again.head == run.head).all() and again.settings == run.settings


def test_without_normalisation_the_weights_vanish():
    start = OrderParameters([[0.5, 0.2], [0.3, 0.4]], [[0.3, 0.1], [0.1, 0.2]])
    run = simulate(Model(activation="relu"), start, training=Training(head="none", normalisation="none"), until=1e9)
    assert run.status == "vanished" and run.success
    assert run.loss[-1] < 1e-6


def run_three(until=1e9):
    """Three starts of four neurons: plain arrays."""
    model = Model(neurons=4)
    starts = [OrderParameters.sample(model, 1000, np.random.default_rng(i)) for i in range(3)]
    signal, gram = (np.array([getattr(start, name) for start in starts]) for name in ("signal", "noise_gram"))
    return flow.run_switched(model, Training(), signal, gram, until=until, rtol=1e-6, times=(1.0, 1e5))


def test_results_do_not_depend_on_where_bursts_end(monkeypatch):
    whole = run_three()
    monkeypatch.setattr(flow, "BURST", 0)  # a step each
    parts = run_three()
    for name in ("ends", "at_times", "snapshots", "marks", "loss", "steps", "rejected", "status"):
        one, other = getattr(whole, name), getattr(parts, name)
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(np.array_equal(*pair, equal_nan=True) for pair in pairs), name


def test_an_interrupt_ends_it_within_a_burst():
    stop = threading.Event()
    stop.set()
    pair_flow.heed(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_three()
    finally:
        pair_flow.heed(threading.Event())

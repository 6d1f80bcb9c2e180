"""Descent on dense weights by any optimiser under any training, against loops on the 50-digit gradient and identities."""

import math
import threading

import numpy as np
import pytest

import dynlab
from dynlab import Model, Optimisation, OrderParameters, SettingError, Training
from dynlab.population import descent
from dynlab.population.dense import dense_descent, dense_steps
from dynlab.population.pair import flow
from tests.oracles import switches as oracle

TRAININGS = [
    Training(eta_head=0.3),
    Training(head="linear", eta_head=0.2, weight_decay=0.03, head_decay=0.2),
    Training(head="none", target="average", target_rate=0.7),
    Training(head="symmetric", eta_head=0.5, normalisation="scale", stop_gradient="none"),
    Training(head="directpred", decorrelation=0.1),
    Training(head="none", stop_gradient="none", objective="vicreg"),
    Training(head="none", stop_gradient="none", objective="barlow-twins", decorrelation=0.3),
]
HOWS = [
    Optimisation(),
    Optimisation("momentum", momentum=0.6, schedule="cosine", warm_up=2),
    Optimisation("adam", schedule="step", head_schedule="constant"),
]
STEPS, ETA, DIM = 5, 0.07, 6


def by_hand(model, training, how, weights, head, target, rates):
    """Weights, head and target after steps at these rates (of weights, of the head): loops, gradients of 50 digits."""
    weights, head, target = (np.array(part, dtype=float) for part in (weights, head, target))
    kept = [[np.zeros_like(x), np.zeros_like(x)] for x in (weights, head)]
    for t, speeds in enumerate(rates, 1):
        behind = target if training.target == "average" else None
        _, d_weights, d_head = oracle.training_gradient(model, training, weights, head, behind)
        new = []
        for x, g, rate, (p, q) in zip((weights, head), (d_weights, d_head), speeds, kept, strict=True):
            g = np.array(g, dtype=float)
            if how.optimiser == "sgd":
                move = g
            elif how.optimiser == "momentum":
                p[...] = how.momentum * p + g
                move = p
            else:
                p[...] = 0.9 * p + 0.1 * g
                q[...] = 0.999 * q + 0.001 * g**2
                move = (p / (1 - 0.9**t)) / (np.sqrt(q / (1 - 0.999**t)) + 1e-8)
            new.append(x - rate * move)
        weights, head = new
        target = target + speeds[0] * training.target_rate * (weights - target)
    return weights, head, target


def rates_by_hand(how, training):
    """The rates of weights and head in each of five steps, worked out from what the schedules say."""
    ones = {"constant": [1.0] * 5, "step": [1.0, 1.0, 1.0, 0.1, 0.01]}
    ones["cosine"] = [0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * k / 3)) for k in range(3))]  # after two steps of warm-up
    own = how.head_schedule or how.schedule
    return [(ETA * a, ETA * training.head_rate * b) for a, b in zip(ones[how.schedule], ones[own], strict=True)]


@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.optimiser)
@pytest.mark.parametrize(
    "training", TRAININGS, ids=lambda training: f"{training.objective}-{training.head}-{training.target}"
)
def test_steps_are_those_of_the_definition(training, how):
    model = Model(strengths=(1.0, 0.6), activation="relu", patches=6, feature_patches=2)
    start = OrderParameters.sample(model, DIM, 3)
    weights = dense_descent.dense_start(model, start, DIM, 7)
    run = dense_descent.run_dense_descent(
        model, training, [start], how, eta=ETA, steps=STEPS, frames=[(DIM, 7, 0)], record_at=np.arange(1, STEPS + 1)
    )
    rates = rates_by_hand(how, training)
    right, head, _ = by_hand(model, training, how, weights, np.eye(2), weights, rates)
    signal, gram, found = (part[0] for part in run["ends"])
    np.testing.assert_allclose(signal, right[:, :2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gram, right[:, 2:] @ right[:, 2:].T, rtol=1e-9)
    if training.head_trains:
        np.testing.assert_allclose(found, head, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run["record_times"][0], np.cumsum([rate for rate, _ in rates]), rtol=1e-13)
    assert run["time"][0] == pytest.approx(sum(rate for rate, _ in rates))
    for recorded, ended in zip(run["records"], run["ends"], strict=True):
        assert (recorded[0, -1] == ended[0]).all()


@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3"])
def test_plain_steps_are_those_of_the_order_parameters(activation):
    model = Model(weak=0.6, activation=activation, correlation=0.3)
    starts = [OrderParameters.sample(model, 50, k) for k in range(2)]
    given = {"eta": 0.05, "steps": 400}
    right = descent.run_descent(model, starts, head_rate=0.05 * 0.2, **given)
    found = dense_descent.run_dense_descent(model, Training(eta_head=0.2), starts, Optimisation(), **given)
    for name in ("ends", "snapshots"):
        for one, other in zip(found[name], right[name], strict=True):
            np.testing.assert_allclose(np.nan_to_num(one), other, rtol=1e-9, atol=1e-12)  # nan where there was no event
    np.testing.assert_allclose(found["marks"], right["marks"], rtol=1e-9)
    np.testing.assert_allclose(found["drift"], right["drift"], rtol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.2, math.pi - 1e-9, math.pi])
def test_angles_of_noise_parts_are_exact_at_both_ends(angle):
    rows = np.array([[9.0, 2.0, 0.0], [9.0, 3.0 * math.cos(angle), 3.0 * math.sin(angle)]])
    norm, (dot, wedge, eps) = np.array([2.0, 3.0]), np.zeros((3, 2, 2))
    dense_steps._angles(rows, 1, norm, dot, wedge, eps)
    assert dot[1, 0] == dot[0, 1] == pytest.approx(6.0 * math.cos(angle), rel=1e-13)
    assert wedge[1, 0] == pytest.approx(6.0 * math.sin(angle), rel=1e-6, abs=1e-15)
    assert eps[1, 0] == pytest.approx(math.pi - angle, rel=1e-6, abs=1e-15)
    assert np.diagonal(dot).tolist() == [4.0, 9.0]


def test_momentum_sees_no_frame_and_adam_does():
    model = Model(activation="cubic", weak=0.5)
    start = OrderParameters.sample(model, 40, 1)

    def ends(how, dim, seed):
        frames = [(dim, seed, 0)] if dim else None
        run = dense_descent.run_dense_descent(model, Training(), [start], how, eta=0.02, steps=300, frames=frames)
        return np.concatenate([part.ravel() for part in run["ends"]])

    plain = ends(Optimisation("momentum"), None, 0)
    for dim, seed in ((40, 0), (40, 5), (11, 0)):
        np.testing.assert_allclose(ends(Optimisation("momentum"), dim, seed), plain, rtol=1e-8, atol=1e-10)
    adam = ends(Optimisation("adam"), 40, 0)
    assert np.abs(ends(Optimisation("adam"), 40, 5) - adam).max() > 1e-4
    assert (ends(Optimisation("adam"), 40, 0) == adam).all()


def test_bursts_do_not_show(monkeypatch):
    model, how = Model(activation="relu"), Optimisation("adam", schedule="cosine", warm_up=7)
    start = OrderParameters.sample(model, 12, 1)

    def run():
        return dynlab.simulate(
            model, start, method="descent", eta=0.01, steps=100, times=[0.05, 0.3], optimisation=how, dim=12, seed=2
        )

    once = run()
    monkeypatch.setattr(dense_descent, "BURST", 12 * 2 * 9)
    again = run()
    assert (once.time == again.time).all() and (once.signal == again.signal).all() and (once.head == again.head).all()
    assert once.settings["optimisation"] == {"optimiser": "adam", "schedule": "cosine", "warm_up": 7}
    assert (once.settings["dim"], once.settings["seed"]) == (12, 2)


def test_an_interrupt_ends_it(monkeypatch):
    monkeypatch.setattr(dense_descent, "BURST", 1000)
    stop = threading.Event()
    stop.set()
    flow.heed(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            dynlab.simulate(
                Model(),
                OrderParameters.sample(Model(), 10, 0),
                method="descent",
                steps=10**9,
                training=Training(head="linear"),
            )
    finally:
        flow.heed(threading.Event())


def test_steps_that_overflow_are_told():
    model = Model(activation="cubic")
    run = dynlab.simulate(
        model, OrderParameters.sample(model, 10, 0), method="descent", eta=1e200, steps=50, training=Training(head="linear")
    )
    assert run.status == "not finite" and run.steps < 50


def test_ensembles_are_their_trajectories():
    model, how = Model(activation="relu", weak=0.7), Optimisation("adam", schedule="cosine")
    training = Training(eta_head=0.5)
    given = {"method": "descent", "training": training, "optimisation": how, "eta": 0.01}
    many = dynlab.ensemble(model, dim=20, seeds=3, seed=4, until=1.0, threads=1, **given)
    assert many.settings["optimisation"] == {"optimiser": "adam", "schedule": "cosine"}
    two = dynlab.ensemble(model, dim=20, seeds=3, seed=4, until=1.0, threads=2, **given)
    assert many.frame.equals(two.frame)
    for k in range(3):
        start = OrderParameters.sample(model, 20, np.random.default_rng((4, k)))
        one = dynlab.simulate(model, start, steps=100, dim=20, seed=4, number=k, **given)
        assert (one.signal[-1] == many.ends[0][k]).all() and (one.head[-1] == many.ends[2][k]).all()


MODEL = Model()
START = OrderParameters.sample(MODEL, 100, 0)


@pytest.mark.parametrize(
    "given, word",
    [
        ({"method": "flow", "optimisation": Optimisation("adam")}, "optimisation="),
        ({"method": "sgd", "optimisation": Optimisation("adam")}, "optimisation="),
        ({"method": "descent", "optimisation": "adam"}, "optimisation='adam'"),
        ({"method": "descent", "optimisation": Optimisation("adam"), "dim": 3}, "dim=3"),
        ({"method": "descent", "optimisation": Optimisation("adam"), "dim": 5000}, "dim=5000"),
        ({"method": "descent", "optimisation": Optimisation("momentum"), "dim": 50}, "dim=50"),
        ({"method": "descent", "dim": 50}, "dim=50"),
        ({"method": "descent", "training": Training(normalisation="length")}, "normalisation="),
    ],
)
def test_what_is_refused(given, word):
    with pytest.raises(SettingError, match=word) as raised:
        dynlab.simulate(MODEL, START, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "given, word",
    [
        ({"optimiser": "adamw"}, "optimiser='adamw'"),
        ({"momentum": 1.1, "optimiser": "momentum"}, "momentum=1.1"),
        ({"momentum": 0.5}, "momentum=0.5"),
        ({"schedule": "linear"}, "schedule='linear'"),
        ({"head_schedule": "linear"}, "head_schedule='linear'"),
        ({"warm_up": -1}, "warm_up=-1"),
    ],
)
def test_what_an_optimisation_refuses(given, word):
    with pytest.raises(SettingError, match=word):
        Optimisation(**given)

"""Descent with hidden units by momentum and Adam, at scheduled rates, against loops on the 200-digit gradient."""

import math
import threading

import numpy as np
import pytest

import dynlab
from dynlab import Model, Optimisation, OrderParameters, SettingError, Training
from dynlab.population.dense import dense_descent, hidden_descent, hidden_steps
from dynlab.population.hidden.flow import run_hidden_descent
from dynlab.population.hidden.moments import hidden_carried
from dynlab.population.pair import flow
from tests.oracles import hidden as oracle

HOWS = [
    Optimisation(schedule="cosine", head_schedule="step", warm_up=2),
    Optimisation("momentum", momentum=0.6, schedule="step"),
    Optimisation("adam", schedule="cosine", head_schedule="constant", warm_up=2),
]
STEPS, ETA, DIM, DIGITS = 5, 0.07, 7, 50


def moved(how, x, gradient, rate, kept, t):
    """x after step number t by the definition of the optimiser, entry by entry; kept: (first, second) memories."""
    new = x.copy()
    for place in np.ndindex(*x.shape):
        g = float(gradient[place])
        if how.optimiser == "sgd":
            move = g
        elif how.optimiser == "momentum":
            move = kept[0][place] = how.momentum * kept[0][place] + g
        else:
            kept[0][place] = 0.9 * kept[0][place] + 0.1 * g
            kept[1][place] = 0.999 * kept[1][place] + 0.001 * g * g
            move = kept[0][place] / (1 - 0.9**t) / (math.sqrt(kept[1][place] / (1 - 0.999**t)) + 1e-8)
        new[place] = x[place] - rate * move
    return new


def by_hand(model, training, how, weights, readout, rates):
    """Weights, readout and head after steps at these rates (of weights, of the head): loops on gradients of 50 digits."""
    parts = [np.array(weights), np.array(readout), np.eye(model.neurons)]
    kept = [(np.zeros_like(x), np.zeros_like(x)) for x in parts]
    used = np.kron(np.eye(model.neurons), np.ones(model.hidden)) if model.readout == "own" else np.ones(readout.shape)
    own = 0.0 if model.readout == "fixed" else training.readout_rate
    for t, (rate, head_rate) in enumerate(rates, 1):
        weights, readout, head = parts
        _, d_weights, d_head, d_readout = oracle.population_gradient(model, weights, head, readout, DIGITS)
        slopes, speeds = (d_weights, d_readout * used, d_head), (rate, rate * own, head_rate)
        parts = [moved(how, *given, t) for given in zip(parts, slopes, speeds, kept, strict=True)]
    return parts


def rates_by_hand(how, training):
    """The rates of weights and head in each of five steps, worked out from what the schedules say."""
    if how.warm_up:  # of two steps, the schedule over the three that are left
        cosine = (0.5 * (1 + math.cos(math.pi * k / 3)) for k in range(3))
        ones = {"constant": [0.5, 1.0, 1.0, 1.0, 1.0], "step": [0.5, 1.0, 1.0, 1.0, 0.1], "cosine": [0.5, 1.0, *cosine]}
    else:
        ones = {"step": [1.0, 1.0, 1.0, 0.1, 0.01]}
    own = how.head_schedule or how.schedule
    return [(ETA * a, ETA * training.head_rate * b) for a, b in zip(ones[how.schedule], ones[own], strict=True)]


@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.optimiser)
@pytest.mark.parametrize("readout", ["own", "shared", "fixed"])
@pytest.mark.parametrize("activation", ["relu", "cubic"])
def test_steps_are_those_of_the_definition(activation, readout, how):
    model = Model(
        strengths=(1.0, 0.6), activation=activation, patches=6, feature_patches=2, neurons=2, hidden=2, readout=readout
    )
    training = Training(eta_head=0.3, readout_rate=0.7)
    start = OrderParameters.sample(model, DIM, 3)
    weights = dense_descent.dense_start(model, start, DIM, 9)
    rates = rates_by_hand(how, training)
    right, a, head = by_hand(model, training, how, weights, start.readout, rates)
    found, clock = hidden_descent.run_optimised_hidden(
        model, training, [start], how, eta=ETA, steps=STEPS, frames=[(DIM, 9, 0)], record_at=np.arange(1, STEPS + 1)
    )
    close = {"rtol": 1e-11, "atol": 1e-12}
    signal, gram, readouts, heads = (part[0] for part in found.ends)
    np.testing.assert_allclose(signal, right[:, :2], **close)
    np.testing.assert_allclose(gram, right[:, 2:] @ right[:, 2:].T, **close)
    np.testing.assert_allclose(readouts, a, **close)
    np.testing.assert_allclose(heads, head, **close)
    assert np.abs(heads - np.eye(2)).max() > 1e-3
    assert (np.abs(readouts - start.readout).max() > 1e-3) == (readout != "fixed")
    np.testing.assert_allclose(clock, np.cumsum([rate for rate, _ in rates]), rtol=1e-13)
    for recorded, ended in zip(found.at_times, found.ends, strict=True):
        assert (recorded[0, -1] == ended[0]).all() and np.isfinite(recorded).all()
    loss, *_ = oracle.population_gradient(model, right, head, a, DIGITS)
    assert found.loss[0] == pytest.approx(float(loss), abs=1e-12)


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_plain_steps_are_those_of_the_order_parameters(activation):
    model = Model(weak=0.6, activation=activation, hidden=2)
    starts = [OrderParameters.sample(model, 50, k) for k in range(2)]
    training = Training(eta_head=0.2, readout_rate=0.7)
    at = np.array([30, 200])
    given = {"eta": 0.05, "steps": 200, "record_at": at}
    right = run_hidden_descent(model, starts, head_rate=0.2, readout_rate=0.7, **given)
    found, clock = hidden_descent.run_optimised_hidden(model, training, starts, Optimisation(), **given)
    for name in ("ends", "at_times"):
        for one, other in zip(getattr(found, name), getattr(right, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    for name in ("learnt", "head_peak", "time_peak", "time", "loss", "peak_row", "period"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.drift, right.drift, rtol=1e-6)
    for name in ("steps", "rejected", "status"):
        assert (getattr(found, name) == getattr(right, name)).all()
    np.testing.assert_allclose(clock, at * 0.05)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.2, math.pi - 1e-9, math.pi])
def test_angles_of_noise_parts_are_exact_at_both_ends(angle):
    rows = np.array([[9.0, 2.0, 0.0], [9.0, 3.0 * math.cos(angle), 3.0 * math.sin(angle)]])
    norm, (dot, wedge, eps) = np.array([2.0, 3.0]), np.zeros((3, 2, 2))
    hidden_steps.angles_between(rows, 1, np.zeros((2, 2)), (norm, dot, wedge, eps))
    assert dot[1, 0] == dot[0, 1] == pytest.approx(6.0 * math.cos(angle), rel=1e-13)
    assert wedge[1, 0] == pytest.approx(6.0 * math.sin(angle), rel=1e-6, abs=1e-15)
    assert eps[1, 0] == pytest.approx(math.pi - angle, rel=1e-6, abs=1e-15)
    assert np.diagonal(dot).tolist() == [4.0, 9.0]


def test_momentum_sees_no_frame_and_adam_does():
    model = Model(activation="relu", weak=0.5, hidden=2)
    start = OrderParameters.sample(model, 40, 1)

    def ends(how, dim, seed):
        frames = [(dim, seed, 0)] if dim else None
        run, _ = hidden_descent.run_optimised_hidden(model, Training(), [start], how, eta=0.02, steps=100, frames=frames)
        return np.concatenate([part.ravel() for part in run.ends])

    plain = ends(Optimisation("momentum"), None, 0)
    for dim, seed in ((40, 0), (13, 5)):
        np.testing.assert_allclose(ends(Optimisation("momentum"), dim, seed), plain, rtol=1e-8, atol=1e-10)
    adam = ends(Optimisation("adam"), 40, 0)
    assert np.abs(ends(Optimisation("adam"), 40, 5) - adam).max() > 1e-4
    assert (ends(Optimisation("adam"), 40, 0) == adam).all()


def test_bursts_do_not_show(monkeypatch):
    model, how = Model(activation="relu", hidden=2), Optimisation("adam", schedule="cosine", warm_up=7)
    start = OrderParameters.sample(model, 12, 1)
    given = {"method": "descent", "eta": 0.01, "steps": 100, "optimisation": how, "dim": 12, "seed": 2}
    once = dynlab.simulate(model, start, times=[0.05, 0.3], **given)
    monkeypatch.setattr(dense_descent, "BURST", 4 * 4 * 12 * 9)
    again = dynlab.simulate(model, start, times=[0.05, 0.3], **given)
    assert len(once.time) == 3 and (once.time == again.time).all()
    for name in ("signal", "noise_gram", "readout", "head", "loss"):
        assert (getattr(once, name) == getattr(again, name)).all()
    assert once.settings["optimisation"] == {"optimiser": "adam", "schedule": "cosine", "warm_up": 7}
    assert (once.settings["dim"], once.settings["seed"], once.settings["readout_rate"]) == (12, 2, 1.0)


def test_ensembles_are_their_trajectories():
    model, how = Model(activation="relu", weak=0.7, hidden=2), Optimisation("adam", schedule="cosine")
    training = Training(eta_head=0.5, readout_rate=0.5)
    given = {"method": "descent", "training": training, "optimisation": how, "eta": 0.01}
    many = dynlab.ensemble(model, dim=20, seeds=3, seed=4, until=1.0, threads=1, **given)
    assert many.settings["optimisation"] == {"optimiser": "adam", "schedule": "cosine"}
    two = dynlab.ensemble(model, dim=20, seeds=3, seed=4, until=1.0, threads=2, **given)
    assert many.frame.equals(two.frame)
    plain = dynlab.ensemble(model, dim=20, seeds=1, method="descent", until=1.0, threads=1)
    assert list(many.frame) == list(plain.frame) and list(many.summary()) == list(plain.summary())
    assert many.frame["head_bound"].isna().all() and plain.frame["head_bound"].notna().all()
    for k in range(3):
        start = OrderParameters.sample(model, 20, np.random.default_rng((4, k)))
        one = dynlab.simulate(model, start, steps=100, dim=20, seed=4, number=k, **given)
        for part, whole in zip((one.signal, one.noise_gram, one.head, one.readout), many.ends, strict=True):
            assert (part[-1] == whole[k]).all()
        row = many.frame.iloc[k]
        assert row["loss_end"] == pytest.approx(one.loss[-1], abs=1e-11)
        carried = hidden_carried(model, one.signal[-1], one.noise_gram[-1], one.readout[-1])
        assert row["carried_2_1"] == pytest.approx(carried[1, 0], abs=1e-12)
        assert row["head_peak"] == pytest.approx(np.abs(one.head - np.eye(2)).max(), rel=1e-2)


def test_one_unit_with_a_fixed_readout_is_the_model_without_hidden_units():
    how, given = Optimisation("adam", warm_up=3), {"method": "descent", "eta": 0.01, "steps": 20, "dim": 12}
    start = OrderParameters.sample(Model(activation="relu"), 12, 0)
    plain, fixed = (
        dynlab.simulate(model, start, optimisation=how, **given)
        for model in (Model(activation="relu"), Model(activation="relu", hidden=1, readout="fixed"))
    )
    assert (plain.signal == fixed.signal).all() and (plain.head == fixed.head).all() and fixed.readout is None
    layered = Model(activation="relu", hidden=1, readout="own")
    begin = OrderParameters(start.signal, start.noise_gram, None, np.eye(2))
    slow = Training(readout_rate=1e-300)  # moves nothing
    run = dynlab.simulate(layered, begin, training=slow, optimisation=how, **given)
    np.testing.assert_allclose(run.signal, plain.signal, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(run.head, plain.head, rtol=1e-8, atol=1e-11)


def test_an_interrupt_ends_it(monkeypatch):
    monkeypatch.setattr(dense_descent, "BURST", 1000)
    model, stop = Model(hidden=2), threading.Event()
    stop.set()
    flow.heed(stop)
    how = Optimisation("momentum")
    try:
        with pytest.raises(KeyboardInterrupt):
            start = OrderParameters.sample(model, 10, 0)
            dynlab.simulate(model, start, method="descent", steps=10**9, optimisation=how)
    finally:
        flow.heed(threading.Event())


def test_steps_that_overflow_are_told():
    model, how = Model(activation="cubic", hidden=2), Optimisation("momentum")
    run = dynlab.ensemble(model, dim=200, seeds=2, method="descent", eta=1e90, until=1e92, threads=1, optimisation=how)
    assert (run.frame["status"] == "not finite").all() and (run.frame["outcome"] == "failed").all()
    assert (run.frame["steps"] < 100).all()


@pytest.mark.parametrize(
    "given, word",
    [
        ({"optimisation": Optimisation("adam"), "dim": 5}, "dim=5"),
        ({"optimisation": Optimisation("adam"), "dim": 4097}, "dim=4097"),
        ({"optimisation": Optimisation("adam"), "dim": 50, "training": Training(normalisation="length")}, "normalisation"),
        ({"optimisation": Optimisation("momentum"), "dim": 50}, "dim=50"),
    ],
)
def test_what_is_refused(given, word):
    model = Model(activation="relu", hidden=2)
    with pytest.raises(SettingError, match=word) as raised:
        dynlab.simulate(model, OrderParameters.sample(model, 10, 0), method="descent", steps=1, **given)
    assert "\n" not in str(raised.value)

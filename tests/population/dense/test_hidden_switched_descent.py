"""Descent with hidden units under switches of Training, against loops on the oracle's gradient of 50 digits."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab import Model, Optimisation, OrderParameters, SettingError, Training
from dynlab.population.dense import dense_descent, hidden_descent
from tests.oracles import switches as oracle
from tests.population.dense.test_hidden_descent import moved

ETA, STEPS, DIM = 0.05, 5, 7
TRAININGS = [
    Training(head="linear", target="average", target_rate=2.0, weight_decay=0.3, head_decay=0.2, eta_head=0.5),
    Training(head="none", stop_gradient="none", normalisation="scale", decorrelation=0.4),
    Training(head="symmetric", normalisation="none", eta_head=0.7, head_matrix=((1.0, 0.2), (0.2, 0.9))),
    Training(head="directpred", stop_gradient="target"),
    Training(head="directcopy", stop_gradient="none", weight_decay=0.1),
    Training(head="fixed", head_matrix=((0.9, 0.4), (-0.3, 1.1)), stop_gradient="online"),
    Training(objective="barlow-twins", head="none", stop_gradient="none", barlow_weight=0.3),
    Training(objective="vicreg", head="none", stop_gradient="none", vicreg_weights=(0.5, 1.0, 0.01)),
]


def told(training):
    changed = training.changed()
    return "-".join(str(changed.get(name)) for name in ("objective", "head", "target", "stop_gradient", "normalisation"))


def by_hand(model, training, how, weights, start):
    """Weights, readout, head and loss after the steps, by the definitions: loops on the oracle's gradient."""
    used = np.kron(np.eye(model.neurons), np.ones(model.hidden)) if model.readout == "own" else np.ones((2, model.units))
    first = np.eye(2) if training.head_matrix is None else np.array(training.head_matrix)
    parts = [np.array(weights), np.array(start.readout), first]
    kept = [(np.zeros_like(x), np.zeros_like(x)) for x in parts]
    behind = [part.copy() for part in parts[:2]]
    own, head_rate = (0.0 if model.readout == "fixed" else training.readout_rate), training.head_rate
    for t in range(1, STEPS + 2):
        weights, readout, head = parts
        target = behind if training.target == "average" else (None, None)
        loss, *slopes = oracle.training_gradient(model, training, weights, head, target[0], 50, readout, target[1])
        if t > STEPS:
            return parts, float(loss)
        slopes = slopes[0], slopes[2] * used, slopes[1]
        speeds = ETA, ETA * own, ETA * head_rate
        parts = [moved(how, *given, t) for given in zip(parts, slopes, speeds, kept, strict=True)]
        behind = [b + ETA * training.target_rate * (x - b) for b, x in zip(behind, parts, strict=False)]
    raise AssertionError


@pytest.mark.parametrize("how", [Optimisation(), Optimisation("adam")], ids=lambda how: how.optimiser)
@pytest.mark.parametrize("training", TRAININGS, ids=told)
@pytest.mark.parametrize(("activation", "readout"), [("relu", "own"), ("cubic", "shared"), ("relu3", "fixed")])
def test_steps_are_those_of_the_definition(activation, readout, training, how):
    model = Model(
        strengths=(1.0, 0.6), activation=activation, patches=6, feature_patches=2, neurons=2, hidden=2, readout=readout
    )
    start = OrderParameters.sample(model, DIM, 3)
    weights = dense_descent.dense_start(model, start, DIM, 9)
    (right, a, head), loss = by_hand(model, training, how, weights, start)
    found, clock = hidden_descent.run_optimised_hidden(
        model, training, [start], how, eta=ETA, steps=STEPS, frames=[(DIM, 9, 0)], record_at=np.arange(1, STEPS + 1)
    )
    close = {"rtol": 1e-10, "atol": 1e-11}
    signal, gram, readouts, heads = (part[0] for part in found.ends)
    np.testing.assert_allclose(signal, right[:, :2], **close)
    np.testing.assert_allclose(gram, right[:, 2:] @ right[:, 2:].T, **close)
    np.testing.assert_allclose(readouts, a, **close)
    assert (np.abs(readouts - start.readout).max() > 1e-4) == (readout != "fixed")
    if training.head not in ("directpred", "directcopy"):  # theirs is of the state, not among what steps change
        np.testing.assert_allclose(heads, head, **close)
    assert found.loss[0] == pytest.approx(loss, rel=1e-10, abs=1e-11)
    np.testing.assert_allclose(clock, ETA * np.arange(1, STEPS + 1), rtol=1e-13)
    for recorded, ended in zip(found.at_times, found.ends, strict=True):
        assert (recorded[0, -1] == ended[0]).all()


def test_plain_steps_see_no_dimension_and_ensembles_are_their_trajectories():
    model = Model(activation="relu", weak=0.6, hidden=2)
    training = Training(head="directpred", target="average", weight_decay=0.01, readout_rate=0.5)
    given = {"method": "descent", "training": training, "eta": 0.02}
    many = dynlab.ensemble(model, dim=30, seeds=2, seed=4, until=1.0, threads=1, **given)
    assert many.settings["training"]["target"] == "average" and many.frame["drift"].isna().all()
    assert many.frame["head_bound"].isna().all() and (many.frame["status"] == "until").all()
    for k in range(2):
        start = OrderParameters.sample(model, 30, np.random.default_rng((4, k)))
        one = dynlab.simulate(model, start, steps=50, **given)
        for part, whole in zip((one.signal, one.noise_gram, one.head, one.readout), many.ends, strict=True):
            assert (part[-1] == whole[k]).all()
        assert many.frame["loss_end"][k] == pytest.approx(one.loss[-1], rel=1e-9)
        # The head that is recorded is the rule's own at every state, the first one's, too.
        for place in (0, -1):
            values = np.linalg.eigvalsh(one.head[place])
            assert values[-1] == pytest.approx(1.1, rel=1e-9) and np.allclose(one.head[place], one.head[place].T)
        wide, _ = hidden_descent.run_optimised_hidden(
            model, training, [start], Optimisation(), eta=0.02, steps=50, frames=[(30, 7, 0)]
        )
        np.testing.assert_allclose(wide.ends[0][0], one.signal[-1], rtol=1e-9, atol=1e-11)


def test_weights_decay_and_a_dead_unit_is_counted():
    # Without normalisation of what little loss is left weights only decay; a unit that nothing drives shrinks to nothing.
    model = Model(activation="relu", hidden=2)
    training = Training(head="none", normalisation="none", weight_decay=3.0)
    many = dynlab.ensemble(model, dim=30, seeds=2, method="descent", training=training, eta=0.05, until=30.0, threads=1)
    assert (many.frame["dead_units"] == 4).all()
    assert not many.frame[["rank", "loss_end", "carried_1_1", "carried_2_2"]].isna().any().any()


@pytest.mark.parametrize(
    ("more", "training", "words"),
    [
        ({"method": "flow"}, Training(weight_decay=0.1), "training='weight_decay'.*hidden units; descent takes any"),
        ({"method": "flow"}, Training(head="linear"), "training='head linear'.*descent takes any"),
        ({"method": "descent"}, Training(normalisation="length"), "normalisation='length'.*without noise"),
    ],
)
def test_what_has_no_form_is_refused_in_a_line(more, training, words):
    with pytest.raises(SettingError, match=words) as caught:
        dynlab.ensemble(Model(activation="relu", hidden=2), dim=30, seeds=1, training=training, **more)
    assert "\n" not in str(caught.value)

"""The minibatch gradient of outputs that sum over hidden units: against loops, one unit, the population's; silent units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynlab import Model, population_gradient
from dynlab.population.order_parameters import own_units
from dynlab.samples.generator import samples
from dynlab.samples.gradient import Minibatch, Source
from dynlab.samples.minibatch import minibatch_gradient
from dynlab.settings.training import Training
from tests.population.any_training.combinations import a_training, any_head
from tests.samples import naive_hidden as naive
from tests.samples.test_gradient import TRAINED
from tests.strategies import SeededDraws

ACTIVATIONS = ("relu", "cubic", "relu3", "linear")
READOUTS = ("own", "shared", "fixed")
MASKS = ("half", "independent")


def a_case(number: int, neurons: int | None = None):
    """Model, weights (M, d), readout (m, M), head (m, m) of order one; 24 numbers are all activations, readouts, masks."""
    rng = np.random.default_rng((11, number))
    m, hidden, features = neurons or int(rng.integers(1, 4)), int(rng.integers(2, 4)), int(rng.integers(1, 4))
    model = Model(
        strengths=(1.0, 0.7, 0.4)[:features], neurons=m, hidden=hidden, readout=READOUTS[number % 3],
        activation=ACTIVATIONS[number % 4], mask=MASKS[number // 12 % 2], patches=6, feature_patches=int(rng.integers(1, 5)),
        noise=0.8, correlation=0.3 if number % 5 == 4 and features > 1 else None,
    )  # fmt: skip
    weights = rng.standard_normal((model.units, model.features + int(rng.integers(1, 5))))
    readout = np.where(own_units(model), rng.standard_normal((m, model.units)), 0.0)
    head = np.eye(m) + 0.5 * rng.standard_normal((m, m)) * (1.0 - np.eye(m))
    return model, weights, readout, head


def expected(model, training, weights, readout, head, target, made):
    """Loss, dL/dw, dL/da, dL/dE of the loops, with what the training's rules add to them."""
    value, d_weights, d_readout, d_head = naive.gradient(
        model, training, made.patches, made.view, weights, readout, head, target
    )
    if training.head == "off-diagonal":
        np.fill_diagonal(d_head, 0.0)
    if training.head == "symmetric":
        d_head = (d_head + d_head.T) / 2
    if training.head in TRAINED:
        d_head = d_head + training.head_decay * head * (1.0 - np.eye(len(head)) if training.head == "off-diagonal" else 1.0)
    else:
        d_head[...] = 0.0
    decay = 0.0 if model.readout == "fixed" else training.weight_decay
    d_readout = np.where(own_units(model), d_readout + decay * readout, 0.0)
    return value, d_weights + training.weight_decay * weights, d_readout, d_head


def close(found, wanted, tolerance=1e-12):
    """To the tolerance, relative to the largest component of each array or 1e-2, loss to 1."""
    loss, d_weights, d_readout, d_head = wanted
    assert abs(found.loss - loss) <= tolerance * max(1.0, abs(loss))
    for some, right in ((found.d_weights, d_weights), (found.d_readout, d_readout), (found.d_head, d_head)):
        assert np.abs(some - right).max() <= tolerance * max(np.abs(right).max(), 1e-2), (some, right)


@pytest.mark.parametrize("number", range(24))
def test_equals_naive_loops(number):
    model, weights, readout, head = a_case(number)
    made = samples(model, weights.shape[1], 11, seed=number, step=2)
    wanted = expected(model, Training(), weights, readout, head, None, made)
    for passes in (1, 2):
        given = {"batch": 11, "seed": number, "step": 2, "passes": passes}
        close(minibatch_gradient(model, Training(), weights, head, readout=readout, **given), wanted)


@pytest.mark.parametrize("number", range(24))
def test_equals_naive_loops_under_every_switch(number):
    model, weights, readout, head = a_case(number, neurons=2)
    draws = SeededDraws(np.random.default_rng((12, number)))
    training = replace(a_training(draws, 2, noiseless=True), symmetric=number % 2 == 0, readout_rate=0.3)
    head = np.eye(2)
    if training.head == "fixed":
        head = np.array(training.head_matrix)
    elif training.head in TRAINED:
        head = any_head(draws, training.head, 2)
    behind = None
    if training.target == "average":
        rng = np.random.default_rng(number)
        behind = weights + 0.3 * rng.standard_normal(weights.shape), 0.7 * readout
    made = samples(model, weights.shape[1], 10, seed=number)
    wanted = expected(model, training, weights, readout, head, behind, made)
    target, target_readout = behind or (None, None)
    for passes in (2,) if training.normalisation == "length" else (1, 2):
        given = {"batch": 10, "seed": number, "passes": passes, "readout": readout, "target_readout": target_readout}
        close(minibatch_gradient(model, training, weights, head, target, **given), wanted)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("symmetric", [False, True])
def test_one_unit_that_is_read_by_one_is_the_neuron_to_the_bit(passes, symmetric):
    weights, head = np.random.default_rng(0).standard_normal((2, 9)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    training, given = Training(symmetric=symmetric), {"batch": 40, "passes": passes}
    plain = minibatch_gradient(Model(activation="relu"), training, weights, head, **given)
    one = minibatch_gradient(Model(activation="relu", readout="own"), training, weights, head, readout=np.eye(2), **given)
    assert plain.d_readout is None
    for a, b in zip(plain, one, strict=True):
        assert np.array_equal(a, b)
    # <w_j, dL/dw_j> = q a_j dL/da_j, as for a unit of the theory.
    assert np.allclose(np.diagonal(one.d_readout), (weights * one.d_weights).sum(1), rtol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "relu3"])
@pytest.mark.parametrize("readout", ["own", "shared"])
def test_what_a_flow_conserves_holds_on_every_minibatch(activation, readout):
    """<w_h, dL/dw_h>/q = sum_j a_jh dL/da_jh, and an output's readout against the head's entries."""
    model = Model(activation=activation, hidden=3, readout=readout)
    rng, degree = np.random.default_rng(1), 1 if activation == "relu" else 3
    weights, head = rng.standard_normal((6, 30)), np.array([[1.0, 0.4], [-0.6, 1.0]])
    a = np.where(own_units(model), rng.standard_normal((2, 6)), 0.0)
    for step in range(4):
        found = minibatch_gradient(model, Training(), weights, head, readout=a, batch=64, step=step)
        left, right = (weights * found.d_weights).sum(1) / degree, (a * found.d_readout).sum(0)
        assert np.abs(left - right).max() <= 1e-11 * np.abs(right).max()
        mine, turned = (a * found.d_readout).sum(1), head * found.d_head
        assert np.abs(mine - (turned.sum(0) - turned.sum(1))).max() <= 1e-11 * np.abs(mine).max()


REPEATS, BATCH, DIM = 300, 96, 5
READOUT = np.array([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, -1.0, 0.3]])


@pytest.mark.parametrize(
    ("activation", "readout", "mask"),
    [("relu", "own", "half"), ("cubic", "shared", "independent"), ("relu3", "fixed", "half")],
)
def test_its_mean_is_the_population_gradient(activation, readout, mask):
    """Every component within 4 standard errors, the O(1/batch) bias taken out (Richardson)."""
    shape = {"patches": 4, "feature_patches": 2, "weak": 0.6, "noise": 0.2}
    model = Model(activation=activation, mask=mask, hidden=2, readout=readout, **shape)
    rng = np.random.default_rng(3)
    weights, head = rng.standard_normal((4, DIM)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    a = np.where(own_units(model), rng.standard_normal((2, 4)), 0.0)
    wanted = flat(population_gradient(model, weights, head, readout=a))
    means, errors = [], []
    for batch, seed in ((BATCH, 1), (2 * BATCH, 2)):
        work = Minibatch(model, Training(), DIM, batch, Source(seed))
        drawn = np.array([flat(work.gradient(step, weights, head, readout=a)) for step in range(REPEATS)])
        means.append(drawn.mean(0))
        errors.append(drawn.std(0) / np.sqrt(REPEATS))
    without_bias, error = 2.0 * means[1] - means[0], np.hypot(2.0 * errors[1], errors[0])
    trained = error > 0.0
    assert trained.sum() == 1 + 4 * DIM + (8 if readout == "shared" else 4) + 2
    assert (np.abs(without_bias - wanted)[trained] < 4.0 * error[trained]).all()
    # The test can tell: every part's error is a small share of the part.
    assert np.linalg.norm(error[1:]) < 0.3 * np.linalg.norm(wanted[1:])


def flat(found):
    return np.concatenate([np.ravel(part) for part in (found.loss, found.d_weights, found.d_readout, found.d_head)])


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("passes", [1, 2])
def test_same_bits_for_any_threads_and_tile(precision, passes):
    model, training = Model(activation="relu", hidden=2), Training(symmetric=True)
    rng = np.random.default_rng(0)
    weights, a = rng.standard_normal((4, 70)) / 8, np.where(own_units(model), rng.standard_normal((2, 4)), 0.0)
    given = {"batch": 301, "precision": precision, "passes": passes, "readout": a}
    one = minibatch_gradient(model, training, weights, threads=1, **given)
    for other in ({"threads": 2}, {"threads": 1, "tile": 1}, {"threads": 2, "tile": 7}):
        again = minibatch_gradient(model, training, weights, **given, **other)
        assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
        assert np.array_equal(one.d_readout, again.d_readout)


def test_float32_is_near_its_own_samples_in_float64():
    model, weights, readout, head = a_case(0, neurons=2)
    made = samples(model, weights.shape[1], 20, precision="float32")
    found = minibatch_gradient(model, Training(), weights, head, readout=readout, batch=20, precision="float32")
    close(found, expected(model, Training(), weights, readout, head, None, made), 1e-5)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_silent_unit_gives_zero_and_no_nan(passes):
    """Without noise a unit that answers only the sign which no sample of the batch has."""
    model = Model(activation="relu", hidden=2, noise=0.0, weak=0.5, patches=4, feature_patches=2, mask="independent")
    weights = np.array([[1.0, 0.2, 0.0], [-1.0, -0.3, 0.0], [0.4, 1.0, 0.0], [-0.5, -1.0, 0.0]])
    a = READOUT
    made = next(s for s in range(9999) if _signs_are_one_and_features_two(samples(model, 3, 6, step=s)))
    work = Minibatch(model, Training(), 3, 6, Source(0), passes=passes)
    found = work.gradient(made, weights, np.eye(2), readout=a)
    assert found.problem is None and found.moments.cov[0, 0] > 0.0
    assert np.isfinite(flat(found)).all() and (found.d_weights[[1, 3]] == 0.0).all()
    assert (found.d_readout[:, [1, 3]] == 0.0).all() and np.abs(found.d_readout).max() > 0.0
    # An output all of whose units are silent has no variance, and says so.
    silent = weights[[0, 1, 1, 1]]
    assert "zero variance" in work.gradient(made, silent, np.eye(2), readout=a).problem


def _signs_are_one_and_features_two(made) -> bool:
    return (made.sign > 0.0).all() and len(set(made.feature)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"readout": None}, "readout: missing, must be (2, 4)"),
        ({"readout": np.ones((2, 3))}, "readout: shape (2, 3), must be (2, 4)"),
        ({"readout": np.ones((2, 4))}, "readout: joins a neuron to units of another"),
        ({"readout": READOUT, "target_readout": READOUT}, "target_readout='given': must be left out with target"),
        ({"device": "cuda"}, "device='cuda': must be cpu or auto with hidden units: minibatch kernels of the device"),
    ],
)
def test_bad_input_is_one_line(changes, message):
    with pytest.raises(ValueError) as error:
        minibatch_gradient(Model(hidden=2), Training(), np.ones((4, 5)), **{"readout": READOUT, "batch": 4} | changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_readout_is_of_hidden_units():
    with pytest.raises(ValueError, match="readout: given, but the model's neurons have no hidden units"):
        minibatch_gradient(Model(), Training(), np.ones((2, 5)), readout=np.eye(2), batch=4)

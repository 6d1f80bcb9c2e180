"""The minibatch gradient: against naive loops, its exact invariance, against the population's, and its bits."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from dynlab import Model, population_gradient
from dynlab.samples import kernels
from dynlab.samples.generator import samples
from dynlab.samples.gradient import Minibatch, Source
from dynlab.samples.minibatch import minibatch_gradient
from dynlab.settings.training import Training
from tests.population.any_training.combinations import a_training, any_head
from tests.samples import naive_batch as naive
from tests.strategies import SeededDraws, a_model, ordinary_row

DEGREE = {"relu": 1, "linear": 1, "cubic": 3, "relu3": 3}
TRAINED = ("off-diagonal", "linear", "symmetric")


def a_case(number: int):
    """A random model of at most 8 patches and a random training; weights, head and target's weights of order one."""
    draws = SeededDraws(np.random.default_rng((7, number)))
    model = a_model(draws, edges=False, max_patches=8, neurons=draws.integer(1, 3), alike=True)
    training = a_training(draws, model.neurons, noiseless=True)
    training = replace(training, symmetric=draws.choice((True, False)))
    d = model.features + draws.integer(1, 6)
    weights, behind = (np.array([ordinary_row(draws, d) for _ in range(model.neurons)]) for _ in range(2))
    head = np.array(training.head_matrix) if training.head == "fixed" else np.eye(model.neurons)
    if training.head in TRAINED:
        head = any_head(draws, training.head, model.neurons)
    return model, training, weights, head, behind if training.target == "average" else None


def expected(model, training, weights, head, target, made, correlation=None):
    """The naive gradient with what the training's rules add to it."""
    value, d_weights, d_head = naive.gradient(model, training, made.patches, made.view, weights, head, target, correlation)
    if training.head == "off-diagonal":
        np.fill_diagonal(d_head, 0.0)
    if training.head == "symmetric":
        d_head = (d_head + d_head.T) / 2
    if training.head not in TRAINED:
        d_head[...] = 0.0
    else:
        free = 1.0 - np.eye(len(head)) if training.head == "off-diagonal" else 1.0
        d_head = d_head + training.head_decay * head * free
    return value, d_weights + training.weight_decay * weights, d_head


def close(found, wanted, tolerance=1e-12):
    """To the tolerance, relative to the largest component of each array or 1e-2 (terms of order one cancel), loss to 1."""
    assert abs(found[0] - wanted[0]) <= tolerance * max(1.0, abs(wanted[0]))
    for some, right in zip(found[1:], wanted[1:], strict=True):
        assert np.abs(some - right).max() <= tolerance * max(np.abs(right).max(), 1e-2), (some, right)


def ways(number):
    """The numbers of passes that a case is made in: two with normalisation to unit length."""
    return (2,) if a_case(number)[1].normalisation == "length" else (1, 2)


@pytest.mark.parametrize(("number", "passes"), [(number, passes) for number in range(60) for passes in ways(number)])
def test_equals_naive_loops(number, passes):
    model, training, weights, head, target = a_case(number)
    step = 3 if number != 34 else 9  # there a neuron is silent on all of step 3
    given = {"batch": 9 + number % 4, "seed": number, "step": step}
    made = samples(model, weights.shape[1], **given)
    found = minibatch_gradient(model, training, weights, head, target, passes=passes, **given)
    close(found, expected(model, training, weights, head, target, made))


def test_moving_correlation_is_used():
    model = Model(patches=4, feature_patches=2)
    before = np.array([[2.0, 0.3], [0.3, 0.5]])
    weights = np.random.default_rng(0).standard_normal((2, 6))
    for head in ("directpred", "directcopy"):
        training = Training(head=head)
        made = samples(model, 6, 8)
        found = minibatch_gradient(model, training, weights, batch=8, correlation=before)
        close(found, expected(model, training, weights, np.eye(2), None, made, before))


@pytest.mark.parametrize("activation", DEGREE)
@pytest.mark.parametrize("step", range(10))
def test_invariance_on_every_minibatch(activation, step):
    """<w_1, dL/dw_1>/q = E_21 dL/dE_21 - E_12 dL/dE_12, and its mirror."""
    rng = np.random.default_rng(step)
    weights, head = rng.standard_normal((2, 40)), np.eye(2)
    head[0, 1], head[1, 0] = rng.standard_normal(2)
    _, d_weights, d_head = minibatch_gradient(Model(activation=activation), Training(), weights, head, batch=64, step=step)
    for j in (0, 1):
        left = weights[j] @ d_weights[j] / DEGREE[activation]
        right = head[1 - j, j] * d_head[1 - j, j] - head[j, 1 - j] * d_head[j, 1 - j]
        size = np.linalg.norm(weights[j]) * np.linalg.norm(d_weights[j])
        assert abs(left - right) <= 1e-12 * size


BATCH, REPEATS, DIM = 128, 3000, 5


@pytest.mark.parametrize("activation", ["cubic", "relu"])
@pytest.mark.parametrize("mask", ["half", "independent"])
def test_its_mean_is_the_population_gradient(activation, mask):
    """Every component of loss and gradient within 4 standard errors, the O(1/batch) bias taken out (Richardson)."""
    model = Model(activation=activation, mask=mask, patches=8, feature_patches=4, weak=0.6)
    rng = np.random.default_rng(3)
    weights, head = rng.standard_normal((2, DIM)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    wanted = flat(population_gradient(model, weights, head))
    found = []
    for batch, seed in ((BATCH, 1), (2 * BATCH, 2)):
        work = Minibatch(model, Training(), DIM, batch, Source(seed))
        found.append(np.array([flat(gradient_of(work, step, weights, head)) for step in range(REPEATS)]))
    means, errors = ([g.mean(0) for g in found], [g.std(0) / np.sqrt(REPEATS) for g in found])
    without_bias, error = 2 * means[1] - means[0], np.hypot(2 * errors[1], errors[0])
    trained = error > 0
    assert trained.sum() == 1 + 2 * DIM + 2
    assert (np.abs(without_bias - wanted)[trained] < 4 * error[trained]).all()
    # The bias is there to be taken out: the loss of the smaller batch shows it.
    assert activation == "relu" or abs(means[0][0] - wanted[0]) > 2 * errors[0][0]


def gradient_of(work, step, weights, head):
    result = work.gradient(step, weights, head)
    return result.loss, result.d_weights, result.d_head


def flat(gradient):
    return np.concatenate([np.ravel(part) for part in gradient])


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("passes", [1, 2])
def test_same_bits_for_any_threads_and_tile(precision, passes):
    model, training = Model(), Training(symmetric=True)
    weights = np.random.default_rng(0).standard_normal((2, 70)) / 8
    given = {"batch": 301, "precision": precision, "passes": passes}
    one = minibatch_gradient(model, training, weights, threads=1, **given)
    for other in ({"threads": 2}, {"threads": 1, "tile": 1}, {"threads": 2, "tile": 7}):
        for a, b in zip(one, minibatch_gradient(model, training, weights, **given, **other), strict=True):
            assert np.array_equal(a, b)


def test_float32_is_near_its_own_samples_in_float64():
    model, training = Model(patches=4, feature_patches=2), Training()
    weights = np.random.default_rng(0).standard_normal((2, 9))
    made = samples(model, 9, 20, precision="float32")
    assert made.patches.dtype == np.float32
    found = minibatch_gradient(model, training, weights, batch=20, precision="float32")
    close(found, expected(model, training, weights, np.eye(2), None, made), 1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch=1: must be an integer >= 2 (normalisation by the statistics of one sample is undefined)"),
        ({"batch": 8, "data": 7}, "data=7: must be an integer >= 8 and"),
        ({"batch": 8, "precision": "float16"}, "precision='float16': must be one of float64, float32"),
        ({"batch": 8, "target_weights": np.ones((2, 4))}, "target_weights='given': must be left out with target \"same\""),
    ],
)
def test_bad_input_is_one_line(changes, message):
    with pytest.raises(ValueError) as error:
        minibatch_gradient(Model(), Training(), np.ones((2, 4)), **changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_zero_variance_is_refused():
    weights = np.random.default_rng(0).standard_normal((2, 6))
    weights[1] = 0.0
    with pytest.raises(ValueError, match="zero variance over the batch"):
        minibatch_gradient(Model(), Training(), weights, batch=16)
    with pytest.raises(ValueError, match="overflow"):
        minibatch_gradient(Model(), Training(), 1e80 * (weights + 1.0), batch=16)


@pytest.mark.parametrize("passes", [1, 2])
def test_memory_is_of_the_outputs_and_the_weights(passes):
    """A step of 2048 samples in 256 dimensions, whose patches would take 67 MB, takes less than 4."""
    work = Minibatch(Model(), Training(), 256, 2048, Source(0), passes=passes, count=1)
    weights = np.random.default_rng(0).standard_normal((2, 256)) / 16
    work.gradient(0, weights, np.eye(2))  # compiles
    tracemalloc.start()
    work.gradient(1, weights, np.eye(2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize("features", [1, 2, 3, 7])
def test_features_that_are_alike_are_drawn_as_by_a_product(features):
    """The first cut above a is at (a K) >> 32: for all a next to a cut."""
    cuts = kernels.feature_cuts(Model(strengths=(1.0,) * features))
    assert cuts[-1] == 1 << 32
    for cut in cuts[:-1]:
        for a in (cut - 1, cut):
            assert next(l for l, high in enumerate(cuts) if a < high) == (a * features) >> 32


def test_features_come_as_often_as_they_should():
    often = (0.15, 0.6, 0.25)
    model = Model(strengths=(1.0, 0.6, 0.5), probabilities=often, activation="relu", patches=4, feature_patches=2)
    made = samples(model, 6, 20_000)
    found = np.bincount(made.feature, minlength=3) / 20_000
    assert (np.abs(found - often) < 5.0 * np.sqrt(np.array(often) * (1.0 - np.array(often)) / 20_000)).all(), found
    weights = np.random.default_rng(2).standard_normal((2, 6))
    mean = np.mean([minibatch_gradient(model, Training(), weights, batch=20_000, step=k).d_weights for k in range(4)], 0)
    right = population_gradient(model, weights, np.eye(2)).d_weights
    other = population_gradient(replace(model, probabilities=None), weights, np.eye(2)).d_weights
    assert np.abs(mean - right).max() < 0.2 * np.abs(other - right).max()

"""Many gradients at once equal one gradient at a time."""

import numpy as np
import pytest

from dynlab import Model, population_gradient
from dynlab.population.pair.batch import pair_gradients


def states(count=40):
    rng = np.random.default_rng(5)
    weights, head = rng.standard_normal((count, 2, 4)), np.tile(np.eye(2), (count, 1, 1))
    head[:, 0, 1], head[:, 1, 0] = rng.standard_normal((2, count))
    weights[0, 1, 2:] = -3.0 * weights[0, 0, 2:]  # antiparallel noise parts
    weights[1, 1, 2:] = 0.5 * weights[1, 0, 2:]  # parallel ones
    weights[2, 0, :2] *= 1e-6
    return weights, head


def agrees(candidate, activation, mask):
    """The candidate's losses and gradients are those of `population_gradient`."""
    model = Model(activation=activation, mask=mask, weak=0.4)
    weights, head = states()
    found = candidate(model, weights, head)
    for i in range(len(weights)):
        for got, want in zip(found, population_gradient(model, weights[i], head[i]), strict=True):
            np.testing.assert_allclose(got[i], want, rtol=1e-8, atol=1e-11 * np.abs(want).max())


@pytest.mark.parametrize("mask", ["half", "independent"])
@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3", "linear"])
def test_batch_equals_single(activation, mask):
    agrees(pair_gradients, activation, mask)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 43])
def test_any_number_of_states(count):
    """Eight go together: those behind the last, and none at all, are as good; and none is written beside its place."""
    model = Model(activation="relu", weak=0.4)
    weights, head = states(43)
    whole, some = pair_gradients(model, weights, head), pair_gradients(model, weights[:count], head[:count])
    for part, all_of_it in zip(some, whole, strict=True):
        assert (part == all_of_it[:count]).all()


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_a_signal_of_zero_is_on_neither_side(activation):
    model = Model(activation=activation)
    weights, head = states()
    weights[:, 0, 1] = 0.0
    loss, d_weights, _ = pair_gradients(model, weights, head)
    assert np.isfinite(loss).all() and (d_weights[:, 0, 1] == 0.0).all()


def test_a_wrong_sign_is_caught():
    def faulty(model, weights, head):
        loss, d_weights, d_head = pair_gradients(model, weights, head)
        d_weights[7, 1, 3] *= -1.0
        return loss, d_weights, d_head

    with pytest.raises(AssertionError):
        agrees(faulty, "relu", "half")


def test_other_shapes_are_refused():
    weights, head = states()
    with pytest.raises(ValueError, match="3 neurons and 2 features, must be 2 and 2"):
        pair_gradients(Model(neurons=3), weights, head)
    with pytest.raises(ValueError, match=r"must be \(N, 2, 4\), \(N, 2, 2\)"):
        pair_gradients(Model(), weights[:, :, :3], head)

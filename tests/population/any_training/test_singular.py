"""relu under switches where it used to take 20000 steps: outputs that vanish in finite time, decay that is slow."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import dynlab
from dynlab.formulas.activations import RELU
from dynlab.formulas.switched import BATCH, LENGTH
from dynlab.population.any_training import singular
from dynlab.population.gradient import parameter_vector

QUADRATIC = 1e3  # T_1 of relu at dim 1000, as the table of switches takes it


def held(model, signal, norm, cosine, entry):
    """What `switched_rates` leaves of two neurons whose second output borrows `entry` of the first."""
    norm = np.array(norm)
    dot = np.outer(norm, norm) * np.array([[1.0, cosine], [cosine, 1.0]])
    scratch = SimpleNamespace(signal=np.array(signal), norm=norm, dot=dot, head=np.array([[1.0, 0.0], [entry, 1.0]]))
    system = SimpleNamespace(
        kind=RELU, m=2, features=1, par=parameter_vector(model, 0.01), choice=np.array([0, 0, 0, BATCH, 0])
    )
    return system, scratch


def test_the_share_of_an_output_in_what_it_is_made_of():
    """By hand: an output that borrows minus itself has none, one that borrows nothing has all; not so across a kink."""
    model = dynlab.Model(strengths=(1.0,), activation="relu")
    assert singular.least_variance(*held(model, [[2.0], [1.0]], [0.6, 0.3], 1.0, -0.5)) == pytest.approx(0.0, abs=1e-15)
    assert singular.least_variance(*held(model, [[2.0], [1.0]], [0.6, 0.3], 1.0, 0.0)) == pytest.approx(1.0, rel=1e-12)
    assert singular.least_variance(*held(model, [[2.0], [-1.0]], [0.6, 0.3], 1.0, -0.5)) > 0.1
    assert singular.least_variance(*held(model, [[2.0], [1.0]], [0.6, 0.3], 0.5, -0.5)) > 1e-3


def test_only_where_outputs_are_normalised_one_by_one_and_time_stands_still():
    model = dynlab.Model(strengths=(1.0,), activation="relu")
    system, scratch = held(model, [[2.0], [1.0]], [0.6, 0.3], 1.0, -0.5)
    assert singular.comes_to_nothing(system, scratch, 1e-4)
    assert not singular.comes_to_nothing(system, scratch, 0.1)
    system.choice[3] = LENGTH
    assert not singular.comes_to_nothing(system, scratch, 1e-4)


def test_a_slow_average_ends_where_an_output_has_no_variance():
    training = dynlab.Training(eta_head=0.01, target="average", target_rate=1.0 / QUADRATIC)
    run = dynlab.ensemble(dynlab.Model(activation="relu"), dim=1000, seeds=[0, 2], training=training, until=1e7, threads=1)
    assert list(run.frame.status) == ["singular", "singular"]
    for signal, gram, head in zip(*run.ends[:3], strict=True):
        norm = np.sqrt(np.diag(gram))
        assert gram[0, 1] == pytest.approx(norm[0] * norm[1], rel=1e-5), "noise parts are parallel"
        # One output takes off the other what it is itself: F_j = f_j + E_jr f_r = 0 in the features and in the noise.
        size = np.abs(np.concatenate([signal, norm[:, None]], axis=1)).max()
        left = [signal[j] + head[j, 1 - j] * signal[1 - j] for j in (0, 1)]
        noise = [norm[j] + head[j, 1 - j] * norm[1 - j] for j in (0, 1)]
        assert min(max(np.abs(a).max(), abs(b)) for a, b in zip(left, noise, strict=True)) < 1e-3 * size


def test_slow_decay_goes_to_its_end():
    """Six of sixteen starts took 20000 steps without an end."""
    training = dynlab.Training(eta_head=0.01, weight_decay=0.01 / QUADRATIC)
    run = dynlab.ensemble(dynlab.Model(activation="relu"), dim=1000, seeds=16, training=training, until=1e7, threads=1)
    assert "steps" not in set(run.frame.status)

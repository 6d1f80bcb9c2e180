"""Flows, descent, switches and minibatches of registered activations."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters, Training
from dynlab.machine import jit
from dynlab.population import gradient
from dynlab.population.pair import flow
from dynlab.population.starts import draw_start
from dynlab.settings.activation_records import ACTIVATIONS
from tests.settings.registration.examples import EXAMPLES, TWINS
from tests.waiting import HANGS

every_example = pytest.mark.parametrize("activation", EXAMPLES)
TRAINING = Training(head="linear", target="average", target_rate=0.3)
_jacobian = flow._solver.flow_jacobian


def charges(trajectory, degree, rate):
    """|w_j|^2/q + sum_r (E_jr^2 - E_rj^2)/r at all times (n, m)."""
    square = (trajectory.signal**2).sum(-1) + np.diagonal(trajectory.noise_gram, axis1=1, axis2=2)
    head = trajectory.head**2
    return square / degree + (head - np.swapaxes(head, 1, 2)).sum(-1) / rate


@pytest.mark.parametrize(("activation", "dim"), [("quintic", 30), ("quintic", 10**6), ("relu2", 30), ("relu2", 1000)])
def test_conservation_along_the_flow(activation, dim):
    model, degree = Model(activation=activation), ACTIVATIONS[activation].degree
    for index in range(3):
        run = dynlab.simulate(model, draw_start(model, dim, 1, index), eta_head=0.01, rtol=1e-9)
        assert run.success
        found = charges(run, degree, 0.01)
        assert np.abs(found / found[0] - 1).max() < 1e-6


@every_example
def test_flow_against_scipy(activation):
    """The same trajectory by an explicit method on `order_parameter_gradient`, in dense weights."""
    from scipy.integrate import solve_ivp

    model = Model(activation=activation, weak=0.7)
    weights = np.array([[0.9, 0.5, 0.6, -0.3], [0.4, -0.8, 0.5, 0.7]])

    def rate(_, y):
        head = np.array([[1.0, y[8]], [y[9], 1.0]])
        _, d_weights, d_head = dynlab.population_gradient(model, y[:8].reshape(2, 4), head)
        return -np.concatenate([d_weights.ravel(), 0.3 * d_head[[0, 1], [1, 0]]])

    times = [0.5, 2.0, 5.0]
    y0 = np.concatenate([weights.ravel(), [0.0, 0.0]])
    right = solve_ivp(rate, (0.0, 5.0), y0, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13).y.T
    start = OrderParameters.from_weights(model, weights, np.eye(2))
    run = dynlab.simulate(model, start, eta_head=0.3, times=times, rtol=1e-10)
    assert run.signal == pytest.approx(right[:, :8].reshape(-1, 2, 4)[:, :, :2], abs=1e-7)
    assert run.head[:, [0, 1], [1, 0]] == pytest.approx(right[:, 8:], abs=1e-7)


@pytest.mark.parametrize("built_in", TWINS)
@pytest.mark.parametrize("dim", [64, 10**6])
def test_a_built_in_one_registered_again_has_its_trajectories(built_in, dim):
    times = np.geomspace(1.0, 0.02 * dim**2, 6)
    runs = [dynlab.simulate(model, draw_start(model, dim, 2, 0), times=times, rtol=1e-9)
            for model in (Model(activation=built_in), Model(activation=TWINS[built_in]))]  # fmt: skip
    # A signal that falls within less than the clock resolves is the same by what is left of it only.
    np.testing.assert_allclose(runs[1].signal, runs[0].signal, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(runs[1].head, runs[0].head, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("built_in", TWINS)
def test_three_neurons(built_in):
    """The general layout, with the gaps at both ends."""
    runs = []
    for name in (built_in, TWINS[built_in]):
        model = Model(activation=name, neurons=3, strengths=(1.0, 0.8, 0.6))
        runs.append(dynlab.simulate(model, draw_start(model, 50, 0, 0), times=[10.0, 100.0], rtol=1e-9))
    np.testing.assert_allclose(runs[1].signal, runs[0].signal, rtol=1e-6)


@jit.kernel
def jacobian_kernel(kind, par, z, side, scratch, twins, rates, jac):
    _jacobian((kind, 2, 2, par), z, side, scratch, twins, rates, jac)


def test_the_jacobian_is_exact():
    """By numbers with tangents through the expansions, against the cubic pair's in closed form: all but rounding."""
    model = Model(activation=TWINS["cubic"])
    for index in range(5):
        z, side = flow.encode(model, draw_start(model, 20, 4, index))
        z[7:] = 0.1, -0.2
        par = gradient.parameter_vector(model, 0.3)
        found, right = (np.empty(9), np.empty((9, 9))), (np.empty(9), np.empty((9, 9)))
        jacobian_kernel(ACTIVATIONS[TWINS["cubic"]].kind, par, z, side, *flow._scratch(model, 9), *found)
        jacobian_kernel(ACTIVATIONS["cubic"].kind, par, z, side, *flow._scratch(Model(), 9), *right)
        for mine, theirs in zip(found, right, strict=True):
            assert np.abs(mine - theirs).max() < 1e-12 * np.abs(theirs).max()


@every_example
def test_descent_follows_the_flow(activation):
    """At a small step the exact map of gradient descent is the flow, to first order in the step."""
    model = Model(activation=activation, weak=0.7)
    start = OrderParameters.from_weights(model, [[0.9, 0.5, 0.6, -0.3], [0.4, -0.8, 0.5, 0.7]], np.eye(2))
    right = dynlab.simulate(model, start, times=[1.0], rtol=1e-9).signal[-1]
    errors = []
    for steps in (200, 400):
        run = dynlab.simulate(model, start, method="descent", eta=1.0 / steps, steps=steps, eta_head=0.01)
        errors.append(np.abs(run.signal[-1] - right).max())
    assert errors[0] < 0.02
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("built_in", TWINS)
def test_switches(built_in):
    """A training with none of the paper's choices, gradient and flow."""
    rng = np.random.default_rng(5)
    weights, head = rng.standard_normal((2, 5)), np.eye(2) + 0.2 * rng.standard_normal((2, 2))
    models = Model(activation=built_in), Model(activation=TWINS[built_in])
    found = [dynlab.training_gradient(model, TRAINING, weights, head, 0.9 * weights) for model in models]
    for mine, right in zip(found[1], found[0], strict=True):
        if right is not None:
            np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-14)
    runs = [dynlab.simulate(model, draw_start(model, 50, 0, 1), training=TRAINING, times=[5.0, 50.0]) for model in models]
    np.testing.assert_allclose(runs[1].signal, runs[0].signal, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("built_in", TWINS)
def test_minibatches(built_in):
    rng = np.random.default_rng(6)
    weights, head = rng.standard_normal((2, 6)), np.array([[1.0, 0.3], [-0.2, 1.0]])
    models = Model(activation=built_in), Model(activation=TWINS[built_in])
    right, found = (dynlab.minibatch_gradient(model, Training(), weights, head, batch=64, seed=3) for model in models)
    for mine, theirs in zip(found, right, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@every_example
def test_minibatches_of_an_example(activation):
    """A large batch has the population's gradient, to its sampling error."""
    model = Model(activation=activation, noise=0.3)
    weights, head = np.array([[0.9, 0.5, 0.6, -0.3], [0.4, -0.8, 0.5, 0.7]]), np.array([[1.0, 0.3], [-0.2, 1.0]])
    _, right, _ = dynlab.population_gradient(model, weights, head)
    batches = (dynlab.minibatch_gradient(model, Training(), weights, head, batch=4096, seed=k) for k in range(8))
    found = np.array([d_weights for _, d_weights, _ in batches])
    error = found.std(axis=0, ddof=1) / np.sqrt(8)
    assert (np.abs(found.mean(axis=0) - right) < 6 * error + 2e-3 * np.abs(right).max()).all()


@every_example
def test_ensembles_do_not_depend_on_threads(activation):
    model = Model(activation=activation)
    runs = [dynlab.ensemble(model, dim=1000, seeds=40, threads=count) for count in (1, 2)]
    assert (runs[0].frame["outcome"] != "failed").all()
    assert runs[0].frame.equals(runs[1].frame)
    assert runs[0].frame["drift"].max() < 1e-4


FRESH = """
import dynlab
from tests.settings.registration.examples import register_all
register_all()
from dynlab.population.pair import flow
from dynlab.population.starts import draw_start
model = dynlab.Model(activation="relu2")
run = dynlab.simulate(model, draw_start(model, 100, 0, 0), until=100.0)
print(sum(flow._flow_kernel.stats.cache_misses.values()), run.signal[-1].tobytes().hex())
"""


def test_a_fresh_process_uses_kernels_from_the_disk():
    """Compiled once, by whatever activation came first; another process, whose table is elsewhere, reads its own."""
    model = Model(activation="relu2")
    here = dynlab.simulate(model, draw_start(model, 100, 0, 0), until=100.0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", FRESH]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=HANGS).stdout.split()
    assert found[1] == here.signal[-1].tobytes().hex()
    assert found[0] == "0"

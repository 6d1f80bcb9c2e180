"""The two-neuron, two-feature formulas of the flow: against 50 digits, and against the general ones."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.formulas import activations, flow_rates, pair
from dynlab.machine import jit
from dynlab.population import gradient
from dynlab.settings import activation_records
from tests.population.gradient import checkers
from tests.strategies import ACTIVATIONS, drawn_states

STATES = 600
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
compiled_pair = jit.compile_module(pair)
compiled_flow = jit.compile_module(flow_rates)
_rates = compiled_flow.pair_rates


@jit.kernel
def rates_kernel(kind, par, z, side, delta, rates):
    _rates(kind, par, z, side, delta, rates)


def candidate(model, weights, head):
    """The pair formulas, with the chain rule to dense weights of `population_gradient`."""
    record = activation_records.ACTIVATIONS[model.activation]
    kind, sigma, q = record.kind, model.noise, record.degree
    noise = weights[:, 2:]
    norm, dot, wedge = gradient.noise_geometry(noise)
    k, theta = norm[0] * norm[1], np.arctan2(wedge[0, 1], dot[0, 1])
    eps = np.arctan2(wedge[0, 1], -dot[0, 1])
    covariance, cross = activations.pair_covariance(kind, sigma, k, dot[0, 1], wedge[0, 1], eps)
    own = activations.self_covariance(kind, sigma) * (norm * norm) ** q
    u = np.array(model.effective_strengths) * weights[:, :2]
    slope = np.array(model.effective_strengths) * q * np.abs(u) ** (q - 1)
    counts = (*(float(x) for x in gradient.parameter_vector(model)[:6]), *model.root_weights)
    moments = own[0], covariance, own[1]
    if record.odd:
        x, y = u**q
        loss, x1, x2, y1, y2, *rest = compiled_pair.odd_forces(
            *x, *y, x[0] * y[1] - x[1] * y[0], *moments, head[0, 1], head[1, 0], *counts[:3]
        )
        d_signal = slope * np.array([[x1, x2], [y1, y2]])
    else:
        states = np.stack([np.maximum(u, 0.0) ** q, np.maximum(-u, 0.0) ** q], axis=-1)
        mu = activations.mean_factor(kind, sigma) * norm**q
        gap = activations.parallel_gap(kind, theta, dot[0, 1] / k, wedge[0, 1] / k)
        tilt = activations.variance_ratio(kind) * mu[0] * mu[1] * gap
        loss, x, y, *rest = compiled_pair.rectified_forces(
            tuple(states[0].ravel()), tuple(states[1].ravel()), *mu, *moments, tilt, head[0, 1], head[1, 0],
            counts,
        )  # fmt: skip
        by_state = np.array([x, y]).reshape(2, 2, 2)
        d_signal = slope * np.where(u > 0, by_state[..., 0], -by_state[..., 1])
    *radial, by_covariance, by_12, by_21 = rest
    d_noise = np.empty_like(noise)
    for p in range(2):
        d_noise[p] = by_covariance * cross * gradient.perpendicular(noise, norm, p)[1 - p]
        d_noise[p] += q * radial[p] / norm[p] * (noise[p] / norm[p])
    return loss, np.hstack([d_signal, d_noise]), np.array([[0.0, by_12], [by_21, 0.0]])


@every_activation
def test_drawn_states(activation):
    failures, checked = [], 0
    for state in drawn_states(activation, STATES, seed=40, neurons=2):
        if state.model.features == 2 and state.model.correlation is None:
            checked += 1
            try:
                checkers.against_exact(candidate, state)
            except AssertionError as failure:
                failures.append(str(failure))
    report = "\n\n".join(failures[:3])
    assert not failures, f"{len(failures)} of {checked} states are wrong, the first of them:\n{report}"
    assert checked > STATES / 8


@every_activation
def test_rates_are_minus_the_gradient(activation):
    """`pair_rates` in the flow's coordinates: log signals (degree 3), log norms, atanh of the correlation."""
    for state in drawn_states(activation, 100, seed=41, edges=False, neurons=2):
        if state.model.features != 2 or state.model.correlation is not None:
            continue
        model, q = state.model, activation_records.ACTIVATIONS[activation].degree
        signal, noise = state.weights[:, :2].ravel(), state.weights[:, 2:]
        norm, dot, wedge = gradient.noise_geometry(noise)
        coordinates = np.log(np.abs(signal)) if q == 3 else signal
        correlation = np.arctanh(dot[0, 1] / (norm[0] * norm[1]))
        z = np.array([*coordinates, *np.log(norm), correlation, state.head[0, 1], state.head[1, 0]])
        rates, delta = np.empty(9), z[0] + z[3] - z[1] - z[2]
        side = np.sign(signal).astype(np.int64)
        kind = activation_records.ACTIVATIONS[activation].kind
        rates_kernel(kind, gradient.parameter_vector(model, head_rate=0.3), z, side, delta, rates)
        _, d_weights, d_head = dynlab.population_gradient(model, state.weights, state.head)
        d_signal, d_noise = d_weights[:, :2].ravel(), d_weights[:, 2:]
        # d atanh(c)/dt = dc/dt / (1 - c^2), the unit vectors turning with -dL/dw~ across them.
        unit = noise / norm[:, None]
        sine = wedge[0, 1] / (norm[0] * norm[1])
        turns = [d_noise[p] @ (unit[1 - p] - (unit[0] @ unit[1]) * unit[p]) / norm[p] for p in range(2)]
        expected = [
            *(-d_signal / signal if q == 3 else -d_signal),
            *(-np.sum(d_noise * noise, axis=1) / norm**2),
            -sum(turns) / sine**2,
            -0.3 * d_head[0, 1],
            -0.3 * d_head[1, 0],
        ]
        checkers.close(rates, expected, f"rates of\n{state!r}", tolerance=1e-11)


@every_activation
def test_order_parameters_give_the_same_gradient(activation):
    """dL/dw~_p = sum_q D_pq w~_q with the D of `order_parameter_gradient`, any number of neurons."""
    for state in drawn_states(activation, 40, seed=42, edges=False):
        model, head = state.model, state.head
        measured = dynlab.OrderParameters.from_weights(model, state.weights, head)
        loss, d_signal, coefficients, d_head = gradient.order_parameter_gradient(model, measured)
        d_noise = coefficients @ state.weights[:, model.features :]
        right = dynlab.population_gradient(model, state.weights, head)
        d_axes = d_signal @ np.array(model.feature_rows)
        checkers.same((loss, np.hstack([d_axes, d_noise]), d_head), right, "order parameters")

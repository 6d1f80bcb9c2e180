"""Exact gradients at many states at once, for two neurons, two features and four dimensions (two features, two for noise).

Two noise parts span a plane, so four dimensions hold every state of the pair. Loops run over structures of arrays, one
contiguous row a coordinate, so that the branch-free formulas of `dynlab.formulas.pair` fill vector lanes.
"""

from __future__ import annotations

import math

import numpy as np

from dynlab.formulas import flow_rates, pair
from dynlab.formulas.activations import (
    CUBIC,
    RELU,
    RELU3,
    mean_factor,
    pair_covariance,
    parallel_gap,
    self_covariance,
    variance_ratio,
)
from dynlab.formulas.components import ACROSS, NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.machine import jit
from dynlab.population.gradient import parameter_vector
from dynlab.settings.activation_records import ACTIVATIONS, require_built_in

_pair = jit.compile_module(pair)
_flow = jit.compile_module(flow_rates)
_odd_forces, _rectified_forces = _pair.odd_forces, _pair.rectified_forces
_upper, _lower, _pick, _rectified_counts = _flow.upper, _flow.lower, _flow.pick, _flow.rectified_counts
_covariance, _gap = jit.compiled(pair_covariance), jit.compiled(parallel_gap)
_mean_factor, _self_covariance = jit.compiled(mean_factor), jit.compiled(self_covariance)
_variance_ratio = jit.compiled(variance_ratio)


@jit.kernel
def _odd_loop(kind, par, w, head, loss, d_w, d_head):
    """States in columns: w (8, N) = rows of weights one after the other, head (2, N) = E_12, E_21."""
    alpha, beta, sigma = par[STRENGTHS], par[STRENGTHS + 1], par[SIGMA]
    same, across, noise = par[SAME], par[ACROSS], par[NOISE_PATCHES]
    cubed = kind == CUBIC
    unit = _self_covariance(kind, sigma)
    degree = 3.0 if cubed else 1.0
    for n in range(w.shape[1]):
        u11, u12, p1, p2 = alpha * w[0, n], beta * w[1, n], w[2, n], w[3, n]
        u21, u22, q1, q2 = alpha * w[4, n], beta * w[5, n], w[6, n], w[7, n]
        s11, s12, s21, s22 = 1.0, 1.0, 1.0, 1.0
        if cubed:
            s11, s12, s21, s22 = u11 * u11, u12 * u12, u21 * u21, u22 * u22
        n1, n2, dot = p1 * p1 + p2 * p2, q1 * q1 + q2 * q2, p1 * q1 + p2 * q2
        area = p1 * q2 - p2 * q1
        if cubed:
            six = sigma * sigma * sigma * sigma * sigma * sigma
            cxx, cyy = unit * n1 * n1 * n1, unit * n2 * n2 * n2
            cxy, cross = six * dot * (9.0 * n1 * n2 + 6.0 * dot * dot), six * (9.0 * n1 * n2 + 18.0 * dot * dot)
        else:
            cxx, cyy, cxy, cross = unit * n1, unit * n2, unit * dot, unit
        x1, x2, y1, y2 = u11 * s11, u12 * s12, u21 * s21, u22 * s22
        value, x1, x2, y1, y2, r1, r2, gxy, h1, h2 = _odd_forces(
            x1, x2, y1, y2, x1 * y2 - x2 * y1, cxx, cxy, cyy, head[0, n], head[1, n], same, across, noise
        )
        loss[n] = value
        d_w[0, n], d_w[1, n] = degree * alpha * s11 * x1, degree * beta * s12 * x2
        d_w[4, n], d_w[5, n] = degree * alpha * s21 * y1, degree * beta * s22 * y2
        # Radial part, and the part of the partner perpendicular to the neuron: area / |w~|^2 times w~ turned.
        a, turn = degree * r1 / n1, gxy * cross * area / n1
        d_w[2, n], d_w[3, n] = a * p1 - turn * p2, a * p2 + turn * p1
        a, turn = degree * r2 / n2, -gxy * cross * area / n2
        d_w[6, n], d_w[7, n] = a * q1 - turn * q2, a * q2 + turn * q1
        d_head[0, n], d_head[1, n] = h1, h2


def _rectified_states(kind, par, w, head, loss, d_w, d_head):
    alpha, beta, sigma = par[STRENGTHS], par[STRENGTHS + 1], par[SIGMA]
    counts = _rectified_counts(par)
    cubed = kind == RELU3
    degree = 3.0 if cubed else 1.0
    unit, mean, ratio = _self_covariance(kind, sigma), _mean_factor(kind, sigma), _variance_ratio(kind)
    for n in range(w.shape[1]):
        u11, u12, p1, p2 = alpha * w[0, n], beta * w[1, n], w[2, n], w[3, n]
        u21, u22, q1, q2 = alpha * w[4, n], beta * w[5, n], w[6, n], w[7, n]
        s11, s12, s21, s22 = 1.0, 1.0, 1.0, 1.0
        if cubed:
            s11, s12, s21, s22 = u11 * u11, u12 * u12, u21 * u21, u22 * u22
        n1, n2, dot = p1 * p1 + p2 * p2, q1 * q1 + q2 * q2, p1 * q1 + p2 * q2
        l1, l2, area = math.sqrt(n1), math.sqrt(n2), p1 * q2 - p2 * q1
        k, wedge = l1 * l2, abs(area)
        acute = math.atan2(wedge, abs(dot))
        theta = acute if dot > 0.0 else math.pi - acute
        eps = math.pi - acute if dot > 0.0 else acute
        cxy, cross = _covariance(kind, sigma, k, dot, wedge, eps)
        gap = _gap(kind, theta, dot / k, wedge / k)
        m1, m2 = (mean * l1 * n1, mean * l2 * n2) if cubed else (mean * l1, mean * l2)
        cxx, cyy = (unit * n1 * n1 * n1, unit * n2 * n2 * n2) if cubed else (unit * n1, unit * n2)
        value, x, y, r1, r2, gxy, h1, h2 = _rectified_forces(
            (_upper(u11 * s11, u11), _lower(u11 * s11, u11), _upper(u12 * s12, u12), _lower(u12 * s12, u12)),
            (_upper(u21 * s21, u21), _lower(u21 * s21, u21), _upper(u22 * s22, u22), _lower(u22 * s22, u22)),
            m1, m2, cxx, cxy, cyy, ratio * m1 * m2 * gap, head[0, n], head[1, n], counts,
        )  # fmt: skip
        loss[n] = value
        d_w[0, n], d_w[1, n] = degree * alpha * s11 * _pick(x[0], x[1], u11), degree * beta * s12 * _pick(x[2], x[3], u12)
        d_w[4, n], d_w[5, n] = degree * alpha * s21 * _pick(y[0], y[1], u21), degree * beta * s22 * _pick(y[2], y[3], u22)
        a, turn = degree * r1 / n1, gxy * cross * area / n1
        d_w[2, n], d_w[3, n] = a * p1 - turn * p2, a * p2 + turn * p1
        a, turn = degree * r2 / n2, -gxy * cross * area / n2
        d_w[6, n], d_w[7, n] = a * q1 - turn * q2, a * q2 + turn * q1
        d_head[0, n], d_head[1, n] = h1, h2


_rectified_states = jit.inner(_rectified_states, inline=True)


@jit.kernel
def _rectified_loop(kind, par, w, head, loss, d_w, d_head):
    """As `_odd_loop`, for relu and relu3; the kind is a constant inside each call, so that no branch is left."""
    if kind == RELU:
        _rectified_states(RELU, par, w, head, loss, d_w, d_head)
    else:
        _rectified_states(RELU3, par, w, head, loss, d_w, d_head)


def columns(weights, head):
    """Structures of arrays (8, N), (2, N) of weights (N, 2, 4) and heads (N, 2, 2)."""
    weights, head = np.asarray(weights, dtype=np.float64), np.asarray(head, dtype=np.float64)
    count = len(weights)
    if weights.shape != (count, 2, 4) or head.shape != (count, 2, 2):
        raise ValueError(f"weights, head: shapes {weights.shape}, {head.shape}, must be (N, 2, 4), (N, 2, 2)")
    return np.ascontiguousarray(weights.reshape(count, 8).T), np.ascontiguousarray(head[:, [0, 1], [1, 0]].T)


def pair_loop(model):
    """The loop for the model's activation: f(kind, par, w, head, loss, d_w, d_head), all arrays as columns."""
    require_built_in(model.activation, "for gradients of many states at once")
    return _odd_loop if ACTIVATIONS[model.activation].odd else _rectified_loop


def pair_gradients(model, weights, head):
    """`population_gradient` at N states of two neurons in four dimensions, the first two being the features.

    weights (N, 2, 4) with non-zero noise parts, head (N, 2, 2) with unit diagonals. Returns loss (N,), d_weights (N, 2, 4),
    d_head (N, 2, 2). States whose outputs have no variance give nan.
    """
    if model.neurons != 2 or model.features != 2:
        raise ValueError(f"model: {model.neurons} neurons and {model.features} features, must be 2 and 2")
    w, e = columns(weights, head)
    loss, d_w, d_e = np.empty(w.shape[1]), np.empty_like(w), np.empty_like(e)
    pair_loop(model)(ACTIVATIONS[model.activation].kind, parameter_vector(model), w, e, loss, d_w, d_e)
    d_head = np.zeros(np.shape(head))
    d_head[:, 0, 1], d_head[:, 1, 0] = d_e
    return loss, d_w.T.reshape(-1, 2, 4), d_head

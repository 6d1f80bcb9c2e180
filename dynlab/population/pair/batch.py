"""Exact gradients at many states at once, for two neurons, two features and four dimensions (two features, two for noise).

Two noise parts span a plane, so four dimensions hold every state of the pair. Loops run over structures of arrays, one
contiguous row a coordinate, so that the branch-free formulas of `dynlab.formulas.pair` fill vector lanes.
"""

from __future__ import annotations

import numpy as np

from dynlab.formulas import cubic_flow_rates, flow_rates, pair, rectified_gradient, rectified_noise, rectified_tangents
from dynlab.formulas.activations import CUBIC, RELU, RELU3, self_covariance
from dynlab.formulas.components import ACROSS, NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.machine import jit
from dynlab.machine.lanes import LANE_COUNT, in_lanes, lane_array
from dynlab.population.gradient import parameter_vector
from dynlab.settings.activation_records import ACTIVATIONS, require_built_in

_pair = jit.compile_module(pair)
_rectified = (flow_rates, cubic_flow_rates, rectified_noise, rectified_tangents, rectified_gradient)
_parts = {part: jit.compile_module(part) for part in _rectified}
for _part in (_pair, *_parts.values()):
    for _function in vars(_part).values():
        _function.targetoptions["forceinline"] = True
_odd_forces, _gradient = _pair.odd_forces, _parts[rectified_gradient].rectified_gradient
_self_covariance = jit.compiled(self_covariance)


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


def _fill_lanes(rows, first, lanes, place):
    """Columns first ... of rows (k, N) in the lanes of rows place ...; those behind the last are repeated."""
    room = rows.shape[1] - first
    for i in range(len(rows)):
        if room >= LANE_COUNT:
            for lane in range(LANE_COUNT):
                lanes[place + i, lane] = rows[i, first + lane]
        else:
            for lane in range(LANE_COUNT):
                lanes[place + i, lane] = rows[i, first + min(lane, room - 1)]


def _empty_lanes(lanes, place, first, rows):
    """The other way, without what is behind the last column."""
    room = rows.shape[1] - first
    for i in range(len(rows)):
        if room >= LANE_COUNT:
            for lane in range(LANE_COUNT):
                rows[i, first + lane] = lanes[place + i, lane]
        else:
            for lane in range(room):
                rows[i, first + lane] = lanes[place + i, lane]


_fill_lanes, _empty_lanes = jit.inner(_fill_lanes, inline=True), jit.inner(_empty_lanes, inline=True)


@jit.kernel
def _rectified_abreast(kind, par, w, head, loss, d_w, d_head, lanes):
    """As `_odd_loop`, for relu and relu3, eight states at a time. loss (1, N); lanes: scratch (11, 8).

    The kind is a constant inside each call, so that no branch is left.
    """
    shown = in_lanes(lanes)
    for first in range(0, w.shape[1], LANE_COUNT):
        _fill_lanes(w, first, lanes, 0)
        _fill_lanes(head, first, lanes, 8)
        eight = shown[0], shown[1], shown[2], shown[3], shown[4], shown[5], shown[6], shown[7]
        if kind == RELU:
            found = _gradient(RELU, par, eight, shown[8], shown[9])
        else:
            found = _gradient(RELU3, par, eight, shown[8], shown[9])
        (
            shown[0], shown[1], shown[2], shown[3], shown[4], shown[5], shown[6], shown[7], shown[8], shown[9], shown[10],
        ) = found  # fmt: skip
        _empty_lanes(lanes, 0, first, loss)
        _empty_lanes(lanes, 1, first, d_w)
        _empty_lanes(lanes, 9, first, d_head)


def _rectified_loop(kind, par, w, head, loss, d_w, d_head):
    """`_rectified_abreast`, with its scratch."""
    _rectified_abreast(kind, par, w, head, loss[None], d_w, d_head, lane_array(11))


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

"""The steps of `dynlab.population.dense.hidden_descent`, compiled: records of its arrays, gradient, updates, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dynlab.machine import jit
from dynlab.population.dense.dense_steps import fill_angle, fill_slope, move_rows, project_rows
from dynlab.population.gradient import hidden_forces_kernel
from dynlab.population.hidden import measures
from dynlab.population.hidden.flow import fill_carried
from dynlab.population.moments import LEARNT

if TYPE_CHECKING:
    from dynlab.tools.types import Array


class HiddenRules(NamedTuple):
    """What a step is made by: `hidden.flow.hidden_system` of the model, the features' axes (K, K), the optimiser."""

    system: tuple
    axes: Array
    optimiser: int
    momentum: float


class HiddenState(NamedTuple):
    """What a step changes: weights (M, d), readout (m, M), head (m, m), and what the optimiser keeps of each."""

    weights: Array
    readout: Array
    head: Array
    kept: Array
    readout_kept: Array
    head_kept: Array


class HiddenPoint(NamedTuple):
    """The state as the formulas see it, and what they make of it.

    signal (M, K); geometry: norm (M,), dot, wedge, eps (M, M); directions (M, d - K) of the noise parts; work, forces: of
    `gradient.hidden_forces_kernel`; slope (M, d): dL/dw; carried (m, K).
    """

    signal: Array
    geometry: tuple
    directions: Array
    work: tuple
    forces: tuple
    slope: Array
    carried: Array


class HiddenFound(NamedTuple):
    """Records (T, ...) at given steps, times (K,) at which features were learnt, the tally of `hidden.measures`."""

    signal: Array
    gram: Array
    readout: Array
    head: Array
    learnt: Array
    tally: Array


@jit.reduction
def _square_difference(x, z):
    """|x - z|^2"""
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - z[i]) * (x[i] - z[i])
    return total


@jit.reduction
def _square_sum(x, z):
    """|x + z|^2"""
    total = 0.0
    for i in range(len(x)):
        total += (x[i] + z[i]) * (x[i] + z[i])
    return total


def angles_between(weights, features, directions, geometry):
    """Fill products and angles of the noise parts, from |u - v| and |u + v| of unit vectors, exact at both ends."""
    norm, dot = geometry[0], geometry[1]
    units, d = weights.shape
    for h in range(units):
        dot[h, h] = norm[h] * norm[h]
        one = 1.0 / norm[h] if norm[h] > 0.0 else 0.0
        for i in range(features, d):
            directions[h, i - features] = weights[h, i] * one
        for k in range(h):
            near = _square_difference(directions[h], directions[k])
            far = _square_sum(directions[h], directions[k])
            fill_angle(h, k, near, far, geometry)


def _see(rules, state, point):
    """Fill the point of the state; return the loss."""
    kind, _, _, features, par, used, _ = rules.system
    project_rows(state.weights, rules.axes, point.signal, point.geometry[0])
    angles_between(state.weights, features, point.directions, point.geometry)
    loss = hidden_forces_kernel(kind, par, point.signal, point.geometry, state.readout, state.head, point.work, point.forces)
    d_readout = point.forces[3]
    for j in range(d_readout.shape[0]):
        for h in range(d_readout.shape[1]):
            if not used[j, h]:
                d_readout[j, h] = 0.0
    return loss


def note_carried(rules, time, state, point, found):
    """Keep when a feature is learnt first, and the head's largest entry: its size, time and row."""
    features, m = rules.system[3], len(state.head)
    fill_carried(rules.system, (0, 0, 0, point.work), point.carried)  # of the scratch it looks at the work alone
    for f in range(features):
        for j in range(m):
            if found.learnt[f] < 0.0 and point.carried[j, f] > LEARNT:
                found.learnt[f] = time
    for j in range(m):
        for r in range(m):
            if r != j and abs(state.head[j, r]) > found.tally[measures.HEAD_PEAK]:
                found.tally[measures.HEAD_PEAK] = abs(state.head[j, r])
                found.tally[measures.PEAK_TIME] = time
                found.tally[measures.PEAK_ROW] = 1.0 * j


def move_all(rules, decay, step, rates, state, point):
    """Move weights, readout and head by step number `step` at their rates (3,). decay: of the weights."""
    optimiser, momentum = rules.optimiser, rules.momentum
    fill_slope(state.weights, rules.axes, decay, point.geometry, point.forces[1], point.forces[2], point.slope)
    move_rows(optimiser, momentum, rates[0], step, point.slope, state.kept, state.weights)
    if rates[1] > 0.0:
        move_rows(optimiser, momentum, rates[1], step, point.forces[3], state.readout_kept, state.readout)
    if rates[2] > 0.0:
        move_rows(optimiser, momentum, rates[2], step, point.forces[4], state.head_kept, state.head)


def keep_record(row, state, point, found):
    """The state as record number `row`."""
    found.signal[row] = point.signal
    found.gram[row] = point.geometry[1]
    found.readout[row] = state.readout
    found.head[row] = state.head


angles_between, _see, note_carried = jit.inner(angles_between), jit.inner(_see), jit.inner(note_carried)
move_all, keep_record = jit.inner(move_all), jit.inner(keep_record)


@jit.kernel
def take_hidden_steps(rules, state, point, found, first, rates, time, record_at, recorded):
    """Steps number first + 1, first + 2, ... at the rates (n, 3) of weights, readout and head; first = 0 looks at the start.

    Returns (time, steps taken, records written) after them. A loss that is not finite, in found.tally, ends it.
    """
    if first == 0:
        found.tally[measures.LOSS] = _see(rules, state, point)
        note_carried(rules, 0.0, state, point, found)
    for n in range(len(rates)):
        step = first + n + 1
        move_all(rules, 0.0, step, rates[n], state, point)
        time += rates[n, 0]
        found.tally[measures.LOSS] = _see(rules, state, point)
        if not abs(found.tally[measures.LOSS]) < 1e300:
            return time, n + 1, recorded
        note_carried(rules, time, state, point, found)
        if recorded < len(record_at) and record_at[recorded] == step:
            keep_record(recorded, state, point, found)
            recorded += 1
    return time, len(rates), recorded

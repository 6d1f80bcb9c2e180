"""The steps of `dynlab.population.dense.dense_descent`, compiled: records of its arrays, gradient, updates, events."""

from __future__ import annotations

from math import atan, pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynlab.machine import jit
from dynlab.population.any_training.gradient import switched_kernel
from dynlab.population.stepping import DOMINANT, FIRST, PEAK, SECOND
from dynlab.settings.optimisation import BETA_1, BETA_2, EPS, OPTIMISERS

if TYPE_CHECKING:
    from dynlab.tools.types import Array

SGD, MOMENTUM, ADAM = range(len(OPTIMISERS))


class DenseRules(NamedTuple):
    """What a step is made by: formulas' numbers, the features' axes (K, K), the optimiser."""

    kind: int
    par: Array
    choice: Array
    values: Array
    axes: Array
    optimiser: int
    momentum: float
    weight_decay: float
    target_rate: float
    averages: bool


class DenseState(NamedTuple):
    """What a step changes: weights, target (m, d), head (m, m), and what the optimiser keeps of weights and head."""

    weights: Array
    target: Array
    head: Array
    kept: Array
    head_kept: Array


class DenseFound(NamedTuple):
    """Records (T, ...) at given steps and at the events (3, ...); marks (3,) in units of time; peak, whether learnt (K,)."""

    signal: Array
    gram: Array
    head: Array
    marks: Array
    peak: Array
    learnt: Array
    event_signal: Array
    event_gram: Array
    event_head: Array


class DensePoint(NamedTuple):
    """The state as the formulas see it: signal (m, K), norm (m,), dot, wedge, eps (m, m), the target's signal and norm."""

    signal: Array
    norm: Array
    dot: Array
    wedge: Array
    eps: Array
    target: Array
    target_norm: Array


def project_rows(weights, axes, signal, norm):
    """Fill signal (m, K) and norm (m,) of the noise parts."""
    m, d = weights.shape
    features = len(axes)
    for j in range(m):
        for l in range(features):
            total = 0.0
            for k in range(features):
                total += weights[j, k] * axes[l, k]
            signal[j, l] = total
        square = 0.0
        for i in range(features, d):
            square += weights[j, i] * weights[j, i]
        norm[j] = sqrt(square)


def fill_angle(j, r, near, far, geometry):
    """Fill product and angle of noise parts j and r from near = |u - v|^2 and far = |u + v|^2 of their unit vectors."""
    norm, dot, wedge, eps = geometry
    both = near + far
    size = norm[j] * norm[r]
    dot[j, r] = dot[r, j] = size * (far - near) / both if both > 0.0 else 0.0
    wedge[j, r] = wedge[r, j] = 2.0 * size * sqrt(near * far) / both if both > 0.0 else 0.0
    eps[j, r] = eps[r, j] = 2.0 * atan(sqrt(far / near)) if near > 0.0 else pi


def _angles(weights, features, norm, dot, wedge, eps):
    """Fill products and angles of the noise parts, from |u - v| and |u + v| of unit vectors, exact at both ends."""
    m, d = weights.shape
    for j in range(m):
        dot[j, j] = norm[j] * norm[j]
        one = 1.0 / norm[j] if norm[j] > 0.0 else 0.0
        for r in range(j):
            other = 1.0 / norm[r] if norm[r] > 0.0 else 0.0
            near = 0.0
            far = 0.0
            for i in range(features, d):
                x = weights[j, i] * one
                z = weights[r, i] * other
                near += (x - z) * (x - z)
                far += (x + z) * (x + z)
            fill_angle(j, r, near, far, (norm, dot, wedge, eps))


def _look(rules, state, point):
    """Fill the point of the state."""
    features = len(rules.axes)
    project_rows(state.weights, rules.axes, point.signal, point.norm)
    _angles(state.weights, features, point.norm, point.dot, point.wedge, point.eps)
    project_rows(state.target, rules.axes, point.target, point.target_norm)


def fill_slope(weights, axes, weight_decay, geometry, d_signal, d_noise, gradient):
    """Fill dL/dw (m, d), weight decay included, from the derivatives by signals and noise products.

    geometry: norm (m,), dot (m, m), ...
    """
    m, d = weights.shape
    features = len(axes)
    norm, dot = geometry[0], geometry[1]
    for j in range(m):
        for k in range(features):
            total = 0.0
            for l in range(features):
                total += d_signal[j, l] * axes[l, k]
            gradient[j, k] = total + weight_decay * weights[j, k]
        own = d_noise[j, j]
        for r in range(m):
            if r != j:
                own -= d_noise[j, r] * dot[j, r]
        square = norm[j] * norm[j]
        own = own / square + weight_decay if square > 0.0 else weight_decay
        for i in range(features, d):
            gradient[j, i] = own * weights[j, i]
        for r in range(m):
            if r != j:
                for i in range(features, d):
                    gradient[j, i] += d_noise[j, r] * weights[r, i]


def move_rows(optimiser, momentum, rate, step, gradient, kept, rows):
    """rows -= rate times what the optimiser makes of the gradient in step number `step` = 1, 2, ..., in place."""
    first = 1.0 - BETA_1**step
    second = 1.0 - BETA_2**step
    for j in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            g = gradient[j, i]
            if optimiser == MOMENTUM:
                g = momentum * kept[0, j, i] + g
                kept[0, j, i] = g
            elif optimiser == ADAM:
                kept[0, j, i] = BETA_1 * kept[0, j, i] + (1.0 - BETA_1) * g
                kept[1, j, i] = BETA_2 * kept[1, j, i] + (1.0 - BETA_2) * g * g
                g = kept[0, j, i] / first / (sqrt(kept[1, j, i] / second) + EPS)
            rows[j, i] -= rate * g


def _note(time, state, point, found):
    """Times and states of the first and second feature learnt and of the head's largest entry."""
    m, features = point.signal.shape
    for f in range(features):
        best = 0.0
        for j in range(m):
            size = point.norm[j] * point.norm[j]
            for k in range(features):
                size += state.weights[j, k] * state.weights[j, k]
            if size > 0.0:
                best = max(best, point.signal[j, f] * point.signal[j, f] / size)
        if best > DOMINANT and not found.learnt[f]:
            found.learnt[f] = True
            row = FIRST if found.marks[FIRST] < 0.0 else SECOND
            if found.marks[row] < 0.0:
                _keep(row, time, state, point, found)
    largest = 0.0
    for j in range(m):
        for r in range(m):
            if r != j:
                largest = max(largest, abs(state.head[j, r]))
    if largest > found.peak[0]:
        found.peak[0] = largest
        _keep(PEAK, time, state, point, found)


def _keep(row, time, state, point, found):
    found.marks[row] = time
    found.event_signal[row] = point.signal
    found.event_gram[row] = point.dot
    found.event_head[row] = state.head


project_rows, fill_angle, _angles = jit.inner(project_rows), jit.inner(fill_angle), jit.inner(_angles)
_look, fill_slope, move_rows = jit.inner(_look), jit.inner(fill_slope), jit.inner(move_rows)
_keep = jit.inner(_keep)
_note = jit.inner(_note)


@jit.kernel
def take_dense_steps(rules, state, point, found, corner, work, first, rates, time, record_at, recorded):
    """Steps number first + 1, first + 2, ... at the rates (n, 2) of weights and head.

    Returns (time, steps taken, records written) after them. A loss that is not finite ends it: fewer steps than rates.
    """
    m, d = state.weights.shape
    features = len(rules.axes)
    d_signal, d_noise, d_head = np.zeros((m, features)), np.zeros((m, m)), np.zeros((m, m))
    gradient = np.empty((m, d))
    for n in range(len(rates)):
        step = first + n + 1
        seen = (point.signal, point.norm, point.dot, point.wedge, point.eps)
        goal = (point.target, point.target_norm)
        loss = switched_kernel(
            rules.kind,
            rules.par,
            rules.choice,
            rules.values,
            seen,
            corner,
            goal,
            state.head,
            work,
            (d_signal, d_noise, d_head),
        )
        if not np.isfinite(loss):
            return time, n, recorded
        fill_slope(state.weights, rules.axes, rules.weight_decay, seen[1:], d_signal, d_noise, gradient)
        move_rows(rules.optimiser, rules.momentum, rates[n, 0], step, gradient, state.kept, state.weights)
        if rates[n, 1] > 0.0:
            move_rows(rules.optimiser, rules.momentum, rates[n, 1], step, d_head, state.head_kept, state.head)
        if rules.averages:
            share = min(rates[n, 0] * rules.target_rate, 1.0)
            for j in range(m):
                for i in range(d):
                    state.target[j, i] += share * (state.weights[j, i] - state.target[j, i])
        time += rates[n, 0]
        _look(rules, state, point)
        _note(time, state, point, found)
        if recorded < len(record_at) and record_at[recorded] == step:
            found.signal[recorded] = point.signal
            found.gram[recorded] = point.dot
            found.head[recorded] = state.head
            recorded += 1
    return time, len(rates), recorded


@jit.kernel
def begin_dense(rules, state, point, found):
    """Fill the point of the start, and note what is learnt there."""
    _look(rules, state, point)
    _note(0.0, state, point, found)

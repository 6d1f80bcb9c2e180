"""The minibatch loss straight from its definition, in loops, differentiated by complex steps; imports nothing of dynlab.

A complex step: for an analytic loss L, dL/dx = Im L(x + ih)/h exactly to rounding, h = 1e-30. Where a gradient is stopped
the real part alone goes on. Rectified activations branch on the real part.
"""

from __future__ import annotations

import cmath

import numpy as np

STEP = 1e-30
PHI = {
    "relu": lambda z: z if z.real > 0 else 0 * z,
    "cubic": lambda z: z**3,
    "relu3": lambda z: z**3 if z.real > 0 else 0 * z,
    "linear": lambda z: z,
}


def outputs(activation, weights, patches, view, v):
    """f_j of view v for every sample: nested lists (n, m)."""
    made = []
    for sample, sides in zip(patches, view, strict=True):
        made.append([])
        for w in weights:
            total = 0j
            for patch, side in zip(sample, sides, strict=True):
                if side == v:
                    total += PHI[activation](sum(a * complex(b) for a, b in zip(w, patch, strict=True)))
            made[-1].append(total)
    return made


def mean(values):
    return sum(values) / len(values)


def covariance(a, b):
    ma, mb = mean(a), mean(b)
    return mean([(p - ma) * (q - mb) for p, q in zip(a, b, strict=True)])


def normalised(kind, columns):
    """Columns (m, n) of outputs, normalised."""
    if kind == "batch":
        return [[(p - mean(c)) / cmath.sqrt(covariance(c, c)) for p in c] for c in columns]
    if kind == "scale":
        return [[p / cmath.sqrt(mean([q * q for q in c])) for p in c] for c in columns]
    if kind == "length":
        rows = list(zip(*columns, strict=True))
        size = [cmath.sqrt(sum(p * p for p in row)) for row in rows]
        unit = [[p / s if s != 0 else 0j for p in row] for row, s in zip(rows, size, strict=True)]
        return list(zip(*unit, strict=True))
    return columns


def columns_of(f):
    return list(zip(*f, strict=True))


def stopped(f):
    return [[complex(p.real) for p in row] for row in f]


def own_head(training, xs, before):
    """E of directpred and directcopy from raw second moments of real outputs, by NumPy's eigenvalues."""
    m = len(xs[0][0])
    now = np.zeros((m, m))
    for x in xs:
        for row in x:
            now += np.outer([p.real for p in row], [p.real for p in row]) / len(x) / len(xs)
    now = now if before is None else 0.3 * before + 0.7 * now
    values, vectors = np.linalg.eigh(now)
    share = np.maximum(values, 0.0) / values.max()
    made = (vectors * (np.sqrt(share) if training.head == "directpred" else share)) @ vectors.T
    return made + training.directpred_eps * np.eye(m)


def loss(model, training, patches, view, online, target, head, correlation=None):
    """The loss, without decays of weights and head. target: w', None for the online weights."""
    same = target is None
    first = [outputs(model.activation, online, patches, view, v) for v in (0, 1)]
    second = first if same else [outputs(model.activation, target, patches, view, v) for v in (0, 1)]
    ways = [(first[0], second[1])] + ([(first[1], second[0])] if training.symmetric else [])
    if training.head in ("directpred", "directcopy"):
        head = own_head(training, [x for x, _ in ways], correlation).astype(complex)
    return sum(one_way(training, x, y, head) for x, y in ways) / len(ways)


def one_way(training, x, y, head):
    f, n, m = columns_of(x), len(x), len(head)
    total = 0j
    if training.decorrelation:
        for i in range(m):
            for j in range(m):
                if i != j:
                    square = covariance(f[i], f[j]) ** 2
                    total += training.decorrelation * square / (covariance(f[i], f[i]) * covariance(f[j], f[j]))
    if training.objective == "barlow-twins":
        g = columns_of(y)
        for i in range(m):
            for j in range(m):
                c = covariance(f[i], g[j]) / cmath.sqrt(covariance(f[i], f[i]) * covariance(g[j], g[j]))
                total += (1 - c) ** 2 if i == j else training.barlow_weight * c * c
        return total
    if training.objective == "vicreg":
        return total + vicreg(training.vicreg_weights, f, columns_of(y))
    if training.stop_gradient == "online":
        x = stopped(x)
        head = np.asarray(head).real.astype(complex)
    if training.stop_gradient == "target":
        y = stopped(y)
    out = [[sum(head[j][r] * row[r] for r in range(m)) for j in range(m)] for row in x]
    a, b = normalised(training.normalisation, columns_of(out)), normalised(training.normalisation, columns_of(y))
    return total + sum((a[j][s] - b[j][s]) ** 2 for j in range(m) for s in range(n)) / n


def vicreg(weights, f, g):
    m, n = len(f), len(f[0])
    total = weights[0] * sum((f[j][s] - g[j][s]) ** 2 for j in range(m) for s in range(n)) / (n * m)
    for side in (f, g):
        for i in range(m):
            deviation = cmath.sqrt(covariance(side[i], side[i]))
            if deviation.real < 1:
                total += weights[1] / m * (1 - deviation)
            for j in range(m):
                if i != j:
                    total += weights[2] / m * covariance(side[i], side[j]) ** 2
    return total


def gradient(model, training, patches, view, weights, head, target=None, correlation=None):
    """(loss, dL/dw (m, d), dL/dE (m, m)), every entry of E taken to train; decays left out."""
    weights, head = np.array(weights, complex), np.array(head, complex)
    value = loss(model, training, patches, view, weights, target, head, correlation).real
    d_weights, d_head = np.zeros(weights.shape), np.zeros(head.shape)
    for array, slope in ((weights, d_weights), (head, d_head)):
        for place in np.ndindex(array.shape):
            array[place] += 1j * STEP
            slope[place] = loss(model, training, patches, view, weights, target, head, correlation).imag / STEP
            array[place] -= 1j * STEP
    return value, d_weights, d_head


def naive_sums(rows):
    """Sums of the columns, a row after another."""
    totals = [0.0] * len(rows[0])
    for row in rows:
        for i, value in enumerate(row):
            totals[i] += value
    return totals

"""Objectives, optimisers and evaluation from their definitions: slow loops that share no code with dynlab.

Outputs are (2B, m): row i < B is view 1 of picture i, row B + i its view 2.
"""

from __future__ import annotations

import math

import numpy as np


def other_view(i: int, rows: int) -> int:
    """The row of the same picture's other view."""
    return i - rows // 2 if i >= rows // 2 else i + rows // 2


def standardise(y, eps):
    """Each half less its means, over its deviations."""
    rows, m = y.shape
    half = rows // 2
    out = np.zeros_like(y)
    for first in (0, half):
        for j in range(m):
            column = [y[i, j] for i in range(first, first + half)]
            mean = sum(column) / half
            variance = sum((x - mean) ** 2 for x in column) / half
            for i in range(first, first + half):
                out[i, j] = (y[i, j] - mean) / math.sqrt(variance + eps)
    return out


def unit(y):
    """Rows over their length; zero rows stay."""
    out = np.zeros_like(y)
    for i, row in enumerate(y):
        length = math.sqrt(sum(x * x for x in row))
        for j, x in enumerate(row):
            out[i, j] = x / length if length > 0 else 0.0
    return out


def normalise(kind, y, eps):
    return {"batch": lambda: standardise(y, eps), "length": lambda: unit(y), "none": lambda: y}[kind]()


def similarity(online, target, kind, eps):
    rows, m = online.shape
    f, g = normalise(kind, online, eps), normalise(kind, target, eps)
    total = 0.0
    for i in range(rows):
        for j in range(m):
            total += (f[i, j] - g[other_view(i, rows), j]) ** 2
    return total / rows


def barlow_twins(y, weight, eps):
    rows, m = y.shape
    half, z, total = rows // 2, standardise(y, eps), 0.0
    for i in range(m):
        for j in range(m):
            c = sum(z[s, i] * z[half + s, j] for s in range(half)) / half
            total += (1.0 - c) ** 2 if i == j else weight * c * c
    return total


def vicreg(y, weights, eps):
    rows, m = y.shape
    half, total = rows // 2, 0.0
    for s in range(half):
        for j in range(m):
            total += weights[0] * (y[s, j] - y[half + s, j]) ** 2 / (half * m)
    for first in (0, half):
        mean = [sum(y[first + s, j] for s in range(half)) / half for j in range(m)]
        for i in range(m):
            for j in range(m):
                c = sum((y[first + s, i] - mean[i]) * (y[first + s, j] - mean[j]) for s in range(half)) / half
                if i == j:
                    total += weights[1] / m * max(0.0, 1.0 - math.sqrt(c + eps))
                else:
                    total += weights[2] / m * c * c
    return total


def softmax(row):
    largest = max(row)
    powers = [math.exp(x - largest) for x in row]
    return [p / sum(powers) for p in powers]


def log_softmax(row):
    """Logarithms of the shares, of the differences to the largest."""
    largest = max(row)
    total = math.log(sum(math.exp(x - largest) for x in row))
    return [x - largest - total for x in row]


def dino(online, target, centre, student, teacher):
    rows, m = online.shape
    total = 0.0
    for i in range(rows):
        goal = softmax([(target[other_view(i, rows), j] - centre[j]) / teacher for j in range(m)])
        own = log_softmax([online[i, j] / student for j in range(m)])
        total -= sum(goal[j] * own[j] for j in range(m)) / rows
    return total


def dino_crops(online, target, centre, student, teacher):
    """Caron et al., algorithm 1 with multi-crop: the mean over all pairs of a teacher's view and another of the student's.

    online: (views B, m), the two views first; target: (2B, m).
    """
    half, m = len(target) // 2, target.shape[1]
    total, pairs = 0.0, 0
    for a in range(2):
        for b in range(len(online) // half):
            if a == b:
                continue
            pairs += 1
            for s in range(half):
                goal = softmax([(target[a * half + s, j] - centre[j]) / teacher for j in range(m)])
                own = log_softmax([online[b * half + s, j] / student for j in range(m)])
                total -= sum(goal[j] * own[j] for j in range(m)) / half
    return total / pairs


def prototypes(z, v):
    """Cosines (n, K) of rows z (n, m) with directions v (K, m)."""
    return np.array([[sum(a * b) / math.sqrt(sum(a * a) * sum(b * b)) for b in v] for a in z])


def simclr(y, temperature):
    rows = len(y)
    u, total = unit(y), 0.0
    for i in range(rows):
        others = [k for k in range(rows) if k != i]
        own = log_softmax([sum(u[i] * u[k]) / temperature for k in others])
        total -= own[others.index(other_view(i, rows))] / rows
    return total


def decorrelation(y, weight, eps):
    rows, m = y.shape
    half, z, total = rows // 2, standardise(y, eps), 0.0
    for first in (0, half):
        for i in range(m):
            for j in range(m):
                if i != j:
                    c = sum(z[first + s, i] * z[first + s, j] for s in range(half)) / half
                    total += 0.5 * weight * c * c
    return total


def slopes(function, x, step=1e-6):
    """Central differences of a function of an array."""
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        out[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return out


def sgd(p, gradients, mask, rate, decay, momentum, nesterov):
    """p after one step for each of the gradients."""
    p, v = list(p), [0.0] * len(p)
    for g in gradients:
        for i in range(len(p)):
            h = g[i] + (decay * p[i] if mask[i] else 0.0)
            v[i] = momentum * v[i] + h
            p[i] -= rate * (h + momentum * v[i] if nesterov else v[i])
    return np.array(p)


def adam(p, gradients, mask, rate, decay, betas, eps):
    p, a, s = list(p), [0.0] * len(p), [0.0] * len(p)
    for t, g in enumerate(gradients, 1):
        for i in range(len(p)):
            h = g[i] + (decay * p[i] if mask[i] else 0.0)
            a[i] = betas[0] * a[i] + (1 - betas[0]) * h
            s[i] = betas[1] * s[i] + (1 - betas[1]) * h * h
            p[i] -= rate * a[i] / (1 - betas[0] ** t) / (math.sqrt(s[i] / (1 - betas[1] ** t)) + eps)
    return np.array(p)


def adamw(p, gradients, mask, rate, decay, betas, eps):
    """Loshchilov & Hutter's algorithm 2: the weights shrink by rate * decay beside Adam's step on the bare gradient."""
    p, a, s = list(p), [0.0] * len(p), [0.0] * len(p)
    for t, g in enumerate(gradients, 1):
        for i in range(len(p)):
            a[i] = betas[0] * a[i] + (1 - betas[0]) * g[i]
            s[i] = betas[1] * s[i] + (1 - betas[1]) * g[i] * g[i]
            own = a[i] / (1 - betas[0] ** t) / (math.sqrt(s[i] / (1 - betas[1] ** t)) + eps)
            p[i] = p[i] - rate * own - (rate * decay * p[i] if mask[i] else 0.0)
    return np.array(p)


def lars(p, gradients, mask, spans, rate, decay, momentum, trust, clipped=False):
    p, v = list(p), [0.0] * len(p)
    for g in gradients:
        for start, stop in spans:
            weights = math.sqrt(sum(p[i] ** 2 for i in range(start, stop)))
            slope = math.sqrt(sum(g[i] ** 2 for i in range(start, stop)))
            ratio = 1.0
            if any(mask[i] for i in range(start, stop)) and weights > 0 and slope > 0:
                ratio = trust * weights / (slope + decay * weights)
                if clipped:  # the tensor's own rate, and never more than the common one
                    ratio = min(ratio, rate) / rate
            for i in range(start, stop):
                v[i] = momentum * v[i] + rate * ratio * (g[i] + (decay * p[i] if mask[i] else 0.0))
                p[i] -= v[i]
    return np.array(p)


def knn_scores(train, labels, test, k, temperature):
    """Votes by class in units of the nearest one's, neighbours sorted by similarity and, of equals, by place."""
    train, test = unit(np.asarray(train, float)), unit(np.asarray(test, float))
    out = np.zeros((len(test), max(labels) + 1))
    for i, x in enumerate(test):
        near = sorted((-sum(x * y), j) for j, y in enumerate(train))[:k]
        for minus, j in near:
            out[i, labels[j]] += math.exp((near[0][0] - minus) / temperature)
    return out


def logistic(flat, x, labels, classes, strength):
    """J(W, b), flat the rows of W and then b."""
    n, d = x.shape
    total = 0.0
    for i in range(n):
        scores = [flat[d * classes + c] + sum(x[i, j] * flat[j * classes + c] for j in range(d)) for c in range(classes)]
        largest = max(scores)
        total += largest + math.log(sum(math.exp(s - largest) for s in scores)) - scores[labels[i]]
    return total / n + sum(w * w for w in flat[: d * classes]) / (2 * strength * n)

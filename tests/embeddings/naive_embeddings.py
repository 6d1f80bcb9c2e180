"""The numbers of a diagnosis by loops in float64, row by row and pair by pair."""

from __future__ import annotations

import math

import numpy as np


def covariance(z):
    """Two passes; (m, m)."""
    n, m = z.shape
    mean = [math.fsum(z[:, j]) / n for j in range(m)]
    return np.array(
        [[math.fsum((z[i, j] - mean[j]) * (z[i, r] - mean[r]) for i in range(n)) / n for r in range(m)] for j in range(m)]
    )


def entropy_rank(weights):
    total = math.fsum(weights)
    return math.exp(-math.fsum(w / total * math.log(w / total) for w in weights if w > 0.0))


def eigenvalues(matrix):
    """Of a symmetric matrix, by Jacobi's rotations, largest first."""
    a = np.array(matrix, dtype=float)
    m = len(a)
    for _ in range(60):
        for p in range(m):
            for q in range(p + 1, m):
                if a[p, q] == 0.0:
                    continue
                angle = 0.5 * math.atan2(2.0 * a[p, q], a[q, q] - a[p, p])
                c, s = math.cos(angle), math.sin(angle)
                turn = np.eye(m)
                turn[p, p], turn[q, q], turn[p, q], turn[q, p] = c, c, s, -s
                a = turn.T @ a @ turn
    return sorted((max(float(x), 0.0) for x in np.diagonal(a)), reverse=True)


def ranks(z):
    """(of the correlations, of the covariances, of the singular values, mean |correlation|) of z whose columns vary."""
    cov = covariance(z)
    m = len(cov)
    sd = [math.sqrt(cov[j, j]) for j in range(m)]
    corr = np.array([[cov[j, r] / sd[j] / sd[r] for r in range(m)] for j in range(m)])
    values = eigenvalues(cov / max(sd) ** 2)
    off = [abs(corr[j, r]) for j in range(m) for r in range(m) if j != r]
    rank = entropy_rank(eigenvalues(corr))
    return rank, entropy_rank(values), entropy_rank([math.sqrt(v) for v in values]), math.fsum(off) / len(off)


def units(z):
    out = np.zeros(z.shape)
    for i, row in enumerate(z):
        largest = max(abs(x) for x in row)
        if largest:
            length = math.sqrt(math.fsum((x / largest) ** 2 for x in row))
            out[i] = [x / largest / length for x in row]
    return out


def unit_sd(z):
    u = units(z)
    return math.fsum(math.sqrt(max(covariance(u)[j, j], 0.0)) for j in range(u.shape[1])) / u.shape[1]


def alignment(z, other):
    return math.fsum(math.fsum((a - b) ** 2) for a, b in zip(units(z), units(other), strict=True)) / len(z)


def uniformity(z):
    u = units(z)
    n = len(u)
    terms = [math.exp(-2.0 * math.fsum((u[i] - u[j]) ** 2)) for i in range(n) for j in range(i)]
    return math.log(math.fsum(terms) / len(terms))

"""Loss and gradient of relu neurons with biases by quadrature at 30 digits and central differences of the definition.

One neuron's patch answers max(0, z + b). Moments are integrals over one normal variable, of pairs over the
other's conditional law. The loss is written from the formulas at the head of `tests.oracles.exact`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from mpmath import inf, mp, mpf, ncdf, npdf, quad

from tests.oracles.exact import Counts, count_moments, feature_axes

DIGITS, STEP = 30, mpf(10) ** -9


@lru_cache(maxsize=4096)
def pair(s1, s2, rho, b1, b2):
    """E max(0, z_1 + b_1) max(0, z_2 + b_2), and P(both answer), for |rho| < 1."""
    h, k, c = -b1 / s1, -b2 / s2, mp.sqrt((1 - rho) * (1 + rho))

    def product(x):
        middle = rho * x - k
        return (x - h) * npdf(x) * (c * npdf(middle / c) + middle * ncdf(middle / c))

    bends = [x for x in (k / rho if rho else mpf(0), h + 1, mpf(0), mpf(2), mpf(5)) if h < x < 12]
    cuts = [h, *sorted(set(bends)), max(mpf(14), h + 4)]
    return s1 * s2 * quad(product, cuts), quad(lambda x: npdf(x) * ncdf((rho * x - k) / c), cuts)


@lru_cache(maxsize=4096)
def single(s, b):
    """E max(0, z + b) and its square's mean."""
    cuts = [-b / s, max(-b / s + 2, mpf(0)), inf]
    return quad(lambda x: (s * x + b) * npdf(x), cuts), quad(lambda x: (s * x + b) ** 2 * npdf(x), cuts)


def side(model, weights, bias):
    """f (m, 2K), shares of the states, mu (m,), q (m, m) of one side's neurons."""
    count, sigma, m = len(model.strengths), mpf(model.noise), len(weights)
    axes = feature_axes(model)
    often = [mpf(1)] * count if model.probabilities is None else [mpf(p) for p in model.probabilities]
    share = [p / (2 * sum(often)) for p in often for _ in (1, -1)]
    answers = []
    for w, b in zip(weights, bias, strict=True):
        along = [sum(w[i] * axes[k][i] for i in range(count)) for k in range(count)]
        answers.append(
            [max(mpf(0), s * mpf(a) * u + b) for a, u in zip(model.strengths, along, strict=True) for s in (1, -1)]
        )
    gram = [[sum(x * y for x, y in zip(w[count:], v[count:], strict=True)) for v in weights] for w in weights]
    size = [sigma * mp.sqrt(gram[p][p]) for p in range(m)]
    moments = [single(size[p], bias[p]) for p in range(m)]
    q = [[mpf(0)] * m for _ in range(m)]
    for p in range(m):
        q[p][p] = moments[p][1]
        for r in range(p):
            rho = sigma**2 * gram[p][r] / (size[p] * size[r])
            q[p][r] = q[r][p] = pair(size[p], size[r], rho, bias[p], bias[r])[0]
    return answers, share, [mean for mean, _ in moments], q


def loss(model, online, target, head):
    """sum_j 2 - 2 rho_j; online, target: (weights, biases) as lists of mpf."""
    exact = count_moments(model.patches, model.feature_patches, model.mask)
    counts = Counts(*(mpf(c.numerator) / c.denominator for c in exact))
    m, total = len(head), mpf(0)
    (f, share, mu, q), (g, _, nu, o) = side(model, *online), side(model, *target)
    t, u = ([sum(p * x for p, x in zip(share, row, strict=True)) for row in rows] for rows in (f, g))
    means = [counts.N * t[j] + counts.n * mu[j] for j in range(m)]
    goals = [counts.N * u[j] + counts.n * nu[j] for j in range(m)]

    def within(rows, average, noise, second, middle, j, r):
        square = sum(p * x * y for p, x, y in zip(share, rows[j], rows[r], strict=True))
        mixed = average[j] * noise[r] + noise[j] * average[r]
        of_noise = (counts.nn - counts.n) * noise[j] * noise[r] + counts.n * second[j][r]
        return counts.NN * square + counts.Nn * mixed + of_noise - middle[j] * middle[r]

    for j in range(m):
        v = sum(head[j][r] * head[j][s] * within(f, t, mu, q, means, r, s) for r in range(m) for s in range(m))
        w, b = within(g, u, nu, o, goals, j, j), mpf(0)
        for r in range(m):
            square = sum(p * x * y for p, x, y in zip(share, f[r], g[j], strict=True))
            mixed = counts.Nxn * t[r] * nu[j] + counts.nxN * mu[r] * u[j] + counts.nxn * mu[r] * nu[j]
            b += head[j][r] * (counts.NxN * square + mixed - means[r] * goals[j])
        total += 2 - 2 * b / mp.sqrt(v * w)
    return total


def gradient(model, weights, head, bias):
    """(loss, d_weights, d_head with zero diagonal, d_bias), the target held."""
    with mp.workdps(DIGITS):
        w, e = ([[mpf(float(x)) for x in row] for row in rows] for rows in (weights, head))
        b = [mpf(float(x)) for x in bias]
        held = [list(row) for row in w], list(b)

        def slope(row, i):
            at, values = row[i], []
            for shift in (STEP, -STEP):
                row[i] = at + shift
                values.append(loss(model, (w, b), held, e))
            row[i] = at
            return (values[0] - values[1]) / (2 * STEP)

        d_weights = [[slope(row, i) for i in range(len(row))] for row in w]
        d_head = [[slope(row, r) if r != j else mpf(0) for r in range(len(row))] for j, row in enumerate(e)]
        d_bias = [slope(b, j) for j in range(len(b))]
        found = (np.array(part, dtype=float) for part in (d_weights, d_head, d_bias))
        return float(loss(model, (w, b), held, e)), *found

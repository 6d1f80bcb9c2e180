r"""The population loss and its gradient in closed form, at enough digits that at least 50 are right.

Written from the formulas in the order they are defined; cancellation is left to the digits to absorb.
With u = s alpha_l A_jl, f_jls = phi(u), t_j and T_jr the means of f_j and f_j f_r over features (as often as they come)
and signs,
mu_j and q_jr the noise moments of one patch, N and n the feature and noise patches of a view:

    M_j    = E[N1] t_j + E[n1] mu_j
    Var_jr = E[N1^2] T_jr + E[N1 n1] (t_j mu_r + mu_j t_r) + E[n1^2] mu_j mu_r
             + E[n1] (q_jr - mu_j mu_r) - M_j M_r
    Cov_rj = E[N1 N2] T_rj + E[N1 n2] t_r mu_j + E[n1 N2] mu_r t_j + E[n1 n2] mu_r mu_j - M_r M'_j
    rho_j  = sum_r E_jr Cov_rj / sqrt((E Var E^T)_jj Var'_jj),       loss = sum_j (2 - 2 rho_j)

The gradient is taken by reverse-mode differentiation of that code with respect to the online side; the target
side (primed, and the second index of Cov) is plain numbers, which is the stop-gradient.
"""

from __future__ import annotations

import math
from collections import namedtuple
from fractions import Fraction
from functools import cache

import numpy as np
from mpmath import mp, mpf

from tests.oracles.tape import Node, differentiate, dot, inverse_sqrt, record, sqrt, value_of

DIGITS = 200
"""Working digits: 50 to be right, the others for differences between 1 and the sixth power of 1e-10."""

DEGREE = {"relu": 1, "cubic": 3, "relu3": 3, "linear": 1, "quintic": 5, "relu2": 2}
ODD = {"relu": False, "cubic": True, "relu3": False, "linear": True, "quintic": True, "relu2": False}
SQUARE = {1: 1, 2: 3, 3: 15, 5: 945}
"""E z^(2 degree) of a standard normal."""


def precision():
    """Context in which mpmath computes with DIGITS digits."""
    return mp.workdps(DIGITS)


Counts = namedtuple("Counts", "N n NN Nn nn NxN Nxn nxN nxn")
"""E N1, n1, N1^2, N1 n1, n1^2 of one view; E N1 N2, N1 n2, n1 N2, n1 n2 across views, as fractions."""


class Degenerate(ValueError):
    """An output of the state is constant, so the loss is not defined there."""


@cache
def count_moments(patches: int, feature_patches: int, mask: str) -> Counts:
    """Moments of the patch counts: a of the n feature patches and b of the others are in view 1."""
    n, rest = feature_patches, patches - feature_patches
    total, sums = 0, [0] * len(Counts._fields)
    for a in range(n + 1):
        for b in range(rest + 1):
            if mask == "half" and 2 * (a + b) != patches:
                continue
            ways = math.comb(n, a) * math.comb(rest, b)
            total += ways
            products = (a, b, a * a, a * b, b * b, a * (n - a), a * (rest - b), b * (n - a), b * (rest - b))
            sums = [old + ways * new for old, new in zip(sums, products, strict=True)]
    return Counts(*(Fraction(value, total) for value in sums))


# --- activation and noise moments ---


def activate(activation: str, u):
    """phi(u)."""
    if not ODD[activation] and value_of(u) <= 0:
        return mpf(0)
    return u ** DEGREE[activation]


def noise_mean(activation: str, noise, q_jj):
    """mu = E phi(w.xi) for a noise part of squared norm q_jj."""
    if ODD[activation]:
        return mpf(0)
    if activation == "relu2":
        return q_jj * (noise * noise / 2)
    factor = noise ** DEGREE[activation] / mp.sqrt(2 * mp.pi)
    length = sqrt(q_jj)
    return length * factor if activation == "relu" else length**3 * (2 * factor)


def angular_kernel(order: int, angle):
    """J_n of Cho & Saul (2009), n = 1, 2, 3: 2 pi E[x_+^n y_+^n] of normals with correlation cos(angle)."""
    s, c = mp.sin(angle), mp.cos(angle)
    if order == 1:
        return s + (mp.pi - angle) * c
    if order == 2:
        return 3 * s * c + (mp.pi - angle) * (1 + 2 * c**2)
    return 15 * s - 11 * s**3 + (mp.pi - angle) * (9 * c + 6 * c**3)


def noise_moment(activation: str, noise, q_jj, q_rr, q_jr):
    """E phi(w_j.xi) phi(w_r.xi) from the Gram entries of the noise parts (j != r)."""
    if activation == "linear":
        return q_jr * noise**2
    if activation == "cubic":
        return (q_jj * q_rr * q_jr * 9 + q_jr**3 * 6) * noise**6
    if activation == "quintic":
        # Isserlis: 1, 3 or 5 of the pairs join z_1 and z_2.
        k = q_jj * q_rr
        return (k * k * q_jr * 225 + k * q_jr**3 * 600 + q_jr**5 * 120) * noise**10
    return _rectified_moment(DEGREE[activation], noise, q_jj, q_rr, q_jr)


def noise_square(activation: str, noise, q_jj):
    """E phi(w.xi)^2 of one patch: (2 degree - 1)!! (noise |w|)^(2 degree), halved if phi is rectified."""
    degree = DEGREE[activation]
    factor = SQUARE[degree] * noise ** (2 * degree)
    return q_jj**degree * (factor if ODD[activation] else factor / 2)


def _rectified_moment(degree: int, noise, q_jj, q_rr, q_jr):
    """noise^2n k^n J_n / 2 pi, its partials without the 1/sin(angle) of the chain rule (parallel parts).

    Price's theorem gives d/dq_jr = noise^2 E phi'(w_j.xi) phi'(w_r.xi), and homogeneity of degree n in w_j
    the rest: 2 q_jj d/dq_jj + q_jr d/dq_jr = n E phi phi.
    """
    jj, rr, jr = value_of(q_jj), value_of(q_rr), value_of(q_jr)
    length = mp.sqrt(jj * rr)
    angle = mp.atan2(mp.sqrt(max(jj * rr - jr * jr, mpf(0))), jr)
    factor = noise ** (2 * degree) / (2 * mp.pi)
    value = factor * length**degree * angular_kernel(degree, angle)
    if degree == 1:
        by_jr = factor * (mp.pi - angle)
    else:
        by_jr = factor * degree**2 * length ** (degree - 1) * angular_kernel(degree - 1, angle)
    rest = degree * value - jr * by_jr
    return record(value, (q_jj, rest / (2 * jj)), (q_rr, rest / (2 * rr)), (q_jr, by_jr))


# --- loss ---


def feature_axes(model) -> list[list]:
    """The features on the first K axes, as the Cholesky factor of their Gram matrix has them."""
    count, given = len(model.strengths), getattr(model, "correlation", None)
    if given is None:
        return [[mpf(int(k == l)) for k in range(count)] for l in range(count)]
    pairs = [[given[k][l] if isinstance(given, tuple) else given for l in range(count)] for k in range(count)]
    gram = mp.matrix([[mpf(1) if k == l else mpf(pairs[k][l]) for l in range(count)] for k in range(count)])
    factor = mp.cholesky(gram)
    return [[factor[k, l] for l in range(count)] for k in range(count)]


class Side:
    """The moments of one side: f (m, 2K), t (m,), mu (m,), q (m, m) and means M (m,), from dense weights."""

    def __init__(self, model, weights, counts, pairs: bool):
        K, m = len(model.strengths), len(weights)
        often = getattr(model, "probabilities", None)
        often = [mpf(1)] * K if often is None else [mpf(p) for p in often]
        self.share = [p / (2 * sum(often)) for p in often for _ in (1, -1)]
        noise, phi = mpf(model.noise), model.activation
        alphas = [(k, sign * mpf(alpha)) for k, alpha in enumerate(model.strengths) for sign in (1, -1)]
        axes = feature_axes(model)
        along = [[dot(axes[k], w[:K]) for k in range(K)] for w in weights]
        self.f = [[activate(phi, row[k] * alpha) for k, alpha in alphas] for row in along]
        self.t = [dot(self.share, row) for row in self.f]
        gram = {(j, r): dot(weights[j][K:], weights[r][K:]) for j in range(m) for r in range(j + 1)}
        self.mu = [noise_mean(phi, noise, gram[j, j]) for j in range(m)]
        self.q = {(j, j): noise_square(phi, noise, gram[j, j]) for j in range(m)}
        if pairs:
            for j in range(m):
                for r in range(j):
                    moment = noise_moment(phi, noise, gram[j, j], gram[r, r], gram[j, r])
                    self.q[j, r] = self.q[r, j] = moment
        self.means = [dot((counts.N, counts.n), (t, mu)) for t, mu in zip(self.t, self.mu, strict=True)]


def over_states(share, first, second):
    """T: the mean of first times second over feature states of these shares."""
    return dot([x * p for x, p in zip(first, share, strict=True)], second)


def variance(side: Side, counts, j: int, r: int):
    """Var_jr of one view, before the head."""
    t, mu, means = side.t, side.mu, side.means
    terms = (
        (counts.NN, over_states(side.share, side.f[j], side.f[r])),
        (counts.Nn, dot((t[j], mu[j]), (mu[r], t[r]))),
        (counts.nn - counts.n, mu[j] * mu[r]),
        (counts.n, side.q[j, r]),
        (mpf(-1), means[j] * means[r]),
    )
    return dot(*zip(*terms, strict=True))


def covariance(online: Side, target: Side, counts, r: int, j: int):
    """Cov_rj between neuron r of view 1 and neuron j of view 2, before the head."""
    terms = (
        (counts.NxN, over_states(online.share, online.f[r], target.f[j])),
        (counts.Nxn * target.mu[j], online.t[r]),
        (counts.nxN * target.t[j], online.mu[r]),
        (counts.nxn * target.mu[j], online.mu[r]),
        (-target.means[j], online.means[r]),
    )
    return dot(*zip(*terms, strict=True))


def loss_terms(model, online, target, head, counts: Counts | None = None) -> list:
    """2 - 2 rho_j for every j; the entries of `online`, `target`, `head` are numbers or nodes of one tape."""
    counts = counts or count_moments(model.patches, model.feature_patches, model.mask)
    counts = Counts(*(mpf(c.numerator) / c.denominator for c in counts))
    m = len(online)
    first, second = Side(model, online, counts, pairs=True), Side(model, target, counts, pairs=False)
    var = {(j, r): variance(first, counts, j, r) for j in range(m) for r in range(j + 1)}
    var |= {(r, j): value for (j, r), value in var.items()}
    terms = []
    for j in range(m):
        mixed = [dot(head[j], [var[r, s] for s in range(m)]) for r in range(m)]
        v = dot(head[j], mixed)
        u = variance(second, counts, j, j)
        b = dot(head[j], [covariance(first, second, counts, r, j) for r in range(m)])
        size = sum(value_of(head[j][r]) ** 2 * value_of(var[r, r]) for r in range(m))
        if value_of(u) <= 0 or value_of(v) <= size * mpf(10) ** -30:
            raise Degenerate(f"online or target output {j} is constant")
        terms.append(2 - 2 * (b * inverse_sqrt(v) * inverse_sqrt(u)))
    return terms


def population_loss(model, online, target, head, counts: Counts | None = None, digits: int = DIGITS):
    """The loss, online and target weights being separate arguments."""
    with mp.workdps(digits):
        return sum(loss_terms(model, _numbers(online), _numbers(target), _numbers(head), counts))


def population_gradient(
    model, weights, head, counts=None, digits: int = DIGITS, stop_gradient: bool = True, absolute: bool = False
):
    """Loss, gradient of the weights (m, d) and of the head (m, m), zero diagonal; arrays of mpf.

    With `absolute` the terms of the derivatives are added as absolute values: how large what cancels is.
    """
    with mp.workdps(digits):
        tape: list[Node] = []
        online = [[Node(x, tape) for x in row] for row in _numbers(weights)]
        m, entry = len(online), _numbers(head)
        nodes = [[entry[j][r] if j == r else Node(entry[j][r], tape) for r in range(m)] for j in range(m)]
        target = _numbers(weights) if stop_gradient else online
        total = sum(loss_terms(model, online, target, nodes, counts))
        differentiate(total, absolute)
        d_weights = np.array([[node.adjoint for node in row] for row in online], object)
        d_head = np.array([[getattr(x, "adjoint", mpf(0)) for x in row] for row in nodes], object)
        return total.value, d_weights, d_head


def _numbers(rows) -> list[list]:
    return [[x if isinstance(x, mpf) else mpf(float(x)) for x in row] for row in rows]

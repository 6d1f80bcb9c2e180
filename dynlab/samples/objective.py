r"""The minibatch loss as a function of the batch's moments, and what each sample's outputs contribute to its gradient.

z (n, C) are the outputs of n samples: x, the online side's, in some columns and y, the target side's, in others. Their
means and covariances (divided by n, as batch normalisation does) are all that the objectives of `dynlab.settings.training`
know of the batch, except unit length. With F = E x, for one direction

    V_j = E_j Cov(x) E_j^T,    U_j = Var(y_j),    B_j = E_j Cov(x, y_j)          (batch; plus products of means: scale, none)
    batch, scale    L = sum_j 2 - 2 rho_j,   rho_j = B_j/sqrt(V_j U_j):  dL/dV = rho/V, dL/dU = rho/U, dL/dB = -2/sqrt(V U)
    none            L = sum_j V_j - 2 B_j + U_j,

from which D = dL/dCov (entries as if all were separate numbers) and dL/dmean. Since
cov = (1/n) sum_s (z - mean)(z - mean)^T, whose derivative through the mean vanishes,

    dL/dz(s) = [dL/dmean + (D + D^T)(z(s) - mean)]/n :

linear in z(s). A side that is stopped keeps its columns, but its rows of D + D^T are left out. `symmetric` averages both
directions. Each function returns its part of the loss and adds to a `Slope`.

Unit length is no function of moments: there dL/dz is found sample by sample (`unit_length_slope`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.formulas import head_rules
from dynlab.samples import kernels


@dataclass
class Moments:
    """mean (C,) and cov (C, C) of a batch's outputs."""

    mean: np.ndarray
    cov: np.ndarray

    def raw(self, a, b):
        """E z_a z_b for two lists of columns."""
        return self.cov[np.ix_(a, b)] + np.outer(self.mean[a], self.mean[b])


def moments(z) -> Moments:
    """Those of outputs z (n, C)."""
    columns = z.shape[1]
    made = Moments(np.empty(columns), np.empty((columns, columns)))
    kernels.moments_of(z, made.mean, made.cov)
    return made


@dataclass
class Slope:
    """dL/dz(s) = [const + linear (z(s) - mean)]/n in columns that train; dL/dE."""

    const: np.ndarray
    linear: np.ndarray
    head: np.ndarray

    @classmethod
    def zero(cls, columns: int, m: int) -> Slope:
        return cls(np.zeros(columns), np.zeros((columns, columns)), np.zeros((m, m)))

    def of_outputs(self, z, moments: Moments) -> np.ndarray:
        """dL/dz (n, C)."""
        return (self.const + (z - moments.mean) @ self.linear.T) / len(z)


def batch_loss(training, moments: Moments, layout, head) -> tuple[float, Slope]:
    """Loss, without decays, and its slope; nan or infinity where an output has no variance."""
    m = len(head)
    slope = Slope.zero(len(moments.mean), m)
    share = 1.0 / len(layout.directions)
    loss = 0.0
    for x, y in layout.directions:
        if training.normalisation == "length":
            pass  # in `unit_length_slope`
        elif training.objective == "similarity":
            loss += similarity_slope(training, moments, x, y, head, share, slope)
        elif training.objective == "barlow-twins":
            loss += barlow_twins_slope(training.barlow_weight, moments, x, y, share, slope)
        else:
            loss += vicreg_slope(training.vicreg_weights, moments, x, y, share, slope)
        if training.decorrelation > 0.0:
            loss += decorrelation(training.decorrelation, moments, x, share, slope)
    head_rules.project_gradient(head_rules.rule_number(training.head), m, slope.head)
    if training.stop_gradient == "online":
        slope.head[...] = 0.0
    return loss, slope


def similarity_slope(training, moments: Moments, x, y, head, share, slope: Slope) -> float:
    """One direction of |F~ - G~|^2, or of |F - G|^2 without normalisation."""
    centred = training.normalisation == "batch"
    var = moments.cov[np.ix_(x, x)] if centred else moments.raw(x, x)
    across = moments.cov[np.ix_(x, y)] if centred else moments.raw(x, y)
    own = np.diagonal(moments.cov[np.ix_(y, y)] if centred else moments.raw(y, y))
    size, overlap = np.einsum("jr,rs,js->j", head, var, head), np.einsum("jr,rj->j", head, across)
    if training.normalisation == "none":
        terms = size - 2.0 * overlap + own
        d_size, d_own, d_overlap = np.ones_like(size), np.ones_like(size), np.full_like(size, -2.0)
    else:
        root = np.sqrt(size * own)
        rho = overlap / root
        terms, d_size, d_own, d_overlap = 2.0 - 2.0 * rho, rho / size, rho / own, -2.0 / root
    slope.head += share * (2.0 * d_size[:, None] * (head @ var) + d_overlap[:, None] * across.T)
    d_var, d_across = (head.T * d_size) @ head, head.T * d_overlap
    if training.stop_gradient != "online":
        slope.linear[np.ix_(x, x)] += share * 2.0 * d_var
        slope.linear[np.ix_(x, y)] += share * d_across
        if not centred:
            slope.const[x] += share * (2.0 * d_var @ moments.mean[x] + d_across @ moments.mean[y])
    if training.stop_gradient != "target":
        slope.linear[y, y] += share * 2.0 * d_own
        slope.linear[np.ix_(y, x)] += share * d_across.T
        if not centred:
            slope.const[y] += share * (2.0 * d_own * moments.mean[y] + d_across.T @ moments.mean[x])
    return share * float(terms.sum())


def barlow_twins_slope(weight, moments: Moments, x, y, share, slope: Slope) -> float:
    """sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2 of the cross-correlation C_ij of x_i and y_j (Zbontar et al. 2021)."""
    across = moments.cov[np.ix_(x, y)]
    first, second = np.diagonal(moments.cov)[x], np.diagonal(moments.cov)[y]
    size = np.sqrt(np.outer(first, second))
    c = across / size
    short = 1.0 - np.diagonal(c)
    d_c = 2.0 * weight * c
    np.fill_diagonal(d_c, -2.0 * short)
    d_across = d_c / size
    _add_two_sides(slope, x, y, share, -(d_c * c).sum(1) / first, -(d_c * c).sum(0) / second, d_across)
    off = float((c * c).sum() - (np.diagonal(c) ** 2).sum())
    return share * (float((short * short).sum()) + weight * off)


def vicreg_slope(weights, moments: Moments, x, y, share, slope: Slope) -> float:
    """Invariance, variance (hinge at 1, no epsilon), covariance of both sides (Bardes, Ponce & LeCun 2022, algorithm 1).

    All three are means over the outputs, as in `dynlab.formulas.decorrelation`.
    """
    m = len(x)
    invariance, variance, covariance = weights[0] / m, weights[1] / m, weights[2] / m
    across = moments.cov[np.ix_(x, y)]
    gap = moments.mean[x] - moments.mean[y]
    loss = invariance * float((gap * gap).sum() - 2.0 * np.trace(across))
    doubled = []
    for side in (x, y):
        var = moments.cov[np.ix_(side, side)]
        deviation = np.sqrt(np.diagonal(var))
        off = var - np.diag(np.diagonal(var))
        below = np.maximum(1.0 - deviation, 0.0)
        loss += float(invariance * np.trace(var) + variance * below.sum() + covariance * (off * off).sum())
        slope.linear[np.ix_(side, side)] += share * 4.0 * covariance * off
        hinge = np.where((deviation < 1.0) & (deviation > 0.0), variance / deviation, 0.0)
        doubled.append(2.0 * invariance - hinge)
    _add_two_sides(slope, x, y, share, doubled[0], doubled[1], -2.0 * invariance * np.eye(m))
    slope.const[x] += share * 2.0 * invariance * gap
    slope.const[y] -= share * 2.0 * invariance * gap
    return share * loss


def _add_two_sides(slope, x, y, share, doubled_x, doubled_y, d_across) -> None:
    """Add 2 dL/dVar on the diagonals, dL/dCov across; no side of these objectives is stopped."""
    slope.linear[x, x] += share * doubled_x
    slope.linear[y, y] += share * doubled_y
    slope.linear[np.ix_(x, y)] += share * d_across
    slope.linear[np.ix_(y, x)] += share * d_across.T


def decorrelation(weight, moments: Moments, x, share, slope: Slope) -> float:
    """weight * sum_{i != j} corr(x_i, x_j)^2 of the encoder's outputs in the online view (Liu et al. 2022).

    Between 0 and weight * m(m - 1).
    """
    var = moments.cov[np.ix_(x, x)]
    own = np.diagonal(var)
    squares = var * var / np.outer(own, own)
    np.fill_diagonal(squares, 0.0)
    d_var = 2.0 * weight * var / np.outer(own, own)
    np.fill_diagonal(d_var, -2.0 * weight * squares.sum(1) / own)
    slope.linear[np.ix_(x, x)] += share * 2.0 * d_var
    return share * weight * float(squares.sum())


def unit_length_slope(training, z, layout, head, d_z, d_head) -> float:
    """Loss of outputs divided by their length, the zero vector staying zero; adds dL/dz (n, C) and dL/dE of each sample."""
    share, loss = 1.0 / (len(z) * len(layout.directions)), 0.0
    gained = np.zeros_like(head)
    for x, y in layout.directions:
        (out, out_size), (goal, goal_size) = _unit(z[:, x] @ head.T), _unit(z[:, y])
        gap = out - goal
        loss += share * float((gap * gap).sum())
        cosine = (out * goal).sum(1, keepdims=True)
        if training.stop_gradient != "online":
            d_out = share * -2.0 * (goal - cosine * out) * out_size
            d_z[:, x] += d_out @ head
            gained += d_out.T @ z[:, x]
        if training.stop_gradient != "target":
            d_z[:, y] += share * -2.0 * (out - cosine * goal) * goal_size
    head_rules.project_gradient(head_rules.rule_number(training.head), len(head), gained)
    d_head += gained
    return loss


def _unit(vectors):
    """Rows divided by their length, and one over their length; 0 for the zero vector."""
    length = np.sqrt((vectors * vectors).sum(1, keepdims=True))
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0.0)
    return vectors * inverse, inverse

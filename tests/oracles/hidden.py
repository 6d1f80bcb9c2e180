r"""Loss and gradient where every output sums over hidden units, at 200 digits: `exact`, one level further out.

    f_j = sum_h a_jh phi_h       Var f = a Var_units a^T       Cov(F, G) = B Cov_units a^T,  B = E a

The gradient is taken by reverse-mode differentiation with respect to the online side: weights, a, E; the target's weights
and its a are plain numbers.
"""

from __future__ import annotations

import numpy as np
from mpmath import mp, mpf

from tests.oracles.exact import DIGITS, Counts, Side, _numbers, count_moments, covariance, variance
from tests.oracles.tape import Node, differentiate, dot, inverse_sqrt


def loss_terms(model, online, target, readout, target_readout, head, counts: Counts) -> list:
    """2 - 2 rho_j for every output j."""
    counts = Counts(*(mpf(c.numerator) / c.denominator for c in counts))
    units = range(len(online))
    first, second = Side(model, online, counts, pairs=True), Side(model, target, counts, pairs=True)
    mine = {(h, k): variance(first, counts, h, k) for h in units for k in units if k <= h}
    mine |= {(k, h): value for (h, k), value in mine.items()}
    theirs = {(h, k): variance(second, counts, h, k) for h in units for k in units if k <= h}
    theirs |= {(k, h): value for (h, k), value in theirs.items()}
    across = {(h, k): covariance(first, second, counts, h, k) for h in units for k in units}
    terms = []
    for j, own in enumerate(target_readout):
        mixed = [dot(head[j], [row[h] for row in readout]) for h in units]
        v = dot(mixed, [dot(mixed, [mine[h, k] for k in units]) for h in units])
        u = dot(own, [dot(own, [theirs[h, k] for k in units]) for h in units])
        b = dot(mixed, [dot(own, [across[h, k] for k in units]) for h in units])
        terms.append(2 - 2 * (b * inverse_sqrt(v) * inverse_sqrt(u)))
    return terms


def population_gradient(model, weights, head, readout, digits: int = DIGITS):
    """Loss, d_weights (M, d), d_head (m, m) with zero diagonal, d_readout (m, M): arrays of mpf."""
    with mp.workdps(digits):
        tape: list[Node] = []
        online = [[Node(x, tape) for x in row] for row in _numbers(weights)]
        mine = [[Node(x, tape) for x in row] for row in _numbers(readout)]
        entry = _numbers(head)
        nodes = [[x if j == r else Node(x, tape) for r, x in enumerate(row)] for j, row in enumerate(entry)]
        counts = count_moments(model.patches, model.feature_patches, model.mask)
        total = sum(loss_terms(model, online, _numbers(weights), mine, _numbers(readout), nodes, counts))
        differentiate(total)
        adjoints = [
            np.array([[getattr(x, "adjoint", None) or mpf(0) for x in row] for row in rows], object)
            for rows in (online, nodes, mine)
        ]
        return total.value, *adjoints

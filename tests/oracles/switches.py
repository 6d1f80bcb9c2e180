r"""The loss of any `Training` and its gradient, at enough digits that at least 50 are right.

From the moments of `tests.oracles.exact`, written as the definitions say, and differentiated in reverse: an argument is a
node of the tape where gradients flow and a plain number where they are stopped. `directpred` and `directcopy` heads come
from mpmath's eigenvalues; unit lengths from the enumeration of the counts of feature patches.
"""

from __future__ import annotations

import math

import numpy as np
from mpmath import mp, mpf

from tests.oracles import exact
from tests.oracles.exact import Counts, Side, count_moments, covariance, variance
from tests.oracles.tape import Node, differentiate, dot, inverse_sqrt, record, sqrt, value_of


def quotient(a, b):
    """a/b of numbers or nodes."""
    inverse = record(1 / value_of(b), (b, -1 / value_of(b) ** 2))
    return a * inverse


def product(a, b):
    """a*b of numbers or nodes."""
    return b * a if isinstance(b, Node) else a * b


class Outputs:
    """A side (`exact.Side`) of outputs that sum over its units with the readout a (m, M): all but q linear in a."""

    def __init__(self, units, readout):
        every = range(len(units.mu))
        self.share = units.share
        self.f = [[dot(row, [f[i] for f in units.f]) for i in range(len(units.share))] for row in readout]
        self.t, self.mu, self.means = ([dot(row, part) for row in readout] for part in (units.t, units.mu, units.means))
        half = [[dot(row, [units.q[h, k] for h in every]) for k in every] for row in readout]
        self.q = {(j, r): dot(half[j], row) for j in range(len(half)) for r, row in enumerate(readout)}


class Moments:
    """Second moments (centred, and raw) of two branches, before the head; readouts: of hidden units, of both branches."""

    def __init__(self, model, first, second, readouts=None):
        counts = count_moments(model.patches, model.feature_patches, model.mask)
        self.counts = Counts(*(mpf(c.numerator) / c.denominator for c in counts))
        self.first = Side(model, first, self.counts, pairs=True)
        self.second = Side(model, second, self.counts, pairs=True)
        if readouts is not None:
            self.first, self.second = Outputs(self.first, readouts[0]), Outputs(self.second, readouts[1])
        self.m = len(self.first.mu)

    def var(self, side, j, r, raw=False):
        value = variance(side, self.counts, j, r)
        return value + product(side.means[j], side.means[r]) if raw else value

    def cov(self, r, j, raw=False):
        value = covariance(self.first, self.second, self.counts, r, j)
        return value + product(self.first.means[r], self.second.means[j]) if raw else value


def own_head(training, moments):
    """E of directpred and directcopy (m, m), plain numbers."""
    m = moments.m
    s = mp.matrix(m, m)
    for j in range(m):
        for r in range(m):
            s[j, r] = value_of(moments.var(moments.first, max(j, r), min(j, r), raw=True))
    values, vectors = mp.eigsy(s)
    top = max(values)
    eps = mpf(training.directpred_eps)
    made = mp.matrix(m, m)
    for j in range(m):
        for r in range(m):
            if training.head == "directcopy":
                made[j, r] = s[j, r] / top
            else:
                made[j, r] = sum(mp.sqrt(max(v, 0) / top) * vectors[j, k] * vectors[r, k] for k, v in enumerate(values))
        made[j, j] += eps
    return [[made[j, r] for r in range(m)] for j in range(m)]


def similarity(model, training, moments, head):
    if training.normalisation == "length":
        return unit_length(model, moments, head)
    raw = training.normalisation != "batch"
    m = moments.m
    var = {(j, r): moments.var(moments.first, max(j, r), min(j, r), raw) for j in range(m) for r in range(m)}
    total = mpf(0)
    for j in range(m):
        mixed = [dot(head[j], [var[r, s] for s in range(m)]) for r in range(m)]
        v = dot(head[j], mixed)
        u = moments.var(moments.second, j, j, raw)
        b = dot(head[j], [moments.cov(r, j, raw) for r in range(m)])
        if training.normalisation == "none":
            total = total + (v + u + b * mpf(-2))
        else:
            size = sum(value_of(head[j][r]) ** 2 * value_of(var[r, r]) for r in range(m))
            if value_of(u) <= 0 or value_of(v) <= size * mpf(10) ** -30:
                raise exact.Degenerate(f"output {j} is constant")
            total = total + 2 + product(product(b, inverse_sqrt(v)), inverse_sqrt(u)) * mpf(-2)
    return total


def unit_length(model, moments, head):
    """E |F/|F| - G/|G||^2 over the counts of feature patches, without noise."""
    n, patches, total = model.feature_patches, model.patches, mpf(0)
    for kept in range(n + 1):
        if model.mask == "half":
            if patches // 2 - kept < 0 or patches // 2 - kept > patches - n:
                continue
            ways = math.comb(n, kept) * math.comb(patches - n, patches // 2 - kept)
            weight = mpf(ways) / math.comb(patches, patches // 2)
        else:
            weight = mpf(math.comb(n, kept)) / 2**n
        for i, share in enumerate(moments.first.share):
            f = [dot(head[j], [side[i] for side in moments.first.f]) for j in range(moments.m)]
            g = [side[i] for side in moments.second.f]
            f = [x * mpf(kept) for x in f]
            g = [x * mpf(n - kept) for x in g]
            size_f, size_g = dot(f, f), dot(g, g)
            total = total + weight * share * ((value_of(size_f) > 0) + (value_of(size_g) > 0))
            if value_of(size_f) > 0 and value_of(size_g) > 0:
                cosine = product(product(dot(f, g), inverse_sqrt(size_f)), inverse_sqrt(size_g))
                total = total + cosine * (-2 * weight * share)
    return total


def barlow_twins(training, moments):
    total, m = mpf(0), moments.m
    for i in range(m):
        for j in range(m):
            root = product(inverse_sqrt(moments.var(moments.first, i, i)), inverse_sqrt(moments.var(moments.second, j, j)))
            c = product(moments.cov(i, j), root)
            if i == j:
                short = c * mpf(-1) + 1
                total = total + product(short, short)
            else:
                total = total + product(c, c) * mpf(training.barlow_weight)
    return total


def vicreg(training, moments):
    invariance, spread, decorrelate = (mpf(w) for w in training.vicreg_weights)
    total, m = mpf(0), moments.m
    for i in range(m):
        v, u = moments.var(moments.first, i, i), moments.var(moments.second, i, i)
        total = total + (v + u + moments.cov(i, i) * mpf(-2)) * (invariance / m)
        for side, value in ((moments.first, v), (moments.second, u)):
            if value_of(value) < 1:
                total = total + (sqrt(value) * mpf(-1) + 1) * (spread / m)
            for j in range(m):
                if j != i:
                    c = moments.var(side, max(i, j), min(i, j))
                    total = total + product(c, c) * (decorrelate / m)
    return total


def decorrelation(moments):
    total, m = mpf(0), moments.m
    for i in range(m):
        for j in range(i):
            c = moments.var(moments.first, i, j)
            sizes = product(moments.var(moments.first, i, i), moments.var(moments.first, j, j))
            total = total + quotient(product(c, c), sizes) * mpf(2)
    return total


def training_gradient(
    model, training, weights, head, target_weights=None, digits: int = exact.DIGITS, readout=None, target_readout=None
):
    """Loss, dL/dw (m, d) with decay, dL/dE (m, m) on the entries that train, with decay; arrays of mpf.

    With a readout (m, M) of hidden units also dL/da (m, M), all of its entries taken to train, with decay.
    """
    with mp.workdps(digits):
        tape: list[Node] = []
        numbers = exact._numbers
        m = len(weights) if readout is None else len(readout)
        nodes = [[Node(x, tape) for x in row] for row in numbers(weights)]
        plain = numbers(weights) if target_weights is None else numbers(target_weights)
        first = numbers(weights) if training.stop_gradient == "online" else nodes
        second = plain if training.stop_gradient == "target" else nodes
        mine, readouts = None, None
        if readout is not None:
            mine = [[Node(x, tape) for x in row] for row in numbers(readout)]
            behind = numbers(readout if target_readout is None else target_readout)
            readouts = [numbers(readout) if training.stop_gradient == "online" else mine]
            readouts.append(behind if training.stop_gradient == "target" else mine)
        moments = Moments(model, first, second, readouts)
        entries = numbers(np.eye(m) if head is None else head)
        if training.head in ("directpred", "directcopy"):
            entries = own_head(training, moments)
        trains = training.head in ("off-diagonal", "linear", "symmetric") and training.stop_gradient != "online"
        free = [[trains and (j != r or training.head != "off-diagonal") for r in range(m)] for j in range(m)]
        mixed = [[Node(entries[j][r], tape) if free[j][r] else entries[j][r] for r in range(m)] for j in range(m)]
        if training.objective == "similarity":
            total = similarity(model, training, moments, mixed)
        elif training.objective == "barlow-twins":
            total = barlow_twins(training, moments)
        else:
            total = vicreg(training, moments)
        if training.decorrelation:
            regular = Moments(model, nodes, nodes, None if mine is None else (mine, mine))
            total = total + decorrelation(regular) * mpf(training.decorrelation)
        total = total + nodes[0][0] * mpf(0)  # a node also where the loss is constant
        differentiate(total)
        decay = mpf(training.weight_decay)
        d_weights = np.array([[x.adjoint + decay * x.value for x in row] for row in nodes], object)
        fade = mpf(training.head_decay)
        d_head = np.array(
            [[x.adjoint + fade * x.value if isinstance(x, Node) else mpf(0) for x in row] for row in mixed], object
        )
        if training.stop_gradient == "online" and training.head in ("off-diagonal", "linear", "symmetric"):
            d_head = np.array(
                [[mpf(training.head_decay) * entries[j][r] if j != r or training.head != "off-diagonal" else mpf(0)
                  for r in range(m)] for j in range(m)], object,
            )  # fmt: skip
        if training.head == "symmetric":
            d_head = (d_head + d_head.T) / 2
        if mine is None:
            return total.value, d_weights, d_head
        d_readout = np.array([[(x.adjoint or mpf(0)) + decay * x.value for x in row] for row in mine], object)
        return total.value, d_weights, d_head, d_readout

"""The minibatch loss of outputs that sum over hidden units, in loops, differentiated by complex steps (`naive_batch`)."""

from __future__ import annotations

import numpy as np

from tests.samples import naive_batch as naive


def read(sums, readout):
    """f_j = sum_h a_jh u_h for every sample: nested lists (n, m) from (n, M)."""
    return [[sum(a * u for a, u in zip(row, sample, strict=True)) for row in readout] for sample in sums]


def loss(model, training, patches, view, online, target, correlation=None):
    """The loss, without decays. online: weights (M, d), readout (m, M), head (m, m); target: weights and readout."""
    weights, readout, head = online
    sums = [naive.outputs(model.activation, weights, patches, view, v) for v in (0, 1)]
    first = [read(part, readout) for part in sums]
    second = first
    if target is not None:
        second = [read(naive.outputs(model.activation, target[0], patches, view, v), target[1]) for v in (0, 1)]
    ways = [(first[0], second[1])] + ([(first[1], second[0])] if training.symmetric else [])
    if training.head in ("directpred", "directcopy"):
        head = naive.own_head(training, [x for x, _ in ways], correlation).astype(complex)
    return sum(naive.one_way(training, x, y, head) for x, y in ways) / len(ways)


def gradient(model, training, patches, view, weights, readout, head, target=None, correlation=None):
    """(loss, dL/dw (M, d), dL/da (m, M), dL/dE (m, m)), every entry of a and E taken to train; decays left out."""
    online = [np.array(part, complex) for part in (weights, readout, head)]
    value = loss(model, training, patches, view, online, target, correlation).real
    slopes = [np.zeros(part.shape) for part in online]
    for part, slope in zip(online, slopes, strict=True):
        for place in np.ndindex(part.shape):
            part[place] += 1j * naive.STEP
            slope[place] = loss(model, training, patches, view, online, target, correlation).imag / naive.STEP
            part[place] -= 1j * naive.STEP
    return value, *slopes

"""The steps of the optimisers over flat vectors, each one pass, and the head's projection of its gradient.

Parameters, gradients and memories are (P,) of one float type; decays (P,) uint8 tells which entries decay. Entries are
updated each for itself, so the bits do not depend on the number of threads; sums are taken over fixed chunks, which are
then added in order.
"""

from __future__ import annotations

import numba
import numpy as np

from dynlab.formulas import head_rules, updates
from dynlab.machine import jit

CHUNK = 1 << 14

_formulas = jit.compile_module(updates)
_sgd, _adam, _lars = _formulas.sgd, _formulas.adam, _formulas.lars
_trust_ratio, _at_most = _formulas.trust_ratio, _formulas.at_most
_project = jit.compile_module(head_rules).project_gradient


@jit.reduction
def _squares(x):
    total = 0.0
    for i in range(len(x)):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


# Slices, not offsets: with those the compiler does not see that no index is negative, and vectorises nothing.
@jit.parallel
def _sgd_pass(p, g, v, decays, rate, decay, momentum, nesterov):
    for c in numba.prange((len(p) + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, min(len(p), (c + 1) * CHUNK))
        own, slope, memory, mask = p[part], g[part], v[part], decays[part]
        for i in range(len(own)):
            own[i], memory[i] = _sgd(own[i], slope[i], memory[i], rate, decay * mask[i], momentum, nesterov)


@jit.parallel
def _adam_pass(p, g, a, s, decays, rate, decay, numbers):
    for c in numba.prange((len(p) + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, min(len(p), (c + 1) * CHUNK))
        own, slope, first, second, mask = p[part], g[part], a[part], s[part], decays[part]
        for i in range(len(own)):
            own[i], first[i], second[i] = _adam(own[i], slope[i], first[i], second[i], rate, decay * mask[i], *numbers)


@jit.parallel
def _lars_pass(p, g, v, decays, lows, highs, owner, ratios, rate, decay, momentum):
    for c in numba.prange(len(lows)):
        part = slice(lows[c], highs[c])
        own, slope, memory, mask = p[part], g[part], v[part], decays[part]
        scaled = own.dtype.type(rate * ratios[owner[c]])
        for i in range(len(own)):
            own[i], memory[i] = _lars(own[i], slope[i], memory[i], scaled, decay * mask[i], momentum)


@jit.parallel
def _chunk_squares(p, g, lows, highs, sums):
    for c in numba.prange(len(lows)):
        sums[c, 0] = _squares(p[lows[c] : highs[c]])
        sums[c, 1] = _squares(g[lows[c] : highs[c]])


@jit.kernel
def _fold_ratios(owner, sums, adapts, trust, decay, most, ratios):
    """ratios (tensors,), each `most` at most, from the sums of squares of the chunks, which are added in order."""
    low = 0
    while low < len(owner):
        tensor, own, slope = owner[low], 0.0, 0.0
        while low < len(owner) and owner[low] == tensor:
            own += sums[low, 0]
            slope += sums[low, 1]
            low += 1
        ratio = _trust_ratio(trust, np.sqrt(own), np.sqrt(slope), decay) if adapts[tensor] else 1.0
        ratios[tensor] = _at_most(ratio, most)


@jit.kernel
def _project_kernel(rule, d_head):
    _project(rule, len(d_head), d_head)


def sgd_step(p, g, v, decays, rate, decay, momentum, nesterov=False):
    """One step of `updates.sgd` on parameters p with gradients g and velocities v, in place."""
    f = p.dtype.type
    _sgd_pass(p, g, v, decays, f(rate), f(decay), f(momentum), nesterov)


def adam_step(p, g, first, second, decays, rate, decay, betas, eps, count):
    """Step `count` = 1, 2, ... of `updates.adam`, in place; the corrections of the bias are computed in float64."""
    f = p.dtype.type
    b_1, b_2 = betas
    corrected, root = rate / (1.0 - b_1**count), np.sqrt(1.0 - b_2**count)
    numbers = f(b_1), f(1.0 - b_1), f(b_2), f(1.0 - b_2), f(root), f(eps)
    _adam_pass(p, g, first, second, decays, f(corrected), f(decay), numbers)


def lars_layout(edges):
    """What `lars_step` wants to know of tensors [edges[i], edges[i + 1]): chunks that end at edges, and room for sums."""
    lows, highs, owner = [], [], []
    for s in range(len(edges) - 1):
        for low in range(edges[s], edges[s + 1], CHUNK):
            lows.append(low)
            highs.append(min(low + CHUNK, edges[s + 1]))
            owner.append(s)
    numbers = (np.array(part, np.int64) for part in (lows, highs, owner))
    return (*numbers, np.zeros((len(lows), 2)), np.zeros(len(edges) - 1))


def lars_step(p, g, v, decays, layout, adapts, rate, decay, momentum, trust, most=np.inf):
    """One step of `updates.lars`, in place; adapts (tensors,) uint8: 0 where the ratio is 1 (norms and biases).

    most: the largest ratio. With trust over the rate and most = 1 the rate of a tensor is the clipped one.
    """
    lows, highs, owner, sums, ratios = layout
    f = p.dtype.type
    _chunk_squares(p, g, lows, highs, sums)
    _fold_ratios(owner, sums, adapts, float(trust), float(decay), float(most), ratios)
    _lars_pass(p, g, v, decays, lows, highs, owner, ratios, f(rate), f(decay), f(momentum))


def project_head_gradient(rule, d_head):
    """Turn dL/dE (m, m) into what the head's rule follows, in place; rule: `dynlab.formulas.head_rules.rule_number`."""
    _project_kernel(rule, d_head)
    return d_head

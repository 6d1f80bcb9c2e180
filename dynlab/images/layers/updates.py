"""The steps of the optimisers over flat vectors, each one pass, and the head's projection of its gradient.

Parameters, gradients and memories are (P,) of one float type; decays (P,) uint8 tells which entries decay. Entries are
updated each for itself, so the bits do not depend on the number of threads; sums are taken over fixed chunks, which are
then added in order.
"""

from __future__ import annotations

import numba
import numpy as np

from dynlab import _jit, heads
from dynlab.formulas import updates

CHUNK = 1 << 14

_formulas = _jit.compile_module(updates)
_sgd, _adam, _lars, _trust_ratio = _formulas.sgd, _formulas.adam, _formulas.lars, _formulas.trust_ratio
_project = _jit.compile_module(heads).project_gradient


def _parallel(function):
    """Compile an entry point whose `prange` loops run on all threads, cached as `_jit.kernel` does."""
    made = numba.njit(parallel=True, **_jit.OPTIONS)(function)
    if _jit.cache_folder() is not None:
        made._cache = _jit._Cache(function)
    return made


@_parallel
def _sgd_pass(p, g, v, decays, rate, decay, momentum, nesterov):
    for c in numba.prange((len(p) + CHUNK - 1) // CHUNK):
        for i in range(c * CHUNK, min(len(p), (c + 1) * CHUNK)):
            p[i], v[i] = _sgd(p[i], g[i], v[i], rate, decay * decays[i], momentum, nesterov)


@_parallel
def _adam_pass(p, g, a, s, decays, rate, decay, keep_1, gain_1, keep_2, gain_2, root, eps):
    for c in numba.prange((len(p) + CHUNK - 1) // CHUNK):
        for i in range(c * CHUNK, min(len(p), (c + 1) * CHUNK)):
            wd = decay * decays[i]
            p[i], a[i], s[i] = _adam(p[i], g[i], a[i], s[i], rate, wd, keep_1, gain_1, keep_2, gain_2, root, eps)


@_parallel
def _lars_pass(p, g, v, decays, lows, highs, owner, ratios, rate, decay, momentum):
    for c in numba.prange(len(lows)):
        scaled = rate * ratios[owner[c]]
        for i in range(lows[c], highs[c]):
            p[i], v[i] = _lars(p[i], g[i], v[i], scaled, decay * decays[i], momentum)


@_parallel
def _chunk_squares(p, g, lows, highs, sums):
    for c in numba.prange(len(lows)):
        own, slope = 0.0, 0.0
        for i in range(lows[c], highs[c]):
            own += np.float64(p[i]) * np.float64(p[i])
            slope += np.float64(g[i]) * np.float64(g[i])
        sums[c, 0] = own
        sums[c, 1] = slope


@_jit.kernel
def _fold_ratios(owner, sums, adapts, trust, decay, ratios):
    """ratios (tensors,) from the sums of squares of the chunks, which are added in order."""
    low = 0
    while low < len(owner):
        tensor, own, slope = owner[low], 0.0, 0.0
        while low < len(owner) and owner[low] == tensor:
            own += sums[low, 0]
            slope += sums[low, 1]
            low += 1
        ratios[tensor] = _trust_ratio(trust, np.sqrt(own), np.sqrt(slope), decay) if adapts[tensor] else 1.0


@_jit.kernel
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
    _adam_pass(
        p, g, first, second, decays, f(corrected), f(decay), f(b_1), f(1.0 - b_1), f(b_2), f(1.0 - b_2), f(root), f(eps)
    )


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


def lars_step(p, g, v, decays, layout, adapts, rate, decay, momentum, trust):
    """One step of `updates.lars`, in place; adapts (tensors,) uint8: 0 where the ratio is 1 (norms and biases)."""
    lows, highs, owner, sums, ratios = layout
    f = p.dtype.type
    _chunk_squares(p, g, lows, highs, sums)
    _fold_ratios(owner, sums, adapts, trust, decay, ratios)
    _lars_pass(p, g, v, decays, lows, highs, owner, ratios, f(rate), f(decay), f(momentum))


def project_head_gradient(rule, d_head):
    """Turn dL/dE (m, m) into what the head's rule follows, in place; rule: `dynlab.heads.rule_number`."""
    _project_kernel(rule, d_head)
    return d_head

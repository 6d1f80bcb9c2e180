"""The steps of the optimisers on a CUDA device: the twin of `dynlab.images.layers.updates`, the same formulas and bits.

Sums of squares, for LARS, are taken over fixed chunks by a block each, then added in order.
"""

from __future__ import annotations

import numpy as np

from dynlab.formulas import head_rules, updates
from dynlab.formulas.head_rules import SYMMETRIC
from dynlab.images.cuda.memory import launch, ordered_sum, to_device
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

CHUNK = 32 if gpu.SIMULATED else 1 << 14
SQUAD = 8 if gpu.SIMULATED else 128
_room = SQUAD
float64 = np.float64

_formulas = gpu.compile_module(updates)
_sgd, _adam, _lars = _formulas.sgd, _formulas.adam, _formulas.lars
_trust_ratio, _at_most = _formulas.trust_ratio, _formulas.at_most
_trains = gpu.inner(head_rules.trains)


def _sgd_pass(p, g, v, decays, rate, decay, momentum, nesterov):
    i = cuda.grid(1)
    if i < p.shape[0]:
        p[i], v[i] = _sgd(p[i], g[i], v[i], rate, decay * decays[i], momentum, nesterov)


def _adam_pass(p, g, a, s, decays, rate, decay, numbers):
    i = cuda.grid(1)
    if i < p.shape[0]:
        p[i], a[i], s[i] = _adam(p[i], g[i], a[i], s[i], rate, decay * decays[i], *numbers)


def _lars_pass(p, g, v, decays, lows, highs, owner, ratios, rate, decay, momentum):
    """A block a chunk."""
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    scaled = p.dtype.type(rate * ratios[owner[c]])
    for i in range(lows[c] + t, highs[c], SQUAD):
        p[i], v[i] = _lars(p[i], g[i], v[i], scaled, decay * decays[i], momentum)


def _chunk_squares(p, g, lows, highs, sums):
    """A block a chunk."""
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_room, float64)
    other = cuda.shared.array(_room, float64)
    own, slope = 0.0, 0.0
    for i in range(lows[c] + t, highs[c], SQUAD):
        own += float64(p[i]) * float64(p[i])
        slope += float64(g[i]) * float64(g[i])
    store[t] = own
    other[t] = slope
    cuda.syncthreads()
    if t == 0:
        sums[c, 0] = ordered_sum(store, SQUAD)
        sums[c, 1] = ordered_sum(other, SQUAD)


def _fold_ratios(owner, sums, adapts, trust, decay, most, ratios):
    """ratios (tensors,), each `most` at most, from the sums of squares of the chunks, added in order: a thread a tensor."""
    tensor = cuda.grid(1)
    if tensor < ratios.shape[0]:
        own, slope = 0.0, 0.0
        for c in range(owner.shape[0]):
            if owner[c] == tensor:
                own += sums[c, 0]
                slope += sums[c, 1]
        ratio = _trust_ratio(trust, own**0.5, slope**0.5, decay) if adapts[tensor] else 1.0
        ratios[tensor] = _at_most(ratio, most)


def _project(rule, d_head):
    """What `heads.project_gradient` does, a thread an entry."""
    at = cuda.grid(1)
    m = d_head.shape[0]
    if at < m * m:
        j, r = at // m, at % m
        if not _trains(rule, j, r):
            d_head[j, r] = d_head[j, r] * d_head.dtype.type(0)
        elif rule == SYMMETRIC and r < j:
            middle = d_head.dtype.type(0.5) * (d_head[j, r] + d_head[r, j])
            d_head[j, r] = middle
            d_head[r, j] = middle


_kernel = gpu.kernel()
sgd_pass, adam_pass, lars_pass, chunk_squares, fold_ratios, project = (
    _kernel(f) for f in (_sgd_pass, _adam_pass, _lars_pass, _chunk_squares, _fold_ratios, _project)
)


def sgd_step(p, g, v, decays, rate, decay, momentum, nesterov=False):
    """One step of `updates.sgd` on parameters p with gradients g and velocities v, in place."""
    f = p.dtype.type
    launch(sgd_pass, p.size, p, g, v, decays, f(rate), f(decay), f(momentum), bool(nesterov))


def adam_step(p, g, first, second, decays, rate, decay, betas, eps, count):
    """Step `count` = 1, 2, ... of `updates.adam`, in place; the corrections of the bias are computed in float64."""
    f = p.dtype.type
    b_1, b_2 = betas
    corrected, root = rate / (1.0 - b_1**count), np.sqrt(1.0 - b_2**count)
    numbers = f(b_1), f(1.0 - b_1), f(b_2), f(1.0 - b_2), f(root), f(eps)
    launch(adam_pass, p.size, p, g, first, second, decays, f(corrected), f(decay), numbers)


def lars_layout(edges):
    """What `lars_step` wants to know of tensors [edges[i], edges[i + 1]): chunks that end at edges, and room for sums."""
    lows, highs, owner = [], [], []
    for s in range(len(edges) - 1):
        for low in range(edges[s], edges[s + 1], CHUNK):
            lows.append(low)
            highs.append(min(low + CHUNK, edges[s + 1]))
            owner.append(s)
    numbers = (to_device(np.array(part, np.int64)) for part in (lows, highs, owner))
    return (*numbers, to_device(np.zeros((len(lows), 2))), to_device(np.zeros(len(edges) - 1)))


def lars_step(p, g, v, decays, layout, adapts, rate, decay, momentum, trust, most=np.inf):
    """One step of `updates.lars`, in place; adapts (tensors,) uint8: 0 where the ratio is 1 (norms and biases).

    most: the largest ratio. With trust over the rate and most = 1 the rate of a tensor is the clipped one.
    """
    lows, highs, owner, sums, ratios = layout
    f, blocks = p.dtype.type, lows.shape[0]
    chunk_squares[blocks, SQUAD](p, g, lows, highs, sums)
    launch(fold_ratios, ratios.shape[0], owner, sums, adapts, float(trust), float(decay), float(most), ratios)
    lars_pass[blocks, SQUAD](p, g, v, decays, lows, highs, owner, ratios, f(rate), f(decay), f(momentum))


def project_head_gradient(rule, d_head):
    """Turn dL/dE (m, m) into what the head's rule follows, in place; rule: `dynlab.formulas.head_rules.rule_number`."""
    launch(project, d_head.size, int(rule), d_head)
    return d_head

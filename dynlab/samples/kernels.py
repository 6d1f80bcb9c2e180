r"""The fused pass over a chunk of samples: patches are drawn, used and forgotten.

For every sample the pass draws content and views, then one noise patch after another: its normals go into a row of the
tile, its products with the weights are summed, phi is added to the outputs z of its view. A feature patch needs no
d-vector. Outputs z of a sample (see `dynlab.samples.gradient.Layout`): for each view, those rows of the weights that look
at it.

**The gradient in one pass.** dL/dz needs the statistics of the whole batch, which are known when the pass is over. But for
every objective of second moments it is *linear* in z, dL/dz_c(s) = [const_c + sum_k lin_ck (z_k(s) - mean_k)]/n
(`dynlab.samples.objective`). With the basis functions b_0 = 1, b_k = z_k the pass therefore sums

    acc[v, k, j] = sum_s b_k(s) sum_{p in view v, noise} phi'(u_jp) X_p          (and the like for the features),

and dL/dw_j is a combination of these m (C + 1) vectors once const and lin are known. Nothing is drawn twice. For many
neurons (C = 2m, so that the work goes with m^2) and for objectives that are not of second moments the pass is made twice,
the second time with dL/dz given: b = dL/dz, and patches of views without gradient are not drawn.

Every number is summed in one order: a scalar product in that of the compiled loop, sums over samples and patches one after
another within a chunk, chunks in their order. How many samples share a tile changes nothing, nor how chunks are spread on
threads.
"""

from __future__ import annotations

import math

import numpy as np

from dynlab.formulas import activations, expansions
from dynlab.machine import jit, rng
from dynlab.samples import one_sample
from dynlab.settings.activation_records import ACTIVATIONS

FORWARD, ONE_PASS, BACKWARD = 0, 1, 2
LANES = 32  # rows are padded to a multiple of this, so that loops over them have no remainder
SEGMENT = 1024
# Layout of the integers of a pass; behind them the cuts of the features (`one_sample.draw_content`).
KIND, PATCHES, CARRIERS, HALF, BLOCKS, KEY_0, KEY_1, DRAW_STEP, CONTENT_STEP, MODE, TILE, CUTS = range(12)

_draws = jit.compile_module(rng, entries=("fill_normals", "fill_normals_32"))
jit.compile_module(expansions)
jit.compile_module(activations)
_content = jit.compile_module(one_sample, entries=("draw_content", "draw_views"))
_philox, fill_normals, fill_normals_32 = _draws.philox, _draws.fill_normals, _draws.fill_normals_32
draw_content, draw_views, _phi, _slope = _content.draw_content, _content.draw_views, _content.phi, _content.slope


def _product(row, patch):
    """<row, patch>."""
    total = row[0] * patch[0]
    for i in range(1, len(row)):
        total += row[i] * patch[i]
    return total


def _add_four(out, c0, c1, c2, c3, x0, x1, x2, x3):
    for i in range(len(out)):
        out[i] = (((out[i] + c0 * x0[i]) + c1 * x1[i]) + c2 * x2[i]) + c3 * x3[i]


def _add_one(out, c0, x0):
    for i in range(len(out)):
        out[i] = out[i] + c0 * x0[i]


_product = jit.reduction(_product)
_add_four, _add_one = jit.inner(_add_four), jit.inner(_add_one)


def _add_tile(view, count, place, coefficient, tile, sums):
    """sums (basis, m, W) += coefficient (basis, m, rows) times the rows of the tile, in the order of the rows."""
    bases, neurons, width = sums.shape
    for low in range(0, width, SEGMENT):
        high = min(low + SEGMENT, width)
        for b in range(bases):
            for j in range(neurons):
                out = sums[b, j, low:high]
                c = coefficient[view, b, j]
                for r in range(0, count - 3, 4):
                    p, q, s, t = place[r], place[r + 1], place[r + 2], place[r + 3]
                    _add_four(out, c[r], c[r + 1], c[r + 2], c[r + 3], tile[p, low:high], tile[q, low:high],
                              tile[s, low:high], tile[t, low:high])  # fmt: skip
                for r in range(count - count % 4, count):
                    _add_one(out, c[r], tile[place[r], low:high])


_add_tile = jit.inner(_add_tile)


@jit.kernel
def philox_words(c0, c1, c2, c3, k0, k1):
    """The compiled `_rng.philox`."""
    return _philox(c0, c1, c2, c3, k0, k1)


@jit.kernel
def fill_patch(patch, sample, step, k0, k1, blocks, out):
    """The normals of one patch: out (2 blocks) float64 or (4 blocks) float32."""
    if out.itemsize == 4:
        fill_normals_32(blocks, patch, sample, step, k0, k1, out)
    else:
        fill_normals(blocks, patch, sample, step, k0, k1, out)


@jit.kernel
def fill_content(sample, numbers, carries, view):
    """Feature and sign of a sample, and its splits: carries, view (P,)."""
    k0, k1 = numbers[KEY_0], numbers[KEY_1]
    draw_views(numbers[HALF] == 1, numbers[PATCHES], sample, numbers[DRAW_STEP], k0, k1, view)
    return draw_content(numbers[CUTS:], numbers[PATCHES], numbers[CARRIERS], sample, numbers[CONTENT_STEP], k0, k1, carries)


def _draw_patch(numbers, sample, p, patch):
    """Fill the row of the tile with the normals of patch p; its padding stays zero."""
    blocks, step, k0, k1 = numbers[BLOCKS], numbers[CONTENT_STEP], numbers[KEY_0], numbers[KEY_1]
    if patch.itemsize == 4:
        fill_normals_32(blocks, p, sample, step, k0, k1, patch[: 4 * blocks])
    else:
        fill_normals(blocks, p, sample, step, k0, k1, patch[: 2 * blocks])


def _noise_patch(numbers, sigma, rows, first, v, column, outputs, slope, held, patch):
    """Add the patch's responses to the outputs of its view, or leave its slopes at place `held` (-1: nowhere)."""
    for j in range(first[v, 1]):
        u = sigma * _product(rows[first[v, 0] + j], patch)
        if numbers[MODE] != BACKWARD:
            outputs[column + j] += _phi(numbers[KIND], u)
        if held >= 0 and j < slope.shape[1]:
            slope[v, j, held] = _slope(numbers[KIND], u)


def _feature_patches(numbers, shown, strength, signals, first, v, column, feature, outputs, own_slope):
    """Add the responses of the view's `shown` feature patches; leave their slopes times the patch in own_slope (2, m)."""
    for j in range(first[v, 1]):
        u = strength * signals[first[v, 0] + j, feature]
        if numbers[MODE] != BACKWARD:
            outputs[column + j] += shown * _phi(numbers[KIND], u)
        if j < own_slope.shape[1]:
            own_slope[v, j] = shown * strength * _slope(numbers[KIND], u)


def _weigh(mode, v, begun, end, column, outputs, basis, slope, own_slope, coefficient, signal_sums):
    """Turn the slopes of one sample's patches, places begun ... end - 1 of view v, into what their rows are summed with."""
    bases, neurons = coefficient.shape[1], coefficient.shape[2]
    for b in range(bases):
        for j in range(neurons):
            weight = basis[column + j] if mode == BACKWARD else (1.0 if b == 0 else outputs[b - 1])
            signal_sums[b, j] += weight * own_slope[v, j]
            for r in range(begun, end):
                coefficient[v, b, j, r] = weight * slope[v, j, r]


_draw_patch, _noise_patch = jit.inner(_draw_patch), jit.inner(_noise_patch)
_feature_patches, _weigh = jit.inner(_feature_patches), jit.inner(_weigh)


def _sample(numbers, sigma, strengths, rows, signals, first, trains, sample, outputs, scratch):
    """Draw one sample: fill its outputs (unless `BACKWARD`), keep rows and slopes for the gradient; return its feature."""
    tile, carries, view, slope, _, place, held, own_slope = scratch
    mode, k0, k1 = numbers[MODE], numbers[KEY_0], numbers[KEY_1]
    draw_views(numbers[HALF] == 1, numbers[PATCHES], sample, numbers[DRAW_STEP], k0, k1, view)
    step = numbers[CONTENT_STEP]
    feature, sign = draw_content(numbers[CUTS:], numbers[PATCHES], numbers[CARRIERS], sample, step, k0, k1, carries)
    if mode != BACKWARD:
        outputs[:] = 0.0
    shown_0, shown_1 = 0, 0
    for p in range(numbers[PATCHES]):
        v = view[p]
        kept = trains[v] == 1 and mode != FORWARD
        if carries[p] == 1:
            shown_0, shown_1 = shown_0 + 1 - v, shown_1 + v
        elif kept or mode != BACKWARD:
            row = held[0] + held[1] if kept else tile.shape[0] - 1
            _draw_patch(numbers, sample, p, tile[row])
            column = 0 if v == 0 else first[0, 1]
            _noise_patch(numbers, sigma, rows, first, v, column, outputs, slope, held[v] if kept else -1, tile[row])
            if kept:
                place[v, held[v]] = row
                held[v] += 1
    strength = sign * strengths[feature]
    _feature_patches(numbers, shown_0, strength, signals, first, 0, 0, feature, outputs, own_slope)
    _feature_patches(numbers, shown_1, strength, signals, first, 1, first[0, 1], feature, outputs, own_slope)
    return feature


_sample = jit.inner(_sample)


@jit.kernel
def chunk_pass(numbers, sigma, strengths, weights, views, order, low, high, basis, scratch, filled):
    """Pass over the samples order[low:high].

    numbers: integers laid out as above. weights: rows (R, W), noise parts of all weights, padded with zeros, and signals
    (R, K) float64. views: first and trains. filled: z, sums and signal_sums.
    first (2, 2): of each view, the first row that looks at it and how many do; trains (2,): whether gradients flow through
    it, which are then those of rows first[v, 0] ... + m. basis (n, C): dL/dz, for `BACKWARD`. scratch: see `new_scratch`.
    Fills z (n, C) unless `BACKWARD`; adds to sums (2, bases, m, W) and signal_sums (2, K, bases, m) unless `FORWARD`.
    """
    tile, _, _, slope, coefficient, place, held, own_slope = scratch
    (rows, signals), (first, trains), (z, sums, signal_sums) = weights, views, filled
    mode = numbers[MODE]
    held[:] = 0
    waiting = 0
    for number in range(low, high):
        begun_0, begun_1 = held[0], held[1]
        outputs = z[number]
        feature = _sample(numbers, sigma, strengths, rows, signals, first, trains, order[number], outputs, scratch)
        if mode == FORWARD:
            continue
        given = basis[number] if mode == BACKWARD else outputs
        for v in range(2):
            begun, column = (begun_0, 0) if v == 0 else (begun_1, first[0, 1])
            if trains[v] == 1:
                into = signal_sums[v, feature]
                _weigh(mode, v, begun, held[v], column, outputs, given, slope, own_slope, coefficient, into)
        waiting += 1
        if waiting == numbers[TILE] or number == high - 1:
            for v in range(2):
                if trains[v] == 1:
                    _add_tile(v, held[v], place[v], coefficient, tile, sums[v])
            held[:] = 0
            waiting = 0


def new_scratch(numbers, width: int, neurons: int, bases: int, dtype) -> tuple:
    """What one thread needs: the tile (rows kept for the gradient, and one more), splits, slopes and coefficients."""
    patches = int(numbers[PATCHES])
    kept = int(numbers[TILE]) * patches
    return (
        np.zeros((kept + 1, width), dtype), np.zeros(patches, np.int64), np.zeros(patches, np.int64),
        np.zeros((2, neurons, kept)), np.zeros((2, bases, neurons, kept), dtype), np.zeros((2, kept), np.int64),
        np.zeros(2, np.int64), np.zeros((2, neurons)),
    )  # fmt: skip


def kind_of(model) -> int:
    """The number by which compiled code tells the activation."""
    return ACTIVATIONS[model.activation].kind


def feature_cuts(model) -> list[int]:
    """The cuts (K,) of `one_sample.draw_content`: probabilities summed, times 2^32, rounded up."""
    if model.probabilities is None:
        return [-(-((l + 1) << 32) // model.features) for l in range(model.features)]
    sums = [math.fsum(model.frequencies[: l + 1]) for l in range(model.features - 1)]
    return [math.ceil(part * 2.0**32) for part in sums] + [1 << 32]


@jit.kernel
def moments_of(z, mean, cov):
    """Fill mean (C,) and cov (C, C), of z (n, C), divided by n; the means are taken off first."""
    n, columns = z.shape
    for c in range(columns):
        total = 0.0
        for s in range(n):
            total += z[s, c]
        mean[c] = total / n
    for a in range(columns):
        for b in range(a + 1):
            total = 0.0
            for s in range(n):
                total += (z[s, a] - mean[a]) * (z[s, b] - mean[b])
            cov[a, b] = total / n
            cov[b, a] = cov[a, b]

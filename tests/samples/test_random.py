"""The counted random numbers: known answers, moments, distribution, independence, and the laws of a sample."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from dynlab import Model
from dynlab.machine import rng
from dynlab.samples import kernels
from dynlab.samples.generator import samples

# Random123 1.14, kat_vectors, philox4x32 10: counter, key, answer.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((rng.WORD,) * 4, (rng.WORD,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DTYPES = (np.float64, np.float32)


def normals(count, dtype, patch=0, sample=0, step=0, seed=0):
    """At least `count` normals of one stream."""
    blocks = -(-count // (2 if dtype is np.float64 else 4))
    out = np.empty(blocks * (2 if dtype is np.float64 else 4), dtype)
    kernels.fill_patch(patch, sample, step, *rng.key_of(seed), blocks, out)
    return out


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_known_answers(counter, key, answer):
    assert rng.philox(*counter, *key) == answer
    assert kernels.philox_words(*counter, *key) == answer


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_equals_the_formula(dtype):
    """To the last bit for any length (vectorised and remainder); logarithm and circle are those of libm to an ulp or two."""
    out = normals(6002, dtype, 5, 6, 7, 8)
    per_block = 2 if dtype is np.float64 else 4
    blocks = len(out) // per_block
    for i in range(blocks):
        words = rng.philox(i, 5, 6, 7, 8, 0)
        if dtype is np.float64:
            made = rng.normal_pair(*words)
            u, v = ((words[0] << 21) | (words[1] >> 11)) + 1, ((words[2] << 21) | (words[3] >> 11)) + 0.5
            radius, angle = math.sqrt(-2 * math.log(u * 2.0**-53)), 2 * math.pi * (v * 2.0**-53 - 0.125)
            wanted = radius * math.cos(angle), radius * math.sin(angle)
        else:
            made = *rng.normal_pair_32(*words[:2]), *rng.normal_pair_32(*words[2:])
            wanted = [
                radius * f(2 * math.pi * ((v + 0.5) * 2.0**-32 - 0.125))
                for u, v in (words[:2], words[2:])
                for radius in [math.sqrt(-2 * math.log((u + 0.5) * 2.0**-32))]
                for f in (math.cos, math.sin)
            ]
        assert [out[i + k * blocks] for k in range(per_block)] == list(made)
        assert np.allclose(made, wanted, rtol=0, atol=5e-15 if dtype is np.float64 else 2e-6)


def test_logarithm():
    x = np.concatenate([np.random.default_rng(0).random(2000), 2.0 ** -np.arange(54.0), 1 - 2.0 ** -np.arange(2, 53.0)])
    for function, dtype, ulps in ((rng.logarithm, np.float64, 2), (rng.logarithm_32, np.float32, 3)):
        for value in x.astype(dtype):
            right = math.log(float(value))
            assert abs(float(function(value)) - right) <= ulps * np.finfo(dtype).eps * abs(right)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_words(dtype):
    pair = rng.normal_pair if dtype is np.float64 else lambda a, b, c, d: rng.normal_pair_32(a, c)
    least, most = pair(0, 0, 0, 0), pair(rng.WORD, rng.WORD, rng.WORD, rng.WORD)
    assert math.hypot(*least) == pytest.approx(math.sqrt(2 * (53 if dtype is np.float64 else 33) * math.log(2)), rel=1e-6)
    assert math.hypot(*most) < 1e-3 and all(map(math.isfinite, most))


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_and_distribution(dtype):
    x = normals(4_000_000, dtype).astype(np.float64)
    n = len(x)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((x**power).mean() - moment) < 4.5 * math.sqrt(variance / n), power
    assert stats.kstest(x, "norm").pvalue > 1e-3
    tail = np.abs(x[np.abs(x) > 3])
    assert stats.kstest(tail, lambda t: 1 - stats.norm.sf(t) / stats.norm.sf(3)).pvalue > 1e-3
    radius, angle = x[: n // 2] ** 2 + x[n // 2 :] ** 2, np.arctan2(x[n // 2 :], x[: n // 2])
    if dtype is np.float64:  # where these are the two numbers of a block
        assert stats.kstest(radius, "chi2", args=(2,)).pvalue > 1e-3
        assert stats.kstest(angle, "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 1e-3
        assert abs(stats.spearmanr(radius[:100_000], angle[:100_000]).statistic) < 0.015


@pytest.mark.parametrize("dtype", DTYPES)
def test_streams_are_independent(dtype):
    """No two streams whose names differ in one part, and no two places in a block, are correlated, nor their squares."""
    n = 200_000
    names = ((0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1 << 32))
    streams = [normals(n, dtype, *name)[:n] for name in names]
    quarter = n // 4
    streams += [streams[0][k * quarter : (k + 1) * quarter] for k in range(4)]
    streams += [streams[0][1:]]
    for a, b in combinations(streams, 2):
        size = min(len(a), len(b))
        if size < n // 2 and len(a) != len(b):
            continue
        for f in (lambda v: v, lambda v: v * v - 1, np.abs):
            first, second = f(a[:size].astype(float)), f(b[:size].astype(float))
            assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(size)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_the_law_of_a_sample(mask):
    """Features, signs, places and views as DESIGN says: frequencies within 4.5 standard errors."""
    model = Model(strengths=(1.0, 0.5, 0.2), patches=6, feature_patches=2, mask=mask, noise=0.7)
    n, dim = 6000, 5
    made = samples(model, dim, n, seed=11)
    shows = (made.patches[:, :, :3] != 0).any(2)
    assert (shows.sum(1) == 2).all()
    assert (made.patches[shows][:, 3:] == 0).all() and (made.patches[~shows][:, :3] == 0).all()
    for i in range(50):
        patch = made.patches[i][shows[i]][0]
        assert patch[made.feature[i]] == made.sign[i] * model.strengths[made.feature[i]] and np.count_nonzero(patch) == 1
    fair = lambda count, p, trials=n: abs(count - p * trials) < 4.5 * math.sqrt(trials * p * (1 - p))  # noqa: E731
    assert all(fair((made.feature == l).sum(), 1 / 3) for l in range(3)) and fair((made.sign > 0).sum(), 0.5)
    assert all(fair(shows[:, p].sum(), 1 / 3) for p in range(6)) and all(fair(made.view[:, p].sum(), 0.5) for p in range(6))
    both = [fair((shows[:, p] & shows[:, q]).sum(), 1 / 15) for p, q in combinations(range(6), 2)]
    together = 1 / 5 if mask == "half" else 1 / 4  # the chance that view 2 has both of two patches
    split = [fair((made.view[:, p] & made.view[:, q]).sum(), together) for p, q in combinations(range(6), 2)]
    assert all(both) and all(split)
    assert mask == "independent" or (made.view.sum(1) == 3).all()
    crossed = [fair((shows[:, p] & (made.view[:, q] == 1)).sum(), 1 / 6) for p in range(6) for q in range(6)]
    assert all(crossed) and fair(((made.sign > 0) & (made.feature == 0)).sum(), 1 / 6)
    noise = made.patches[~shows][:, 3:].ravel() / 0.7
    assert stats.kstest(noise, "norm").pvalue > 1e-3


def test_a_sample_does_not_depend_on_the_batch():
    model = Model(patches=4, feature_patches=1)
    few, many = (samples(model, 7, n, seed=3, step=9) for n in (5, 40))
    for name in ("patches", "view", "feature", "sign"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:5])
    other = samples(model, 7, 5, seed=3, step=10)
    assert not np.array_equal(few.patches, other.patches)


def test_a_fixed_set_is_visited_in_epochs():
    """Each epoch shows every sample at most once, in an order of its own, the same patches split into new views."""
    model = Model(patches=4, feature_patches=1)
    epochs = [[samples(model, 5, 4, seed=2, step=step, data=12) for step in range(3 * e, 3 * e + 3)] for e in range(2)]
    shown = []
    for epoch in epochs:
        patches = np.concatenate([made.patches for made in epoch])
        views = np.concatenate([made.view for made in epoch])
        order = np.argsort(np.abs(patches).sum((1, 2)))
        shown.append((order, patches[order], views[order]))
    assert len({p.tobytes() for p in shown[0][1]}) == 12
    assert np.array_equal(shown[0][1], shown[1][1])
    assert not np.array_equal(shown[0][0], shown[1][0]) and not np.array_equal(shown[0][2], shown[1][2])

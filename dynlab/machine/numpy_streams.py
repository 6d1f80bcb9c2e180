"""The first random numbers of many of NumPy's generators at once: of `numpy.random.default_rng((seed, index))`.

Making a generator costs 15 microseconds, what is drawn from it less than one. Here seeding (`SeedSequence`: M. E. O'Neill's
hash of 32-bit words), the stream (PCG64, O'Neill 2014: a linear congruential generator of 128 bits, its output folded and
turned), normal numbers (the ziggurat of Marsaglia & Tsang 2000 with 256 strips) and gamma numbers (Marsaglia & Tsang 2001)
are compiled, step for step as NumPy does them, so that the numbers are the same bits. `agrees` holds some of them against
NumPy's own, and where they differ (another version, a compiler of NumPy that contracts products and sums) nothing of this
is used.

Everything here is of unsigned 64-bit integers: a signed one beside them would make float64 of both.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from dynlab.machine import jit

U = np.uint64
WORD, HALF = U(0xFFFFFFFF), U(32)
POOL = 4
INIT_A, MULT_A, INIT_B, MULT_B = U(0x43B0D7E5), U(0x931E8875), U(0x8B51F9DD), U(0x58F38DED)
MIX_LEFT, MIX_RIGHT, SHIFT = U(0xCA01F9DD), U(0x4973F715), U(16)
MULTIPLIER_HIGH, MULTIPLIER_LOW = U(0x2360ED051FC65DA4), U(0x4385DF649FCCF645)
ONE, EIGHT, ELEVEN, BYTE = U(1), U(8), U(11), U(0xFF)
MANTISSA = U(0x000FFFFFFFFFFFFF)
ROUND = 1.0 / 9007199254740992.0  # 2^-53
MOST_WORDS = 4  # of seed and index
TRIED = 16  # starts that are held against NumPy's own


def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """The ziggurat's strips (ki, wi, fi), its tail's beginning r and 1/r; ImportError where numba does not have them."""
    from numba.np.random import _constants as constants

    strips = constants.ki_double, constants.wi_double, constants.fi_double
    return *strips, float(constants.ziggurat_nor_r), float(constants.ziggurat_nor_inv_r)


@jit.inner
def hash_word(value, constant):
    """(hashed word, the next constant)."""
    value = value ^ constant
    constant = (constant * MULT_A) & WORD
    value = (value * constant) & WORD
    return value ^ (value >> SHIFT), constant


@jit.inner
def mix_words(x, y):
    """A word of two."""
    value = (MIX_LEFT * x - MIX_RIGHT * y) & WORD
    return value ^ (value >> SHIFT)


@jit.inner
def seed_pool(words, pool):
    """Fill pool (4,) from the words of the entropy, as `SeedSequence` does."""
    constant = INIT_A
    for i in range(POOL):
        pool[i], constant = hash_word(words[i] if i < len(words) else U(0), constant)
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                value, constant = hash_word(pool[source], constant)
                pool[target] = mix_words(pool[target], value)
    for source in range(POOL, len(words)):
        for target in range(POOL):
            value, constant = hash_word(words[source], constant)
            pool[target] = mix_words(pool[target], value)


@jit.inner
def high_product(a, b):
    """The upper 64 bits of a product of two 64-bit integers."""
    a0, a1, b0, b1 = a & WORD, a >> HALF, b & WORD, b >> HALF
    middle = a1 * b0 + ((a0 * b0) >> HALF)
    other = a0 * b1 + (middle & WORD)
    return a1 * b1 + (middle >> HALF) + (other >> HALF)


@jit.inner
def advance(state):
    """One step of the generator; state (4,): high and low word of the state and of the increment."""
    high, low = state[0], state[1]
    product = low * MULTIPLIER_LOW
    carried = high_product(low, MULTIPLIER_LOW) + high * MULTIPLIER_LOW + low * MULTIPLIER_HIGH
    state[1] = product + state[3]
    state[0] = carried + state[2] + (ONE if state[1] < product else U(0))


@jit.inner
def begin(words, pool, state):
    """The generator that the words seed."""
    seed_pool(words, pool)
    constant = INIT_B
    for k in range(POOL):
        value = U(0)
        for half in range(2):
            word = pool[(2 * k + half) % POOL] ^ constant
            constant = (constant * MULT_B) & WORD
            word = (word * constant) & WORD
            word = word ^ (word >> SHIFT)
            value = value | (word << (HALF if half else U(0)))
        state[k] = value
    high, low = state[0], state[1]
    state[2] = (state[2] << ONE) | (state[3] >> U(63))
    state[3] = (state[3] << ONE) | ONE
    state[0], state[1] = U(0), U(0)
    advance(state)
    total = state[1] + low
    state[0] = state[0] + high + (ONE if total < low else U(0))
    state[1] = total
    advance(state)


@jit.inner
def next_bits(state):
    """64 random bits."""
    advance(state)
    folded, turn = state[0] ^ state[1], state[0] >> U(58)
    return (folded >> turn) | (folded << ((U(64) - turn) & U(63)))


@jit.inner
def uniform(state):
    """A number in [0, 1)."""
    return np.float64(next_bits(state) >> ELEVEN) * ROUND


@jit.inner
def normal(state, strips):
    """A standard normal number."""
    ki, wi, fi, edge, inverse = strips
    while True:
        bits = next_bits(state)
        strip = np.int64(bits & BYTE)
        bits = bits >> EIGHT
        size = (bits >> ONE) & MANTISSA
        x = np.float64(size) * wi[strip]
        if bits & ONE:
            x = -x
        if size < ki[strip]:
            return x
        if strip == 0:
            while True:
                beyond = -inverse * math.log1p(-uniform(state))
                height = -math.log1p(-uniform(state))
                if height + height > beyond * beyond:
                    return -(edge + beyond) if (size >> EIGHT) & ONE else edge + beyond
        elif (fi[strip - 1] - fi[strip]) * uniform(state) + fi[strip] < math.exp(-0.5 * x * x):
            return x


@jit.inner
def gamma(state, strips, shape):
    """A standard gamma number of a shape above 1."""
    b = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * b)
    while True:
        x = normal(state, strips)
        v = 1.0 + c * x
        while v <= 0.0:
            x = normal(state, strips)
            v = 1.0 + c * x
        v = v * v * v
        u = uniform(state)
        if u < 1.0 - 0.0331 * (x * x) * (x * x):
            return b * v
        if math.log(u) < 0.5 * x * x + b * (1.0 - v + math.log(v)):
            return b * v


@jit.kernel
def fill(words, strips, shapes, normals, squares):
    """normals (N, count) and then squares (N, m), chi-squared numbers of 2 `shapes` (m,), of the streams words (N, most),
    whose first entry is how many words follow."""
    pool, state = np.zeros(POOL, np.uint64), np.zeros(POOL, np.uint64)
    for n in range(len(words)):
        begin(words[n, 1 : 1 + np.int64(words[n, 0])], pool, state)
        for k in range(normals.shape[1]):
            normals[n, k] = normal(state, strips)
        for k in range(len(shapes)):
            squares[n, k] = 2.0 * gamma(state, strips, shapes[k])


def entropy(seed: int, indices: np.ndarray) -> np.ndarray:
    """The words (N, 1 + MOST_WORDS) of the seeds (seed, index), those of either from the lowest up, none in vain."""
    first = [seed & int(WORD)] + ([seed >> 32] if seed >> 32 else [])
    made = np.zeros((len(indices), 1 + MOST_WORDS), np.uint64)
    made[:, 1 : 1 + len(first)] = first
    low, high = indices.astype(np.uint64) & WORD, indices.astype(np.uint64) >> HALF
    made[:, 1 + len(first)], made[:, 2 + len(first)] = low, high
    made[:, 0] = len(first) + 1 + (high > 0)
    return made


def normals_and_squares(
    seed: int, indices: np.ndarray, count: int, degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """What default_rng((seed, index)) gives for standard_normal(count), then chisquare(degrees), for indices (N,).

    seed, indices: integers in [0, 2^63). degrees (m,). Returns (N, count), (N, m); None where this cannot be had here in the
    same bits as from NumPy.
    """
    if not (degrees > 2.0).all() or not usable():
        return None
    return drawn(seed, indices, count, degrees)


def drawn(seed: int, indices: np.ndarray, count: int, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`normals_and_squares` by the kernel, whatever NumPy does."""
    normals, squares = np.empty((len(indices), count)), np.empty((len(indices), len(degrees)))
    fill(entropy(seed, np.asarray(indices)), tables(), degrees / 2.0, normals, squares)
    return normals, squares


@cache
def usable() -> bool:
    """Whether the kernel's numbers are those of the NumPy that is here, bit by bit, in some streams that try everything."""
    count, degrees = 40, np.array([2.5, 998.0, 1e12])
    try:
        found: Any = [drawn(seed, np.arange(TRIED), count, degrees) for seed in (0, 2**40 + 3)]
    except (ImportError, AttributeError):  # tables that numba keeps for itself
        return False
    for seed, (normals, squares) in zip((0, 2**40 + 3), found, strict=True):
        for index in range(TRIED):
            rng = np.random.default_rng((seed, index))
            if (rng.standard_normal(count) != normals[index]).any() or (rng.chisquare(degrees) != squares[index]).any():
                return False
    return True

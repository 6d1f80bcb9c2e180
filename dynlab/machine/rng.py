r"""Random numbers by counting: number i of a stream is a function of the stream's name and of i, and of nothing else.

Philox 4x32 with ten rounds (Salmon, Moraes, Dror & Shaw, SC 2011; the tests hold their known answers). Its counter is

    (block, patch + DOMAIN * domain, sample, step)      and its key the two halves of the 64-bit seed,

so that a patch of a sample is the same bits in whatever order, thread, chunk or batch it is drawn. A block is 4 words of
32 bits.

**Normal numbers** (Box & Muller 1958): sqrt(-2 log u) (cos, sin)(2 pi v). In float64 a block makes 2 numbers: u and v have
53 bits; the radius reaches sqrt(2 * 53 log 2) = 8.6. In float32 a block makes 4, u and v with 32 bits, the radius to 6.7:
the chance of a pair beyond it is 2^-32. The logarithm is that of FreeBSD's libm (and of Cephes for float32), sine and
cosine are its kernels on [-pi/4, pi/4], the quadrant being 2 bits of v of their own. Without branches, so that a loop over
blocks vectorises.

The functions are undecorated and know integers below 2^63 and floats only: they run in Python and compile for a CPU or a
GPU.
"""

from math import sqrt

import numpy as np

WORD = 0xFFFFFFFF
MULTIPLY_0, MULTIPLY_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
DOMAIN = 1 << 28
# Domains: the patches, what a sample shows, how it is split into views; the views of pictures.
NOISE, CONTENT, VIEWS, PICTURES = 0, 1, 2, 3
FIXED_SET = WORD  # stands for the step where samples do not depend on it

_QUARTER, _EIGHTH = 1 << 51, 1 << 50
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ONE_BITS, _ROOT_HALF_BITS, _MANTISSA = 0x3FF0000000000000, 0x3FE6A09E667F3BCD, (1 << 52) - 1
_ROOT_HALF_BITS_32, _MANTISSA_32 = 0x3F3504F3, (1 << 23) - 1
_ROUND_53, _QUARTER_TURN = 2.0**-53, 1.5707963267948966 * 2.0**-51
_F = np.float32
_HALF_32, _ONE_32, _TWO_32, _ROUND_32 = _F(0.5), _F(1.0), _F(2.0), _F(2.0**-32)
_LOG2_32, _TURN_32 = _F(0.6931471805599453), _F(1.5707963267948966 * 2.0**-30)
_LOG_32 = tuple(
    _F(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = _LOG_32
_S0, _S1, _S2 = _F(-1.9515295891e-4), _F(8.3321608736e-3), _F(-1.6666654611e-1)
_C0, _C1, _C2 = _F(2.443315711809948e-5), _F(-1.388731625493765e-3), _F(4.166664568298827e-2)


def philox(c0, c1, c2, c3, k0, k1):
    """The 4 words (each in [0, 2^32)) of the counter (c0, c1, c2, c3) under the key (k0, k1), words all."""
    for _ in range(10):
        p0 = c0 * MULTIPLY_0
        p1 = c2 * MULTIPLY_1
        c0 = ((p1 >> 32) ^ c1 ^ k0) & WORD
        c1 = p1 & WORD
        c2 = ((p0 >> 32) ^ c3 ^ k1) & WORD
        c3 = p0 & WORD
        k0 = (k0 + WEYL_0) & WORD
        k1 = (k1 + WEYL_1) & WORD
    return c0, c1, c2, c3


def logarithm(x):
    """log x of a positive normal float64, to one unit in the last place."""
    bits = np.float64(x).view(np.int64) - _ROOT_HALF_BITS
    power = np.float64(bits >> 52)
    f = np.int64((bits & _MANTISSA) + _ROOT_HALF_BITS).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    odd = z * (0.3999999999940941908 + z * z * (0.2222219843214978396 + z * z * 0.1531383769920937332)) * z
    even = 0.6666666666666735130 + z * z * (
        0.2857142874366239149 + z * z * (0.1818357216161805012 + z * z * 0.1479819860511658591)
    )
    rest = odd + z * even
    half = 0.5 * f * f
    return power * _LOG2_HIGH - ((half - (s * (half + rest) + power * _LOG2_LOW)) - f)


def normal_pair(a, b, c, d):
    """Two independent N(0, 1) in float64 from the 4 words of a block."""
    radius = sqrt(-2.0 * logarithm((np.float64((a << 21) | (b >> 11)) + 1.0) * _ROUND_53))
    v = (c << 21) | (d >> 11)
    quadrant = v >> 51
    # An odd multiple of half a step, so that the angle is symmetric about 0.
    t = (np.float64((v & (_QUARTER - 1)) - _EIGHTH) + 0.5) * _QUARTER_TURN
    z = t * t
    sine = t + t * z * (
        -1.66666666666666324348e-01
        + z * (8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * (2.75573137070700676789e-06
        + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10))))
    )  # fmt: skip
    cosine = 1.0 - 0.5 * z + z * z * (
        4.16666666666666019037e-02
        + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05 + z * (-2.75573143513906633035e-07
        + z * (2.08757232129817482790e-09 - z * 1.13596475577881948265e-11))))
    )  # fmt: skip
    swapped = (quadrant & 1) != 0
    x = sine if swapped else cosine
    y = cosine if swapped else sine
    # Signs as factors: the compiler (LLVM 22.1) gets a vectorised `quadrant < 2` wrong, as a test of compiled against
    # plain shows.
    return np.float64(1 - ((quadrant + 1) & 2)) * radius * x, np.float64(1 - (quadrant & 2)) * radius * y


def logarithm_32(x):
    """log x of a positive normal float32, to about one unit in the last place."""
    bits = np.float32(x).view(np.int32) - np.int32(_ROOT_HALF_BITS_32)
    power = np.float32(np.int32(bits >> 23))
    f = np.int32((bits & np.int32(_MANTISSA_32)) + np.int32(_ROOT_HALF_BITS_32)).view(np.float32) - _ONE_32
    z = f * f
    y = _L3 + f * (_L2 + f * (_L1 + f * _L0))
    y = _L8 + f * (_L7 + f * (_L6 + f * (_L5 + f * (_L4 + f * y))))
    return f + (y * f * z - _HALF_32 * z) + power * _LOG2_32


def normal_pair_32(u, v):
    """Two independent N(0, 1) in float32 from two words."""
    radius = np.float32(sqrt(-_TWO_32 * logarithm_32((np.float32(u) + _HALF_32) * _ROUND_32)))
    quadrant = v >> 30
    t = (np.float32(np.int32((v & ((1 << 30) - 1)) - (1 << 29))) + _HALF_32) * _TURN_32
    z = t * t
    sine = t + t * z * (_S2 + z * (_S1 + z * _S0))
    cosine = _ONE_32 - _HALF_32 * z + z * z * (_C2 + z * (_C1 + z * _C0))
    swapped = (quadrant & 1) != 0
    x = sine if swapped else cosine
    y = cosine if swapped else sine
    return np.float32(np.int32(1 - ((quadrant + 1) & 2))) * radius * x, np.float32(np.int32(1 - (quadrant & 2))) * radius * y


def fill_normals(blocks, c1, c2, c3, k0, k1, out):
    """Fill out (2 * blocks,), float64: a block's numbers stand at its place and `blocks` further on."""
    for i in range(blocks):
        a, b, c, d = philox(i, c1, c2, c3, k0, k1)
        x, y = normal_pair(a, b, c, d)
        out[i] = x
        out[blocks + i] = y


def fill_normals_32(blocks, c1, c2, c3, k0, k1, out):
    """Fill out (4 * blocks,), float32, alike: the four numbers of a block are `blocks` apart."""
    for i in range(blocks):
        a, b, c, d = philox(i, c1, c2, c3, k0, k1)
        x, y = normal_pair_32(a, b)
        z, t = normal_pair_32(c, d)
        out[i] = x
        out[blocks + i] = y
        out[2 * blocks + i] = z
        out[3 * blocks + i] = t


def key_of(seed: int) -> tuple[int, int]:
    """The key (k0, k1) of a seed in [0, 2^64)."""
    return seed & WORD, (seed >> 32) & WORD

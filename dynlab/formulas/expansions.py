r"""Activations that are registered at run time: their moments as expansions, read from a table of numbers.

A positively homogeneous phi of degree q that is odd, or zero for z < 0, is c sign(z)|z|^q or c max(0, z)^q. Its moments are
functions of the angle alone, which have closed forms for every integer q but need not be written down: what matters is that
each is accurate *relative to itself*, at both ends and at right angles. With eps = pi - theta, c = cos theta and
h = sin(eps/2), for c = 1 = sigma and unit noise parts (names as in `dynlab.formulas.activations`),

    C_jr  = c B(eps)                       cross = X(eps) if phi is odd, else h^(2q-1) X(eps)
    1 - kappa = (1 - c) G(eps)             kappa - kappa(pi) = h^(2q+1) F(eps) for a rectified phi

in which B, X, G, F are positive, vary little and have no singularity nearer to [0, pi] than half its length. They are kept
as polynomials in x = 2 eps/pi - 1, which work in real, complex and extended arithmetic alike;
`dynlab.settings.registration` computes them. (At the ends the closed forms of rectified activations, which cancel there,
would lose what these keep.)

Compiled code reads the same table in memory (`dynlab.formulas.number_table`): nothing is compiled for a new activation, and
kernels that were compiled in another process, before it was thought of, know it. What is read is constant for a kind.
"""

from math import pi, sqrt

from dynlab.formulas.number_table import table_number

REGISTERED = 4  # the first kind that is not built in; odd ones have odd numbers, as among the built-in ones
LENGTH = 40  # coefficients of an expansion, at most
# Layout of a slot: four numbers, then the expansions, each a count and coefficients, the highest first.
DEGREE, MEAN, SELF = 0, 1, 2
COVARIANCE, CROSS, NEAR, FAR = 4, 5 + LENGTH, 6 + 2 * LENGTH, 7 + 3 * LENGTH
WIDTH = 8 + 4 * LENGTH


def slot_of(kind):
    """Where the slot of a registered kind begins."""
    return (kind - REGISTERED) // 2 * WIDTH


def registered_number(kind, place):
    """One of the numbers DEGREE, MEAN, SELF of a registered kind."""
    return table_number(slot_of(kind) + place)


def registered_power(kind, u):
    """sign(u) |u|^q"""
    size = u if u.real > 0.0 else -u
    value = size
    for _ in range(1, int(registered_number(kind, DEGREE))):
        value = value * size
    return value if u.real > 0.0 else -value


def registered_slope(kind, u):
    """q |u|^(q-1)"""
    size = u if u.real > 0.0 else -u
    degree = registered_number(kind, DEGREE)
    value = degree * size
    for _ in range(2, int(degree)):
        value = value * size
    return value


def expansion(kind, which, eps):
    """The polynomial `which` (COVARIANCE, CROSS, NEAR, FAR) of a registered kind at eps = pi - theta."""
    first = slot_of(kind) + which
    x = eps * (2.0 / pi) - 1.0
    total = 0.0 * x
    for i in range(int(table_number(first))):
        total = total * x + table_number(first + 1 + i)
    return total


def half_sine(c, s):
    """sin((pi - theta)/2), exact where it is small."""
    return s / sqrt(2.0 * (1.0 - c)) if c.real < 0.0 else sqrt(0.5 * (1.0 + c))


def registered_covariance(kind, sigma, k, dot, wedge, eps):
    """`activations.pair_covariance` of a registered kind."""
    c = dot / k
    size = registered_power(kind, sigma * sigma * k)
    cross = size * expansion(kind, CROSS, eps)
    if kind % 2 == 0:
        h = half_sine(c, wedge / k)
        cross = cross * (registered_power(kind, h) / h) * registered_power(kind, h) if h.real > 0.0 else 0.0 * cross
    return size * c * expansion(kind, COVARIANCE, eps), cross / k


def registered_parallel_gap(kind, gap, theta):
    """`activations.parallel_gap` of a registered kind; gap = 1 - c."""
    return gap * expansion(kind, NEAR, pi - theta)


def registered_antiparallel_gap(kind, eps, c, s):
    """`activations.antiparallel_gap` of a registered kind that is rectified."""
    h = half_sine(c, s)
    power = registered_power(kind, h)
    return power * power * h * expansion(kind, FAR, eps)

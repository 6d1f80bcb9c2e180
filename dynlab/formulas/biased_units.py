r"""Gaussian moments of relu with a bias, max(0, z + b), and their derivatives: pure scalar functions.

z is normal with standard deviation s; phi and Phi are the standard normal density and distribution, h = -b/s the threshold
of x = z/s. One unit:

    E max(0, z + b)   = s phi(h) + b Phi(-h),             d/db = Phi(-h),  d/ds = phi(h)
    E max(0, z + b)^2 = (s^2 + b^2) Phi(-h) + b s phi(h)

Two units with correlation rho, c = sqrt(1 - rho^2), thresholds h and k: with L = P(x > h, y > k), integrating the bivariate
density by parts,

    M/(s_1 s_2) = E (x - h)_+ (y - k)_+
                = (rho + h k) L + c phi(h) phi((k - rho h)/c) - k phi(h) Phi(-(k - rho h)/c) - h phi(k) Phi(-(h - rho k)/c)
    dM/db_1     = s_2 [phi(k) Phi(-(h - rho k)/c) + rho phi(h) Phi(-(k - rho h)/c) - k L] = E 1{x > h} max(0, z_2 + b_2)
    dM/dcov     = L                                       (Price's theorem; cov = rho s_1 s_2)
    dM/ds_1     = s_2 [c phi(h) phi((k - rho h)/c) - (k - rho h) phi(h) Phi(-(k - rho h)/c)]      at fixed cov

the last from M - b_1 dM/db_1 - cov L = s_1 dM/ds_1, M being of degree 1 in (z_1, b_1).

**L by Owen's T** (Owen, Ann. Math. Statist. 27, 1956): with h' = -h, k' = -k

    L = [Phi(h') + Phi(k')]/2 - T(h', (k'/h' - rho)/c) - T(k', (h'/k' - rho)/c) - (1/2 if h' k' < 0, or h' k' = 0 > h' + k'),
    T(h, a) = (1/2 pi) int_0^a exp(-h^2 (1 + x^2)/2)/(1 + x^2) dx,

by Gauss-Legendre on |a| <= 1, where the integrand is smooth on the scale of the interval wherever T is not below rounding;
for |a| > 1 by T(h, a) = [Phi(h) + Phi(a h)]/2 - Phi(h) Phi(a h) - T(a h, 1/a), h >= 0, a > 0, with T even in h and odd in a.

Absolute errors are below 1e-14 of the units s_1 s_2 (1 + |h|)(1 + |k|); a unit that hardly ever answers (h > 5) has moments
below 1e-8 with as many digits less.
"""

from math import atan, erfc, exp, inf, pi, sqrt

# 24-point Gauss-Legendre on [0, 1]: the first half of nodes and weights, the other being its mirror image.
HALF_NODES = (
    0.9951872199970213, 0.9747285559713095, 0.9382745520027328, 0.8864155270044011, 0.820001985973903,
    0.7401241915785544, 0.6480936519369755, 0.5454214713888396, 0.4337935076260451, 0.3150426796961634,
    0.1911188674736163, 0.06405689286260563,
)  # fmt: skip
HALF_WEIGHTS = (
    0.0123412297999872, 0.028531388628933663, 0.04427743881741981, 0.05929858491543678, 0.0733464814110803,
    0.08619016153195327, 0.09761865210411388, 0.10744427011596563, 0.1155056680537256, 0.12167047292780339,
    0.1258374563468283, 0.12793819534675216,
)  # fmt: skip


def normal_density(x):
    """phi(x)"""
    return exp(-0.5 * x * x) / sqrt(2.0 * pi)


def normal_cdf(x):
    """Phi(x), accurate relative to itself in the lower tail."""
    return 0.5 * erfc(-x / sqrt(2.0))


def owens_t(h, a):
    """T(h, a) for any h and a, infinite ones too."""
    h = abs(h)
    if a < 0.0:
        return -owens_t_above(h, -a)
    return owens_t_above(h, a)


def owens_t_above(h, a):
    """T(h, a) for h, a >= 0."""
    if a <= 1.0:
        return owens_t_integral(h, a)
    if a == inf:
        return 0.5 * normal_cdf(-h)
    below, far = normal_cdf(h), normal_cdf(a * h)
    return 0.5 * (below + far) - below * far - owens_t_integral(a * h, 1.0 / a)


def owens_t_integral(h, a):
    """T(h, a) for h >= 0, 0 <= a <= 1."""
    if h == 0.0:
        return atan(a) / (2.0 * pi)
    if h > 38.0:
        return 0.0
    total = 0.0
    for i in range(len(HALF_NODES)):
        for node in (0.5 * a * (1.0 - HALF_NODES[i]), 0.5 * a * (1.0 + HALF_NODES[i])):
            total += HALF_WEIGHTS[i] * exp(-0.5 * h * h * (1.0 + node * node)) / (1.0 + node * node)
    return 0.5 * a * total / (2.0 * pi)


def quotient_at(x, c):
    """x/c for c >= 0; at c = 0 its limit, and 0 where x is 0 too."""
    if c > 0.0:
        return x / c
    return 0.0 if x == 0.0 else (inf if x > 0.0 else -inf)


def orthant(h, k, rho, c):
    """L = P(x > h, y > k) of standard normals with correlation rho, c = sqrt(1 - rho^2)."""
    if h == inf or k == inf:
        return 0.0
    if h == -inf or k == -inf:
        return normal_cdf(-k) if h == -inf else normal_cdf(-h)
    if h == 0.0 and k == 0.0:
        return 0.25 + atan(quotient_at(rho, c)) / (2.0 * pi)
    far_h = quotient_at(k - rho * h, c)
    far_k = quotient_at(h - rho * k, c)
    first = owens_t(h, far_h / h) if h != 0.0 else 0.25 * sign_of(-far_h)
    second = owens_t(k, far_k / k) if k != 0.0 else 0.25 * sign_of(-far_k)
    value = 0.5 * (normal_cdf(-h) + normal_cdf(-k)) - first - second
    if h * k < 0.0 or (h * k == 0.0 and h + k > 0.0):
        value -= 0.5
    return max(value, 0.0)


def sign_of(x):
    """-1, 0 or 1."""
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


def biased_moments(s, b):
    """(E r, E r^2, P(z > -b), density of z/s at the threshold) of r = max(0, z + b), z of standard deviation s >= 0."""
    if s == 0.0:
        r = max(b, 0.0)
        return r, r * r, 1.0 if b > 0.0 else 0.0, 0.0
    h = -b / s
    above, density = normal_cdf(-h), normal_density(h)
    return s * density + b * above, (s * s + b * b) * above + b * s * density, above, density


def biased_pair(s1, s2, rho, c, b1, b2):
    """(M, dM/db_1, dM/dcov, dM/ds_1 at fixed cov) of two units: see the module's head. Standard deviations s >= 0."""
    if s1 == 0.0 or s2 == 0.0:
        mean1, _, above1, density1 = biased_moments(s1, b1)
        mean2, _, above2, _ = biased_moments(s2, b2)
        return mean1 * mean2, above1 * mean2, above1 * above2, density1 * mean2
    h = -b1 / s1
    k = -b2 / s2
    both = orthant(h, k, rho, c)
    far_h = quotient_at(k - rho * h, c)
    far_k = quotient_at(h - rho * k, c)
    from_h = normal_density(h) * normal_cdf(-far_h)
    from_k = normal_density(k) * normal_cdf(-far_k)
    corner = c * normal_density(h) * normal_density(far_h)
    value = (rho + h * k) * both + corner - k * from_h - h * from_k
    by_first = from_k + rho * from_h - k * both
    return s1 * s2 * value, s2 * by_first, both, s2 * (corner - (k - rho * h) * from_h)

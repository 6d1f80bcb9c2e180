r"""Activations: each a small record of a homogeneous function and its closed-form Gaussian moments.

An activation of degree q has phi(lambda z) = lambda^q phi(z) for lambda > 0. For a noise patch
xi ~ N(0, sigma^2 (I - V V^T)) the arguments z_j = <w_j, xi> are centred Gaussians with covariance
sigma^2 Q, Q the Gram matrix of the noise parts of the weights. Needed of phi are

    mu_j = E phi(z_j)      and      C_jr = Cov(phi(z_j), phi(z_r))

with cross = dC_jr/dQ_jr; the derivatives by the norms follow from C being of degree q in either noise part.
With theta the angle between the two noise parts, k = |w_j||w_r|, c = cos theta, s = sin theta (Cho & Saul,
NeurIPS 2009, for the rectified ones):

    linear   mu = 0                            C = sigma^2 Q_jr
    cubic    mu = 0                            C = sigma^6 (9 Q_jj Q_rr Q_jr + 6 Q_jr^3)
    relu     mu = sigma |w| / sqrt(2 pi)       C = sigma^2 k (J_1(theta) - 1) / (2 pi)
    relu3    mu = 2 sigma^3 |w|^3 / sqrt(2 pi) C = sigma^6 k^3 (J_3(theta) - 4) / (2 pi)

    J_1 = s + (pi - theta) c          J_3 = 15 s - 11 s^3 + (pi - theta)(9 c + 6 c^3)

The rectified forms vanish at right angles by cancellation. Since s - 1 = -c^2 / (1 + s) they are written as
c times a bracket that stays away from zero:

    relu     C ~ c [(pi - theta) - c/(1 + s)]
    relu3    C ~ c [(pi - theta)(9 + 6 c^2) + c (11 s^2 + 11 s - 4)/(1 + s)]

Price's theorem gives cross = sigma^2 E phi'(z_j) phi'(z_r):

    relu     cross ~ pi - theta
    relu3    cross ~ 9 J_2(theta)     J_2 = 3 s c + (pi - theta)(1 + 2 c^2)

Near antiparallel noise parts J_2 is the tiny (4/15)(pi - theta)^5, so there its series is used.

How far a pair is from parallel and from antiparallel is needed beside C itself, where C or the means cancel.
With kappa = C_jr / sqrt(C_jj C_rr), `parallel_gap` is 1 - kappa and `antiparallel_gap` is kappa - kappa(pi).
Both are small by cancellation, so they are written with 1 -+ c = s^2/(1 +- c) and with J_n(pi - theta), tiny
at small theta, of which again the series is used:

    linear   1 - kappa = 1 - c
    cubic    1 - kappa = (1 - c)(1 + 2 c/5 + 2 c^2/5)
    relu     1 - kappa = [pi (1 - c) - J_1(pi - theta)]/(pi - 1),      kappa - kappa(pi) = J_1(theta)/(pi - 1)
    relu3    1 - kappa = [pi (1 - c)(15 + 6 c + 6 c^2) - J_3(pi - theta)]/(15 pi - 4),   and alike
"""

from math import factorial, pi, sqrt

from dynlab.formulas.expansions import (
    DEGREE,
    MEAN,
    REGISTERED,
    SELF,
    registered_antiparallel_gap,
    registered_covariance,
    registered_number,
    registered_parallel_gap,
    registered_power,
    registered_slope,
)

RELU, CUBIC, RELU3, LINEAR = 0, 1, 2, 3

# Taylor coefficients of J_1(pi - x)/x^3 and J_3(pi - x)/x^7 in powers of x^2, the highest first.
SERIES_1 = tuple((-1.0) ** (k + 1) * 2 * k / factorial(2 * k + 1) for k in range(10, 0, -1))
SERIES_3 = tuple(
    (-1.0) ** k * (6.75 + 8.25 * 9**k - (2 * k + 1) * (13.5 + 1.5 * 9**k)) / factorial(2 * k + 1) for k in range(13, 2, -1)
)


def relu(z):
    """max(0, z)"""
    return z if z > 0.0 else 0.0 * z


def relu_slope(z):
    """Derivative of relu; 0 at the kink, the middle of nothing to either side being a choice."""
    return 1.0 if z > 0.0 else 0.0


def cubic(z):
    """z^3"""
    return z * z * z


def cubic_slope(z):
    """3 z^2"""
    return 3.0 * z * z


def relu3(z):
    """max(0, z)^3"""
    return z * z * z if z > 0.0 else 0.0 * z


def relu3_slope(z):
    """3 max(0, z)^2"""
    return 3.0 * z * z if z > 0.0 else 0.0 * z


def linear(z):
    """z"""
    return z


def linear_slope(z):
    """1"""
    return 1.0 + 0.0 * z


def is_odd(kind):
    """Whether phi(-z) = -phi(z)."""
    return kind == CUBIC or kind == LINEAR or (kind >= REGISTERED and kind % 2 == 1)


def is_cubed(kind):
    """Whether phi is z^3 on a half-line."""
    return kind == CUBIC or kind == RELU3


def is_steep(kind):
    """Whether phi is of degree 2 or more: signals keep their signs, so their logarithms can be followed."""
    return kind == CUBIC or kind == RELU3 or kind >= REGISTERED


def degree_of(kind):
    """The degree q, as a float."""
    if kind >= REGISTERED:
        return registered_number(kind, DEGREE)
    return 3.0 if is_cubed(kind) else 1.0


def power(kind, u):
    """sign(u) |u|^q: phi on the half-line where it is not 0, continued as an odd function."""
    if kind >= REGISTERED:
        return registered_power(kind, u)
    return u * u * u if is_cubed(kind) else u


def power_slope(kind, u):
    """Derivative of `power` by u."""
    if kind >= REGISTERED:
        return registered_slope(kind, u)
    return 3.0 * u * u if is_cubed(kind) else 1.0 + 0.0 * u


def self_covariance(kind, sigma):
    """C_jj / Q_jj^q, a number that depends on sigma only."""
    if kind >= REGISTERED:
        return registered_number(kind, SELF) * registered_power(kind, sigma * sigma)
    s2 = sigma * sigma
    if kind == RELU:
        return s2 * (0.5 - 0.5 / pi)
    if kind == LINEAR:
        return s2
    s6 = s2 * s2 * s2
    if kind == CUBIC:
        return 15.0 * s6
    return s6 * (7.5 - 2.0 / pi)


def mean_factor(kind, sigma):
    """mu_j / |w_j|^q, a number that depends on sigma only (0 for odd activations)."""
    if kind >= REGISTERED:
        return registered_number(kind, MEAN) * registered_power(kind, sigma)
    if kind == RELU:
        return sigma / sqrt(2.0 * pi)
    if kind == RELU3:
        return 2.0 * sigma * sigma * sigma / sqrt(2.0 * pi)
    return 0.0


def arc_kernel_2(eps, c, s):
    """Arc-cosine kernel of order 2, 3 s c + eps (1 + 2 c^2) with eps = pi - theta in [0, pi].

    With x = 2 eps it equals sum_{n >= 2} (-1)^n (n - 1) x^(2n+1) / (2n+1)!, used below eps = 1/2.
    """
    if eps.real > 0.5:
        return 3.0 * s * c + eps * (1.0 + 2.0 * c * c)
    x = 2.0 * eps
    x2 = x * x
    term = x * x2 * x2 / 120.0
    total = term
    for n in range(3, 11):
        term = -term * x2 / ((2.0 * n + 1.0) * (2.0 * n))
        total = total + (n - 1.0) * term
    return total


def pair_covariance(kind, sigma, k, dot, wedge, eps):
    """Return (C_jr, cross) of two different noise parts: see the module's head.

    k = |w_j||w_r|, dot = Q_jr, wedge = k sin(theta) (given beside Q_jr because k^2 - dot^2 cancels for nearly
    parallel parts), eps = pi - theta. Units: sigma^(2q) |w|^(2q). k must be positive unless the activation is
    linear or cubic.
    """
    if kind >= REGISTERED:
        return registered_covariance(kind, sigma, k, dot, wedge, eps)
    s2 = sigma * sigma
    if kind == LINEAR:
        return s2 * dot, s2 + 0.0 * dot
    s6 = s2 * s2 * s2
    if kind == CUBIC:
        k2 = k * k
        d2 = dot * dot
        return s6 * dot * (9.0 * k2 + 6.0 * d2), s6 * (9.0 * k2 + 18.0 * d2)
    if kind == RELU:
        unit = s2 / (2.0 * pi)
        return unit * dot * (eps - dot / (k + wedge)), unit * eps
    c = dot / k
    s = wedge / k
    unit = s6 / (2.0 * pi)
    value = c * (eps * (9.0 + 6.0 * c * c) + c * (11.0 * s * s + 11.0 * s - 4.0) / (1.0 + s))
    return unit * k * k * k * value, 9.0 * unit * k * k * arc_kernel_2(eps, c, s)


def variance_ratio(kind):
    """C_jj / mu_j^2 of a rectified activation, a pure number."""
    if kind >= REGISTERED:
        mean = registered_number(kind, MEAN)
        return registered_number(kind, SELF) / (mean * mean)
    return pi - 1.0 if kind == RELU else 0.25 * (15.0 * pi - 4.0)


def complement(kind, x, c, s):
    """J_n(pi - x) for an angle x with cosine c and sine s; small at small x, where its series is used."""
    x2 = x * x
    total = 0.0 * x
    if kind == RELU:
        if x.real > 1.0:
            return s - x * c
        for k in range(len(SERIES_1)):
            total = total * x2 + SERIES_1[k]
        return total * x * x2
    if x.real > 1.0:
        return s * (15.0 - 11.0 * s * s) - x * c * (9.0 + 6.0 * c * c)
    for k in range(len(SERIES_3)):
        total = total * x2 + SERIES_3[k]
    return total * x * x2 * x2 * x2


def parallel_gap(kind, theta, c, s):
    """1 - kappa: 0 for parallel noise parts, as theta^2; theta is not looked at for odd built-in ones."""
    gap = s * s / (1.0 + c) if c.real > 0.0 else 1.0 - c
    if kind >= REGISTERED:
        return registered_parallel_gap(kind, gap, theta)
    if kind == LINEAR:
        return gap
    if kind == CUBIC:
        return gap * (1.0 + 0.4 * c * (1.0 + c))
    rest = complement(kind, theta, c, s)
    if kind == RELU:
        return (pi * gap - rest) / (pi - 1.0)
    return (pi * gap * (15.0 + 6.0 * c * (1.0 + c)) - rest) / (15.0 * pi - 4.0)


def antiparallel_gap(kind, eps, c, s):
    """kappa - kappa(pi): 0 for antiparallel noise parts; eps = pi - theta."""
    if is_odd(kind):
        return parallel_gap(kind, eps, -c, s)
    if kind >= REGISTERED:
        return registered_antiparallel_gap(kind, eps, c, s)
    return complement(kind, eps, -c, s) / (pi - 1.0 if kind == RELU else 15.0 * pi - 4.0)

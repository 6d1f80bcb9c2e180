r"""Activations: each a small record of a homogeneous function and its closed-form Gaussian moments.

An activation of degree q has phi(lambda z) = lambda^q phi(z) for lambda > 0. For a noise patch
xi ~ N(0, sigma^2 (I - V V^T)) the arguments z_j = <w_j, xi> are centred Gaussians with covariance
sigma^2 Q, Q the Gram matrix of the noise parts of the weights. Needed of phi are

    mu_j = E phi(z_j)      and      C_jr = Cov(phi(z_j), phi(z_r))

with the derivatives of C. With theta the angle between the two noise parts, k = |w_j||w_r|, c = cos theta,
s = sin theta (Cho & Saul, NeurIPS 2009, for the rectified ones):

    linear   mu = 0                            C = sigma^2 Q_jr
    cubic    mu = 0                            C = sigma^6 (9 Q_jj Q_rr Q_jr + 6 Q_jr^3)
    relu     mu = sigma |w| / sqrt(2 pi)       C = sigma^2 k (s + (pi - theta) c - 1) / (2 pi)
    relu3    mu = 2 sigma^3 |w|^3 / sqrt(2 pi) C = sigma^6 k^3 (15 s - 11 s^3 + (pi - theta)(9 c + 6 c^3) - 4) / (2 pi)

The rectified forms vanish at right angles by cancellation. Since s - 1 = -c^2 / (1 + s) they are written as
c times a bracket that stays away from zero:

    relu     C ~ c [(pi - theta) - c/(1 + s)]
    relu3    C ~ c [(pi - theta)(9 + 6 c^2) + c (11 s^2 + 11 s - 4)/(1 + s)]

Derivatives, in the two independent directions of the pair: `cross` = dC/dQ_jr = sigma^2 E phi'(z_j) phi'(z_r)
and `own` = 2 Q_jj dC/dQ_jj, for which Euler's relation (degree q in w_j) gives own = q C - Q_jr cross:

    relu     cross ~ (pi - theta)               own ~ -c^2/(1 + s)
    relu3    cross ~ 9 J2(theta)                own ~ 6 c [3 (pi - theta) - c^3 (s + 2)/(1 + s)^2]

J2 = 3 s c + (pi - theta)(1 + 2 c^2) is the arc-cosine kernel of order 2. Near antiparallel noise parts it is
the tiny (4/15)(pi - theta)^5, so there its series is used.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Callable

RELU, CUBIC, RELU3, LINEAR = 0, 1, 2, 3


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


def self_covariance(kind, sigma):
    """C_jj / Q_jj^q, a number that depends on sigma only."""
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
    """Return (C_jr, cross, own) of two different noise parts: see the module's head.

    k = |w_j||w_r|, dot = Q_jr, wedge = k sin(theta) (given beside Q_jr because k^2 - dot^2 cancels for nearly
    parallel parts), eps = pi - theta. Units: sigma^(2q) |w|^(2q). k must be positive unless the activation is
    linear or cubic.
    """
    s2 = sigma * sigma
    if kind == LINEAR:
        return s2 * dot, s2 + 0.0 * dot, 0.0 * dot
    s6 = s2 * s2 * s2
    if kind == CUBIC:
        k2 = k * k
        d2 = dot * dot
        return s6 * dot * (9.0 * k2 + 6.0 * d2), s6 * (9.0 * k2 + 18.0 * d2), 18.0 * s6 * k2 * dot
    if kind == RELU:
        unit = s2 / (2.0 * pi)
        part = dot / (k + wedge)
        return unit * dot * (eps - part), unit * eps, -unit * dot * part
    c = dot / k
    s = wedge / k
    unit = s6 / (2.0 * pi)
    k3 = k * k * k
    value = c * (eps * (9.0 + 6.0 * c * c) + c * (11.0 * s * s + 11.0 * s - 4.0) / (1.0 + s))
    own = 6.0 * c * (3.0 * eps - c * c * c * (s + 2.0) / ((1.0 + s) * (1.0 + s)))
    return unit * k3 * value, 9.0 * unit * k * k * arc_kernel_2(eps, c, s), unit * k3 * own


@dataclass(frozen=True)
class Activation:
    """What the theory needs to know of an activation.

    name: as in `Model(activation=...)`. kind: the number by which compiled code tells it. function, slope: phi and
    phi'. degree: q of phi(lambda z) = lambda^q phi(z). odd: phi(-z) = -phi(z), else phi(z) = 0 for z < 0.
    """

    name: str
    kind: int
    function: Callable
    slope: Callable
    degree: int
    odd: bool

    def moments(self, sigma, norm_1, norm_2, angle):
        """Return (mu_1, mu_2, q_12 = E phi(z_1) phi(z_2)) for |w_1|, |w_2| and the angle between the noise parts.

        Plain Python, for reading and testing; sigma is the noise's standard deviation per direction.
        """
        from math import cos, sin

        k = norm_1 * norm_2
        mu_1 = mean_factor(self.kind, sigma) * norm_1**self.degree
        mu_2 = mean_factor(self.kind, sigma) * norm_2**self.degree
        covariance, _, _ = pair_covariance(self.kind, sigma, k, k * cos(angle), k * sin(angle), pi - angle)
        return mu_1, mu_2, covariance + mu_1 * mu_2


ACTIVATIONS = {
    "relu": Activation("relu", RELU, relu, relu_slope, 1, False),
    "cubic": Activation("cubic", CUBIC, cubic, cubic_slope, 3, True),
    "relu3": Activation("relu3", RELU3, relu3, relu3_slope, 3, False),
    "linear": Activation("linear", LINEAR, linear, linear_slope, 1, True),
}

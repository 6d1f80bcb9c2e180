r"""The two noise parts of a rectified pair, relu or relu3: covariance and angle without branches, and their tangents.

The formulas are those of `dynlab.formulas.activations`. With a = atanh c, of theta and pi - theta the smaller is
2 atan(e^-|a|), c = tanh a, s = sin theta = 1/cosh a, and

    d theta/da = -s,     dc/da = s^2,     dC_12/da = cross k s^2,     d kappa/da = (dC_12/da)/(C_jj/|w~_j|^2q k^q)

by Price's theorem, cross = dC_12/dQ_12; d cross/da goes with s for relu and with 4 s^2 J_1(theta) for relu3.

Numbers may be of any kind, vectors of `dynlab.machine.lanes` included: series and closed forms are both computed, and one of
them is taken.
"""

from math import factorial, pi, sqrt

from dynlab.formulas.activations import RELU, SERIES_1, SERIES_3
from dynlab.formulas.cubic_flow_rates import cube
from dynlab.formulas.lanewise import where

# atan(x) = x + x z P(z)/Q(z), z = x^2, to a unit in the last place for |x| <= 0.66 (S. Moshier, Cephes: atan.c). Above,
# atan(x) = pi/4 + atan((x - 1)/(x + 1)); the last is what pi/4 lacks.
ATAN_P = (-8.750608600031904122785e-1, -1.615753718733365076637e1, -7.500855792314704667340e1, -1.228866684490136173410e2,
          -6.485021904942025371773e1)  # fmt: skip
ATAN_Q = (2.485846490142306297962e1, 1.650270098316988542046e2, 4.328810604912902668951e2, 4.853903996359136964868e2,
          1.945506571482613964425e2)  # fmt: skip
ATAN_TURN, QUARTER, QUARTER_REST = 0.66, 0.25 * pi, 3.061616997868383e-17
# J_2(pi - x)/x^5, of `activations.arc_kernel_2`, in powers of x^2, the highest first.
SERIES_2 = tuple((-1.0) ** n * (n - 1) * 2.0 ** (2 * n + 1) / factorial(2 * n + 1) for n in range(11, 1, -1))
# Up to these angles series are used.
SERIES_BELOW_2, SERIES_BELOW = 0.5, 1.0


def small_arc_tangent(x):
    """atan(x) for 0 <= x <= 1."""
    large = x > ATAN_TURN
    u = where(large, (x - 1.0) / (x + 1.0), x)
    z = u * u
    above = ATAN_P[0]
    below = z + ATAN_Q[0]
    for i in range(1, 5):
        above = above * z + ATAN_P[i]
        below = below * z + ATAN_Q[i]
    return where(large, QUARTER, 0.0) + (u + (where(large, QUARTER_REST, 0.0) + u * (z * above / below)))


def in_squares(series, x):
    """The polynomial in x^2 with these coefficients, the highest first."""
    square = x * x
    total = 0.0 * square
    for i in range(len(series)):
        total = total * square + series[i]
    return total


def noise_of_pair(kind, sigma, n1, n2, grown, angle):
    """Two noise parts of norms n1, n2 at the angle atanh c; grown: e^(2 |angle|) - 1.

    Returns (C_12, cross, 1 - kappa, their derivatives by the angle). See `dynlab.formulas.activations`.
    """
    inverse = 1.0 / (grown + 2.0)
    root = sqrt(grown + 1.0)
    s = 2.0 * root * inverse
    near = 2.0 * small_arc_tangent(1.0 / root)
    acute = angle > 0.0
    return noise_at_angle(kind, sigma, n1 * n2, where(acute, grown * inverse, -grown * inverse), s, near, acute)


def noise_of_vectors(kind, sigma, k, dot, wedge):
    """The same for two noise parts in a plane: k the product of their norms, dot = k cos theta, wedge = k sin theta >= 0."""
    across = abs(dot)
    flat = wedge <= across
    near = small_arc_tangent(where(flat, wedge, across) / where(flat, across, wedge))
    return noise_at_angle(kind, sigma, k, dot / k, wedge / k, where(flat, near, 0.5 * pi - near), dot > 0.0)


def noise_at_angle(kind, sigma, k, c, s, near, acute):
    """`noise_of_pair` from k = |w~_1||w~_2|, cosine, sine, near = min(theta, pi - theta), whether theta is acute."""
    square = s * s
    theta = where(acute, near, pi - near)
    eps = where(acute, pi - near, near)
    gap = where(acute, square / (1.0 + c), 1.0 - c)
    j1 = where(eps > SERIES_BELOW, s + eps * c, in_squares(SERIES_1, eps) * eps * eps * eps)
    if kind == RELU:
        unit = sigma * sigma / (2.0 * pi)
        rest = where(theta > SERIES_BELOW, s - theta * c, in_squares(SERIES_1, theta) * theta * theta * theta)
        cov = unit * k * c * (eps - c / (1.0 + s))
        cross = unit * eps
        return cov, cross, (pi * gap - rest) / (pi - 1.0), cross * k * square, unit * s, -eps * square / (pi - 1.0)
    unit = cube(sigma * sigma) / (2.0 * pi)
    fifth = eps * eps * eps * eps * eps
    j2 = where(eps > SERIES_BELOW_2, 3.0 * s * c + eps * (1.0 + 2.0 * c * c), in_squares(SERIES_2, eps) * fifth)
    short = in_squares(SERIES_3, theta) * cube(theta) * theta * cube(theta)
    rest = where(theta > SERIES_BELOW, s * (15.0 - 11.0 * square) - theta * c * (9.0 + 6.0 * c * c), short)
    cov = unit * cube(k) * c * (eps * (9.0 + 6.0 * c * c) + c * (11.0 * square + 11.0 * s - 4.0) / (1.0 + s))
    cross = 9.0 * unit * k * k * j2
    gap = (pi * gap * (15.0 + 6.0 * c * (1.0 + c)) - rest) / (15.0 * pi - 4.0)
    slope = 36.0 * unit * k * k * square * j1
    return cov, cross, gap, cross * k * square, slope, -9.0 * j2 * square / (15.0 * pi - 4.0)

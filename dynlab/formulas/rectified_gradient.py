"""Loss and gradient of two rectified neurons by dense weights in four dimensions: two features, two of noise.

`dynlab.formulas.pair.rectified_forces` with the chain rule to weights, for numbers of any kind, vectors of
`dynlab.machine.lanes` included: nothing branches on one.
"""

from math import sqrt

from dynlab.formulas.activations import RELU, mean_factor, self_covariance, variance_ratio
from dynlab.formulas.components import SIGMA, STRENGTHS
from dynlab.formulas.flow_rates import rectified_counts
from dynlab.formulas.pair import rectified_forces
from dynlab.formulas.rectified_noise import noise_of_vectors
from dynlab.formulas.rectified_tangents import on_sides, picked


def rectified_gradient(kind, par, w, e1, e2):
    """(L, dL/dw (8), dL/dE_12, dL/dE_21) of weights w (8), the rows of w_1 and w_2 one after the other.

    At signals that are 0 the gradient is that of the state on neither side: 0.
    """
    alpha, beta, sigma = par[STRENGTHS], par[STRENGTHS + 1], par[SIGMA]
    u11, u12, u21, u22 = alpha * w[0], beta * w[1], alpha * w[4], beta * w[5]
    p1, p2, q1, q2 = w[2], w[3], w[6], w[7]
    n1, n2, dot, area = p1 * p1 + p2 * p2, q1 * q1 + q2 * q2, p1 * q1 + p2 * q2, p1 * q2 - p2 * q1
    l1, l2 = sqrt(n1), sqrt(n2)
    cxy, cross, gap, _, _, _ = noise_of_vectors(kind, sigma, l1 * l2, dot, abs(area))
    mean, own = mean_factor(kind, sigma), self_covariance(kind, sigma)
    if kind == RELU:
        degree, s11, s12, s21, s22 = 1.0, 1.0, 1.0, 1.0, 1.0
        m1, m2, cxx, cyy = mean * l1, mean * l2, own * n1, own * n2
    else:
        degree, s11, s12, s21, s22 = 3.0, u11 * u11, u12 * u12, u21 * u21, u22 * u22
        m1, m2, cxx, cyy = mean * (l1 * n1), mean * (l2 * n2), own * (n1 * n1 * n1), own * (n2 * n2 * n2)
    loss, x, y, r1, r2, by_covariance, h1, h2 = rectified_forces(
        on_sides(u11 * s11, u12 * s12, u11, u12), on_sides(u21 * s21, u22 * s22, u21, u22), m1, m2, cxx, cxy, cyy,
        variance_ratio(kind) * (m1 * m2) * gap, e1, e2, rectified_counts(par),
    )  # fmt: skip
    # Radial part, and the part of the partner perpendicular to the neuron: area / |w~|^2 times w~ turned.
    turn = by_covariance * cross * area
    a1, a2, t1, t2 = degree * r1 / n1, degree * r2 / n2, turn / n1, turn / n2
    return (
        loss,
        degree * alpha * (s11 * picked(x, u11, 0)), degree * beta * (s12 * picked(x, u12, 2)),
        a1 * p1 - t1 * p2, a1 * p2 + t1 * p1,
        degree * alpha * (s21 * picked(y, u21, 0)), degree * beta * (s22 * picked(y, u22, 2)),
        a2 * q1 + t2 * q2, a2 * q2 - t2 * q1,
        h1, h2,
    )  # fmt: skip

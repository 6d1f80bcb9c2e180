r"""Gradient flow in the coordinates in which it is tame: dw/dt = -dL/dw, dE/dt = -r dL/dE.

Over 18 decades of time signals grow from d^(-1/2) to 1 and noise parts decay like t^(-1/4) for ever, so relative
size is what must be resolved. State vector z, for m neurons and K features:

    signals   m K        log|A_jl| for degree 2 and more (the sign of A_jl can not change: dA/dt has a factor A^(q-1)),
                         A_jl itself for degree 1
    norms     m          log |w~_j|
    angles    1          atanh of the correlation of w~_1 and w~_2         (pair layout, m = K = 2)
              m * m      unit vectors u_j = w~_j / |w~_j| in a fixed basis (general layout)
    head      m (m-1)    E_jr, j != r, row by row

With dL/dw~_p = R_p w~_p/|w~_p|^2 + sum_q D_pq (w~_q - its projection on w~_p), R = dL/d log|w~| and D = dL/dQ
(`objective`): d log|w~_p|/dt = -R_p/|w~_p|^2, d atanh(c)/dt = -D_12 (|w~_2|/|w~_1| + |w~_1|/|w~_2|), and in
the general layout du_p/dt = -sum_{q != p} D_pq (|w~_q|/|w~_p|) (u_q - (u_q . u_p) u_p).

`rates` functions work with numbers of any kind: the solver takes exact Jacobian columns from numbers with tangents
(`dynlab.machine.tangents`), free of cancellation. The pairs of cubic, relu and relu3 have rates and Jacobians in closed form
(`dynlab.formulas.cubic_flow_rates`, `dynlab.formulas.rectified_flow_rates`).
"""

from math import atan, cosh, exp, expm1, pi, tanh

from dynlab.formulas.activations import (
    degree_of,
    is_cubed,
    is_odd,
    is_steep,
    mean_factor,
    pair_covariance,
    parallel_gap,
    power,
    power_slope,
    self_covariance,
    variance_ratio,
)
from dynlab.formulas.components import ACROSS, HEAD_RATE, NOISE_PATCHES, S1, S2, S3, SAME, SIGMA, STRENGTHS
from dynlab.formulas.expansions import REGISTERED
from dynlab.formulas.objective import forces
from dynlab.formulas.pair import odd_forces, rectified_forces

LOWEST = -200.0
# Layouts of the state vector.
PAIR, GENERAL = 0, 1
PAIR_SIZE = 9  # entries of the pair layout


def state_size(layout, m, features):
    """Number of entries of the state vector."""
    return m * features + m + (1 if layout == PAIR else m * m) + m * (m - 1)


def signal_of(kind, z, side):
    """A_jl from its coordinate; side is the sign of A_jl."""
    if is_steep(kind):
        return side * exp(z)
    return z


def pair_noise(kind, par, z):
    """Norms and covariances of the two noise parts: (n1, n2, C_11, C_12, C_22, cross, gap); `activations`."""
    n1 = exp(z[4])
    n2 = exp(z[5])
    k = n1 * n2
    cosine = tanh(z[6])
    sine = 1.0 / cosh(z[6])
    # Of theta and pi - theta the smaller from the arc tangent, so that each is exact where it is small.
    if z[6].real > 0.0:
        theta = 2.0 * atan(exp(-z[6]))
        eps = pi - theta
    else:
        eps = 2.0 * atan(exp(z[6]))
        theta = pi - eps
    cov, cross = pair_covariance(kind, par[SIGMA], k, k * cosine, k * sine, eps)
    gap = 0.0 * k if is_odd(kind) else parallel_gap(kind, theta, cosine, sine)
    unit = self_covariance(kind, par[SIGMA])
    s1 = n1 * n1
    s2 = n2 * n2
    if is_cubed(kind):
        return n1, n2, unit * s1 * s1 * s1, cov, unit * s2 * s2 * s2, cross, gap
    return n1, n2, unit * power(kind, s1), cov, unit * power(kind, s2), cross, gap


def pair_rates(kind, par, z, side, delta, rates):
    """dz/dt of the pair layout (9 numbers) for any activation; side (4,): signs of A_11, A_12, A_21, A_22.

    delta: log|A_11 A_22 / (A_12 A_21)|, by which D (`dynlab.formulas.cubic_flow_rates`) is exact; looked at where signals
    are logarithms and phi is odd.
    """
    n1, n2, cxx, cxy, cyy, cross, gap = pair_noise(kind, par, z)
    a11 = signal_of(kind, z[0], side[0])
    a12 = signal_of(kind, z[1], side[1])
    a21 = signal_of(kind, z[2], side[2])
    a22 = signal_of(kind, z[3], side[3])
    p11, d11 = response(kind, par[STRENGTHS], a11)
    p12, d12 = response(kind, par[STRENGTHS + 1], a12)
    p21, d21 = response(kind, par[STRENGTHS], a21)
    p22, d22 = response(kind, par[STRENGTHS + 1], a22)
    degree = degree_of(kind)
    if is_odd(kind):
        det = p11 * p22 - p12 * p21
        if is_steep(kind) and side[0] * side[1] * side[2] * side[3] > 0:
            det = p12 * p21 * expm1(degree * delta)
        _, x1, x2, y1, y2, radial1, radial2, gxy, h1, h2 = odd_forces(
            p11, p12, p21, p22, det, cxx, cxy, cyy, z[7], z[8], par[SAME], par[ACROSS], par[NOISE_PATCHES]
        )
    else:
        noise = (n1, n2, cxx, cxy, cyy, cross, gap)
        _, x, y, radial1, radial2, gxy, h1, h2 = rectified_pair(kind, par, (p11, p12, p21, p22), side, noise, z[7], z[8])
        x1 = pick(x[0], x[1], side[0])
        x2 = pick(x[2], x[3], side[1])
        y1 = pick(y[0], y[1], side[2])
        y2 = pick(y[2], y[3], side[3])
    rates[0] = -x1 * d11
    rates[1] = -x2 * d12
    rates[2] = -y1 * d21
    rates[3] = -y2 * d22
    if is_steep(kind):
        rates[0] = rates[0] / a11
        rates[1] = rates[1] / a12
        rates[2] = rates[2] / a21
        rates[3] = rates[3] / a22
    if is_quadratic(kind):
        for i in range(4):
            rates[i] = rates[i] * faded_signal(z[i])
    rates[4] = -degree * radial1 / (n1 * n1)
    rates[5] = -degree * radial2 / (n2 * n2)
    rates[6] = -gxy * cross * (n2 / n1 + n1 / n2)
    rates[7] = -par[HEAD_RATE] * h1
    rates[8] = -par[HEAD_RATE] * h2


def rectified_pair(kind, par, responses, side, noise, e1, e2):
    """`pair.rectified_forces` at responses (p_11, p_12, p_21, p_22) on their sides; noise: `pair_noise`."""
    p11, p12, p21, p22 = responses
    n1, n2, cxx, cxy, cyy, _, gap = noise
    unit = mean_factor(kind, par[SIGMA])
    mu1 = unit * power(kind, n1)
    mu2 = unit * power(kind, n2)
    x = (upper(p11, side[0]), lower(p11, side[0]), upper(p12, side[1]), lower(p12, side[1]))
    y = (upper(p21, side[2]), lower(p21, side[2]), upper(p22, side[3]), lower(p22, side[3]))
    counts = rectified_counts(par)
    tilt = variance_ratio(kind) * mu1 * mu2 * gap
    return rectified_forces(x, y, mu1, mu2, cxx, cxy, cyy, tilt, e1, e2, counts)


def rectified_counts(par):
    """The counts that `pair.rectified_forces` takes, from the parameters of two features."""
    return (
        par[SAME], par[ACROSS], par[NOISE_PATCHES], par[S1], par[S2], par[S3], par[STRENGTHS + 2], par[STRENGTHS + 4],
    )  # fmt: skip


def is_quadratic(kind):
    """Whether phi is of degree 2: then a signal that loses falls exponentially, its logarithm without end."""
    return kind >= REGISTERED and degree_of(kind) < 2.5


def faded_signal(z):
    """Factor that holds the logarithm of such a signal near LOWEST; 1 to rounding where it is ordinary."""
    return 1.0 / (1.0 + exp(LOWEST - z))


def response(kind, alpha, signal):
    """(phi(u), dphi(u)/dA) for u = alpha A on its own half-line, continued smoothly through 0."""
    u = alpha * signal
    if is_cubed(kind):
        return u * u * u, 3.0 * alpha * u * u
    return power(kind, u), alpha * power_slope(kind, u)


def upper(value, side):
    """Response in the state s = +1: the value where the signal is on the positive side, else 0."""
    return value if side > 0 else 0.0 * value


def lower(value, side):
    """Response in the state s = -1."""
    return -value if side < 0 else 0.0 * value


def pick(plus, minus, side):
    """Derivative by phi(u) on the side of the signal; 0 where the signal is held at the kink."""
    if side > 0:
        return plus
    if side < 0:
        return -minus
    return 0.0 * plus


def general_rates(kind, m, features, par, z, side, geometry, work, rates):
    """dz/dt of the general layout for any m and K; returns the loss.

    geometry: scratch (signal (m, K), side (m, K), norm (m,), dot, wedge, eps (m, m), head (m, m),
    d_signal (m, K), d_noise (m, m), d_head (m, m)); work: scratch of `objective.forces`. side (m K,): signs
    of the signals.
    """
    signal, sides, norm, dot, wedge, eps, head, d_signal, d_noise, d_head = geometry
    base = m * features
    first = base + m
    entry = first + m * m
    for j in range(m):
        for f in range(features):
            signal[j, f] = signal_of(kind, z[j * features + f], side[j * features + f])
            sides[j, f] = side[j * features + f]
        norm[j] = exp(z[base + j])
        head[j, j] = 1.0 + 0.0 * norm[j]
        for r in range(m):
            if r != j:
                head[j, r] = z[entry]
                entry += 1
    for j in range(m):
        dot[j, j] = norm[j] * norm[j]
        for r in range(j):
            unit_pair(m, z, first + j * m, first + r * m, norm[j] * norm[r], j, r, dot, wedge, eps)
    loss = forces(kind, m, features, par, signal, sides, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head)
    entry = first + m * m
    for p in range(m):
        for f in range(features):
            slope = d_signal[p, f] / signal[p, f] if is_steep(kind) else d_signal[p, f]
            rates[p * features + f] = -slope
            if is_quadratic(kind):
                rates[p * features + f] = -slope * faded_signal(z[p * features + f])
        rates[base + p] = -d_noise[p, p] / (norm[p] * norm[p])
        unit_rates(m, first, p, z, norm, dot, d_noise, rates)
        for q in range(m):
            if q != p:
                rates[entry] = -par[HEAD_RATE] * d_head[p, q]
                entry += 1
    return loss


def unit_rates(m, first, p, z, norm, dot, d_noise, rates):
    """du_p/dt = -sum_{q != p} D_pq (|w~_q|/|w~_p|) (u_q - (u_q . u_p) u_p); the unit vectors begin at `first`."""
    own = first + p * m
    for i in range(m):
        rates[own + i] = 0.0 * norm[p]
    for q in range(m):
        if q != p:
            cosine = dot[p, q] / (norm[p] * norm[q])
            pull = d_noise[p, q] * norm[q] / norm[p]
            for i in range(m):
                rates[own + i] = rates[own + i] - pull * (z[first + q * m + i] - cosine * z[own + i])


def unit_pair(m, z, j0, r0, k, j, r, dot, wedge, eps):
    """Geometry of two noise parts from their unit vectors: angle 2 atan(|u - v| / |u + v|), exact at both ends."""
    near = 0.0 * k
    far = 0.0 * k
    for i in range(m):
        x = z[j0 + i] - z[r0 + i]
        y = z[j0 + i] + z[r0 + i]
        near = near + x * x
        far = far + y * y
    # |u|, |v| are 1 up to the solver's error; near + far = 4.
    total = near + far
    cosine = (far - near) / total
    sine = 2.0 * root(near) * root(far) / total
    dot[j, r] = k * cosine
    dot[r, j] = dot[j, r]
    wedge[j, r] = k * sine
    wedge[r, j] = wedge[j, r]
    angle = half_turn(near, far)
    eps[j, r] = angle
    eps[r, j] = angle


def root(x):
    """sqrt, with derivative 0 at 0 (two exactly parallel noise parts stay parallel)."""
    return x**0.5 if x.real > 0.0 else 0.0 * x


def half_turn(near, far):
    """pi - theta = 2 atan(|u + v| / |u - v|)."""
    if near.real > 0.0:
        return 2.0 * atan(root(far) / root(near))
    return pi + 0.0 * near

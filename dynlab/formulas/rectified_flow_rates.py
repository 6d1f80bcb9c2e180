r"""The flow of two rectified neurons and two features, relu or relu3: rates and exact Jacobian in closed form.

Coordinates are those of `dynlab.formulas.flow_rates`: signals A_jl themselves for relu; for relu3 log|A_11|, log|A_12|,
log|A_21| and

    delta = log|A_11 A_22 / (A_12 A_21)|;

then log|w~_1|, log|w~_2|, atanh c, E_12, E_21. Where both neurons are on the same sides of their kinks, the determinant of
their responses to the two features is x_2 y_1 (e^(3 delta) - 1), exact to rounding however close to parallel they are.

What the noise parts give is of `dynlab.formulas.rectified_noise`; what would move for ever is held
(`dynlab.formulas.held_coordinates`). Numbers may be of any kind, vectors of `dynlab.machine.lanes` included: nothing
branches on one.
"""

from dynlab.formulas.activations import RELU, mean_factor, self_covariance, variance_ratio
from dynlab.formulas.components import HEAD_RATE, NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.formulas.cubic_flow_rates import cube, exponential, exponentials
from dynlab.formulas.flow_rates import rectified_counts
from dynlab.formulas.held_coordinates import hold
from dynlab.formulas.lanewise import where
from dynlab.formulas.pair import ROOT_1, ROOT_2
from dynlab.formulas.rectified_noise import noise_of_pair
from dynlab.formulas.rectified_tangents import (
    by_head,
    by_noise,
    by_responses,
    centred_determinants,
    dot4,
    linear_moments,
    on_sides,
    picked,
    plus6,
    rectified_values,
    sum4,
    with_sum4,
)


def parallel_determinants(x, y, side, delta, grown):
    """Determinants (6) of relu3 responses; grown: e^(3 delta) - 1, exact where both neurons are on the same sides."""
    exact = (side[0] * side[2] > 0) & (side[1] * side[3] > 0) & (abs(delta) < 1.0)
    d13 = x[0] * y[2] - x[2] * y[0]
    d14 = x[0] * y[3] - x[3] * y[0]
    d23 = x[1] * y[2] - x[2] * y[1]
    d24 = x[1] * y[3] - x[3] * y[1]
    return (
        x[0] * y[1] - x[1] * y[0],
        where(exact, x[2] * y[0] * grown, d13),
        where(exact, x[3] * y[0] * grown, d14),
        where(exact, x[2] * y[1] * grown, d23),
        where(exact, x[3] * y[1] * grown, d24),
        x[2] * y[3] - x[3] * y[2],
    )


def wedge6(x, y):
    """x_i y_k - x_k y_i"""
    return (
        x[0] * y[1] - x[1] * y[0], x[0] * y[2] - x[2] * y[0], x[0] * y[3] - x[3] * y[0], x[1] * y[2] - x[2] * y[1],
        x[1] * y[3] - x[3] * y[1], x[2] * y[3] - x[3] * y[2],
    )  # fmt: skip


def rectified_point(kind, par, z, side, scratch):
    """What rates and Jacobian are computed from. scratch: (8,) or more.

    Returns (one, two) as `rectified_values` takes them, its determinants, (C_11, C_12, C_22, tilt), what multiplies the
    forces on the responses in the signals' rates (4), (|w~_1|, |w~_2|, cross), and by the angle the derivatives of C_12,
    cross and tilt.
    """
    c1 = par[STRENGTHS]
    c2 = par[STRENGTHS + 1]
    sigma = par[SIGMA]
    if kind == RELU:
        n1 = exponential(z[4], 0.0)
        n2 = exponential(z[5], 0.0)
        turned = exponential(2.0 * abs(z[6]), 1.0)
        grown = 0.0 * n1
        signals = c1 * z[0], c2 * z[1], c1 * z[2], c2 * z[3]
        fronts = 0.0 * n1 - c1, 0.0 * n1 - c2, 0.0 * n1 - c1, 0.0 * n1 - c2
        m1, m2 = n1, n2
    else:
        exponentials(z, scratch)
        n1, n2, turned, grown = scratch[4], scratch[5], scratch[6], scratch[7]
        u11, u12 = c1 * side[0] * scratch[0], c2 * side[1] * scratch[1]
        u21, u22 = c1 * side[2] * scratch[2], c2 * side[3] * scratch[3]
        signals = cube(u11), cube(u12), cube(u21), cube(u22)
        fronts = -3.0 * c1 * c1 * u11, -3.0 * c2 * c2 * u12, -3.0 * c1 * c1 * u21, -3.0 * c2 * c2 * u22
        m1, m2 = cube(n1), cube(n2)
    x = on_sides(signals[0], signals[1], side[0], side[1])
    y = on_sides(signals[2], signals[3], side[2], side[3])
    raw = wedge6(x, y) if kind == RELU else parallel_determinants(x, y, side, z[3], grown)
    unit = mean_factor(kind, sigma)
    mx, my = unit * m1, unit * m2
    counts = rectified_counts(par)
    cov, cross, gap, by_angle, cross_by_angle, gap_by_angle = noise_of_pair(kind, sigma, n1, n2, turned, z[6])
    own = self_covariance(kind, sigma)
    tilted = variance_ratio(kind) * mx * my
    dets = (raw, centred_determinants(raw, counts[ROOT_1], counts[ROOT_2]), sum4(my, x, -mx, y))
    return (
        (x, mx, linear_moments(x, mx, counts)),
        (y, my, linear_moments(y, my, counts)),
        dets,
        (own * m1 * m1, cov, own * m2 * m2, tilted * gap),
        fronts,
        (n1, n2, cross),
        (by_angle, cross_by_angle, tilted * gap_by_angle),
    )


def rates_of_signals(kind, force_x, force_y, side, fronts, rates):
    """Fill rates[:4] from the forces (4) on both neurons' responses."""
    rates[0] = fronts[0] * picked(force_x, side[0], 0)
    rates[1] = fronts[1] * picked(force_x, side[1], 2)
    rates[2] = fronts[2] * picked(force_y, side[2], 0)
    rates[3] = fronts[3] * picked(force_y, side[3], 2)
    if kind != RELU:
        rates[3] = rates[3] - rates[2] - rates[1] + rates[0]


def rates_of_point(kind, par, z, side, point, rates):
    """Fill rates (9,) = dz/dt, nothing held; returns `rectified_values` of both neurons."""
    one, two, dets, noise_parts, fronts, (n1, n2, cross), _ = point
    cxx, cxy, cyy, tilt = noise_parts
    counts = rectified_counts(par)
    first = rectified_values(one, two, noise_parts, z[7], 1.0, dets, counts)
    second = rectified_values(two, one, (cyy, cxy, cxx, tilt), z[8], -1.0, dets, counts)
    p = first[2]
    q = second[2]
    e1 = z[7]
    e2 = z[8]
    rates_of_signals(kind, with_sum4(p, e2, q), with_sum4(q, e1, p), side, fronts, rates)
    degree = 1.0 if kind == RELU else 3.0
    rates[4] = -degree * (p[4] + q[5]) / (n1 * n1)
    rates[5] = -degree * (q[4] + p[5]) / (n2 * n2)
    rates[6] = -(p[6] + q[6]) * cross * (n2 / n1 + n1 / n2)
    rates[7] = -par[HEAD_RATE] * p[7]
    rates[8] = -par[HEAD_RATE] * q[7]
    return first, second


def rectified_pair_rates(kind, par, z, side, rates):
    """Fill rates (9,) = dz/dt."""
    point = rectified_point(kind, par, z, side, rates)
    rates_of_point(kind, par, z, side, point, rates)
    hold(kind, z, rates, None)


def rectified_kink(par, z, side, i, rates):
    """Velocities of signal i of relu, which is 0, by the formulas of the upper and of the lower side of its kink.

    At 0 both responses are 0, so that one evaluation knows both forces. rates: scratch (9,).
    """
    force_x, force_y = forces_of_relu(par, z, side, rates)
    force = force_x if i < 2 else force_y
    strength = par[STRENGTHS + i % 2]
    if i % 2 == 0:
        return -force[0] * strength, force[1] * strength
    return -force[2] * strength, force[3] * strength


def forces_of_relu(par, z, side, rates):
    """dL/d(responses) of both neurons in the states (4). rates: scratch (9,)."""
    point = rectified_point(RELU, par, z, side, rates)
    first, second = rates_of_point(RELU, par, z, side, point, rates)
    p = first[2]
    q = second[2]
    return with_sum4(p, z[8], q), with_sum4(q, z[7], p)


def meets_kink(par, z, new, side, rates):
    """Whether a signal of relu has reached its kink between z and `new`, or one that is held there is let go of at `new`."""
    force_x, force_y = forces_of_relu(par, new, side, rates)
    first = meets(force_x, 0, z[0], new[0], side[0]) | meets(force_x, 2, z[1], new[1], side[1])
    return first | meets(force_y, 0, z[2], new[2], side[2]) | meets(force_y, 2, z[3], new[3], side[3])


def meets(force, at, before, now, side):
    """`meets_kink` for one signal; strengths are positive."""
    up = -force[at]
    down = force[at + 1]
    let_go = (side == 0) & (((up > 0.0) & (up >= -down)) | (down < 0.0))
    return let_go | ((side != 0) & (now * side <= 0.0) & (before * side > 0.0))


def rectified_pair_jacobian(kind, par, z, side, rates, jac):
    """Fill rates (9,) = dz/dt and jac (9, 9) = d rates_i / d z_k."""
    point = rectified_point(kind, par, z, side, rates)
    both = rates_of_point(kind, par, z, side, point, rates)
    columns_by_responses(kind, par, z, side, point, both, jac)
    columns_by_noise(kind, par, z, side, point, both, jac)
    columns_by_head(kind, par, z, side, point, both, jac)
    if kind != RELU:
        # The factor A_jl in front of each signal's rate.
        rate22 = rates[3] + rates[2] + rates[1] - rates[0]
        for i in range(3):
            jac[i, i] += rates[i]
        jac[3, 0] += rates[0] - rate22
        jac[3, 1] += rate22 - rates[1]
        jac[3, 2] += rate22 - rates[2]
        jac[3, 3] += rate22
    hold(kind, z, rates, jac)


def set_column(kind, par, z, side, point, k, p, q, jac):
    """Column k of the Jacobian from the tangents of both neurons' outputs; the factors in front stay as they are."""
    _, _, _, _, fronts, (n1, n2, cross), _ = point
    force_x = with_sum4(p, z[8], q)
    force_y = with_sum4(q, z[7], p)
    degree = 1.0 if kind == RELU else 3.0
    jac[0, k] = fronts[0] * picked(force_x, side[0], 0)
    jac[1, k] = fronts[1] * picked(force_x, side[1], 2)
    jac[2, k] = fronts[2] * picked(force_y, side[2], 0)
    jac[3, k] = fronts[3] * picked(force_y, side[3], 2)
    if kind != RELU:
        jac[3, k] = jac[3, k] - jac[2, k] - jac[1, k] + jac[0, k]
    jac[4, k] = -degree * (p[4] + q[5]) / (n1 * n1)
    jac[5, k] = -degree * (q[4] + p[5]) / (n2 * n2)
    jac[6, k] = -(p[6] + q[6]) * cross * (n2 / n1 + n1 / n2)
    jac[7, k] = -par[HEAD_RATE] * p[7]
    jac[8, k] = -par[HEAD_RATE] * q[7]


def columns_by_responses(kind, par, z, side, point, both, jac):
    """Columns 0 to 3 of the Jacobian; delta of relu3 moves A_22, which is A_12 A_21 e^delta/A_11."""
    one, two, dets, _, _, _, _ = point
    x, mx, _ = one
    y, my, _ = two
    raw = dets[0]
    counts = rectified_counts(par)
    for k in range(4):
        i0 = 1.0 if k == 0 else 0.0
        i1 = 1.0 if k == 1 else 0.0
        i2 = 1.0 if k == 2 else 0.0
        i3 = 1.0 if k == 3 else 0.0
        if kind == RELU:
            dx = on_sides(par[STRENGTHS] * i0, par[STRENGTHS + 1] * i1, side[0], side[1])
            dy = on_sides(par[STRENGTHS] * i2, par[STRENGTHS + 1] * i3, side[2], side[3])
            draw = plus6(wedge6(dx, y), wedge6(x, dy))
        else:
            last = 3.0 * (i1 + i2 + i3 - i0)
            dx = 3.0 * i0 * x[0], 3.0 * i0 * x[1], 3.0 * i1 * x[2], 3.0 * i1 * x[3]
            dy = 3.0 * i2 * y[0], 3.0 * i2 * y[1], last * y[2], last * y[3]
            both_moved = 3.0 * (i1 + i2)
            d = 3.0 * i3
            draw = (
                3.0 * (i0 + i2) * raw[0], both_moved * raw[1] + d * x[0] * y[2], both_moved * raw[2] + d * x[0] * y[3],
                both_moved * raw[3] + d * x[1] * y[2], both_moved * raw[4] + d * x[1] * y[3], (3.0 * i1 + last) * raw[5],
            )  # fmt: skip
        change_of_dets = (draw, centred_determinants(draw, counts[ROOT_1], counts[ROOT_2]), sum4(my, dx, -mx, dy))
        change_x = (dx, linear_moments(dx, 0.0, counts))
        change_y = (dy, linear_moments(dy, 0.0, counts))
        p = by_responses(one, two, z[7], 1.0, both[0], dets, counts, (change_x, change_y), change_of_dets)
        q = by_responses(two, one, z[8], -1.0, both[1], dets, counts, (change_y, change_x), change_of_dets)
        set_column(kind, par, z, side, point, k, p, q, jac)


def columns_by_noise(kind, par, z, side, point, both, jac):
    """Columns 4 to 6 of the Jacobian: log|w~_1|, log|w~_2|, atanh c."""
    one, two, dets, noise_parts, _, (n1, n2, cross), (by_angle, cross_by_angle, tilt_by_angle) = point
    cxx, cxy, cyy, tilt = noise_parts
    degree = 1.0 if kind == RELU else 3.0
    counts = rectified_counts(par)
    transverse = both[0][2][6] + both[1][2][6]
    ratio, difference = n2 / n1 + n1 / n2, n1 / n2 - n2 / n1
    for k in range(4, 7):
        i4 = degree if k == 4 else 0.0
        i5 = degree if k == 5 else 0.0
        i6 = 1.0 if k == 6 else 0.0
        dmx, dmy = i4 * one[1], i5 * two[1]
        dcxx, dcyy = 2.0 * i4 * cxx, 2.0 * i5 * cyy
        dcxy = (i4 + i5) * cxy + i6 * by_angle
        dtilt = (i4 + i5) * tilt + i6 * tilt_by_angle
        swapped = (cyy, cxy, cxx, tilt)
        p = by_noise(one, two, noise_parts, z[7], 1.0, both[0], dets, counts, (dmx, dmy, dcxx, dcxy, dcyy, dtilt))
        q = by_noise(two, one, swapped, z[8], -1.0, both[1], dets, counts, (dmy, dmx, dcyy, dcxy, dcxx, dtilt))
        set_column(kind, par, z, side, point, k, p, q, jac)
        scale = (i4 + i5) * (1.0 - 1.0 / degree) * cross + i6 * cross_by_angle
        jac[6, k] -= transverse * (scale * ratio + (i4 - i5) / degree * cross * difference)
    jac[4, 4] += 2.0 * degree * (both[0][2][4] + both[1][2][5]) / (n1 * n1)
    jac[5, 5] += 2.0 * degree * (both[1][2][4] + both[0][2][5]) / (n2 * n2)


def columns_by_head(kind, par, z, side, point, both, jac):
    """Columns 7 and 8 of the Jacobian: E_12 moves the first output alone, E_21 the second."""
    one, two, dets, noise_parts, fronts, _, _ = point
    cxx, cxy, cyy, tilt = noise_parts
    counts = rectified_counts(par)
    none = 0.0 * z[7]
    zeros = none, none, none, none, none, none, none, none
    p = by_head(one, two, noise_parts, z[7], 1.0, both[0], dets, counts)
    set_column(kind, par, z, side, point, 7, p, zeros, jac)
    q = by_head(two, one, (cyy, cxy, cxx, tilt), z[8], -1.0, both[1], dets, counts)
    set_column(kind, par, z, side, point, 8, zeros, q, jac)
    own = both[0][2]
    other = both[1][2]
    first = fronts[2] * picked(own, side[2], 0)
    second = fronts[3] * picked(own, side[3], 2)
    jac[2, 7] += first
    jac[3, 7] += second if kind == RELU else second - first
    first = fronts[0] * picked(other, side[0], 0)
    second = fronts[1] * picked(other, side[1], 2)
    jac[0, 8] += first
    jac[1, 8] += second
    if kind != RELU:
        jac[3, 8] += first - second


def smallest_share(kind, par, z, side, scratch):
    """`population.pair.at_rest.smallest_output`: the smallest share that is left of the parts of an online output."""
    one, two, _, _, _, (n1, n2, _), _ = rectified_point(kind, par, z, side, scratch)
    m1, m2 = (n1, n2) if kind == RELU else (cube(n1), cube(n2))
    grown = exponential(2.0 * abs(z[6]), 1.0)
    apart = where(z[6] > 0.0, 2.0, 2.0 * (grown + 1.0)) / (grown + 2.0)
    noise = par[NOISE_PATCHES] * self_covariance(kind, par[SIGMA])
    first = share_left(one[0], two[0], m1, m2, z[7], apart, 0.25 * par[SAME], noise)
    second = share_left(two[0], one[0], m2, m1, z[8], apart, 0.25 * par[SAME], noise)
    return min(min(1.0, first), second)


def share_left(x, y, mx, my, e, apart, a, noise):
    """a |F|^2 + noise, by the square of what its parts would give if none cancelled; 1 if there is nothing."""
    f = with_sum4(x, e, y)
    size = abs(e)
    total = with_sum4((abs(x[0]), abs(x[1]), abs(x[2]), abs(x[3])), size, (abs(y[0]), abs(y[1]), abs(y[2]), abs(y[3])))
    left, parts = mx + e * my, mx + size * my
    here = a * dot4(f, f) + noise * (left * left - 2.0 * e * mx * my * apart)
    whole = a * dot4(total, total) + noise * parts * parts
    return where(whole > 0.0, max(here, 0.0) / whole, 1.0)

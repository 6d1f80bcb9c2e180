r"""The cubic flow of two neurons and two features: rates and exact Jacobian in closed form.

Coordinates z = (log|A_11|, log|A_12|, log|A_21|, delta, log|w~_1|, log|w~_2|, atanh c, E_12, E_21) with

    delta = log|A_11 A_22 / (A_12 A_21)|,

which makes the determinant that drives the head, D = x_1 y_2 - x_2 y_1 = x_2 y_1 (sigma e^(3 delta) - 1) with sigma the
sign of A_11 A_22 A_12 A_21, exact to rounding however close the two neurons' responses are to parallel: there D is
slaved at 1e-14 of its terms and its rate is 1e14 times everything else's.

In logarithmic coordinates every monomial differentiates to a multiple of itself: dx/da = 3 x for a response
x = (alpha e^a)^3, dC_jj/d log|w~_j| = 6 C_jj, dC_12/d log|w~_j| = 3 C_12. The tangent of one neuron (`pair.odd_neuron`
gives the derivation) is written once, by hand, and taken along each of the nine coordinates.
"""

from math import factorial, sqrt

import numpy as np

from dynlab.formulas.components import ACROSS, HEAD_RATE, NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.formulas.lanewise import two_to_the, where

# exp(x) = 2^k exp(r): ln 2 in two parts, the first short enough for k times it to be exact; adding and subtracting
# ROUND leaves the nearest integer.
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
ROUND = 6755399441055744.0
# Beyond these 2^k would leave the normal numbers.
LOWEST, HIGHEST = -708.0, 709.0
# Which argument each of the eight exponentials has, and what is subtracted: numbers in place of branches.
OWN, LAST_SIGNAL = np.array([1.0, 1, 1, 0, 1, 1, 0, 0]), np.array([0.0, 0, 0, 1, 0, 0, 0, 0])
ANGLE, DETERMINANT = np.array([0.0, 0, 0, 0, 0, 0, 1, 0]), np.array([0.0, 0, 0, 0, 0, 0, 0, 1])
MINUS = ANGLE + DETERMINANT
T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13 = (1.0 / factorial(i) for i in range(2, 14))


def neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, e, same, across, noise):
    """Values at the point: what `neuron_tangent` needs, and the outputs (dL/dF_1, dL/dF_2, noise rho/V, dL/de, rho)."""
    a = 0.5 * same
    b = 0.5 * across
    f1 = x1 + e * y1
    f2 = x2 + e * y2
    cfx = cxx + e * cxy
    cfy = cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    inverse_v = 1.0 / (a * (f1 * f1 + f2 * f2) + cff)
    inverse_u = 1.0 / (a * (x1 * x1 + x2 * x2) + noise * cxx)
    xx = x1 * x1 + x2 * x2
    xy = x1 * y1 + x2 * y2
    root = b * sqrt(inverse_u) * sqrt(inverse_v)
    rho = root * (f1 * x1 + f2 * x2)
    scale = -2.0 * root * inverse_v
    turn = a * e * det
    d_f1 = scale * (cff * x1 + turn * f2)
    d_f2 = scale * (cff * x2 - turn * f1)
    d_e = scale * (noise * (xy * cfx - xx * cfy) - turn * det)
    return (
        (x1, x2, y1, y2, e, a, noise, f1, f2, cfx, cfy, cff),
        (inverse_v, inverse_u, det, xx, xy, root, scale, turn, cxy, cyy),
        (d_f1, d_f2, noise * rho * inverse_v, d_e, rho),
    )  # fmt: skip


def neuron_tangent(point, products, out, dx1, dx2, dy1, dy2, ddet, dcxx, dcxy, dcyy, de):
    """Directional derivative of (dL/dF_1, dL/dF_2, noise rho/V, dL/de) along a change of its arguments."""
    x1, x2, y1, y2, e, a, noise, f1, f2, cfx, cfy, cff = point
    inverse_v, inverse_u, det, xx, xy, root, scale, turn, cxy, cyy = products
    d_f1, d_f2, weight, d_e, rho = out
    df1 = dx1 + e * dy1 + de * y1
    df2 = dx2 + e * dy2 + de * y2
    dcfx = dcxx + e * dcxy + de * cxy
    dcfy = dcxy + e * dcyy + de * cyy
    dcff = noise * (dcfx + e * dcfy + de * cfy)
    dxx = 2.0 * (x1 * dx1 + x2 * dx2)
    dxy = dx1 * y1 + x1 * dy1 + dx2 * y2 + x2 * dy2
    dv = (2.0 * a * (f1 * df1 + f2 * df2) + dcff) * inverse_v
    du = (a * dxx + noise * dcxx) * inverse_u
    dturn = a * (de * det + e * ddet)
    shrink = -0.5 * du - 1.5 * dv
    drho = root * (df1 * x1 + f1 * dx1 + df2 * x2 + f2 * dx2) - 0.5 * rho * (du + dv)
    noise_part = noise * (dxy * cfx + xy * dcfx - dxx * cfy - xx * dcfy)
    return (
        d_f1 * shrink + scale * (dcff * x1 + cff * dx1 + dturn * f2 + turn * df2),
        d_f2 * shrink + scale * (dcff * x2 + cff * dx2 - dturn * f1 - turn * df1),
        noise * drho * inverse_v - weight * dv,
        d_e * shrink + scale * (noise_part - dturn * det - turn * ddet),
    )


def exponentials(z, out):
    """Fill out[:8] with the exponentials that the rates need, each to about one unit in the last place:

    |A_11|, |A_12|, |A_21|, |A_22|, |w~_1|, |w~_2|, exp(2 |z_7|) - 1 and exp(3 delta) - 1.

    exp(x) = 2^k exp(r), |r| <= (ln 2)/2, with Taylor's polynomial of degree 13 (Estrin's scheme). One loop without
    branches or calls, which the compiler turns into vector instructions: calls of exp would be most of the cost of the
    rates. Arguments are limited to [LOWEST, HIGHEST]; not a number stays so.
    """
    last_signal = z[3] + z[2] + z[1] - z[0]
    angle = 2.0 * abs(z[6])
    determinant = 3.0 * z[3]
    for i in range(8):
        out[i] = OWN[i] * z[i] + LAST_SIGNAL[i] * last_signal + ANGLE[i] * angle + DETERMINANT[i] * determinant
    for i in range(8):
        out[i] = exponential(out[i], MINUS[i])


def exponential(x, minus):
    """exp(x) - minus, for minus 0 or 1: see `exponentials`."""
    x = where(x < LOWEST, LOWEST, x)
    x = where(x > HIGHEST, HIGHEST, x)
    rounded = x * LOG2_E + ROUND
    k = rounded - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    low = (T2 + r * T3) + r2 * (T4 + r * T5)
    middle = (T6 + r * T7) + r2 * (T8 + r * T9)
    high = (T10 + r * T11) + r2 * (T12 + r * T13)
    rest = r + r2 * (low + r4 * (middle + r4 * high))
    # The last bits of `rounded` are the integer k: moved to where the exponent is, they make 2^k.
    scale = two_to_the(rounded)
    return scale * rest + (scale - minus)


def primitives(par, z, side, scratch):
    """Signals, responses, D and noise covariances at z, shared by the two functions below. scratch: (8,) or more."""
    c1 = par[STRENGTHS]
    c2 = par[STRENGTHS + 1]
    exponentials(z, scratch)
    a11 = side[0] * scratch[0]
    a12 = side[1] * scratch[1]
    a21 = side[2] * scratch[2]
    a22 = side[3] * scratch[3]
    x1 = cube(c1 * a11)
    x2 = cube(c2 * a12)
    y1 = cube(c1 * a21)
    y2 = cube(c2 * a22)
    det = where(side[0] * side[1] * side[2] * side[3] > 0, x2 * y1 * scratch[7], x1 * y2 - x2 * y1)
    n1 = scratch[4]
    n2 = scratch[5]
    q1 = n1 * n1
    q2 = n2 * n2
    # tanh and sech^2 from exp(2 |z_7|) - 1, both exact to rounding at either end.
    inverse = 1.0 / (scratch[6] + 2.0)
    c = scratch[6] * inverse
    c = where(z[6] > 0.0, c, -c)
    sech2 = 4.0 * ((scratch[6] + 1.0) * inverse) * inverse
    s6 = cube(par[SIGMA] * par[SIGMA])
    k3 = s6 * n1 * n2 * q1 * q2
    cxx = 15.0 * s6 * cube(q1)
    cyy = 15.0 * s6 * cube(q2)
    cxy = k3 * c * (9.0 + 6.0 * c * c)
    return a11, a12, a21, a22, x1, x2, y1, y2, det, 1.0 / q1, 1.0 / q2, c, sech2, k3, cxx, cxy, cyy


def cube(x):
    """x^3"""
    return x * x * x


def pair_flow(par, a11, a12, a21, a22, inverse1, inverse2, c, k3, cxx, cxy, cyy, e1, e2, out1, out2, rates):
    """dz/dt from the outputs of the two neurons; returns the coefficient of dL/dC_12."""
    p1, p2, v1, h1, _ = out1
    r1, r2, v2, h2, _ = out2
    c1 = 3.0 * cube(par[STRENGTHS])
    c2 = 3.0 * cube(par[STRENGTHS + 1])
    gxy = 2.0 * (e1 * v1 + e2 * v2)
    rates[0] = -c1 * a11 * (p1 + e2 * r1)
    rates[1] = -c2 * a12 * (p2 + e2 * r2)
    rates[2] = -c1 * a21 * (r1 + e1 * p1)
    rates[3] = -c2 * a22 * (r2 + e1 * p2) - rates[2] - rates[1] + rates[0]
    rates[4] = -6.0 * (v1 * (cxx + e1 * cxy) + v2 * e2 * (cxy + e2 * cxx)) * inverse1
    rates[5] = -6.0 * (v2 * (cyy + e2 * cxy) + v1 * e1 * (cxy + e1 * cyy)) * inverse2
    rates[6] = -gxy * k3 * (9.0 + 18.0 * c * c) * (inverse1 + inverse2)
    rates[7] = -par[HEAD_RATE] * h1
    rates[8] = -par[HEAD_RATE] * h2
    return gxy


def cubic_pair_rates(par, z, side, rates):
    """Fill rates (9,) = dz/dt."""
    a11, a12, a21, a22, x1, x2, y1, y2, det, i1, i2, c, _, k3, cxx, cxy, cyy = primitives(par, z, side, rates)
    same = par[SAME]
    across = par[ACROSS]
    noise = par[NOISE_PATCHES]
    _, _, out1 = neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, z[7], same, across, noise)
    _, _, out2 = neuron_values(y1, y2, x1, x2, -det, cyy, cxy, cxx, z[8], same, across, noise)
    pair_flow(par, a11, a12, a21, a22, i1, i2, c, k3, cxx, cxy, cyy, z[7], z[8], out1, out2, rates)


def fill_tangents(x1, x2, y1, y2, det, c, sech2, k3, cxx, cxy, cyy, tangents):
    """Tangents of (x1, x2, y1, y2, D, C_11, C_22, C_12, C_12's slope), one row each, along the coordinates.

    Along log|A_11| at fixed delta, A_22 falls and D stays; log|A_22| = delta + log|A_21| + log|A_12| - log|A_11|.
    """
    for i in range(9):
        for k in range(9):
            tangents[i, k] = 0.0
    tangents[0, 0] = 3.0 * x1
    tangents[1, 1] = 3.0 * x2
    tangents[2, 2] = 3.0 * y1
    tangents[3, 0] = -3.0 * y2
    tangents[3, 1] = tangents[3, 2] = tangents[3, 3] = 3.0 * y2
    tangents[4, 1] = tangents[4, 2] = 3.0 * det
    tangents[4, 3] = 3.0 * x1 * y2
    tangents[5, 4] = 6.0 * cxx
    tangents[6, 5] = 6.0 * cyy
    slope = k3 * (9.0 + 18.0 * c * c)
    tangents[7, 4] = tangents[7, 5] = 3.0 * cxy
    tangents[7, 6] = slope * sech2
    tangents[8, 4] = tangents[8, 5] = 3.0 * slope
    tangents[8, 6] = 36.0 * k3 * c * sech2


def cubic_pair_jacobian(par, z, side, rates, jac):
    """Fill rates (9,) = dz/dt and jac (9, 9) = d rates_i / d z_k.

    Column k of jac first holds the tangents along z_k: each column is read before it is overwritten, so the loop needs
    no second array and the columns share vector instructions.
    """
    a11, a12, a21, a22, x1, x2, y1, y2, det, i1, i2, c, sech2, k3, cxx, cxy, cyy = primitives(par, z, side, rates)
    same = par[SAME]
    across = par[ACROSS]
    noise = par[NOISE_PATCHES]
    e1 = z[7]
    e2 = z[8]
    point1, products1, out1 = neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, e1, same, across, noise)
    point2, products2, out2 = neuron_values(y1, y2, x1, x2, -det, cyy, cxy, cxx, e2, same, across, noise)
    gxy = pair_flow(par, a11, a12, a21, a22, i1, i2, c, k3, cxx, cxy, cyy, e1, e2, out1, out2, rates)
    fill_tangents(x1, x2, y1, y2, det, c, sech2, k3, cxx, cxy, cyy, jac)
    head_rate = par[HEAD_RATE]
    p1, p2, v1, _, _ = out1
    r1, r2, v2, _, _ = out2
    c1 = 3.0 * cube(par[STRENGTHS])
    c2 = 3.0 * cube(par[STRENGTHS + 1])
    own1 = cxx + e1 * cxy
    own2 = cyy + e2 * cxy
    lent1 = cxy + e1 * cyy
    lent2 = cxy + e2 * cxx
    slope = k3 * (9.0 + 18.0 * c * c)
    for k in range(9):
        tx1, tx2, ty1, ty2, tdet = jac[0, k], jac[1, k], jac[2, k], jac[3, k], jac[4, k]
        txx, tyy, txy, tslope = jac[5, k], jac[6, k], jac[7, k], jac[8, k]
        te1 = 1.0 if k == 7 else 0.0
        te2 = 1.0 if k == 8 else 0.0
        tp1, tp2, tv1, th1 = neuron_tangent(point1, products1, out1, tx1, tx2, ty1, ty2, tdet, txx, txy, tyy, te1)
        tr1, tr2, tv2, th2 = neuron_tangent(point2, products2, out2, ty1, ty2, tx1, tx2, -tdet, tyy, txy, txx, te2)
        t11 = -c1 * a11 * (tp1 + e2 * tr1 + te2 * r1)
        t12 = -c2 * a12 * (tp2 + e2 * tr2 + te2 * r2)
        t21 = -c1 * a21 * (tr1 + e1 * tp1 + te1 * p1)
        jac[0, k] = t11
        jac[1, k] = t12
        jac[2, k] = t21
        jac[3, k] = -c2 * a22 * (tr2 + e1 * tp2 + te1 * p2) - t21 - t12 + t11
        town1 = txx + e1 * txy + te1 * cxy
        town2 = tyy + e2 * txy + te2 * cxy
        tlent1 = txy + e1 * tyy + te1 * cyy
        tlent2 = txy + e2 * txx + te2 * cxx
        flow1 = tv1 * own1 + v1 * town1 + tv2 * e2 * lent2 + v2 * te2 * lent2 + v2 * e2 * tlent2
        flow2 = tv2 * own2 + v2 * town2 + tv1 * e1 * lent1 + v1 * te1 * lent1 + v1 * e1 * tlent1
        jac[4, k] = -6.0 * flow1 * i1
        jac[5, k] = -6.0 * flow2 * i2
        tgxy = 2.0 * (te1 * v1 + e1 * tv1 + te2 * v2 + e2 * tv2)
        jac[6, k] = -(tgxy * slope + gxy * tslope) * (i1 + i2)
        jac[7, k] = -head_rate * th1
        jac[8, k] = -head_rate * th2
    # The factors in front: A_jl of each signal's rate, 1/Q_jj of the norms' and the angle's.
    for i in range(3):
        jac[i, i] += rates[i]
    rate22 = rates[3] + rates[2] + rates[1] - rates[0]
    jac[3, 0] += rates[0] - rate22
    jac[3, 1] += rate22 - rates[1]
    jac[3, 2] += rate22 - rates[2]
    jac[3, 3] += rate22
    jac[4, 4] -= 2.0 * rates[4]
    jac[5, 5] -= 2.0 * rates[5]
    jac[6, 4] += 2.0 * gxy * slope * i1
    jac[6, 5] += 2.0 * gxy * slope * i2

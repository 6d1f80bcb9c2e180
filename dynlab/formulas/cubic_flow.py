r"""The cubic flow of two neurons and two features: rates and exact Jacobian in closed form.

Coordinates z = (log|A_11|, log|A_12|, log|A_21|, delta, log|w~_1|, log|w~_2|, atanh c, E_12, E_21) with

    delta = log|A_11 A_22 / (A_12 A_21)|,

which makes the determinant that drives the head, D = x_1 y_2 - x_2 y_1 = x_2 y_1 (sigma e^(3 delta) - 1) with sigma the sign
of A_11 A_22 A_12 A_21, exact to rounding however close the two neurons' responses are to parallel: there D is slaved at
1e-14 of its terms and its rate is 1e14 times everything else's.

In logarithmic coordinates every monomial differentiates to a multiple of itself: dx/da = 3 x for a response
x = (alpha e^a)^3, dC_jj/d log|w~_j| = 6 C_jj, dC_12/d log|w~_j| = 3 C_12. The tangent of one neuron (`pair.odd_neuron`
gives the derivation) is written once, by hand, and taken along each of the nine coordinates.
"""

from math import cosh, exp, expm1, sqrt, tanh

from dynlab.formulas.objective import ACROSS, HEAD_RATE, NOISE_PATCHES, SAME, SIGMA, STRENGTHS


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
        (x1, x2, y1, y2, e, a, noise, f1, f2, cfx, cfy, cff, inverse_v, inverse_u, det, xx, xy, root, scale, turn, cxy, cyy),
        (d_f1, d_f2, noise * rho * inverse_v, d_e, rho),
    )  # fmt: skip


def neuron_tangent(point, out, dx1, dx2, dy1, dy2, ddet, dcxx, dcxy, dcyy, de):
    """Directional derivative of (dL/dF_1, dL/dF_2, noise rho/V, dL/de) along a change of its arguments."""
    x1, x2, y1, y2, e, a, noise, f1, f2, cfx, cfy, cff, inverse_v, inverse_u, det, xx, xy, root, scale, turn, cxy, cyy = point
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


def primitives(par, z, side):
    """Signals, responses, D and noise covariances at z, shared by the two functions below."""
    c1 = par[STRENGTHS]
    c2 = par[STRENGTHS + 1]
    a11 = side[0] * exp(z[0])
    a12 = side[1] * exp(z[1])
    a21 = side[2] * exp(z[2])
    a22 = side[3] * exp(z[3] + z[2] + z[1] - z[0])
    x1 = cube(c1 * a11)
    x2 = cube(c2 * a12)
    y1 = cube(c1 * a21)
    y2 = cube(c2 * a22)
    if side[0] * side[1] * side[2] * side[3] > 0:
        det = x2 * y1 * expm1(3.0 * z[3])
    else:
        det = x1 * y2 - x2 * y1
    n1 = exp(z[4])
    n2 = exp(z[5])
    q1 = n1 * n1
    q2 = n2 * n2
    c = tanh(z[6])
    s6 = cube(par[SIGMA] * par[SIGMA])
    k3 = s6 * n1 * n2 * q1 * q2
    cxx = 15.0 * s6 * cube(q1)
    cyy = 15.0 * s6 * cube(q2)
    cxy = k3 * c * (9.0 + 6.0 * c * c)
    return a11, a12, a21, a22, x1, x2, y1, y2, det, 1.0 / q1, 1.0 / q2, c, k3, cxx, cxy, cyy


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
    a11, a12, a21, a22, x1, x2, y1, y2, det, i1, i2, c, k3, cxx, cxy, cyy = primitives(par, z, side)
    same = par[SAME]
    across = par[ACROSS]
    noise = par[NOISE_PATCHES]
    _, out1 = neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, z[7], same, across, noise)
    _, out2 = neuron_values(y1, y2, x1, x2, -det, cyy, cxy, cxx, z[8], same, across, noise)
    pair_flow(par, a11, a12, a21, a22, i1, i2, c, k3, cxx, cxy, cyy, z[7], z[8], out1, out2, rates)


def fill_tangents(x1, x2, y1, y2, det, c, sech, k3, cxx, cxy, cyy, tangents):
    """Tangents of (x1, x2, y1, y2, D, C_11, C_22, C_12, C_12's slope, E_12, E_21), one row each, along the coordinates.

    Along log|A_11| at fixed delta, A_22 falls and D stays; log|A_22| = delta + log|A_21| + log|A_12| - log|A_11|.
    """
    for i in range(11):
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
    tangents[7, 6] = slope * sech * sech
    tangents[8, 4] = tangents[8, 5] = 3.0 * slope
    tangents[8, 6] = 36.0 * k3 * c * sech * sech
    tangents[9, 7] = 1.0
    tangents[10, 8] = 1.0


def cubic_pair_jacobian(par, z, side, rates, jac, tangents):
    """Fill rates (9,) = dz/dt and jac (9, 9) = d rates_i / d z_k. tangents (11, 9): scratch."""
    a11, a12, a21, a22, x1, x2, y1, y2, det, i1, i2, c, k3, cxx, cxy, cyy = primitives(par, z, side)
    same = par[SAME]
    across = par[ACROSS]
    noise = par[NOISE_PATCHES]
    e1 = z[7]
    e2 = z[8]
    point1, out1 = neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, e1, same, across, noise)
    point2, out2 = neuron_values(y1, y2, x1, x2, -det, cyy, cxy, cxx, e2, same, across, noise)
    gxy = pair_flow(par, a11, a12, a21, a22, i1, i2, c, k3, cxx, cxy, cyy, e1, e2, out1, out2, rates)
    fill_tangents(x1, x2, y1, y2, det, c, 1.0 / cosh(z[6]), k3, cxx, cxy, cyy, tangents)
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
        tx1, tx2, ty1, ty2, tdet = tangents[0, k], tangents[1, k], tangents[2, k], tangents[3, k], tangents[4, k]
        txx, tyy, txy, tslope = tangents[5, k], tangents[6, k], tangents[7, k], tangents[8, k]
        te1, te2 = tangents[9, k], tangents[10, k]
        tp1, tp2, tv1, th1 = neuron_tangent(point1, out1, tx1, tx2, ty1, ty2, tdet, txx, txy, tyy, te1)
        tr1, tr2, tv2, th2 = neuron_tangent(point2, out2, ty1, ty2, tx1, tx2, -tdet, tyy, txy, txx, te2)
        jac[0, k] = -c1 * a11 * (tp1 + e2 * tr1 + te2 * r1)
        jac[1, k] = -c2 * a12 * (tp2 + e2 * tr2 + te2 * r2)
        jac[2, k] = -c1 * a21 * (tr1 + e1 * tp1 + te1 * p1)
        jac[3, k] = -c2 * a22 * (tr2 + e1 * tp2 + te1 * p2) - jac[2, k] - jac[1, k] + jac[0, k]
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
        jac[7, k] = -par[HEAD_RATE] * th1
        jac[8, k] = -par[HEAD_RATE] * th2
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

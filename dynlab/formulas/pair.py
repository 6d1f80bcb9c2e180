r"""Two neurons, two features: the paper's case, written out without loops.

The same mathematics as `dynlab.formulas.objective` (read its head first), specialised to m = K = 2, where
neuron x has one partner y and F = x + e y. All functions are branch-free scalar arithmetic on *responses*
(x_i = phi in feature state i), so that a loop over many states runs in vector lanes; the chain rule to signals,
norms and angles is left to the caller. Checked against `objective.gradient`.

The sum over components of the determinant form collapses here. With a = E[N1^2]/N, b = E[N1 N2]/N, n = E[n1],
D = D^{xy}, and C the noise covariance, for an odd activation (N = 2, no mean, no fluctuations)

    G_i = sqrt(U) V^(3/2) d rho/d F_i = b n C_FF x_i + a b e D_12 (F_2, -F_1)_i
    H   = sqrt(U) V^(3/2) d rho/d e   = b n [<x,y> (C_xx + e C_xy) - <x,x> (C_xy + e C_yy)] - a b e D_12^2

and for a rectified one (N = 4 centred states, two count fluctuations X = (s1 t + s2 mu, s3 mu)), with
phi = |F_X|^2 and psi = X_x . F_X,

    G_i = b (n C_FF + phi) x_i + a psi F_i + a b e sum_k D_ik F_k
    G_X = -(n C_FF + a <F,F>) X_x - b <x,F> F_X + e D_X (F_X2, -F_X1)-turned
    H   = n [beta_xy (C_xx + e C_xy) - beta_xx (C_xy + e C_yy)] - sum_{i<k} T_ik D_ik
"""

from math import sqrt


def odd_neuron(x1, x2, y1, y2, cxx, cxy, cyy, e, same, across, noise):
    """One neuron x with partner y: (rho, dL/dF_1, dL/dF_2, dL/dV, dL/de); states weighted 1/2."""
    a = 0.5 * same
    b = 0.5 * across
    f1 = x1 + e * y1
    f2 = x2 + e * y2
    cfx = cxx + e * cxy
    cfy = cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    v = a * (f1 * f1 + f2 * f2) + cff
    u = a * (x1 * x1 + x2 * x2) + noise * cxx
    det = x1 * y2 - x2 * y1
    xx = x1 * x1 + x2 * x2
    xy = x1 * y1 + x2 * y2
    inverse = 1.0 / v
    root = b / (sqrt(u) * sqrt(v))
    rho = root * (f1 * x1 + f2 * x2)
    scale = -2.0 * root * inverse
    turn = a * e * det
    d_f1 = scale * (cff * x1 + turn * f2)
    d_f2 = scale * (cff * x2 - turn * f1)
    d_e = scale * (noise * (xy * cfx - xx * cfy) - turn * det)
    return rho, d_f1, d_f2, rho * inverse, d_e


def odd_forces(x1, x2, y1, y2, cxx, cxy, cyy, e1, e2, same, across, noise):
    """Loss and its derivatives for an odd activation.

    x, y: responses of neuron 1 and 2 to features 1, 2; c..: noise covariances of one patch; e1 = E_12, e2 = E_21.
    Returns (L, dL/dx1, dL/dx2, dL/dy1, dL/dy2, dL/dcxx, dL/dcxy, dL/dcyy, dL/de1, dL/de2).
    """
    rho1, p1, p2, v1, h1 = odd_neuron(x1, x2, y1, y2, cxx, cxy, cyy, e1, same, across, noise)
    rho2, q1, q2, v2, h2 = odd_neuron(y1, y2, x1, x2, cyy, cxy, cxx, e2, same, across, noise)
    v1 = noise * v1
    v2 = noise * v2
    return (
        4.0 - 2.0 * (rho1 + rho2),
        p1 + e2 * q1,
        p2 + e2 * q2,
        q1 + e1 * p1,
        q2 + e1 * p2,
        v1 + e2 * e2 * v2,
        2.0 * (e1 * v1 + e2 * v2),
        v2 + e1 * e1 * v1,
        h1,
        h2,
    )


def pair_determinants(x1, x2, x3, x4, mx, y1, y2, y3, y4, my, s1, s2, s3):
    """Centred determinants of two rectified neurons: (D12..D34, D_i1 (4), D_i2 (4), D_X); m. are the noise means."""
    d12 = x1 * y2 - x2 * y1
    d13 = x1 * y3 - x3 * y1
    d14 = x1 * y4 - x4 * y1
    d23 = x2 * y3 - x3 * y2
    d24 = x2 * y4 - x4 * y2
    d34 = x3 * y4 - x4 * y3
    b1 = 0.25 * (d12 + d13 + d14)
    b2 = 0.25 * (d23 + d24 - d12)
    b3 = 0.25 * (d34 - d13 - d23)
    b4 = -0.25 * (d14 + d24 + d34)
    n1 = x1 * my - mx * y1
    n2 = x2 * my - mx * y2
    n3 = x3 * my - mx * y3
    n4 = x4 * my - mx * y4
    mean = 0.25 * (n1 + n2 + n3 + n4)
    n1 = n1 - mean
    n2 = n2 - mean
    n3 = n3 - mean
    n4 = n4 - mean
    return (
        (d12 - b1 + b2, d13 - b1 + b3, d14 - b1 + b4, d23 - b2 + b3, d24 - b2 + b4, d34 - b3 + b4),
        (s1 * b1 + s2 * n1, s1 * b2 + s2 * n2, s1 * b3 + s2 * n3, s1 * b4 + s2 * n4),
        (s3 * n1, s3 * n2, s3 * n3, s3 * n4),
        s1 * s3 * mean,
    )


def rectified_neuron(x, y, tx, ty, mx, my, cxx, cxy, cyy, e, dets, sign, counts):
    """One rectified neuron x with partner y.

    x, y: 4-tuples of raw responses; t., m.: their means over states, noise means; dets: `pair_determinants` of
    (neuron 1, neuron 2), sign -1 when x is neuron 2; counts: the six numbers of `masks.count_moments`.
    Returns (rho, (dL/dF_i)_4 with the mean's share included, dL/dM, dL/dV, dL/de) where M = mx + e my.
    """
    same, across, noise, s1, s2, s3 = counts
    (d12, d13, d14, d23, d24, d34), (k1, k2, k3, k4), (l1, l2, l3, l4), dx = dets
    a = 0.25 * same
    b = 0.25 * across
    x1, x2, x3, x4 = x[0] - tx, x[1] - tx, x[2] - tx, x[3] - tx
    y1, y2, y3, y4 = y[0] - ty, y[1] - ty, y[2] - ty, y[3] - ty
    f1, f2, f3, f4 = x1 + e * y1, x2 + e * y2, x3 + e * y3, x4 + e * y4
    xa, xb = s1 * tx + s2 * mx, s3 * mx
    ya, yb = s1 * ty + s2 * my, s3 * my
    fa, fb = xa + e * ya, xb + e * yb
    cfx = cxx + e * cxy
    cfy = cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    ff = f1 * f1 + f2 * f2 + f3 * f3 + f4 * f4
    xx = x1 * x1 + x2 * x2 + x3 * x3 + x4 * x4
    xy = x1 * y1 + x2 * y2 + x3 * y3 + x4 * y4
    fx = f1 * x1 + f2 * x2 + f3 * x3 + f4 * x4
    phi = fa * fa + fb * fb
    psi = xa * fa + xb * fb
    v = a * ff + phi + cff
    u = a * xx + xa * xa + xb * xb + noise * cxx
    root = sqrt(u) * sqrt(v)
    rho = (b * fx - psi) / root
    scale = -2.0 / (root * v)
    own = b * (cff + phi)
    lent = a * psi
    turn = a * b * e * sign
    g1 = own * x1 + lent * f1 + turn * (d12 * f2 + d13 * f3 + d14 * f4)
    g2 = own * x2 + lent * f2 + turn * (d23 * f3 + d24 * f4 - d12 * f1)
    g3 = own * x3 + lent * f3 + turn * (d34 * f4 - d13 * f1 - d23 * f2)
    g4 = own * x4 + lent * f4 - turn * (d14 * f1 + d24 * f2 + d34 * f3)
    pull = cff + a * ff
    ga = -pull * xa - b * fx * fa - e * sign * dx * fb
    gb = -pull * xb - b * fx * fb + e * sign * dx * fa
    share = 0.25 * s1 * ga
    # T_ik D_ik over all pairs: inside the feature block, feature with either fluctuation, the two fluctuations.
    inside = d12 * d12 + d13 * d13 + d14 * d14 + d23 * d23 + d24 * d24 + d34 * d34
    mixed = b * (fa * (x1 * k1 + x2 * k2 + x3 * k3 + x4 * k4) + fb * (x1 * l1 + x2 * l2 + x3 * l3 + x4 * l4))
    mixed = mixed + a * (xa * (f1 * k1 + f2 * k2 + f3 * k3 + f4 * k4) + xb * (f1 * l1 + f2 * l2 + f3 * l3 + f4 * l4))
    head = noise * ((b * xy - xa * ya - xb * yb) * cfx - (b * xx - xa * xa - xb * xb) * cfy)
    head = head - a * b * e * inside - sign * mixed + e * dx * dx
    return (
        rho,
        (scale * (g1 + share), scale * (g2 + share), scale * (g3 + share), scale * (g4 + share)),
        scale * (s2 * ga + s3 * gb),
        rho / v,
        scale * head,
    )


def rectified_forces(x, y, mx, my, cxx, cxy, cyy, e1, e2, counts):
    """Loss and its derivatives for a rectified activation.

    x, y: responses of neuron 1 and 2 in the states (feature 1, s = +), (1, -), (2, +), (2, -); m.: noise means.
    Returns (L, (dL/dx_i)_4, (dL/dy_i)_4, dL/dmx, dL/dmy, dL/dcxx, dL/dcxy, dL/dcyy, dL/de1, dL/de2), the
    derivatives by responses taken at fixed noise means.
    """
    tx = 0.25 * (x[0] + x[1] + x[2] + x[3])
    ty = 0.25 * (y[0] + y[1] + y[2] + y[3])
    dets = pair_determinants(
        x[0], x[1], x[2], x[3], mx, y[0], y[1], y[2], y[3], my, counts[3], counts[4], counts[5]
    )
    rho1, p, pm, v1, h1 = rectified_neuron(x, y, tx, ty, mx, my, cxx, cxy, cyy, e1, dets, 1.0, counts)
    rho2, q, qm, v2, h2 = rectified_neuron(y, x, ty, tx, my, mx, cyy, cxy, cxx, e2, dets, -1.0, counts)
    v1 = counts[2] * v1
    v2 = counts[2] * v2
    return (
        4.0 - 2.0 * (rho1 + rho2),
        (p[0] + e2 * q[0], p[1] + e2 * q[1], p[2] + e2 * q[2], p[3] + e2 * q[3]),
        (q[0] + e1 * p[0], q[1] + e1 * p[1], q[2] + e1 * p[2], q[3] + e1 * p[3]),
        pm + e2 * qm,
        qm + e1 * pm,
        v1 + e2 * e2 * v2,
        2.0 * (e1 * v1 + e2 * v2),
        v2 + e1 * e1 * v1,
        h1,
        h2,
    )

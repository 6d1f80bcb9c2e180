r"""Two neurons, two features: the paper's case, written out without loops.

The same mathematics as `dynlab.formulas.objective` (read its head first), specialised to m = K = 2, where
neuron x has one partner y and F = x + e y. All functions are branch-free scalar arithmetic on *responses*
(x_i = phi in feature state i), so that a loop over many states runs in vector lanes; the chain rule to
signals, norms and angles is left to the caller. Checked against the general formulas and 50 digits.

For an odd activation (N = 2, no mean, no fluctuations) the forms of the general case collapse. With
a = E[N1^2]/N, b = E[N1 N2]/N, n = E[n1], d = x_1 y_2 - x_2 y_1 and C the noise covariance,

    [d rho/d F] = b n C_FF x + a b e d (F_2, -F_1)
    [d rho/d e] = b n [<x,y> (C_xx + e C_xy) - <x,x> (C_xy + e C_yy)] - a b e d^2

[.] being sqrt(U) V^(3/2) times a derivative. For a rectified one (N = 4 states and mu) all determinants of F
are those of the pair: x_i F_k - x_k F_i = e d_ik and y_i F_k - y_k F_i = -d_ik, and
mu_y C_xF - mu_x C_yF = v mu_x mu_y (mu_x - e mu_y)(1 - kappa). Responses are those of `components`, times the root
weights c_1, c_1, c_2, c_2 of the states, which are 1 if both features are alike.
"""

from math import sqrt

from dynlab.formulas.components import NOISE_PATCHES

ROOT_1, ROOT_2 = 6, 7  # of counts: the root weights, behind the six of `masks.count_moments`


def odd_neuron(x1, x2, y1, y2, det, cxx, cxy, cyy, e, same, across, noise):
    """One neuron x with partner y, det = x1 y2 - x2 y1: (rho, dL/dF_1, dL/dF_2, radial_x, radial_y, dL/dC_xy, dL/de).

    States are weighted 1/2; radial_. = dL/d log|w~| / q.
    """
    a = 0.5 * same
    b = 0.5 * across
    f1 = x1 + e * y1
    f2 = x2 + e * y2
    cfx = cxx + e * cxy
    cfy = cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    v = a * (f1 * f1 + f2 * f2) + cff
    u = a * (x1 * x1 + x2 * x2) + noise * cxx
    xx = x1 * x1 + x2 * x2
    xy = x1 * y1 + x2 * y2
    inverse = 1.0 / v
    root = b / (sqrt(u) * sqrt(v))
    rho = root * (f1 * x1 + f2 * x2)
    scale = -2.0 * root * inverse
    turn = a * e * det
    weight = 2.0 * noise * rho * inverse
    return (
        rho,
        scale * (cff * x1 + turn * f2),
        scale * (cff * x2 - turn * f1),
        weight * cfx,
        weight * e * cfy,
        weight * e,
        scale * (noise * (xy * cfx - xx * cfy) - turn * det),
    )


def odd_forces(x1, x2, y1, y2, det, cxx, cxy, cyy, e1, e2, same, across, noise):
    """Loss and its derivatives for an odd activation.

    x, y: responses of neuron 1 and 2 to features 1, 2; det: x1 y2 - x2 y1; c..: noise covariances of one patch; e1 = E_12,
    e2 = E_21. Returns (L, dL/dx1, dL/dx2, dL/dy1, dL/dy2, radial_1, radial_2, dL/dcxy, dL/de1, dL/de2) with
    radial_j = dL/d log|w~_j| / q.
    """
    rho1, p1, p2, px, py, v1, h1 = odd_neuron(x1, x2, y1, y2, det, cxx, cxy, cyy, e1, same, across, noise)
    rho2, q1, q2, qy, qx, v2, h2 = odd_neuron(y1, y2, x1, x2, -det, cyy, cxy, cxx, e2, same, across, noise)
    return (
        4.0 - 2.0 * (rho1 + rho2),
        p1 + e2 * q1,
        p2 + e2 * q2,
        q1 + e1 * p1,
        q2 + e1 * p2,
        px + qx,
        py + qy,
        v1 + v2,
        h1,
        h2,
    )


def pair_determinants(x, mx, y, my, c1, c2):
    """Determinants of two rectified neurons' raw responses x, y (4-tuples) and noise means mx, my; c1, c2: root weights.

    Returns (d_12, d_13, d_14, d_23, d_24, d_34), the same centred (d_ik - c_k dbar_i + c_i dbar_k), and (d_i,mu)_4.
    """
    d12 = x[0] * y[1] - x[1] * y[0]
    d13 = x[0] * y[2] - x[2] * y[0]
    d14 = x[0] * y[3] - x[3] * y[0]
    d23 = x[1] * y[2] - x[2] * y[1]
    d24 = x[1] * y[3] - x[3] * y[1]
    d34 = x[2] * y[3] - x[3] * y[2]
    b1 = 0.25 * (c1 * d12 + c2 * d13 + c2 * d14)
    b2 = 0.25 * (c2 * d23 + c2 * d24 - c1 * d12)
    b3 = 0.25 * (c2 * d34 - c1 * d13 - c1 * d23)
    b4 = -0.25 * (c1 * d14 + c1 * d24 + c2 * d34)
    return (
        (d12, d13, d14, d23, d24, d34),
        (
            d12 - c1 * b1 + c1 * b2,
            d13 - c2 * b1 + c1 * b3,
            d14 - c2 * b1 + c1 * b4,
            d23 - c2 * b2 + c1 * b3,
            d24 - c2 * b2 + c1 * b4,
            d34 - c2 * b3 + c2 * b4,
        ),
        (x[0] * my - mx * y[0], x[1] * my - mx * y[1], x[2] * my - mx * y[2], x[3] * my - mx * y[3]),
    )


def rectified_moments(x, mx, counts):
    """(t, y, g, x^T P x, (R x)_4) of a rectified neuron, see `components`; counts: see `rectified_forces`."""
    same, across, _, s1, s2, s3, c1, c2 = counts
    b = 0.25 * across
    t = 0.25 * (c1 * x[0] + c1 * x[1] + c2 * x[2] + c2 * x[3])
    x1, x2, x3, x4 = x[0] - c1 * t, x[1] - c1 * t, x[2] - c2 * t, x[3] - c2 * t
    moved = s1 * t + s2 * mx
    apart = s3 * mx
    shared = 0.125 * (same + across) * t + 0.25 * s1 * s2 * mx
    return (
        t,
        moved,
        s2 * moved + s3 * apart,
        0.25 * same * (x1 * x1 + x2 * x2 + x3 * x3 + x4 * x4) + moved * moved + apart * apart,
        (b * x[0] - c1 * shared, b * x[1] - c1 * shared, b * x[2] - c2 * shared, b * x[3] - c2 * shared),
    )


def rectified_turn(x, f, mx, mf, own, online, centred, e, counts):
    """T of `objective` for neuron x and online output f: (T_12, T_13, T_14, T_23, T_24, T_34), (T_i,mu)_4.

    own, online: `rectified_moments` of x and of f; centred: the centred determinants of (x, y).
    """
    same, across, _, s1, s2, s3, c1, c2 = counts
    a = 0.25 * same
    b = 0.25 * across
    lent = a * b * e
    u = 0.25 * s1 * b * online[1]
    v = 0.25 * s1 * a * own[1]
    weights = (s2 * b * online[1], s2 * a * own[1], s3 * s3 * mf, s3 * s3 * mx, a, b)
    return (
        (
            lent * centred[0] + u * (c1 * x[0] - c1 * x[1]) + v * (c1 * f[0] - c1 * f[1]),
            lent * centred[1] + u * (c2 * x[0] - c1 * x[2]) + v * (c2 * f[0] - c1 * f[2]),
            lent * centred[2] + u * (c2 * x[0] - c1 * x[3]) + v * (c2 * f[0] - c1 * f[3]),
            lent * centred[3] + u * (c2 * x[1] - c1 * x[2]) + v * (c2 * f[1] - c1 * f[2]),
            lent * centred[4] + u * (c2 * x[1] - c1 * x[3]) + v * (c2 * f[1] - c1 * f[3]),
            lent * centred[5] + u * (c2 * x[2] - c2 * x[3]) + v * (c2 * f[2] - c2 * f[3]),
        ),
        (
            turn_of_mean(x[0], f[0], c1 * own[0], c1 * online[0], weights),
            turn_of_mean(x[1], f[1], c1 * own[0], c1 * online[0], weights),
            turn_of_mean(x[2], f[2], c2 * own[0], c2 * online[0], weights),
            turn_of_mean(x[3], f[3], c2 * own[0], c2 * online[0], weights),
        ),
    )


def turn_of_mean(x, f, tx, tf, weights):
    """T_i,mu of `objective` from the responses x, f in state i and their means tx, tf times its root weight."""
    from_online, from_own, mf, mx, a, b = weights
    even = 0.5 * (a + b)
    return from_online * (x - tx) + from_own * (f - tf) + mf * (b * x - even * tx) + mx * (a * f - even * tf)


def rectified_neuron(x, y, mx, my, own, cxx, cxy, cyy, tilt, e, dets, sign, counts):
    """One rectified neuron x with partner y.

    x, y: 4-tuples of raw responses; m.: noise means; own: `rectified_moments` of x; c..: noise covariances;
    tilt = v mu_x mu_y (1 - kappa); dets: `pair_determinants` of (neuron 1, neuron 2), sign -1 when x is
    neuron 2. Returns (rho, (dL/dF_i)_4, radial_x, radial_y, dL/dC_xy, dL/de), the radial ones being dL/d
    log|w~| / q.
    """
    raw, centred, between = dets
    noise = counts[NOISE_PATCHES]
    f1, f2, f3, f4 = x[0] + e * y[0], x[1] + e * y[1], x[2] + e * y[2], x[3] + e * y[3]
    mf = mx + e * my
    online = rectified_moments((f1, f2, f3, f4), mf, counts)
    cfx = cxx + e * cxy
    cfy = cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    r1, r2, r3, r4 = own[4]
    aligned = f1 * r1 + f2 * r2 + f3 * r3 + f4 * r4
    covariance = aligned - mf * own[2]
    v = online[3] + cff
    root = 1.0 / (sqrt(own[3] + noise * cxx) * sqrt(v))
    scale = -2.0 * root / v
    (t12, t13, t14, t23, t24, t34), (k1, k2, k3, k4) = rectified_turn(
        x, (f1, f2, f3, f4), mx, mf, own, online, centred, sign * e, counts
    )
    g1 = cff * r1 + t12 * f2 + t13 * f3 + t14 * f4 + k1 * mf
    g2 = cff * r2 + t23 * f3 + t24 * f4 - t12 * f1 + k2 * mf
    g3 = cff * r3 + t34 * f4 - t13 * f1 - t23 * f2 + k3 * mf
    g4 = cff * r4 - t14 * f1 - t24 * f2 - t34 * f3 + k4 * mf
    lift = k1 * f1 + k2 * f2 + k3 * f3 + k4 * f4
    pull = noise * own[2] * (mx - e * my) * tilt
    xx = x[0] * r1 + x[1] * r2 + x[2] * r3 + x[3] * r4
    xy = y[0] * r1 + y[1] * r2 + y[2] * r3 + y[3] * r4
    turned = t12 * raw[0] + t13 * raw[1] + t14 * raw[2] + t23 * raw[3] + t24 * raw[4] + t34 * raw[5]
    turned = turned + k1 * between[0] + k2 * between[1] + k3 * between[2] + k4 * between[3]
    return (
        covariance * root,
        (scale * g1, scale * g2, scale * g3, scale * g4),
        scale * (e * pull - noise * cfx * aligned - mx * lift),
        -scale * e * (pull + noise * cfy * aligned + my * lift),
        -scale * noise * covariance * e,
        scale * (noise * (xy * cfx - xx * cfy) - pull - sign * turned),
    )


def rectified_forces(x, y, mx, my, cxx, cxy, cyy, tilt, e1, e2, counts):
    """Loss and its derivatives for a rectified activation.

    x, y: responses of neuron 1 and 2 in the states (feature 1, s = +), (1, -), (2, +), (2, -); m.: noise
    means; c..: noise covariances of one patch; tilt = v mx my (1 - kappa), v = `variance_ratio`; counts: the six of
    `masks.count_moments`, then the root weights of the two features. Returns (L, (dL/dx_i)_4, (dL/dy_i)_4, radial_1,
    radial_2, dL/dcxy, dL/de1, dL/de2)
    with radial_j = dL/d log|w~_j| / q.
    """
    own = rectified_moments(x, mx, counts)
    other = rectified_moments(y, my, counts)
    dets = pair_determinants(x, mx, y, my, counts[ROOT_1], counts[ROOT_2])
    rho1, p, px, py, v1, h1 = rectified_neuron(x, y, mx, my, own, cxx, cxy, cyy, tilt, e1, dets, 1.0, counts)
    rho2, q, qy, qx, v2, h2 = rectified_neuron(y, x, my, mx, other, cyy, cxy, cxx, tilt, e2, dets, -1.0, counts)
    return (
        4.0 - 2.0 * (rho1 + rho2),
        (p[0] + e2 * q[0], p[1] + e2 * q[1], p[2] + e2 * q[2], p[3] + e2 * q[3]),
        (q[0] + e1 * p[0], q[1] + e1 * p[1], q[2] + e1 * p[2], q[3] + e1 * p[3]),
        px + qx,
        py + qy,
        v1 + v2,
        h1,
        h2,
    )

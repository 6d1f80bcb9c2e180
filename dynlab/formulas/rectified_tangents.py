r"""One output of a rectified pair: the forces of `dynlab.formulas.pair.rectified_neuron`, and their exact tangents.

Read the head of `dynlab.formulas.objective` first. In the four states (feature 1, s = +), (1, -), (2, +), (2, -) neuron x
with partner y has the online output F = x + e y. All that is linear in (responses, mean) of a neuron is that of x plus e
times that of y: t, y, g of `components` and the mean. With h = (s1/N) (b y_F x + a y_X F),

    T_ik = a b e (centred d_ik) + c_k h_i - c_i h_k,      T_i,mu = b g_F x_i + a g_X F_i - c_i R,
    R = s2 (b y_F t_X + a y_X t_F) + s3^2 (a + b) (mu_F t_X + mu_X t_F)/2.

A change of the state is one of three kinds, each with a tangent of its own, written by hand: of *responses* (noise and head
stay), of the *noise parts* (means, covariances), of the *head's entry* e. What a kind leaves alone is left out.

Numbers may be of any kind, vectors of `dynlab.machine.lanes` included: nothing branches. Tuples of four are over the states;
of six over pairs of states, (12, 13, 14, 23, 24, 34). counts: as `pair.rectified_forces` takes them.
"""

from math import sqrt

from dynlab.formulas.lanewise import where


def on_sides(p1, p2, side1, side2):
    """Responses (4) in the states, of a neuron whose signals, on these sides, give p1 and p2."""
    return (
        where(side1 > 0, p1, 0.0), where(side1 < 0, -p1, 0.0), where(side2 > 0, p2, 0.0), where(side2 < 0, -p2, 0.0),
    )  # fmt: skip


def picked(force, side, at):
    """dL/dp from the forces (4) on the responses, `at` the first state of the signal's feature; 0 on no side."""
    return where(side > 0, force[at], where(side < 0, -force[at + 1], 0.0))


def dot4(x, y):
    """x . y"""
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3]


def sum4(p, x, q, y):
    """p x + q y"""
    return p * x[0] + q * y[0], p * x[1] + q * y[1], p * x[2] + q * y[2], p * x[3] + q * y[3]


def with_sum4(x, p, y):
    """x + p y"""
    return x[0] + p * y[0], x[1] + p * y[1], x[2] + p * y[2], x[3] + p * y[3]


def plus4(x, y):
    """x + y"""
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


def without4(x, p, c1, c2):
    """x - p c, c the root weights of the states"""
    first = c1 * p
    second = c2 * p
    return x[0] - first, x[1] - first, x[2] - second, x[3] - second


def pairs_with(cross, h, c1, c2):
    """cross_ik + c_k h_i - c_i h_k"""
    return (
        cross[0] + c1 * (h[0] - h[1]),
        cross[1] + (c2 * h[0] - c1 * h[2]),
        cross[2] + (c2 * h[0] - c1 * h[3]),
        cross[3] + (c2 * h[1] - c1 * h[2]),
        cross[4] + (c2 * h[1] - c1 * h[3]),
        cross[5] + c2 * (h[2] - h[3]),
    )


def times6(p, d):
    """p d"""
    return p * d[0], p * d[1], p * d[2], p * d[3], p * d[4], p * d[5]


def plus6(x, y):
    """x + y"""
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3], x[4] + y[4], x[5] + y[5]


def dot6(t, d):
    """sum over i < k of t_ik d_ik"""
    return t[0] * d[0] + t[1] * d[1] + t[2] * d[2] + t[3] * d[3] + t[4] * d[4] + t[5] * d[5]


def turned4(t, f):
    """sum over k of t_ik f_k, t antisymmetric"""
    return (
        t[0] * f[1] + t[1] * f[2] + t[2] * f[3],
        t[3] * f[2] + t[4] * f[3] - t[0] * f[0],
        t[5] * f[3] - t[1] * f[0] - t[3] * f[1],
        -t[2] * f[0] - t[4] * f[1] - t[5] * f[2],
    )


def centred_determinants(d, c1, c2):
    """d_ik - c_k dbar_i + c_i dbar_k, dbar_i = (1/4) sum_k c_k d_ik."""
    b1 = 0.25 * (c1 * d[0] + c2 * d[1] + c2 * d[2])
    b2 = 0.25 * (c2 * d[3] + c2 * d[4] - c1 * d[0])
    b3 = 0.25 * (c2 * d[5] - c1 * d[1] - c1 * d[3])
    b4 = -0.25 * (c1 * d[2] + c1 * d[4] + c2 * d[5])
    return (
        d[0] - c1 * (b1 - b2),
        d[1] - c2 * b1 + c1 * b3,
        d[2] - c2 * b1 + c1 * b4,
        d[3] - c2 * b2 + c1 * b3,
        d[4] - c2 * b2 + c1 * b4,
        d[5] - c2 * (b3 - b4),
    )


def linear_moments(x, m, counts):
    """(t, y, g, (R x)_4) of `components`, linear in responses x and mean m."""
    same, across, _, s1, s2, s3, c1, c2 = counts
    b = 0.25 * across
    t = 0.25 * (c1 * (x[0] + x[1]) + c2 * (x[2] + x[3]))
    moved = s1 * t + s2 * m
    shared = 0.125 * (same + across) * t + 0.25 * s1 * s2 * m
    return t, moved, s2 * moved + s3 * s3 * m, without4((b * x[0], b * x[1], b * x[2], b * x[3]), shared, c1, c2)


def rectified_values(one, two, noise_parts, e, sign, dets, counts):
    """Values at the point, for the tangents below, and the outputs.

    one, two: (responses (4), mean, `linear_moments`) of neuron and partner. noise_parts: (C_xx, C_xy, C_yy, tilt). dets:
    determinants (6) of neurons 1 and 2, centred ones, (d_i,mu) (4); sign: -1 where the neuron is the second.

    Returns (point, products, (dL/dF_1 ... dL/dF_4, radial_x, radial_y, dL/dC_xy, dL/de, dL/dC_FF/n)), radial ones over q.
    """
    x, mx, (tx, yx, gx, r) = one
    y, my, (ty, yy, gy, _) = two
    cxx, cxy, cyy, tilt = noise_parts
    raw, centred, between = dets
    same, across, noise, s1, s2, s3, c1, c2 = counts
    a, b, s33 = 0.25 * same, 0.25 * across, s3 * s3
    f, mf = with_sum4(x, e, y), mx + e * my
    tf, yf, gf = tx + e * ty, yx + e * yy, gx + e * gy
    cfx, cfy = cxx + e * cxy, cxy + e * cyy
    cff = noise * (cfx + e * cfy)
    off_x, off_f = without4(x, tx, c1, c2), without4(f, tf, c1, c2)
    inverse_v = 1.0 / (a * dot4(off_f, off_f) + yf * yf + s33 * mf * mf + cff)
    inverse_u = 1.0 / (a * dot4(off_x, off_x) + yx * yx + s33 * mx * mx + noise * cxx)
    hx, hf = 0.25 * s1 * b * yf, 0.25 * s1 * a * yx
    lent = sign * (a * b * e)
    turn = pairs_with(times6(lent, centred), sum4(hx, x, hf, f), c1, c2)
    kx, kf = b * gf, a * gx
    rest = s2 * (b * yf * tx + a * yx * tf) + 0.5 * (a + b) * s33 * (mf * tx + mx * tf)
    k = without4(sum4(kx, x, kf, f), rest, c1, c2)
    scale = -2.0 * sqrt(inverse_u) * sqrt(inverse_v) * inverse_v
    force = with_sum4(with_sum4(turned4(turn, f), cff, r), mf, k)
    aligned, lift, xx, xy = dot4(f, r), dot4(k, f), dot4(x, r), dot4(y, r)
    pull = noise * gx * (mx - e * my) * tilt
    turned = dot6(turn, raw) + dot4(k, between)
    weight = -scale * noise * (aligned - mf * gx)
    return (
        (f, mf, tf, yf, gf, off_x, off_f, turn, k, scale, inverse_u, inverse_v),
        (cfx, cfy, cff, aligned, lift, pull, xx, xy, hx, hf, kx, kf, tilt),
        (
            scale * force[0], scale * force[1], scale * force[2], scale * force[3],
            scale * (e * pull - noise * cfx * aligned - mx * lift),
            -scale * e * (pull + noise * cfy * aligned + my * lift),
            weight * e,
            scale * (noise * (xy * cfx - xx * cfy) - pull - sign * turned),
            weight,
        ),
    )  # fmt: skip


def with_scale(scale, shrink, change, out):
    """Tangents of outputs that are `scale` times something: of that, and of the scale (relative: shrink)."""
    force, first, second, third, fourth = change
    return (
        scale * force[0] + shrink * out[0], scale * force[1] + shrink * out[1], scale * force[2] + shrink * out[2],
        scale * force[3] + shrink * out[3], scale * first + shrink * out[4], scale * second + shrink * out[5],
        scale * third + shrink * out[6], scale * fourth + shrink * out[7],
    )  # fmt: skip


def by_responses(one, two, e, sign, values, dets, counts, change, change_of_dets):
    """Tangents of the eight outputs of `rectified_values` along a change of the responses.

    change: ((dx (4), its `linear_moments` with mean 0), the same of y). change_of_dets: as dets, of the determinants.
    """
    x, mx, (tx, yx, _, r) = one
    y, my, _ = two
    point, products, out = values
    f, mf, tf, yf, _, off_x, off_f, turn, k, scale, inverse_u, inverse_v = point
    cfx, cfy, cff, _, _, _, _, _, hx, hf, kx, kf, tilt = products
    raw, _, between = dets
    (dx, (dtx, dyx, dgx, dr)), (dy, (dty, dyy, dgy, _)) = change
    draw, dcentred, dbetween = change_of_dets
    same, across, noise, s1, s2, s3, c1, c2 = counts
    a, b, s33 = 0.25 * same, 0.25 * across, s3 * s3
    df = with_sum4(dx, e, dy)
    dtf, dyf, dgf = dtx + e * dty, dyx + e * dyy, dgx + e * dgy
    dv = 2.0 * (a * dot4(off_f, df) + yf * dyf) * inverse_v
    du = 2.0 * (a * dot4(off_x, dx) + yx * dyx) * inverse_u
    shrink = -0.5 * du - 1.5 * dv
    dh = with_sum4(sum4(0.25 * s1 * b * dyf, x, 0.25 * s1 * a * dyx, f), hx, dx)
    dturn = pairs_with(times6(sign * (a * b * e), dcentred), with_sum4(dh, hf, df), c1, c2)
    drest = s2 * (b * (dyf * tx + yf * dtx) + a * (dyx * tf + yx * dtf)) + 0.5 * (a + b) * s33 * (mf * dtx + mx * dtf)
    dk = without4(with_sum4(sum4(b * dgf, x, a * dgx, f), kx, dx), drest, c1, c2)
    dk = with_sum4(dk, kf, df)
    force = with_sum4(with_sum4(plus4(turned4(dturn, f), turned4(turn, df)), cff, dr), mf, dk)
    daligned = dot4(df, r) + dot4(f, dr)
    dlift = dot4(dk, f) + dot4(k, df)
    dpull = noise * dgx * (mx - e * my) * tilt
    dxx, dxy = dot4(dx, r) + dot4(x, dr), dot4(dy, r) + dot4(y, dr)
    dturned = dot6(dturn, raw) + dot6(turn, draw) + dot4(dk, between) + dot4(k, dbetween)
    return with_scale(
        scale, shrink,
        (
            force,
            e * dpull - noise * cfx * daligned - mx * dlift,
            -e * (dpull + noise * cfy * daligned + my * dlift),
            -noise * e * (daligned - mf * dgx),
            noise * (dxy * cfx - dxx * cfy) - dpull - sign * dturned,
        ),
        out,
    )  # fmt: skip


def by_noise(one, two, noise_parts, e, sign, values, dets, counts, change):
    """The same along a change of the noise parts.

    change: (dmu_x, dmu_y, dC_xx, dC_xy, dC_yy, dtilt).
    """
    x, mx, (tx, yx, gx, r) = one
    y, my, (ty, _, _, _) = two
    _, cxy, _, tilt = noise_parts
    point, products, out = values
    f, mf, tf, yf, _, _, _, turn, k, scale, inverse_u, inverse_v = point
    cfx, cfy, cff, aligned, lift, _, xx, xy, _, _, _, _, _ = products
    raw, _, between = dets
    dmx, dmy, dcxx, dcxy, dcyy, dtilt = change
    same, across, noise, s1, s2, s3, c1, c2 = counts
    a, b, s33 = 0.25 * same, 0.25 * across, s3 * s3
    dmf = dmx + e * dmy
    dcfx, dcfy = dcxx + e * dcxy, dcxy + e * dcyy
    dcff = noise * (dcfx + e * dcfy)
    dgx, dgf = (s2 * s2 + s33) * dmx, (s2 * s2 + s33) * dmf
    dv = (2.0 * (s2 * yf * dmf + s33 * mf * dmf) + dcff) * inverse_v
    du = (2.0 * (s2 * yx * dmx + s33 * mx * dmx) + noise * dcxx) * inverse_u
    shrink = -0.5 * du - 1.5 * dv
    shared = 0.25 * s1 * s2 * dmx
    dh = sum4(0.25 * s1 * b * s2 * dmf, x, 0.25 * s1 * a * s2 * dmx, f)
    dturn = pairs_with((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), dh, c1, c2)
    drest = s2 * s2 * (b * dmf * tx + a * dmx * tf) + 0.5 * (a + b) * s33 * (dmf * tx + dmx * tf)
    dk = without4(sum4(b * dgf, x, a * dgx, f), drest, c1, c2)
    force = with_sum4(with_sum4(with_sum4(turned4(dturn, f), dcff, r), mf, dk), dmf, k)
    force = without4(force, cff * shared, c1, c2)
    daligned = -4.0 * shared * tf
    dlift = dot4(dk, f)
    dpull = noise * ((dgx * tilt + gx * dtilt) * (mx - e * my) + gx * tilt * (dmx - e * dmy))
    noise_part = xy * dcfx - 4.0 * shared * ty * cfx - xx * dcfy + 4.0 * shared * tx * cfy
    dbetween = sum4(sign * dmy, x, -sign * dmx, y)
    dturned = dot6(dturn, raw) + dot4(dk, between) + dot4(k, dbetween)
    return with_scale(
        scale, shrink,
        (
            force,
            e * dpull - noise * (dcfx * aligned + cfx * daligned) - dmx * lift - mx * dlift,
            -e * (dpull + noise * (dcfy * aligned + cfy * daligned) + dmy * lift + my * dlift),
            -noise * e * (daligned - dmf * gx - mf * dgx),
            noise * noise_part - dpull - sign * dturned,
        ),
        out,
    )  # fmt: skip


def by_head(one, two, noise_parts, e, sign, values, dets, counts):
    """The same along e."""
    x, mx, (tx, yx, gx, r) = one
    y, my, (ty, yy, gy, _) = two
    _, cxy, cyy, tilt = noise_parts
    point, products, out = values
    f, mf, tf, yf, _, _, off_f, turn, k, scale, _, inverse_v = point
    cfx, cfy, _, aligned, lift, pull, xx, xy, _, hf, _, kf, _ = products
    raw, centred, between = dets
    same, across, noise, s1, s2, s3, c1, c2 = counts
    a, b, s33 = 0.25 * same, 0.25 * across, s3 * s3
    dcff = noise * (cxy + cfy + e * cyy)
    shrink = -1.5 * (2.0 * (a * dot4(off_f, y) + yf * yy + s33 * mf * my) + dcff) * inverse_v
    dturn = pairs_with(times6(sign * (a * b), centred), sum4(0.25 * s1 * b * yy, x, hf, y), c1, c2)
    drest = s2 * (b * yy * tx + a * yx * ty) + 0.5 * (a + b) * s33 * (my * tx + mx * ty)
    dk = without4(sum4(b * gy, x, kf, y), drest, c1, c2)
    force = with_sum4(with_sum4(plus4(turned4(dturn, f), turned4(turn, y)), dcff, r), mf, dk)
    force = with_sum4(force, my, k)
    dlift = dot4(dk, f) + dot4(k, y)
    dpull = -noise * gx * my * tilt
    dturned = dot6(dturn, raw) + dot4(dk, between)
    return with_scale(
        scale, shrink,
        (
            force,
            pull + e * dpull - noise * (cxy * aligned + cfx * xy) - mx * dlift,
            -(pull + noise * cfy * aligned + my * lift) - e * (dpull + noise * (cyy * aligned + cfy * xy) + my * dlift),
            -noise * (aligned - mf * gx) - noise * e * (xy - my * gx),
            noise * (xy * cxy - xx * cyy) - dpull - sign * dturned,
        ),
        out,
    )  # fmt: skip

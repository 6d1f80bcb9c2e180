r"""Outputs that slide along the corner of VICReg's hinge, max(0, 1 - sd_i): the flow on the surface sd_i = 1.

With the published weights 25, 25, 1 an output whose views correlate by more than 1/2 grows while sd < 1 and shrinks beyond:
both flows point at the corner, so that the solution (Filippov's, the limit of every smoothing) stays on it. There the
hinge's slope is no number but the multiplier lambda_i in [0, 1] that keeps sd_i at rest, and the output is let go of below
the corner once lambda_i would be above 1, above it once it would be below 0.

V_i = sd_i^2 depends on w_i alone, so every output has a condition of its own. With n = dV_i/dw_i, g the gradient of L
without output i's hinge, and lambda_w the weights' decay,

    dw_i/dt = -g + nu n - lambda_w w_i,    n . dw_i/dt = 0:    nu = (n.g + lambda_w n.w_i)/(n.n),
    lambda_i = nu m sd_i/w_var,            n.w_i = 2 q V_i for an activation of degree q.

**Without cancellation.** Once features are learnt g and nu n are of order one and their difference 1e-12 or less. So L is
replaced by what it equals on the surface, L^ with f_i/sd_i in place of f_i (`decorrelation.vicreg`): its gradient g^ is
taken as that of a function of correlations and vanishes by itself where training rests. Scaling f_i by 1 + s changes L by
s l, l = (4 w_inv/m)(V_i - Cov_ii) + (8 w_cov/m) sum_j Var_ij^2, and L^ by nothing; so g = g^ + l n/(2 V_i), both give the
same motion, and

    nu = n.g^/(n.n) + l/(2 V_i) + 2 q lambda_w V_i/(n.n).

The projection is written by pairs, (n.n) g^ - (n.g^) n = sum_b n_b (n_b g^ - g^_b n), exact where g^ is nearly along n.
"""

from dynlab.formulas.activations import degree_of, is_odd
from dynlab.formulas.components import NOISE_PATCHES
from dynlab.formulas.decorrelation import HELD
from dynlab.formulas.objective import signal_gradient


def any_held(m, hinge):
    """Whether an output is held on the corner."""
    for p in range(m):
        if hinge[p] == HELD:
            return True
    return False


def slide(kind, m, features, count, par, decay, weights, online, moments, scratch, d_signal, d_noise):
    """Turn the gradient g^ of every held output, d_signal (m, K) and d_noise (m, m) as `switched_forces` fills them,
    into that of the motion along the corner, and fill its multiplier.

    decay: of the weights. weights: of VICReg. online: as `switched.switched_forces` takes it, with corner = (hinge (m,),
    share (m,), deviation (m,)): what the hinges are taken for, their slopes (0, 1 or lambda; of held ones filled here), sd.
    moments: (X, P X, C, Var, Cov). scratch: three arrays (m, N + 1).
    """
    raw, same_x, cov, var, across_cov = moments
    steepness, slope, kept = scratch
    hinge = online[6][0]
    width = count if is_odd(kind) else count + 1
    for p in range(m):
        for i in range(width):
            steepness[p, i] = 2.0 * same_x[p, i]
    signal_gradient(kind, m, features, par, online[0], online[1], steepness, slope)
    for p in range(m):
        if hinge[p] == HELD:
            growth = 2.0 * par[NOISE_PATCHES] * cov[p, p]
            if width > count:
                growth = growth + raw[p, count] * steepness[p, count]
            growth = degree_of(kind) * growth
            along, back = project(features, p, decay * degree_of(kind) * var[p, p], growth, online[2][p], slope, kept,
                                  d_signal, d_noise)  # fmt: skip
            lift = 4.0 * weights[0] / m * (var[p, p] - across_cov[p, p])
            for r in range(m):
                if r != p:
                    lift = lift + 8.0 * weights[2] / m * var[p, r] * var[p, r]
            online[6][1][p] = (along + back + 0.5 * lift / var[p, p]) * m * online[6][2][p] / weights[1]


def project(features, p, decayed, growth, norm, slope, kept, d_signal, d_noise):
    """Take what is along n out of neuron p's gradient, and add what decay would do along n; (n.g^/(n.n), 2 decayed/(n.n)).

    decayed: lambda_w q V. growth: dV/dlog|w~|. norm: |w~|. slope: dV/dA. kept: scratch.
    """
    noise = growth / norm if norm.real > 0.0 else 0.0 * growth
    force = d_noise[p, p] / norm if norm.real > 0.0 else 0.0 * growth
    square = noise * noise
    along = noise * force
    turned = 0.0 * along
    for f in range(features):
        square = square + slope[p, f] * slope[p, f]
        along = along + slope[p, f] * d_signal[p, f]
        turned = turned + slope[p, f] * (slope[p, f] * force - d_signal[p, f] * noise)
    back = 2.0 * decayed / square
    for f in range(features):
        value = noise * (noise * d_signal[p, f] - force * slope[p, f])
        for b in range(features):
            value = value + slope[p, b] * (slope[p, b] * d_signal[p, f] - d_signal[p, b] * slope[p, f])
        kept[p, f] = value / square - back * slope[p, f]
    for f in range(features):
        d_signal[p, f] = kept[p, f]
    d_noise[p, p] = norm * (turned / square - back * noise)
    return along / square, back

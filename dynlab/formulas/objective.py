r"""The exact population loss and its gradient for any number of neurons and features.

Setting (Wen & Li, NeurIPS 2022, and the head of `dynlab.formulas.masks`): online output F = E f(view 1),
target output G = f(view 2) under stop-gradient, both normalised per coordinate over the population. With

    V_j = Var F_j,   U_j = Var G_j,   B_j = Cov(F_j, G_j),   rho_j = B_j / sqrt(V_j U_j),
    L = sum_j (2 - 2 rho_j).

In the raw components X_j and the bilinear forms P, R of `dynlab.formulas.components`, with F = sum_r E_jr
X_r, C_pF = sum_r E_jr C_pr and n = E[n1],

    V = F^T P F + n C_FF,     U = X_j^T P X_j + n C_jj,     B = F^T R X_j.

U_j and the target's index in B_j are constants (stop-gradient). Below, [.] is sqrt(U) V^(3/2) times a
derivative of rho_j, and X is X_j.

**Why no quotient rule.** [d rho/dF] = V R X - B P F is a difference of nearly equal numbers once features are
learnt. It equals n C_FF R X + T F with the antisymmetric T = (R X)(P F)^T - (P F)(R X)^T, in which everything
that cancels can be left out in exact arithmetic. With d_ik = X_i F_k - X_k F_i (built from the determinants
of pairs: X's own share of F drops out), dbar_i = mean_k d_ik over the N states and e = (E N1)^2/N,

    T_ik   = a b (d_ik - dbar_i + dbar_k) + (b s1/N) y_F (X_i - X_k) + (a s1/N) y_X (F_i - F_k),
    T_i,mu = s2 [b y_F (X_i - t_X) + a y_X (F_i - t_F)] + s3^2 [mu_F (b X_i - e t_X) + mu_X (a F_i - e t_F)],

    [d rho/dF_i]  = n C_FF (R X)_i + sum_k T_ik F_k.

The determinants are those of raw components: of centred ones, two neurons that agree would differ by
rounding.

**Noise parts.** Scaling w~_p scales mu_p and C_pr by the degree q, and its rotation changes C_pr alone:

    dL/dw~_p = (dL/d log|w~_p|) w~_p/|w~_p|^2 + sum_r (dL/dQ_pr) (w~_r - its projection on w~_p).

The two are kept apart, for they cancel in the coefficients of w~_1, ..., w~_m if noise parts are nearly
parallel. In the radial one the forces on C and on mu cancel if noise dominates, since both scale alike. With
the correlations kappa_ps = C_ps/(c_p c_s), c_p = sqrt(C_pp), let K_p = C_pF/c_p = sum_s E_js c_s kappa_ps.
Then

    L_pr = K_p - K_r = (E_jp c_p - E_jr c_r)(1 - kappa_pr) + sum_{s != p, r} E_js c_s (kappa_ps - kappa_rs)

is small for nearly parallel parts, and so is mu_r C_pF - mu_p C_rF = mu_p c_r L_pr (mu ~ c). With sums over i
running over features only,

    [d rho/d log|w~_p|] = q E_jp { -mu_p sum_i T_i,mu F_i - n C_pF sum_i F_i (R X)_i
                                   + n g_X mu_p sum_r E_jr c_r L_pr }.

**Head.** [d rho/dE_jr] = X_r^T (V R X - B P F) - B n C_rF. With beta_p = sum_i X_pi (R X)_i and
D^{rF}_ik = X_ri F_k - X_rk F_i,

    [d rho/dE_jr] = n sum_p E_jp (beta_r C_pF - beta_p C_rF - g_X mu_p c_r L_pr) + sum_{i<k} T_ik D^{rF}_ik,
    beta_r C_pF - beta_p C_rF = (beta_r c_p - beta_p c_r) K_p + beta_p c_r L_pr    (if nearly parallel),

where, again, X_r's own share of F drops out of every term. If features are of unequal frequency, c_i of `components` stands
beside every mean over states: X_i - c_i t, c_k dbar_i - c_i dbar_k, c_k X_i - c_i X_k. All of it is closed in the order
parameters (A, Q, E). What is left to cancel are the contributions of different outputs to one force.
"""

from math import sqrt

from dynlab.formulas.activations import degree_of, is_odd, power_slope
from dynlab.formulas.components import (
    ACROSS,
    NOISE_PATCHES,
    S1,
    S2,
    S3,
    SAME,
    STRENGTHS,
    determinants,
    noise_moments,
    responses,
    roots_of,
)


def workspace_sizes(m, features):
    """Shapes of the scratch arrays of `forces`, in the order in which it takes them.

    The last three are of use to the caller: dL/dX (m, 2K), and the sums over outputs of the squares of what
    they contribute to it and to d_noise (m, m), which tell where outputs cancel.
    """
    states = 2 * features
    width = states + 1
    pairs = (m, m)
    square = (width, width)
    components = (m, width), (m,), (m,), (m,), (m,), (m, states), (m, m, width, width)
    noise = pairs, pairs, pairs, pairs, (m,)
    output = (width,), (m,), pairs, square, square, (width,)
    return *components, *noise, *output, (m, states), (m, states), pairs


def gradient(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head):
    """As `forces`, but d_noise (m, m) is D with dL/dw~_p = sum_q D_pq w~_q."""
    loss = forces(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head)
    span_coefficients(m, norm, dot, d_noise)
    return loss


def span_coefficients(m, norm, dot, d_noise):
    """Turn d_noise of `forces` into that of `gradient`, in place; cancels for nearly parallel noise parts."""
    for p in range(m):
        for q in range(m):
            if q != p:
                d_noise[p, p] = d_noise[p, p] - d_noise[p, q] * dot[p, q]
        square = norm[p] * norm[p]
        d_noise[p, p] = d_noise[p, p] / square if square.real > 0.0 else 0.0 * square


def forces(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head):
    """Population loss L and its exact gradient without cancellation; derived at the head of the module.

    signal (m, K): A_jl. side: see `responses`. norm (m,): |w~_j|. dot, wedge, eps (m, m): Q_jr,
    |w~_j||w~_r| sin(theta), pi - theta. head (m, m): E, unit diagonal. Returns L and fills
    d_signal (m, K) = dL/dA, d_noise (m, m) with dL/d log|w~_p| on the diagonal and dL/dQ_pr off it (the
    coefficient of w~_r in the part of dL/dw~_p orthogonal to w~_p), d_head (m, m) = dL/dE with zero diagonal.
    """
    (raw, mean, spread, pull, target, across, det, cov, cross, gap, rise, deviation, online, head_cov, lag,
     turn, mixed, bar, d_comp, size_comp, size_noise) = work  # fmt: skip
    odd = is_odd(kind)
    count = responses(kind, m, features, par, signal, side, norm, raw, mean, spread, pull, target, across)
    width = count if odd else count + 1
    determinants(m, width, raw, det)
    noise_moments(kind, m, par, norm, dot, wedge, eps, cov, cross, gap, rise, deviation)
    clear(m, raw, d_comp, size_comp)
    clear_pairs(m, raw, d_noise, size_noise, d_head, lag)
    patches = par[NOISE_PATCHES]
    loss = 0.0 * raw[0, 0]
    for j in range(m):
        noise_ff = patches * online_moments(j, m, width, head, raw, cov, online, head_cov)
        variance, aligned = feature_moments(j, odd, count, par, across, online)
        variance = variance + noise_ff
        target[j] = target[j] + patches * cov[j, j]
        covariance = aligned - pull[j] * online[count] if not odd else aligned
        scale = -2.0 / (sqrt(target[j]) * variance * sqrt(variance))
        loss = loss + 2.0 - 2.0 * covariance / (sqrt(variance) * sqrt(target[j]))
        mixed_determinants(j, j, m, width, head, det, mixed)
        if odd:
            odd_turn(count, par, mixed, turn)
        else:
            rectified_turn(count, par, raw[j], mean[j], spread[j], online, mixed, bar, turn)
        lags(j, m, head, deviation, gap, rise, lag)
        feature_forces(j, m, count, width, scale, noise_ff, head, across, online, turn, d_comp, size_comp)
        radial_forces(
            kind, j, m, count, scale, patches, aligned, head, raw, pull, deviation, online, head_cov, lag,
            turn, d_noise, size_noise,
        )  # fmt: skip
        transverse_forces(j, m, -scale * patches * covariance, head, cross, d_noise, size_noise)
        head_noise_forces(odd, j, m, count, scale * patches, head, raw, pull, across, gap, deviation, head_cov, lag, d_head)
        head_feature_forces(j, m, width, scale, head, det, turn, mixed, d_head)
    signal_gradient(kind, m, features, par, signal, side, d_comp, d_signal)
    return loss


def clear(m, raw, d_comp, size_comp):
    """Set what is summed over outputs to zero; `clear_pairs` likewise."""
    for p in range(m):
        for i in range(d_comp.shape[1]):
            d_comp[p, i] = 0.0 * raw[0, 0]
            size_comp[p, i] = 0.0 * raw[0, 0]


def clear_pairs(m, raw, d_noise, size_noise, d_head, lag):
    for p in range(m):
        for q in range(m):
            d_noise[p, q] = 0.0 * raw[0, 0]
            size_noise[p, q] = 0.0 * raw[0, 0]
            d_head[p, q] = 0.0 * raw[0, 0]
            lag[p, q] = 0.0 * raw[0, 0]


def online_moments(j, m, width, head, raw, cov, online, head_cov):
    """Fill online (N + 1) with F and head_cov (m,) with C_pF; return C_FF."""
    for i in range(width):
        online[i] = raw[j, i]
        for p in range(m):
            if p != j:
                online[i] = online[i] + head[j, p] * raw[p, i]
    for p in range(m):
        head_cov[p] = cov[p, j]
        for q in range(m):
            if q != j:
                head_cov[p] = head_cov[p] + head[j, q] * cov[p, q]
    value = head_cov[j]
    for p in range(m):
        if p != j:
            value = value + head[j, p] * head_cov[p]
    return value


def feature_moments(j, odd, count, par, across, online):
    """(F^T P F, sum_i F_i (R X_j)_i over the features)."""
    roots = roots_of(odd, count)
    average = 0.0 * online[0]
    if not odd:
        for i in range(count):
            average = average + par[roots + i] * online[i]
        average = average / count
    value = 0.0 * average
    aligned = 0.0 * average
    for i in range(count):
        apart = online[i] - par[roots + i] * average
        value = value + apart * apart
        aligned = aligned + online[i] * across[j, i]
    value = value * (par[SAME] / count)
    if not odd:
        moved = par[S1] * average + par[S2] * online[count]
        apart = par[S3] * online[count]
        value = value + moved * moved + apart * apart
    return value, aligned


def mixed_determinants(j, r, m, width, head, det, mixed):
    """Fill mixed (i < k) with X_ri F_k - X_rk F_i, F = sum_p E_jp X_p, from the determinants of pairs."""
    for i in range(width):
        for k in range(i + 1, width):
            value = 0.0 * head[j, r]
            for p in range(m):
                if p != r:
                    value = value + head[j, p] * det[r, p, i, k]
            mixed[i, k] = value


def odd_turn(count, par, mixed, turn):
    """Fill the antisymmetric turn (N, N) with T for an odd activation."""
    weight = par[SAME] * par[ACROSS] / (count * count)
    for i in range(count):
        turn[i, i] = 0.0 * weight
        for k in range(i + 1, count):
            turn[i, k] = weight * mixed[i, k]
            turn[k, i] = -turn[i, k]


def rectified_turn(count, par, own, mean, spread, online, mixed, bar, turn):
    """Fill the antisymmetric turn (N + 1, N + 1) with T for a rectified activation.

    own (N + 1): X, with mean and spread its t and y; online: F; mixed: X F^T - F X^T above the diagonal.
    """
    a = par[SAME] / count
    b = par[ACROSS] / count
    even = 0.5 * (a + b)
    roots = roots_of(False, count)
    average = 0.0 * online[0]
    for i in range(count):
        average = average + par[roots + i] * online[i]
        bar[i] = 0.0 * online[0]
    for i in range(count):
        for k in range(i + 1, count):
            bar[i] = bar[i] + par[roots + k] * mixed[i, k]
            bar[k] = bar[k] - par[roots + i] * mixed[i, k]
    average = average / count
    spread_f = par[S1] * average + par[S2] * online[count]
    from_own = b * par[S1] / count * spread_f
    from_online = a * par[S1] / count * spread
    apart = par[S3] * par[S3]
    for i in range(count):
        c_i = par[roots + i]
        turn[i, i] = 0.0 * average
        for k in range(i + 1, count):
            c_k = par[roots + k]
            value = a * b * (mixed[i, k] - (c_k * bar[i] - c_i * bar[k]) / count)
            value = value + from_own * (c_k * own[i] - c_i * own[k]) + from_online * (c_k * online[i] - c_i * online[k])
            turn[i, k] = value
            turn[k, i] = -value
        value = b * spread_f * (own[i] - c_i * mean) + a * spread * (online[i] - c_i * average)
        value = par[S2] * value + apart * (
            online[count] * (b * own[i] - even * (c_i * mean)) + own[count] * (a * online[i] - even * (c_i * average))
        )
        turn[i, count] = value
        turn[count, i] = -value
    turn[count, count] = 0.0 * average


def lags(j, m, head, deviation, gap, rise, lag):
    """Fill the antisymmetric lag (m, m) with L_pr = K_p - K_r, F that of output j."""
    for p in range(m):
        for r in range(p + 1, m):
            value = (head[j, p] * deviation[p] - head[j, r] * deviation[r]) * gap[p, r]
            for s in range(m):
                if s != p and s != r:
                    # kappa_ps - kappa_rs from whichever end of the half circle is nearer.
                    if gap[p, s].real < rise[p, s].real:
                        turned = gap[r, s] - gap[p, s]
                    else:
                        turned = rise[p, s] - rise[r, s]
                    value = value + head[j, s] * deviation[s] * turned
            lag[p, r] = value
            lag[r, p] = -value


def feature_forces(j, m, count, width, scale, noise_ff, head, across, online, turn, d_comp, size_comp):
    """Add output j's share of dL/dX to d_comp (m, N)."""
    for i in range(count):
        value = noise_ff * across[j, i]
        for k in range(width):
            value = value + turn[i, k] * online[k]
        for p in range(m):
            share = scale * head[j, p] * value
            d_comp[p, i] = d_comp[p, i] + share
            size_comp[p, i] = size_comp[p, i] + share * share


def radial_forces(
    kind, j, m, count, scale, patches, aligned, head, raw, pull, deviation, online, head_cov, lag, turn,
    d_noise, size_noise,
):  # fmt: skip
    """Add output j's share of dL/d log|w~_p| to the diagonal of d_noise (m, m)."""
    odd = is_odd(kind)
    weight = scale * degree_of(kind)
    lift = 0.0 * aligned
    if not odd:
        for i in range(count):
            lift = lift + turn[i, count] * online[i]
    for p in range(m):
        value = -patches * head_cov[p] * aligned
        if not odd:
            value = value - raw[p, count] * lift
            for r in range(m):
                value = value + patches * pull[j] * head[j, r] * raw[p, count] * deviation[r] * lag[p, r]
        share = weight * head[j, p] * value
        d_noise[p, p] = d_noise[p, p] + share
        size_noise[p, p] = size_noise[p, p] + share * share


def transverse_forces(j, m, weight, head, cross, d_noise, size_noise):
    """Add output j's share of dL/dQ_pq to d_noise (m, m) off the diagonal; weight: -2 [d rho/dC_FF]."""
    for p in range(m):
        for q in range(m):
            if q != p:
                share = weight * head[j, p] * head[j, q] * cross[p, q]
                d_noise[p, q] = d_noise[p, q] + share
                size_noise[p, q] = size_noise[p, q] + share * share


def head_noise_forces(odd, j, m, count, scale, head, raw, pull, across, gap, deviation, head_cov, lag, d_head):
    """Add the terms with covariances of the noise to row j of dL/dE."""
    for r in range(m):
        for p in range(m):
            if r != j and p != r:
                rest = deviation[r] * lag[p, r]
                value = 0.0 * scale if odd else -pull[j] * raw[p, count] * rest
                own = head_cov[p]
                lent = head_cov[r]
                common = 1.0 + 0.0 * rest
                if gap[p, r].real < 0.5 and deviation[p].real > 0.0:
                    own = deviation[p]
                    lent = deviation[r]
                    common = head_cov[p] / deviation[p]
                else:
                    rest = 0.0 * rest
                for i in range(count):
                    # Summed over i: beta_r C_pF - beta_p C_rF.
                    turned = (raw[r, i] * own - raw[p, i] * lent) * common + raw[p, i] * rest
                    value = value + across[j, i] * turned
                d_head[j, r] = d_head[j, r] + scale * head[j, p] * value


def head_feature_forces(j, m, width, scale, head, det, turn, mixed, d_head):
    """Add sum_{i<k} T_ik D^{rF}_ik to row j of dL/dE."""
    for r in range(m):
        if r != j:
            mixed_determinants(j, r, m, width, head, det, mixed)
            value = 0.0 * scale
            for i in range(width):
                for k in range(i + 1, width):
                    value = value + turn[i, k] * mixed[i, k]
            d_head[j, r] = d_head[j, r] + scale * value


def signal_gradient(kind, m, features, par, signal, side, d_comp, d_signal):
    """Chain rule from the responses to A."""
    odd = is_odd(kind)
    for p in range(m):
        for f in range(features):
            alpha = par[STRENGTHS + f]
            u = alpha * signal[p, f]
            slope = power_slope(kind, u)
            if odd:
                d_signal[p, f] = alpha * slope * d_comp[p, f]
            elif side[p, f] > 0:
                d_signal[p, f] = alpha * slope * d_comp[p, 2 * f]
            elif side[p, f] < 0:
                d_signal[p, f] = -alpha * slope * d_comp[p, 2 * f + 1]
            else:
                d_signal[p, f] = 0.0 * u

r"""The exact population loss and its gradient for any number of neurons and features.

Setting (Wen & Li, NeurIPS 2022, and the head of `dynlab.formulas.masks`): online output F = E f(view 1), target
output G = f(view 2) under stop-gradient, both normalised per coordinate over the population. With

    V_j = Var F_j,   U_j = Var G_j,   B_j = Cov(F_j, G_j),   rho_j = B_j / sqrt(V_j U_j),
    L = sum_j (2 - 2 rho_j).

**Components.** Neuron j is described by a vector X_j: its centred feature responses f_j - t_j in every feature
state (K states f_jl = phi(alpha_l A_jl) for odd activations, the 2K states (l, s) otherwise), then the count
fluctuations y_j (non-odd only). With a = E[N1^2]/N, b = E[N1 N2]/N on the N feature states and a = 1, b = -1 on
the fluctuations (`masks`), and F = sum_r E_jr X_r,

    V = sum_i a_i F_i^2 + E[n1] C_FF,   U = sum_i a_i X_ji^2 + E[n1] C_jj,   B = sum_i b_i F_i X_ji.

**Why no naive quotient rule.** d rho / d F_i is proportional to b_i X_ji V - a_i B F_i, the difference of nearly
equal numbers once features are learnt. Expanding V and B, every pair of components contributes
F_k (a_k b_i X_i F_k - a_i b_k X_k F_i), and inside one block (a, b constant) this is a b F_k times the
determinant X_i F_k - X_k F_i = sum_{r != j} E_jr (X_ji X_rk - X_jk X_ri): the small quantity as a factor. So

    d rho_j / d F_i  = [E[n1] C_FF b_i X_ji + sum_k T_ik F_k] / (sqrt(U) V^(3/2)),        T antisymmetric,
    T_ik = a b sum_r E_jr D^{jr}_ik  (same block),     T_ik = b_i X_ji F_k + a_i X_jk F_i  (feature i, fluctuation k),
    d rho_j / d E_jr = [E[n1] (beta_rj C_jF - beta_jj C_rF + sum_{p != j,r} E_jp (beta_rj C_pF - beta_pj C_rF))|_(E_jr terms cancel)
                        + sum_{i<k} T_ik D^{rF}_ik] / (sqrt(U) V^(3/2)),

    beta_pj = sum_i b_i X_pi X_ji,     D^{rF} = D^{rj} + sum_{p != j,r} E_jp D^{rp}.

The cancelling terms of the noise part are left out in exact arithmetic:
C_FF - part: beta_rj C_FF - beta_Fj C_rF = beta_rj C_jF - beta_jj C_rF + sum_{p != j,r} E_jp (beta_rj C_pF - beta_pj C_rF).

**Determinants of centred components** are built from determinants of raw ones, R = (f_1..f_N, mu), because
centring two nearly parallel response vectors first would lose their difference: with d_ik = R_ji R_rk - R_jk R_ri
and bars for means over the N states,

    D_ik = d_ik - dbar_i + dbar_k,   D_i,y1 = s1 dbar_i + s2 (d_i,mu - dbar_mu),   D_i,y2 = s3 (d_i,mu - dbar_mu),
    D_y1,y2 = s1 s3 dbar_mu,         dbar_i = mean_k d_ik,  dbar_mu = mean_i d_i,mu.

**Gradient.** dL/dF = -2 d rho/dF and dL/dV_j = rho_j/V_j give dL/dA and dL/dw~_p = sum_q D_pq w~_q (noise parts),
closed in the order parameters (A, Q, E). U_j and the target's index in B_j are constants (stop-gradient).
"""

from math import sqrt

from dynlab.formulas.activations import (
    CUBIC,
    LINEAR,
    RELU3,
    mean_factor,
    pair_covariance,
    self_covariance,
)

# Layout of the parameter vector that compiled code receives: the six count moments, sigma, the head's rate, strengths.
SAME, ACROSS, NOISE_PATCHES, S1, S2, S3, SIGMA, HEAD_RATE, STRENGTHS = 0, 1, 2, 3, 4, 5, 6, 7, 8


def workspace_sizes(m, features):
    """Shapes of the scratch arrays of `gradient`, in the order in which it takes them (states <= 2K, + 2)."""
    raw = 2 * features + 1
    full = 2 * features + 2
    return ((m, raw), (m, full), (m, m, full, full), (m, m), (m, m), (m, m), (m, m), (m, m), (full,), (full, full),
            (m, full), (m,), (raw,))


def responses(kind, m, features, par, signal, side, norm, raw, comp):
    """Fill `raw` (m, N+1) with the feature responses and mu, `comp` (m, N+2) with centred components; return N.

    side (m, K): which half-line a rectified response lies on (+1, -1; 0 for neither), so that its smooth
    continuation across the kink can be followed inside one step of a solver.
    """
    odd = kind == CUBIC or kind == LINEAR
    count = features if odd else 2 * features
    mean_unit = mean_factor(kind, par[SIGMA])
    for j in range(m):
        total = 0.0 * signal[j, 0]
        for f in range(features):
            u = par[STRENGTHS + f] * signal[j, f]
            power = u if (kind == LINEAR or not (kind == CUBIC or kind == RELU3)) else u * u * u
            if odd:
                raw[j, f] = power
                comp[j, f] = power
            else:
                raw[j, 2 * f] = power if side[j, f] > 0 else 0.0 * power
                raw[j, 2 * f + 1] = -power if side[j, f] < 0 else 0.0 * power
                total = total + raw[j, 2 * f] + raw[j, 2 * f + 1]
        if odd:
            raw[j, count] = 0.0 * norm[j]
            continue
        mean = total / count
        mu = mean_unit * (norm[j] if kind != RELU3 else norm[j] * norm[j] * norm[j])
        raw[j, count] = mu
        for i in range(count):
            comp[j, i] = raw[j, i] - mean
        comp[j, count] = par[S1] * mean + par[S2] * mu
        comp[j, count + 1] = par[S3] * mu
    return count


def determinants(odd, count, m, par, raw, det, bar):
    """Fill det[j, r, i, k] with the determinants D^{jr}_ik of the module's head, for every j != r."""
    for j in range(m):
        for r in range(j + 1, m):
            d = det[j, r]
            for i in range(count):
                d[i, i] = 0.0
                for k in range(i + 1, count):
                    x = raw[j, i] * raw[r, k] - raw[j, k] * raw[r, i]
                    d[i, k] = x
                    d[k, i] = -x
            if not odd:
                bar_mu = 0.0 * raw[j, 0]
                for i in range(count):
                    mean = 0.0 * raw[j, 0]
                    for k in range(count):
                        mean = mean + d[i, k]
                    bar[i] = mean / count
                    bar_mu = bar_mu + raw[j, i] * raw[r, count] - raw[j, count] * raw[r, i]
                bar_mu = bar_mu / count
                for i in range(count):
                    for k in range(i + 1, count):
                        x = d[i, k] - bar[i] + bar[k]
                        d[i, k] = x
                        d[k, i] = -x
                    x = raw[j, i] * raw[r, count] - raw[j, count] * raw[r, i] - bar_mu
                    y = par[S1] * bar[i] + par[S2] * x
                    d[i, count] = y
                    d[count, i] = -y
                    y = par[S3] * x
                    d[i, count + 1] = y
                    d[count + 1, i] = -y
                y = par[S1] * par[S3] * bar_mu
                d[count, count] = 0.0
                d[count + 1, count + 1] = 0.0
                d[count, count + 1] = y
                d[count + 1, count] = -y
            width = count if odd else count + 2
            e = det[r, j]
            for i in range(width):
                for k in range(width):
                    e[i, k] = -d[i, k]


def noise_moments(kind, m, par, norm, dot, wedge, eps, cov, cross, own):
    """Fill cov (m, m) with C, and cross, own (m, m) with its derivatives (`activations`); diagonals: C_jj only."""
    sigma = par[SIGMA]
    unit = self_covariance(kind, sigma)
    for j in range(m):
        square = norm[j] * norm[j]
        cov[j, j] = unit * (square * square * square if (kind == CUBIC or kind == RELU3) else square)
        for r in range(j):
            k = norm[j] * norm[r]
            if k.real > 0.0:
                c, x, o = pair_covariance(kind, sigma, k, dot[j, r], wedge[j, r], eps[j, r])
            else:
                # A vanishing noise part has covariance 0; its rectified gradient has no direction and is set to 0.
                c, x, o = 0.0 * k, 0.0 * k, 0.0 * k
                if kind == LINEAR:
                    x = sigma * sigma + 0.0 * k
            cov[j, r] = c
            cov[r, j] = c
            cross[j, r] = x
            cross[r, j] = x
            own[j, r] = o
            own[r, j] = o


def gradient(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise, d_head):
    """Population loss L and its exact gradient; the derivation is at the head of the module.

    signal (m, K): A_jl. side: see `responses`. norm (m,): |w~_j|. dot, wedge, eps (m, m): Q_jr,
    |w~_j||w~_r| sin(theta), pi - theta. head (m, m): E, unit diagonal. Returns L and fills d_signal (m, K) = dL/dA,
    d_noise (m, m): dL/dw~_p = sum_q d_noise[p, q] w~_q, d_head (m, m) = dL/dE with zero diagonal.
    """
    raw, comp, det, cov, cross, own, d_cov, beta, force, turn, d_comp, head_cov, bar = work
    odd = kind == CUBIC or kind == LINEAR
    count = responses(kind, m, features, par, signal, side, norm, raw, comp)
    width = count if odd else count + 2
    determinants(odd, count, m, par, raw, det, bar)
    noise_moments(kind, m, par, norm, dot, wedge, eps, cov, cross, own)
    a = par[SAME] / count
    b = par[ACROSS] / count
    patches = par[NOISE_PATCHES]
    zero = 0.0 * (signal[0, 0] + norm[0] + head[0, 0])
    for p in range(m):
        for i in range(width):
            d_comp[p, i] = zero
        for q in range(p, m):
            d_cov[p, q] = zero
            value = zero
            for i in range(width):
                value = value + (b if i < count else -1.0) * comp[p, i] * comp[q, i]
            beta[p, q] = value
            beta[q, p] = value
    loss = zero
    for j in range(m):
        # Second moments of the online output F_j and of the target output f_j.
        for p in range(m):
            value = cov[p, j]
            for q in range(m):
                if q != j:
                    value = value + head[j, q] * cov[p, q]
            head_cov[p] = value
        noise_ff = head_cov[j]
        for p in range(m):
            if p != j:
                noise_ff = noise_ff + head[j, p] * head_cov[p]
        online = patches * noise_ff
        target = patches * cov[j, j]
        covariance = zero
        for i in range(width):
            value = comp[j, i]
            for p in range(m):
                if p != j:
                    value = value + head[j, p] * comp[p, i]
            force[i] = value
            a_i = a if i < count else 1.0
            online = online + a_i * value * value
            target = target + a_i * comp[j, i] * comp[j, i]
            covariance = covariance + (b if i < count else -1.0) * value * comp[j, i]
        rho = covariance / (sqrt(online) * sqrt(target))
        scale = 1.0 / (sqrt(target) * online * sqrt(online))
        loss = loss + 2.0 - 2.0 * rho
        antisymmetric_forces(j, m, count, width, a, b, head, comp, det, force, turn)
        for i in range(width):
            value = patches * noise_ff * (b if i < count else -1.0) * comp[j, i]
            for k in range(width):
                value = value + turn[i, k] * force[k]
            value = -2.0 * scale * value
            d_comp[j, i] = d_comp[j, i] + value
            for p in range(m):
                if p != j:
                    d_comp[p, i] = d_comp[p, i] + head[j, p] * value
        weight = patches * rho / online
        for p in range(m):
            d_cov[p, p] = d_cov[p, p] + weight * head[j, p] * head[j, p]
            for q in range(p + 1, m):
                d_cov[p, q] = d_cov[p, q] + 2.0 * weight * head[j, p] * head[j, q]
        d_head[j, j] = zero
        for r in range(m):
            if r != j:
                value = head_force(j, r, m, width, head, head_cov, beta, det, turn, patches, zero)
                d_head[j, r] = -2.0 * scale * value
    signal_gradient(kind, odd, count, m, features, par, signal, side, d_comp, d_signal)
    noise_gradient(kind, odd, count, m, par, norm, d_comp, cov, cross, own, d_cov, d_noise)
    return loss


def antisymmetric_forces(j, m, count, width, a, b, head, comp, det, force, turn):
    """Fill turn (width, width) with T_ik of the module's head, for neuron j; force holds the components of F_j."""
    for i in range(width):
        turn[i, i] = 0.0 * force[i]
        for k in range(i + 1, width):
            if i < count and k >= count:
                value = b * comp[j, i] * force[k] + a * comp[j, k] * force[i]
            else:
                value = 0.0 * force[i]
                for r in range(m):
                    if r != j:
                        value = value + head[j, r] * det[j, r, i, k]
                value = value * (a * b if k < count else -1.0)
            turn[i, k] = value
            turn[k, i] = -value


def head_force(j, r, m, width, head, head_cov, beta, det, turn, patches, zero):
    """d rho_j / d E_jr times sqrt(U) V^(3/2)."""
    value = beta[r, j] * head_cov[j] - beta[j, j] * head_cov[r]
    for p in range(m):
        if p != j and p != r:
            value = value + head[j, p] * (beta[r, j] * head_cov[p] - beta[p, j] * head_cov[r])
    value = patches * value
    for i in range(width):
        for k in range(i + 1, width):
            d = det[r, j, i, k] + zero
            for p in range(m):
                if p != j and p != r:
                    d = d + head[j, p] * det[r, p, i, k]
            value = value + turn[i, k] * d
    return value


def signal_gradient(kind, odd, count, m, features, par, signal, side, d_comp, d_signal):
    """Chain rule from the components to A. Centring needs no correction: the feature forces sum to zero."""
    cube = kind == CUBIC or kind == RELU3
    for p in range(m):
        shared = 0.0 if odd else par[S1] / count
        for f in range(features):
            alpha = par[STRENGTHS + f]
            u = alpha * signal[p, f]
            slope = 3.0 * u * u if cube else 1.0 + 0.0 * u
            if odd:
                d_signal[p, f] = alpha * slope * d_comp[p, f]
            elif side[p, f] > 0:
                d_signal[p, f] = alpha * slope * (d_comp[p, 2 * f] + shared * d_comp[p, count])
            elif side[p, f] < 0:
                d_signal[p, f] = -alpha * slope * (d_comp[p, 2 * f + 1] + shared * d_comp[p, count])
            else:
                d_signal[p, f] = 0.0 * u


def noise_gradient(kind, odd, count, m, par, norm, d_comp, cov, cross, own, d_cov, d_noise):
    """Chain rule from C and mu to the coefficients of dL/dw~_p = sum_q d_noise[p, q] w~_q."""
    degree = 3.0 if (kind == CUBIC or kind == RELU3) else 1.0
    for p in range(m):
        square = norm[p] * norm[p]
        inverse = 1.0 / square if square.real > 0.0 else 0.0 * square
        value = 2.0 * degree * d_cov[p, p] * cov[p, p] * inverse
        if kind == LINEAR:
            value = 2.0 * d_cov[p, p] * par[SIGMA] * par[SIGMA] + 0.0 * square
        if not odd:
            mu = mean_factor(kind, par[SIGMA]) * (norm[p] if kind != RELU3 else norm[p] * square)
            force = par[S2] * d_comp[p, count] + par[S3] * d_comp[p, count + 1]
            value = value + degree * force * mu * inverse
        for q in range(m):
            if q != p:
                weight = d_cov[p, q] if p < q else d_cov[q, p]
                value = value + weight * own[p, q] * inverse
                d_noise[p, q] = weight * cross[p, q]
        d_noise[p, p] = value

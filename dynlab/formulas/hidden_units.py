r"""The exact population loss and its gradient where every output is a two-layer network.

    f_j(X) = sum_h a_jh sum_p phi(<w_h, X_p>)

with M hidden units h, readout a (m, M) and the head E on f: F = E f in view 1, G = f in view 2 under stop-gradient. A unit
has raw components X_h and noise covariances C_hk as a neuron has in `dynlab.formulas.components`, and all population moments
are linear in them: output j of the target has the components G_j = sum_h a_jh X_h, the online output F_j = sum_h B_jh X_h,

    B = E a,    V = F^T P F + n B C B^T,    U = G^T P G + n a C a^T,    Cov = F^T R G,    rho = Cov/sqrt(U V),

so the loss is that of `dynlab.formulas.objective` with G in place of X. Below, [.] is sqrt(U) V^(3/2) times a derivative of
rho_j, n = E[n1], C_hF = sum_k C_hk B_jk, C_FF = sum_h B_jh C_hF, g the pull of output j, and T as there (with X = G):

    [d rho/dF_i]     = n C_FF (R G)_i + sum_k T_ik F_k                                    i a feature state or the mean
    [d rho/dB_jh]    = X_h^T T F + n sum_k B_jk (beta_h C_kF - beta_k C_hF),              beta_h = X_h^T R G
    [d rho/dlog|w~_h|] = q B_jh { -mu_h sum_i T_i,mu F_i - n C_hF sum_i F_i (R G)_i
                                  + n g sum_k B_jk (mu_k C_hF - mu_h C_kF) }              sums over i: features only
    [d rho/dQ_hk]    = -n Cov_j B_jh B_jk dC_hk/dQ_hk                                     h != k

T holds the determinants G_i F_k - G_k F_i, in which G's own share of F drops out: they are those of pairs of outputs,
weighted by the off-diagonal entries of E, as in `objective`. In the sums over k a unit's own term vanishes.
By the chain rule

    dL/dX_h = sum_j B_jh dL/dF_j,     dL/da_rh = sum_j E_jr dL/dB_jh,     dL/dE_jr = sum_h a_rh dL/dB_jh,

the last written with components and covariances of outputs. Since sum_r a_rh dL/da_rh = <X_h, dL/dX_h> = <w_h, dL/dw_h>/q,
gradient flow conserves |w_h|^2/q - sum_r a_rh^2/r_a for every unit (r_a the readout's rate beside the weights').
"""

from math import sqrt

from dynlab.formulas.activations import degree_of, is_odd
from dynlab.formulas.components import NOISE_PATCHES, S3, SAME, determinants, noise_covariances, responses, roots_of
from dynlab.formulas.objective import (
    feature_moments,
    head_feature_forces,
    mixed_determinants,
    odd_turn,
    online_moments,
    rectified_turn,
    signal_gradient,
)


def hidden_workspace_sizes(m, units, features):
    """Shapes of the scratch arrays of `hidden_forces`, in the order in which it takes them."""
    states = 2 * features
    width = states + 1
    square, pairs = (width, width), (units, units)
    of_units = (units, width), (units,), (units,), (units,), (units,), (units, states), pairs, pairs
    of_outputs = (m, width), (m,), (m,), (m,), (m,), (m, states), (m, m), (m, m, width, width)
    of_one = (width,), (m,), square, square, (width,), (width,), (units,), (units,), (units,)
    return *of_units, *of_outputs, *of_one


def hidden_forces(kind, m, units, features, par, signal, side, geometry, readout, head, work, found):
    """Population loss L and its exact gradient; derived at the head of the module.

    signal, side (M, K): <w_h, v_l> and its side as in `components.responses`. geometry: norm (M,), dot, wedge, eps (M, M) of
    the units' noise parts as in `objective.forces`. readout (m, M): a. head (m, m): E, unit diagonal. found, arrays to fill:
    d_response (M, N) = dL/dX_h by feature state, d_signal (M, K) = dL/dA, d_noise (M, M) with dL/d log|w~_h| on the diagonal
    and dL/dQ_hk off it, d_readout (m, M) = dL/da, d_head (m, m) with zero diagonal.
    """
    count = outputs_of_units(kind, (m, units, features), par, (signal, side, *geometry), readout, work)
    loss = forces_of_outputs(is_odd(kind), degree_of(kind), (m, units, count), par, geometry[0], readout, head, work, found)
    signal_gradient(kind, units, features, par, signal, side, found[0], found[1])
    return loss


def forces_of_outputs(odd, degree, sizes, par, norm, readout, head, work, found):
    """What `hidden_forces` finds but d_signal, once the units and outputs are there; sizes (m, M, N). Returns the loss."""
    m, units, count = sizes
    (raw, _, _, _, _, _, cov, cross, out_raw, out_mean, out_spread, out_pull, target, out_across, out_cov,
     det, online, head_cov, turn, mixed, bar, force, effective, unit_cov, beta) = work  # fmt: skip
    d_response, _, d_noise, d_readout, d_head = found
    width = count if odd else count + 1
    for j in range(m):
        target[j] = target_moment(odd, count, par, out_raw[j], out_mean[j], out_spread[j])
    determinants(m, width, out_raw, det)
    clear_found(m, units, count, norm, found)
    patches = par[NOISE_PATCHES]
    loss = 0.0 * norm[0]
    for j in range(m):
        noise_ff = patches * online_moments(j, m, width, head, out_raw, out_cov, online, head_cov)
        variance, aligned = feature_moments(j, odd, count, par, out_across, online)
        variance = variance + noise_ff
        whole = target[j] + patches * out_cov[j, j]
        covariance = aligned if odd else aligned - out_pull[j] * online[count]
        scale = -2.0 / (sqrt(whole) * variance * sqrt(variance))
        loss = loss + 2.0 - 2.0 * covariance / (sqrt(variance) * sqrt(whole))
        mixed_determinants(j, j, m, width, head, det, mixed)
        if odd:
            odd_turn(count, par, mixed, turn)
        else:
            rectified_turn(count, par, out_raw[j], out_mean[j], out_spread[j], online, mixed, bar, turn)
        for i in range(width):
            force[i] = weighted(width, turn[i], online)
        effective_readout(j, m, units, readout, head, effective)
        for h in range(units):
            unit_cov[h] = weighted(units, cov[h], effective)
            beta[h] = weighted(count, out_across[j], raw[h])
            if not odd:
                beta[h] = beta[h] - out_pull[j] * raw[h, count]
        response_forces(units, count, scale, noise_ff, out_across[j], force, effective, d_response)
        # force[count] is -sum_i T_i,mu F_i, T being antisymmetric.
        lift = 0.0 * scale if odd else force[count]
        of_output = (patches, lift, aligned, out_pull[j])
        radial_unit_forces(odd, units, count, scale * degree, of_output, raw, effective, unit_cov, d_noise)
        transverse_unit_forces(units, -scale * patches * covariance, effective, cross, d_noise)
        readout_forces(j, m, units, width, (scale, patches), head, raw, force, effective, unit_cov, beta, d_readout)
        head_feature_forces(j, m, width, scale, head, det, turn, mixed, d_head)
        output_noise_forces(odd, j, m, count, scale * patches, head, out_raw, out_pull[j], out_across[j], head_cov, d_head)
    return loss


def weighted(n, weights, values):
    """sum_i weights_i values_i over i < n."""
    total = 0.0 * weights[0] * values[0]
    for i in range(n):
        total = total + weights[i] * values[i]
    return total


def sum_over_units(units, last, weights, rows, out):
    """Fill out with sum_h weights_h rows_h, entries 0 ... last."""
    for i in range(last + 1):
        total = 0.0 * rows[0, i]
        for h in range(units):
            total = total + weights[h] * rows[h, i]
        out[i] = total


def mix_covariances(m, units, readout, cov, unit_cov, out_cov):
    """Fill out_cov (m, m) with a C a^T; unit_cov (M,): scratch."""
    for j in range(m):
        for h in range(units):
            unit_cov[h] = weighted(units, cov[h], readout[j])
        for r in range(m):
            out_cov[j, r] = weighted(units, readout[r], unit_cov)


def target_moment(odd, count, par, raw, mean, spread):
    """G^T P G, the target's variance without that of noise patches (`components.responses`); mu is the last of raw."""
    roots = roots_of(odd, count)
    value = 0.0 * mean
    for i in range(count):
        centred = raw[i] - par[roots + i] * mean
        value = value + centred * centred
    apart = par[S3] * raw[count]
    return par[SAME] / count * value + spread * spread + apart * apart


def clear_found(m, units, count, norm, found):
    """Set what is summed over outputs to zero."""
    d_response, _, d_noise, d_readout, d_head = found
    zero = 0.0 * norm[0]
    for h in range(units):
        for i in range(count):
            d_response[h, i] = zero
        for k in range(units):
            d_noise[h, k] = zero
        for j in range(m):
            d_readout[j, h] = zero
    for j in range(m):
        for r in range(m):
            d_head[j, r] = zero


def effective_readout(j, m, units, readout, head, effective):
    """Fill effective (M,) with B_j = sum_r E_jr a_r."""
    for h in range(units):
        value = readout[j, h]
        for r in range(m):
            if r != j:
                value = value + head[j, r] * readout[r, h]
        effective[h] = value


def outputs_of_units(kind, sizes, par, point, readout, work):
    """Fill, of `hidden_workspace_sizes`, what belongs to units and outputs; returns the number of states N."""
    m, units, features = sizes
    signal, side, norm, dot, wedge, eps = point
    count = responses(kind, units, features, par, signal, side, norm, *work[:6])
    noise_covariances(kind, units, par, norm, dot, wedge, eps, work[6], work[7])
    mix_units(m, units, count, readout, work)
    return count


def mix_units(m, units, count, readout, work):
    """Fill what belongs to outputs from what belongs to units."""
    raw, mean, spread, pull, _, across, cov = work[:7]
    out_raw, out_mean, out_spread, out_pull, _, out_across, out_cov = work[8:15]
    for j in range(m):
        sum_over_units(units, count, readout[j], raw, out_raw[j])
        sum_over_units(units, count - 1, readout[j], across, out_across[j])
        out_mean[j] = weighted(units, readout[j], mean)
        out_spread[j] = weighted(units, readout[j], spread)
        out_pull[j] = weighted(units, readout[j], pull)
    mix_covariances(m, units, readout, cov, work[23], out_cov)


def response_forces(units, count, scale, noise_ff, across, force, effective, d_response):
    """Add an output's share of dL/dX_h to d_response (M, N)."""
    for i in range(count):
        value = scale * (noise_ff * across[i] + force[i])
        for h in range(units):
            d_response[h, i] = d_response[h, i] + effective[h] * value


def radial_unit_forces(odd, units, count, weight, moments, raw, effective, unit_cov, d_noise):
    """Add an output's share of dL/d log|w~_h| to the diagonal of d_noise.

    moments: n, -sum T_i,mu F_i, sum F_i (R G)_i, g.
    """
    patches, lift, aligned, pull = moments
    for h in range(units):
        value = -patches * unit_cov[h] * aligned
        if not odd:
            level = 0.0 * aligned
            for k in range(units):
                if k != h:
                    level = level + effective[k] * (raw[k, count] * unit_cov[h] - raw[h, count] * unit_cov[k])
            value = value + raw[h, count] * lift + patches * pull * level
        d_noise[h, h] = d_noise[h, h] + weight * effective[h] * value


def transverse_unit_forces(units, weight, effective, cross, d_noise):
    """Add an output's share of dL/dQ_hk to d_noise off the diagonal; weight: -2 [d rho/dC_FF]."""
    for h in range(units):
        for k in range(units):
            if k != h:
                d_noise[h, k] = d_noise[h, k] + weight * effective[h] * effective[k] * cross[h, k]


def readout_forces(j, m, units, width, scales, head, raw, force, effective, unit_cov, beta, d_readout):
    """Add sum_j E_jr dL/dB_jh of output j to d_readout (m, M). scales: of the whole, n."""
    scale, patches = scales
    for h in range(units):
        value = 0.0 * scale
        for k in range(units):
            if k != h:
                value = value + effective[k] * (beta[h] * unit_cov[k] - beta[k] * unit_cov[h])
        value = scale * (patches * value + weighted(width, raw[h], force))
        for r in range(m):
            d_readout[r, h] = d_readout[r, h] + head[j, r] * value


def output_noise_forces(odd, j, m, count, scale, head, raw, pull, across, head_cov, d_head):
    """Add n sum_p E_jp (beta_r C_pF - beta_p C_rF) to row j of dL/dE; raw, head_cov: of outputs, the p-th with beta_p."""
    for r in range(m):
        if r != j:
            beta_r = weighted(count, across, raw[r])
            value = 0.0 * scale
            for p in range(m):
                if p != r:
                    beta_p = weighted(count, across, raw[p])
                    if odd:
                        turned = beta_r * head_cov[p] - beta_p * head_cov[r]
                    else:
                        turned = (beta_r - pull * raw[r, count]) * head_cov[p]
                        turned = turned - (beta_p - pull * raw[p, count]) * head_cov[r]
                    value = value + head[j, p] * turned
            d_head[j, r] = d_head[j, r] + scale * value

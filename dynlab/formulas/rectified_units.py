"""`dynlab.formulas.hidden_units` for relu alone: its loss and gradient with no branch on a number, bit by bit the same.

Numbers may be of any kind, vectors of `dynlab.machine.lanes` included. The half-lines are numbers, too: 1, -1, 0.
"""

from math import pi, sqrt

from dynlab.formulas.activations import RELU, mean_factor, self_covariance
from dynlab.formulas.components import ACROSS, NOISE_PATCHES, S1, S2, S3, SAME, SIGMA, STRENGTHS, determinants
from dynlab.formulas.hidden_units import (
    clear_found,
    effective_readout,
    mix_covariances,
    output_noise_forces,
    radial_unit_forces,
    readout_forces,
    response_forces,
    sum_over_units,
    target_moment,
    transverse_unit_forces,
    weighted,
)
from dynlab.formulas.lanewise import where
from dynlab.formulas.objective import (
    feature_moments,
    head_feature_forces,
    mixed_determinants,
    online_moments,
    rectified_turn,
)


def rectified_responses(units, features, par, point, work):
    """As `components.responses`, of units; point: signal, side (M, K), norm (M,). Returns N."""
    signal, side, norm = point
    raw, mean, spread, pull, own, across = work[:6]
    count = 2 * features
    roots = STRENGTHS + features
    b = par[ACROSS] / count
    square = 0.5 * (par[SAME] + par[ACROSS])
    mean_unit = mean_factor(RELU, par[SIGMA])
    for h in range(units):
        total = 0.0 * signal[h, 0]
        for f in range(features):
            value = par[STRENGTHS + f] * signal[h, f]
            above = where(side[h, f] > 0.0, value, 0.0 * value)
            below = where(side[h, f] < 0.0, -value, 0.0 * value)
            raw[h, 2 * f] = above
            raw[h, 2 * f + 1] = below
            total = total + par[roots + 2 * f] * above + par[roots + 2 * f + 1] * below
        mu = mean_unit * norm[h]
        raw[h, count] = mu
        mean[h] = total / count
        spread[h] = par[S1] * mean[h] + par[S2] * mu
        pull[h] = par[S2] * spread[h] + par[S3] * par[S3] * mu
        shared = (square * mean[h] + par[S1] * par[S2] * mu) / count
        value = 0.0 * mu
        for i in range(count):
            apart = raw[h, i] - par[roots + i] * mean[h]
            value = value + apart * apart
            across[h, i] = b * raw[h, i] - par[roots + i] * shared
        own[h] = par[SAME] / count * value + spread[h] * spread[h] + par[S3] * par[S3] * mu * mu
    return count


def rectified_covariances(units, par, geometry, cov, cross):
    """As `components.noise_covariances`."""
    norm, dot, wedge, eps = geometry
    sigma = par[SIGMA]
    own = self_covariance(RELU, sigma)
    unit = sigma * sigma / (2.0 * pi)
    for h in range(units):
        cov[h, h] = own * norm[h] * norm[h]
        for r in range(h):
            k = norm[h] * norm[r]
            c = where(k > 0.0, unit * dot[h, r] * (eps[h, r] - dot[h, r] / (k + wedge[h, r])), 0.0 * k)
            x = where(k > 0.0, unit * eps[h, r], 0.0 * k)
            cov[h, r] = c
            cov[r, h] = c
            cross[h, r] = x
            cross[r, h] = x


def rectified_signal_gradient(units, features, par, side, d_response, d_signal):
    """As `objective.signal_gradient`."""
    for h in range(units):
        for f in range(features):
            alpha = par[STRENGTHS + f]
            below = where(side[h, f] < 0.0, -alpha * d_response[h, 2 * f + 1], 0.0)
            d_signal[h, f] = where(side[h, f] > 0.0, alpha * d_response[h, 2 * f], below)


def rectified_outputs(sizes, par, point, geometry, readout, work):
    """As `hidden_units.outputs_of_units`."""
    m, units, features = sizes
    raw, mean, spread, pull, _, across, cov, cross = work[:8]
    out_raw, out_mean, out_spread, out_pull, _, out_across, out_cov = work[8:15]
    count = rectified_responses(units, features, par, point, work)
    rectified_covariances(units, par, geometry, cov, cross)
    for j in range(m):
        sum_over_units(units, count, readout[j], raw, out_raw[j])
        sum_over_units(units, count - 1, readout[j], across, out_across[j])
        out_mean[j] = weighted(units, readout[j], mean)
        out_spread[j] = weighted(units, readout[j], spread)
        out_pull[j] = weighted(units, readout[j], pull)
    mix_covariances(m, units, readout, cov, work[23], out_cov)
    return count


def rectified_unit_forces(m, units, features, par, signal, side, geometry, readout, head, work, found):
    """As `hidden_units.hidden_forces`; side (M, K): numbers of the kind of the others."""
    (raw, _, _, _, _, _, cov, cross, out_raw, out_mean, out_spread, out_pull, target, out_across, out_cov,
     det, online, head_cov, turn, mixed, bar, force, effective, unit_cov, beta) = work  # fmt: skip
    d_response, d_signal, d_noise, d_readout, d_head = found
    norm = geometry[0]
    count = rectified_outputs((m, units, features), par, (signal, side, norm), geometry, readout, work)
    width = count + 1
    for j in range(m):
        target[j] = target_moment(False, count, par, out_raw[j], out_mean[j], out_spread[j])
    determinants(m, width, out_raw, det)
    clear_found(m, units, count, norm, found)
    patches = par[NOISE_PATCHES]
    loss = 0.0 * norm[0]
    for j in range(m):
        noise_ff = patches * online_moments(j, m, width, head, out_raw, out_cov, online, head_cov)
        variance, aligned = feature_moments(j, False, count, par, out_across, online)
        variance = variance + noise_ff
        whole = target[j] + patches * out_cov[j, j]
        covariance = aligned - out_pull[j] * online[count]
        scale = -2.0 / (sqrt(whole) * variance * sqrt(variance))
        loss = loss + 2.0 - 2.0 * covariance / (sqrt(variance) * sqrt(whole))
        mixed_determinants(j, j, m, width, head, det, mixed)
        rectified_turn(count, par, out_raw[j], out_mean[j], out_spread[j], online, mixed, bar, turn)
        for i in range(width):
            force[i] = weighted(width, turn[i], online)
        effective_readout(j, m, units, readout, head, effective)
        for h in range(units):
            unit_cov[h] = weighted(units, cov[h], effective)
            beta[h] = weighted(count, out_across[j], raw[h]) - out_pull[j] * raw[h, count]
        response_forces(units, count, scale, noise_ff, out_across[j], force, effective, d_response)
        of_output = (patches, force[count], aligned, out_pull[j])
        radial_unit_forces(False, units, count, scale, of_output, raw, effective, unit_cov, d_noise)
        transverse_unit_forces(units, -scale * patches * covariance, effective, cross, d_noise)
        readout_forces(j, m, units, width, (scale, patches), head, raw, force, effective, unit_cov, beta, d_readout)
        head_feature_forces(j, m, width, scale, head, det, turn, mixed, d_head)
        output_noise_forces(False, j, m, count, scale * patches, head, out_raw, out_pull[j], out_across[j], head_cov, d_head)
    rectified_signal_gradient(units, features, par, side, d_response, d_signal)
    return loss

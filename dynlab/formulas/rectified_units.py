"""`dynlab.formulas.hidden_units` for relu alone: its loss and gradient with no branch on a number, bit by bit the same.

Numbers may be of any kind, vectors of `dynlab.machine.lanes` included. The half-lines are numbers, too: 1, -1, 0.
"""

from math import pi

from dynlab.formulas.activations import RELU, mean_factor, self_covariance
from dynlab.formulas.components import ACROSS, S1, S2, S3, SAME, SIGMA, STRENGTHS
from dynlab.formulas.hidden_units import forces_of_outputs, mix_units
from dynlab.formulas.lanewise import where


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


def rectified_unit_forces(m, units, features, par, signal, side, geometry, readout, head, work, found):
    """As `hidden_units.hidden_forces`; side (M, K): numbers of the kind of the others."""
    norm = geometry[0]
    count = rectified_responses(units, features, par, (signal, side, norm), work)
    rectified_covariances(units, par, geometry, work[6], work[7])
    mix_units(m, units, count, readout, work)
    loss = forces_of_outputs(False, 1.0, (m, units, count), par, norm, readout, head, work, found)
    rectified_signal_gradient(units, features, par, side, found[0], found[1])
    return loss

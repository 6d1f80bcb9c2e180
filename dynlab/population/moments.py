r"""Second moments of the outputs over the population, for any number of states at once (NumPy, not a kernel).

Per patch, feature responses have means t_j and covariance S_jr, noise responses means mu_j and covariance C_jr. With the
count moments of `dynlab.formulas.masks` and y_j = (s1 t_j + s2 mu_j, s3 mu_j),

    Var = E[N1^2] S + E[n1] C + y y^T      covariance of the head-free outputs in one view
    Cov = E[N1 N2] S          - y y^T      across the two views (symmetric)
    L   = sum_j (2 - 2 rho_j),   rho_j = E_j . Cov_j / sqrt(E_j Var E_j^T Var_jj)

Absolute accuracy is that of float64; forces, which are small differences, come from `dynlab.formulas.objective`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import activations, expansions, masks

if TYPE_CHECKING:
    from dynlab._types import Array
    from dynlab.model import Model


def noise_moments(model: Model, gram: Array) -> tuple[Array, Array]:
    """Means mu (..., m) and covariances C (..., m, m) of phi(<w~_j, xi>)."""
    record = activations.ACTIVATIONS[model.activation]
    norm = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    k = norm[..., :, None] * norm[..., None, :]
    s2 = model.noise**2
    mean = activations.mean_factor(record.kind, model.noise) * norm**record.degree
    if record.kind >= expansions.REGISTERED:
        with np.errstate(invalid="ignore", divide="ignore"):
            c = np.where(k > 0, np.clip(gram / k, -1.0, 1.0), 1.0)
        bracket = expansions.expansion(record.kind, expansions.COVARIANCE, np.pi - np.arccos(c))
        return mean, (s2 * k) ** record.degree * c * bracket
    if model.activation == "linear":
        return mean, s2 * gram
    if model.activation == "cubic":
        return mean, s2**3 * gram * (9 * k**2 + 6 * gram**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        c = np.where(k > 0, np.clip(gram / k, -1.0, 1.0), 1.0)
    s = np.sqrt((1 - c) * (1 + c))
    rest = np.pi - np.arctan2(s, c)
    if model.activation == "relu":
        covariance = s2 * k * (s + rest * c - 1) / (2 * np.pi)
    else:
        covariance = (s2 * k) ** 3 * (15 * s - 11 * s**3 + rest * (9 * c + 6 * c**3) - 4) / (2 * np.pi)
    return mean, covariance


def output_moments(model: Model, signal: Array, gram: Array) -> tuple[Array, Array]:
    """Return (Var, Cov), each (..., m, m), of the outputs without head, for signal (..., m, K), noise Gram (..., m, m)."""
    record = activations.ACTIVATIONS[model.activation]
    u = np.asarray(model.strengths) * signal
    if record.odd:
        states = np.sign(u) * np.abs(u) ** record.degree if record.degree % 2 == 0 else u**record.degree
        centred, mean = states, np.zeros(u.shape[:-1])
    else:
        states = np.concatenate([np.maximum(u, 0) ** record.degree, np.maximum(-u, 0) ** record.degree], axis=-1)
        mean = states.mean(-1)
        centred = states - mean[..., None]
    feature = centred @ np.swapaxes(centred, -1, -2) / states.shape[-1]
    mu, noise = noise_moments(model, gram)
    same, across, patches, s1, s2, s3 = masks.count_moments(
        model.patches, model.feature_patches, model.mask == "half"
    )
    y1, y2 = s1 * mean + s2 * mu, s3 * mu
    shift = y1[..., :, None] * y1[..., None, :] + y2[..., :, None] * y2[..., None, :]
    return same * feature + patches * noise + shift, across * feature - shift


def output_means(model: Model, signal: Array, gram: Array) -> Array:
    """Mean outputs (..., m), E[N1] t + E[n1] mu, for signal (..., m, K), noise Gram (..., m, m)."""
    record = activations.ACTIVATIONS[model.activation]
    if record.odd:
        return np.zeros(np.shape(signal)[:-1])
    u = np.asarray(model.strengths) * signal
    mean = (np.maximum(u, 0) ** record.degree + np.maximum(-u, 0) ** record.degree).mean(-1) / 2
    mu, _ = noise_moments(model, gram)
    return model.feature_patches / 2 * mean + (model.patches - model.feature_patches) / 2 * mu


def losses(model: Model, signal: Array, gram: Array, head: Array) -> Array:
    """Population loss (...,) of states signal (..., m, K), noise Gram (..., m, m), head (..., m, m)."""
    variance, covariance = output_moments(model, signal, gram)
    target = np.diagonal(variance, axis1=-2, axis2=-1)
    online = np.einsum("...jr,...rs,...js->...j", head, variance, head)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.einsum("...jr,...rj->...j", head, covariance) / np.sqrt(online * target)
    return (2 - 2 * rho).sum(-1)


def spectral_rank(matrix: Array) -> Array:
    """exp of the entropy of the spectrum of each matrix (..., m, m) with unit diagonal (or zero rows): between 1 and m."""
    share = np.maximum(np.linalg.eigvalsh(matrix), 1e-300) / matrix.shape[-1]
    return np.exp(-(share * np.log(share)).sum(-1))


def correlation_rank(covariance: Array) -> Array:
    """`spectral_rank` of the correlations of each covariance (..., m, m); what has no variance counts as a zero row."""
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(covariance / (deviation[..., :, None] * deviation[..., None, :]))
    return spectral_rank(correlation)

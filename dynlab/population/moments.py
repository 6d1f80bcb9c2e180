r"""Second moments of the outputs over the population, for any number of states at once (NumPy, not a kernel).

Per patch, feature responses have means t_j and covariance S_jr, noise responses means mu_j and covariance C_jr. With the
count moments of `dynlab.formulas.masks` and y_j = (s1 t_j + s2 mu_j, s3 mu_j),

    Var = E[N1^2] S + E[n1] C + y y^T      covariance of the head-free outputs in one view
    Cov = E[N1 N2] S          - y y^T      across the two views (symmetric)
    L   = sum_j (2 - 2 rho_j),   rho_j = E_j . Cov_j / sqrt(E_j Var E_j^T Var_jj)

Absolute accuracy is that of float64; forces, which are small differences, come from `dynlab.formulas.objective`.

**What an output carries.** Write f_j = X_j + Y_j, the sum over the feature patches of a view and that over its noise
patches: X_j = N1 phi(s alpha_l A_jl) with the sample's feature l and sign s. With q_j = mean over l, s of phi^2,

    Var X_j = E[N1^2] S_jj + Var(N1) t_j^2 = E[N1^2] q_j - (E[N1] t_j)^2,     Var Y_j = E[n1] C_jj + Var(n1) mu_j^2,
    Var f_j = Var X_j + Var Y_j + 2 Cov(N1, n1) t_j mu_j.

The features' share is Var X_j / (Var X_j + Var Y_j), the noise's the rest. The last term vanishes for odd phi (t = mu = 0)
and for the independent mask; for a rectified phi under the half mask it is negative, since a view with more features has
less noise, and is split as the variances are (it is at most a third of them: t^2 <= S_jj, mu^2 <= C_jj). Feature l's part
of the features' share is its part of the power,

    p_jl = [phi(u)^2 + phi(-u)^2] / sum over l' of the same,   u = alpha_l A_jl.

For odd phi that is its part of S exactly. A rectified phi answers one sign of each feature only, so which feature a sample
has moves the mean too: that variance lies *between* the features and belongs to none alone (a neuron on v_1 is constant,
at 0, on samples of v_2, yet off the mean there). Within a feature the variance is u^(2q)/4, and the square of the
mean answer, which weighs the variance between, is the same u^(2q)/4: both go by the power. So a feature that
an output does not answer has share 0, one alone without noise has share 1, the shares of all features and of the noise
sum to 1, and none depends on the size of w_j. An output without variance carries nothing: shares 0, and its correlation with
any other is 0.

**Features of unequal frequency**: all averages over l have the weights p_l. As in `dynlab.formulas.components`, phi at the
effective strengths alpha_l (K p_l)^(1/(2q)) is sqrt(K p_l) times the answer, so that means of products are plain means of
those, t_j is their mean times sqrt(K p_l), and feature l's part of the power is p_l times what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import activations, expansions, masks
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import without_bias, without_hidden

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

# A feature is learnt when it carries more than this share of some output's variance.
LEARNT = 0.05
# Outputs are collapsed, "merged" in tables, when the effective rank of their correlations is below this: all of them are one
# number up to factors and a little noise. Two outputs are when their correlation is beyond +-0.907, where the rank is
# exp(-p ln p - (1 - p) ln(1 - p)), p = (1 + |correlation|)/2. Neurons that learnt one feature end at rank 1 for cubic and,
# with the noise that relu keeps, 1.05 (noise 0.5, 16 patches); those that learnt one each end above 1.9, and so do +v_1 and
# -v_1 with relu.
MERGED = 1.2


def noise_means_and_covariances(model: Model, gram: Array) -> tuple[Array, Array]:
    """Means mu (..., m) and covariances C (..., m, m) of phi(<w~_j, xi>)."""
    without_bias(model, "moments of order parameters, which do not have the biases")
    record = ACTIVATIONS[model.activation]
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
    without_hidden(model, "moments of outputs without a readout (see dynlab.population.hidden.moments)")
    return unit_moments(model, signal, gram)


def unit_moments(model: Model, signal: Array, gram: Array) -> tuple[Array, Array]:
    """`output_moments` of what rows of weights answer by themselves, neurons or hidden units."""
    record = ACTIVATIONS[model.activation]
    u = np.asarray(model.effective_strengths) * signal
    if record.odd:
        states = np.sign(u) * np.abs(u) ** record.degree if record.degree % 2 == 0 else u**record.degree
        centred, mean = states, np.zeros(u.shape[:-1])
    else:
        states = np.concatenate([np.maximum(u, 0) ** record.degree, np.maximum(-u, 0) ** record.degree], axis=-1)
        roots = np.tile(model.root_weights, 2)
        mean = (roots * states).mean(-1)
        centred = states - roots * mean[..., None]
    feature = centred @ np.swapaxes(centred, -1, -2) / states.shape[-1]
    mu, noise = noise_means_and_covariances(model, gram)
    same, across, patches, s1, s2, s3 = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    y1, y2 = s1 * mean + s2 * mu, s3 * mu
    shift = y1[..., :, None] * y1[..., None, :] + y2[..., :, None] * y2[..., None, :]
    return same * feature + patches * noise + shift, across * feature - shift


def output_means(model: Model, signal: Array, gram: Array) -> Array:
    """Mean outputs (..., m), E[N1] t + E[n1] mu, for signal (..., m, K), noise Gram (..., m, m)."""
    record = ACTIVATIONS[model.activation]
    if record.odd:
        return np.zeros(np.shape(signal)[:-1])
    u = np.asarray(model.effective_strengths) * signal
    answers = np.maximum(u, 0) ** record.degree + np.maximum(-u, 0) ** record.degree
    mean = (np.asarray(model.root_weights) * answers).mean(-1) / 2
    mu, _ = noise_means_and_covariances(model, gram)
    return model.feature_patches / 2 * mean + (model.patches - model.feature_patches) / 2 * mu


def losses(model: Model, signal: Array, gram: Array, head: Array) -> Array:
    """Population loss (...,) of states signal (..., m, K), noise Gram (..., m, m), head (..., m, m)."""
    with np.errstate(over="ignore", invalid="ignore"):  # of states that diverged: the loss is nan
        return losses_from_moments(*output_moments(model, signal, gram), head)


def losses_from_moments(variance: Array, covariance: Array, head: Array) -> Array:
    """Population loss (...,) from the outputs' (Var, Cov), each (..., m, m), and the head (..., m, m)."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        target = np.diagonal(variance, axis1=-2, axis2=-1)
        online = np.einsum("...jr,...rs,...js->...j", head, variance, head)
        rho = np.einsum("...jr,...rj->...j", head, covariance) / np.sqrt(online * target)
    return (2 - 2 * rho).sum(-1)


def impossible(model: Model, loss: Array) -> np.ndarray:
    """Whether each of these losses is none that any state has, which are in [0, 4 m]: what is left is rounding alone."""
    slack = 1e-6
    with np.errstate(invalid="ignore"):
        return ~((loss >= -slack) & (loss <= 4 * model.neurons + slack))


def output_correlations(model: Model, signal: Array, gram: Array) -> Array:
    """Correlations (..., m, m) of the head-free outputs f over the population.

    For signal (..., m, K), noise Gram (..., m, m). An output without variance has a zero row and column, its diagonal too;
    a state that is not finite gives nan.
    """
    return correlations(output_moments(model, *_unit(signal, gram))[0])


def carried(model: Model, signal: Array, gram: Array) -> Array:
    """Share (..., m, K), in [0, 1], of each output's variance that each feature carries; the rest to 1 is the noise's.

    For signal (..., m, K), noise Gram (..., m, m); defined and derived in the module's head. 0 for an output without
    variance; nan for a state that is not finite.
    """
    without_hidden(model, "shares of outputs without a readout (see dynlab.population.hidden.moments)")
    record = ACTIVATIONS[model.activation]
    signal, gram = _unit(signal, gram)
    answers = np.abs(np.asarray(model.effective_strengths) * signal) ** record.degree
    power = answers**2
    half = model.mask == "half"
    same, _, patches, s1, s2, s3 = masks.count_moments(model.patches, model.feature_patches, half)
    mu, covariance = noise_means_and_covariances(model, gram)
    noise = patches * np.diagonal(covariance, axis1=-2, axis2=-1) + (s2**2 + s3**2) * mu**2
    total = power.sum(-1)
    if record.odd:
        features = same * total / model.features
    else:
        mean = (np.asarray(model.root_weights) * answers).sum(-1) / (2 * model.features)
        features = same * total / (2 * model.features) - (model.feature_patches / 2 * mean) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = power / total[..., None] * (features / (features + noise))[..., None]
    return np.where(total[..., None] == 0.0, 0.0, share)


def _unit(signal: Array, gram: Array) -> tuple[np.ndarray, np.ndarray]:
    """The same states with |w_j| = 1 (0 stays 0): nothing here depends on sizes, whose powers may leave the floats."""
    signal, gram = np.asarray(signal, dtype=float), np.asarray(gram, dtype=float)
    noise = np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 0.0))
    largest = np.maximum(np.abs(signal).max(-1), noise)
    largest = np.where(largest > 0.0, largest, 1.0)
    with np.errstate(invalid="ignore"):
        size = largest * np.sqrt(((signal / largest[..., None]) ** 2).sum(-1) + (noise / largest) ** 2)
        size = np.where(size > 0.0, size, 1.0)
        return signal / size[..., None], gram / size[..., :, None] / size[..., None, :]


def correlations(covariance: Array) -> Array:
    """Correlation matrices (..., m, m) of each covariance (..., m, m); what has no variance has a zero row and column."""
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    scale = np.where(deviation == 0.0, np.inf, deviation)
    return covariance / scale[..., :, None] / scale[..., None, :]


def spectral_rank(matrix: Array) -> Array:
    """exp of the entropy of the spectrum of each matrix (..., m, m), which is normalised to sum 1: between 1 and m.

    The matrices are symmetric without negative eigenvalues beyond rounding. 0 for the zero matrix, nan where not finite.
    """
    matrix = np.asarray(matrix, dtype=float)
    known = np.asarray(np.isfinite(matrix).all((-2, -1)))
    values = np.maximum(np.linalg.eigvalsh(np.where(known[..., None, None], matrix, 0.0)), 0.0)
    total = values.sum(-1)
    share = np.maximum(values / np.where(total > 0.0, total, 1.0)[..., None], 1e-300)
    rank = np.where(total > 0.0, np.exp(-(share * np.log(share)).sum(-1)), 0.0)
    return np.where(known, rank, np.nan)


def correlation_rank(covariance: Array) -> Array:
    """`spectral_rank` of the correlations of each covariance (..., m, m); what has no variance does not count."""
    return spectral_rank(correlations(covariance))


def output_rank(model: Model, signal: Array, gram: Array) -> Array:
    """Effective rank (...,) of the outputs' correlations: 1 where all are one up to a factor, m where uncorrelated."""
    return spectral_rank(output_correlations(model, signal, gram))

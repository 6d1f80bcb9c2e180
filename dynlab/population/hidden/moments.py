r"""Second moments of outputs that sum over hidden units, and what they carry (NumPy, any number of states at once).

f_j = sum_h a_jh phi_h, so Var f = a Var_units a^T and alike across views; losses, correlations and rank follow as in
`dynlab.population.moments`.

**What an output carries.** Per feature patch output j answers x_jl(s) = sum_h a_jh phi(s alpha_l A_hl) to feature l with
sign s. Only the odd part, o_jl = [x_jl(+) - x_jl(-)]/2, tells the two signs of a feature apart; the even part tells which
feature a sample has, and for two features either's even part tells the same thing, so it belongs to none. Odd parts of
different features do not mix, nor with even parts, the noise and the counts of patches, so that

    Var f_j = sum_l E[N1^2] o_jl^2/K + (even parts, counts and noise),     carried_jl = E[N1^2] o_jl^2/(K Var f_j)

is feature l's share of the variance (E[N1^2] p_l o_jl^2/Var f_j where features are of unequal frequency; o_jl below then
holds sqrt(K p_l), as all answers at effective strengths do). A feature is learnt when it carries more than `moments.LEARNT`
of some output's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import masks
from dynlab.population.moments import LEARNT, correlation_rank, losses_from_moments, unit_moments
from dynlab.settings.activation_records import ACTIVATIONS

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


def hidden_moments(model: Model, signal: Array, gram: Array, readout: Array) -> tuple[Array, Array]:
    """(Var, Cov), each (..., m, m), of outputs without head; signal (..., M, K), gram (..., M, M), readout (..., m, M)."""
    turned = np.swapaxes(readout, -1, -2)
    variance, covariance = unit_moments(model, signal, gram)
    return readout @ variance @ turned, readout @ covariance @ turned


def odd_answers(model: Model, signal: Array, readout: Array) -> Array:
    """o_jl (..., m, K) of the module's head, times sqrt(K p_l)."""
    record = ACTIVATIONS[model.activation]
    u = np.asarray(model.effective_strengths) * signal
    answers = np.sign(u) * np.abs(u) ** record.degree
    # phi(u) - phi(-u) is that for a rectified phi, twice that for an odd one.
    return readout @ answers * (1.0 if record.odd else 0.5)


def signed_answers(model: Model, signal: Array, readout: Array) -> Array:
    """x_jl(s) (..., m, K, 2) of the module's head, s = +1 first."""
    record = ACTIVATIONS[model.activation]
    u = np.asarray(model.strengths) * signal
    sides = [u, -u] if record.odd else [np.maximum(u, 0.0), np.maximum(-u, 0.0)]
    return np.stack([readout @ (np.sign(side) * np.abs(side) ** record.degree) for side in sides], axis=-1)


def hidden_carried(model: Model, signal: Array, gram: Array, readout: Array) -> Array:
    """Share (..., m, K) of each output's variance that each feature carries; 0 for an output without variance."""
    variance, _ = hidden_moments(model, signal, gram, readout)
    same = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")[0]
    power = same / model.features * odd_answers(model, signal, readout) ** 2
    total = np.diagonal(variance, axis1=-2, axis2=-1)[..., None]
    return np.where(total > 0.0, power / np.where(total > 0.0, total, 1.0), 0.0 * power)


def features_carried(carried: Array) -> Array:
    """Number (...,) of features that all outputs together carry, of shares (..., m, K)."""
    return (carried.max(-2) > LEARNT).sum(-1)


def hidden_rank(model: Model, signal: Array, gram: Array, readout: Array) -> Array:
    """Effective rank (...,) of the outputs' correlations."""
    return correlation_rank(hidden_moments(model, signal, gram, readout)[0])


def hidden_losses(model: Model, signal: Array, gram: Array, head: Array, readout: Array) -> Array:
    """Population loss (...,); head (..., m, m)."""
    return losses_from_moments(*hidden_moments(model, signal, gram, readout), head)

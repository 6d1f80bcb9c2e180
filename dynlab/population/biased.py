r"""The exact population loss and its gradient for relu neurons with biases: f_j(X) = sum_p max(0, <w_j, X_p> + b_j).

Nothing is homogeneous any more, but the loss is the same function of the raw components X_j (the responses in the 2K
feature states, here max(0, s alpha_l A_jl + b_j) times the root weights of `dynlab.formulas.components`, and the noise mean
mu_j) and of the noise covariances C. With F = sum_r E_jr X_r, the bilinear forms P, R and the antisymmetric T of
`dynlab.formulas.objective`,

    [d rho/dF]    = n C_FF R X + T F,      [d rho/dC_FF] = -n B/2,      [.] = sqrt(U) V^(3/2) times,

for the mean's component as for the others, of which dL/dX_p = sum_j E_jp dL/dF_j, dL/dC = sum_j E_j E_j^T dL/dC_FF and
dL/dE_jr = <X_r, dL/dF_j> + 2 (C E_j)_r dL/dC_FF are combinations. The rest is the chain rule through

    mu_p = E r_p,     C_pq = E r_p r_q - mu_p mu_q,     r = max(0, <w~, xi> + b)

(`dynlab.formulas.biased_units`): with S = dL/dC and s_p = sigma |w~_p|,

    dL/db_p  = sum_i [p answers in state i] dL/dX_pi + P(r_p > 0) dL/dmu_p + sum_q 2 S_pq dE r_p r_q/db_p
    dL/dw~_p = (dL/ds_p) sigma w~_p/|w~_p| + sum_{q != p} 2 S_pq sigma^2 P(r_p, r_q > 0) w~_q.

At b = 0 it is the gradient of relu without biases, which has forms without cancellation; here forces that nearly cancel lose
the digits that do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynlab.formulas.biased_units import biased_moments, biased_pair
from dynlab.population.forms import BilinearForms

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


class BiasedGradient(NamedTuple):
    """loss; d_signal (m, K) = dL/dA, d_noise (m, n) = dL/dw~, d_head (m, m) with zero diagonal, d_bias (m,)."""

    loss: float
    d_signal: np.ndarray
    d_noise: np.ndarray
    d_head: np.ndarray
    d_bias: np.ndarray


class _Noise(NamedTuple):
    """Moments of r_p: mean, above = P(r_p > 0), density at the threshold (m,); second (m, m) = E r_p r_q, by_bias its
    derivative by b_p, by_gram by Q_pq, by_size by s_p at fixed Q_pq; on the diagonal half of those of E r_p^2."""

    mean: np.ndarray
    above: np.ndarray
    density: np.ndarray
    second: np.ndarray
    by_bias: np.ndarray
    by_gram: np.ndarray
    by_size: np.ndarray


def biased_gradient(
    model: Model, signal: Array, noise: Array, geometry: tuple[Array, Array, Array], head: Array, bias: Array
) -> BiasedGradient:
    """Loss and gradient at signal (m, K), noise parts (m, n) with their (norms, Gram matrix, |w~_p||w~_q| sin), E, b (m,).

    Raises ValueError where an output has zero variance.
    """
    form = BilinearForms(model)
    alpha, signs = np.asarray(model.strengths)[:, None], np.array([1.0, -1.0])
    before = alpha * signs * signal[..., None] + bias[:, None, None]
    active = (before > 0.0).reshape(len(bias), -1)
    states = form.roots * np.maximum(before, 0.0).reshape(len(bias), -1)
    found = _noise_moments(model, geometry, bias)
    raw = np.hstack([states, found.mean[:, None]])
    loss, d_raw, d_cov, d_head = _of_components(form, raw, found.second - np.outer(found.mean, found.mean), head)
    d_states = np.where(active, form.roots * d_raw[:, :-1], 0.0)
    d_mean = d_raw[:, -1] - 2.0 * d_cov @ found.mean
    d_signal = (alpha * signs * d_states.reshape(before.shape)).sum(-1)
    d_bias = d_states.sum(1) + d_mean * found.above + 2.0 * (d_cov * found.by_bias).sum(1)
    d_size = d_mean * found.density + 2.0 * (d_cov * found.by_size).sum(1)
    norm = geometry[0]
    along = np.divide(model.noise * d_size, norm, out=np.zeros_like(norm), where=norm > 0.0)
    d_noise = along[:, None] * noise + 2.0 * (d_cov * found.by_gram) @ noise
    return BiasedGradient(loss, d_signal, d_noise, d_head, d_bias)


def _noise_moments(model: Model, geometry: tuple[Array, Array, Array], bias: Array) -> _Noise:
    """The moments of one noise patch."""
    norm, dot, wedge = geometry
    m, size = len(bias), model.noise * norm
    own = np.array([biased_moments(s, b) for s, b in zip(size.tolist(), bias.tolist(), strict=True)])
    mean, square, above, density = own.T
    # On the diagonal half of 2 E r and of 2 s P(r > 0): pairs count twice.
    second, by_bias = np.diag(square), np.diag(mean)
    by_size, by_gram = np.diag(size * above), np.zeros((m, m))
    for p in range(m):
        for q in range(m):
            if p != q:
                k = norm[p] * norm[q]
                rho, c = (dot[p, q] / k, wedge[p, q] / k) if k > 0.0 else (0.0, 1.0)
                pair = biased_pair(*(float(x) for x in (size[p], size[q], rho, c, bias[p], bias[q])))
                second[p, q], by_bias[p, q], by_size[p, q] = pair[0], pair[1], pair[3]
                by_gram[p, q] = model.noise**2 * pair[2]
    return _Noise(mean, above, density, second, by_bias, by_gram, by_size)


def _of_components(form: BilinearForms, raw: Array, cov: Array, head: Array) -> tuple[float, Any, Any, Any]:
    """Loss, dL/dX (m, N + 1), S = dL/dC (m, m), dL/dE (m, m)."""
    m, patches, loss = len(raw), form.patches, 0.0
    d_raw, d_cov, d_head = np.zeros_like(raw), np.zeros((m, m)), np.zeros((m, m))
    for j in range(m):
        row, own = head[j], raw[j]
        borrowed = np.delete(row, j) @ np.delete(raw, j, axis=0)
        online, mixed = own + borrowed, cov @ row
        noise_ff = patches * float(row @ mixed)
        variance, target = form.same(online, online) + noise_ff, form.same(own, own) + patches * cov[j, j]
        if not (variance > 0.0 and target > 0.0 and np.isfinite(variance + target)):
            raise ValueError("an output has zero variance (or overflows): its normalisation is undefined")
        pull = form.apply_across(own)
        covariance, root = float(online @ pull), np.sqrt(target) * variance**1.5
        loss += 2.0 - 2.0 * covariance / np.sqrt(variance * target)
        d_online = -2.0 / root * (noise_ff * pull + (form.turn(own, own) + form.turn(own, borrowed)) @ online)
        d_noise = patches * covariance / root
        d_raw += np.outer(row, d_online)
        d_cov += d_noise * np.outer(row, row)
        d_head[j] = raw @ d_online + 2.0 * d_noise * mixed
    np.fill_diagonal(d_head, 0.0)
    return float(loss), d_raw, d_cov, d_head

"""Loss and gradient from sampled data, with standard errors: batches of raw moments and the jackknife.

The gradient is that of the online side by the definition: with F = E f(view 1) and G = f(view 2) held fixed,
d rho_j / d w_r = E_jr [Cov(G_j, c_r) / sqrt(V U) - rho_j Cov(F_j, c_r) / V], c_r = df_r/dw_r, and the same
with c_r replaced by f_r and E_jr by 1 for d rho_j / d E_jr.
"""

from __future__ import annotations

import numpy as np

from tests import naive


def raw_moments(model, weights, head, samples: int, rng) -> dict[str, np.ndarray]:
    """Sample means of everything that loss and gradient are made of."""
    first, target, change = naive.sample_outputs(model, weights, samples, rng)
    online = first @ np.asarray(head, float).T
    return {
        "F": online.mean(0),
        "G": target.mean(0),
        "f": first.mean(0),
        "c": change.mean(0),
        "FF": (online**2).mean(0),
        "GG": (target**2).mean(0),
        "FG": (online * target).mean(0),
        "Ff": online.T @ first / samples,
        "Gf": target.T @ first / samples,
        "Fc": np.einsum("sj,srd->jrd", online, change) / samples,
        "Gc": np.einsum("sj,srd->jrd", target, change) / samples,
    }


def combine(moments: dict[str, np.ndarray], head) -> np.ndarray:
    """(loss, gradient of the weights, gradient of the head) as one vector."""
    m, head = moments, np.asarray(head, float)
    v, u = m["FF"] - m["F"] ** 2, m["GG"] - m["G"] ** 2
    rho = (m["FG"] - m["F"] * m["G"]) / np.sqrt(v * u)
    by_target, by_online = 1 / np.sqrt(v * u), rho / v

    def slope(target_moment, online_moment, mean):
        trailing = (slice(None), slice(None)) + (None,) * (mean.ndim - 1)
        target = target_moment - m["G"][:, None][trailing] * mean[None]
        online = online_moment - m["F"][:, None][trailing] * mean[None]
        return by_target[:, None][trailing] * target - by_online[:, None][trailing] * online

    d_weights = -2 * np.einsum("jr,jrd->rd", head, slope(m["Gc"], m["Fc"], m["c"]))
    d_head = -2 * slope(m["Gf"], m["Ff"], m["f"]) * (1 - np.eye(len(head)))
    return np.concatenate([[np.sum(2 - 2 * rho)], d_weights.ravel(), d_head.ravel()])


def estimate(model, weights, head, samples: int, batches: int = 40, seed: int = 0):
    """Jackknife estimate of (loss, dW, dE) as one vector and its standard error, from `samples` samples."""
    rng = np.random.default_rng(seed)
    parts = [raw_moments(model, weights, head, samples // batches, rng) for _ in range(batches)]
    totals = {name: sum(part[name] for part in parts) for name in parts[0]}
    whole = combine({name: total / batches for name, total in totals.items()}, head)
    others = [{name: (totals[name] - part[name]) / (batches - 1) for name in totals} for part in parts]
    left_out = np.array([combine(moments, head) for moments in others])
    pseudo = batches * whole - (batches - 1) * left_out
    return pseudo.mean(0), pseudo.std(0, ddof=1) / np.sqrt(batches)

"""The population loss straight from its definition: slow loops that share no code with dynlab.

A `model` is anything with the attributes strengths, patches, feature_patches, noise, activation and mask; it may have
probabilities of the features, which otherwise are alike, and a correlation of theirs, a number or a Gram matrix.
Weights are dense, (m, d), the first K axes being the features (or their span: `vectors`); `head` is (m, m).

One sample: a feature l and a sign s, which is uniform; patches 0..n-1 are `s alpha_l v_l`, the others are
Gaussian noise orthogonal to the features. Which patches hold the feature does not matter, because the mask
law treats all patches alike. View 1 (online) keeps a mask, view 2 (target) keeps the other patches.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np

ACTIVATIONS = {
    "relu": (lambda z: max(0.0, z), 1, False),
    "cubic": (lambda z: z**3, 3, True),
    "relu3": (lambda z: max(0.0, z) ** 3, 3, False),
    "linear": (lambda z: z, 1, True),
    "quintic": (lambda z: z**5, 5, True),
    "relu2": (lambda z: max(0.0, z) ** 2, 2, False),
}
"""phi, its degree, and whether it is odd (otherwise it is zero for negative input). The last two are not built in: the
tests in tests/settings/registration register them."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def settings(strengths, patches=4, feature_patches=2, noise=0.5, activation="cubic", mask="half", probabilities=None):
    """A model that knows nothing of dynlab."""
    return SimpleNamespace(
        strengths=tuple(strengths),
        patches=patches,
        feature_patches=feature_patches,
        noise=noise,
        activation=activation,
        mask=mask,
        probabilities=probabilities,
    )


def chances(model) -> list[float]:
    """How often a sample shows each feature."""
    given = getattr(model, "probabilities", None)
    given = [1.0] * len(model.strengths) if given is None else list(given)
    return [p / math.fsum(given) for p in given]


def vectors(model) -> np.ndarray:
    """The features (K, K) on the first K axes: each is the first unit vector, of those with the angles asked for to the ones
    before, on one more axis."""
    count, given = len(model.strengths), getattr(model, "correlation", None)
    gram = np.eye(count)
    if given is not None:
        gram = np.array(given) if np.ndim(given) == 2 else np.where(gram > 0, 1.0, float(given))
    found = np.zeros((count, count))
    for l in range(count):
        if l:
            found[l, :l] = np.linalg.solve(found[:l, :l], gram[l, :l])
        found[l, l] = math.sqrt(1.0 - sum(x * x for x in found[l, :l]))
    return found


def masks(patches: int, law: str) -> list[tuple[bool, ...]]:
    """Every mask of the law, all equally likely: exactly half of the patches, or any number of them."""
    every = itertools.product((False, True), repeat=patches)
    return [mask for mask in every if law == "independent" or 2 * sum(mask) == patches]


# --- noise ---


def angular_integral(low: float, high: float, function) -> float:
    """Gauss-Legendre quadrature of a smooth function on [low, high]."""
    middle, half = (low + high) / 2, (high - low) / 2
    return half * sum(w * function(middle + half * x) for x, w in zip(_NODES, _WEIGHTS, strict=True))


def noise_mean(activation: str, noise: float, w: np.ndarray) -> float:
    """E phi(w.xi) of one noise patch in polar coordinates about w: a radial factor times an integral."""
    _, degree, odd = ACTIVATIONS[activation]
    if odd:
        return 0.0
    norm = noise * math.sqrt(sum(float(x) ** 2 for x in w))
    radial = 2 ** (degree / 2) * math.gamma(degree / 2 + 1)
    angular = angular_integral(-math.pi / 2, math.pi / 2, lambda a: math.cos(a) ** degree)
    return norm**degree * radial * angular / (2 * math.pi)


def noise_moment(activation: str, noise: float, w: np.ndarray, v: np.ndarray) -> float:
    """E phi(w.xi) phi(v.xi) of one noise patch: the plane of w and v in polar coordinates, w along the axis.

    The radius integrates to 2^degree degree!; the angle runs over the whole circle for odd phi, and over the
    arc where both arguments are positive otherwise: a trigonometric polynomial on its domain.
    """
    _, degree, odd = ACTIVATIONS[activation]
    norm_w, norm_v = math.sqrt(sum(float(x) ** 2 for x in w)), math.sqrt(sum(float(x) ** 2 for x in v))
    if noise * norm_w == 0 or noise * norm_v == 0:
        return 0.0
    along = [float(x) / norm_w for x in w]
    other = [float(x) / norm_v for x in v]
    # chords, not the scalar product: exact for nearly parallel and nearly antiparallel vectors
    angle = 2 * math.atan2(
        math.sqrt(sum((a - b) ** 2 for a, b in zip(along, other, strict=True))),
        math.sqrt(sum((a + b) ** 2 for a, b in zip(along, other, strict=True))),
    )

    def product(a: float) -> float:
        return (math.cos(a) * math.cos(a - angle)) ** degree

    if odd:
        angular = angular_integral(-math.pi, 0, product) + angular_integral(0, math.pi, product)
    else:
        angular = angular_integral(angle - math.pi / 2, math.pi / 2, product)
    radial = 2**degree * math.factorial(degree)
    return (noise * norm_w * noise * norm_v) ** degree * radial * angular / (2 * math.pi)


# --- population loss ---


def view_moment(phi, noise, kept_a, kept_b, feature_a, feature_b, same: bool) -> float:
    """E sum_p sum_p' phi_a(patch p) phi_b(patch p') for p in kept_a, p' in kept_b, feature and sign given.

    `kept_*` lists True for a feature patch and False for a noise patch; `noise` = (mean_a, mean_b,
    moment_ab); `same`: both sums run over one view, where equal positions are one patch. Two views never
    share a patch.
    """
    value_a, value_b = phi(feature_a), phi(feature_b)
    mean_a, mean_b, moment = noise
    total = 0.0
    for p, first in enumerate(kept_a):
        for q, second in enumerate(kept_b):
            if not first and not second:
                total += moment if same and p == q else mean_a * mean_b
            else:
                total += (value_a if first else mean_a) * (value_b if second else mean_b)
    return total


def population_moments(model, online, target):
    """Moments of the outputs before the head.

    Means of view 1 and view 2 (m,), second moments inside view 1 and view 2 (m, m), and `across` (m, m),
    whose entry r, j is E f_r(view 1) f_j(view 2).
    """
    phi, m, count = ACTIVATIONS[model.activation][0], len(online), len(model.strengths)
    online, target = np.asarray(online, float), np.asarray(target, float)
    names = ("mean_1", "mean_2", "view_1", "view_2", "across")
    total = {name: np.zeros(m if "mean" in name else (m, m)) for name in names}
    mu = [[noise_mean(model.activation, model.noise, w[count:]) for w in side] for side in (online, target)]
    q = [
        [[noise_moment(model.activation, model.noise, w[count:], v[count:]) for v in side] for w in side]
        for side in (online, target)
    ]
    every, often, axes = masks(model.patches, model.mask), chances(model), vectors(model)
    for mask, feature, sign in itertools.product(every, range(count), (1.0, -1.0)):
        share = often[feature] / (2 * len(every))
        kept_1 = [p < model.feature_patches for p in range(model.patches) if mask[p]]
        kept_2 = [p < model.feature_patches for p in range(model.patches) if not mask[p]]
        u = [[sign * model.strengths[feature] * (w[:count] @ axes[feature]) for w in side] for side in (online, target)]
        for j in range(m):
            total["mean_1"][j] += share * sum(phi(u[0][j]) if feature_patch else mu[0][j] for feature_patch in kept_1)
            total["mean_2"][j] += share * sum(phi(u[1][j]) if feature_patch else mu[1][j] for feature_patch in kept_2)
            for r in range(m):
                for view, kept, side in (("view_1", kept_1, 0), ("view_2", kept_2, 1)):
                    noise = mu[side][j], mu[side][r], q[side][j][r]
                    features = u[side][j], u[side][r]
                    total[view][j, r] += share * view_moment(phi, noise, kept, kept, *features, same=True)
                noise = mu[0][j], mu[1][r], None
                features = u[0][j], u[1][r]
                total["across"][j, r] += share * view_moment(phi, noise, kept_1, kept_2, *features, same=False)
    return total


def correlations(model, online, target, head) -> list[float]:
    """rho_j between online output j (head on view 1) and target output j (no head, view 2), all j."""
    moments, m = population_moments(model, online, target), len(online)
    mean_1, mean_2 = moments["mean_1"], moments["mean_2"]
    result = []
    for j in range(m):
        variance_1 = variance_2 = covariance = 0.0
        for r in range(m):
            covariance += head[j][r] * (moments["across"][r, j] - mean_1[r] * mean_2[j])
            for s in range(m):
                variance_1 += head[j][r] * head[j][s] * (moments["view_1"][r, s] - mean_1[r] * mean_1[s])
        variance_2 = moments["view_2"][j, j] - mean_2[j] * mean_2[j]
        result.append(covariance / math.sqrt(variance_1 * variance_2))
    return result


def population_loss(model, online, target, head) -> float:
    """E ||F~ - G~||^2 = sum_j (2 - 2 rho_j), online and target weights being separate arguments."""
    return sum(2 - 2 * rho for rho in correlations(model, online, target, head))


def difference_gradient(model, weights, head, step: float = 3e-4):
    """Loss and gradient by five-point central differences, the target side being held (stop-gradient).

    The step is relative to the norm of a neuron (weights) or absolute (head); the error is of order step^4.
    The diagonal of the head is fixed, so its gradient is zero.
    """
    weights, head = np.array(weights, float), np.array(head, float)

    def derivative(array, index, h):
        at = array[index]
        value = {}
        for k in (-2, -1, 1, 2):
            array[index] = at + k * h
            value[k] = population_loss(model, online, weights, moved_head)
        array[index] = at
        return (8 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12 * h)

    online, moved_head = weights.copy(), head.copy()
    d_weights, d_head = np.zeros_like(weights), np.zeros_like(head)
    for j, i in itertools.product(*map(range, weights.shape)):
        d_weights[j, i] = derivative(online, (j, i), step * float(np.linalg.norm(weights[j])))
    for j, r in itertools.product(range(len(head)), repeat=2):
        if j != r:
            d_head[j, r] = derivative(moved_head, (j, r), step)
    return population_loss(model, weights, weights, head), d_weights, d_head


# --- sampling ---


def sample_views(model, dim: int, samples: int, rng: np.random.Generator):
    """Patches (samples, P, dim) and masks (samples, P), drawn from the data model in `dim` dimensions."""
    count, patches, n = len(model.strengths), model.patches, model.feature_patches
    data = np.zeros((samples, patches, dim))
    data[:, :, count:] = model.noise * rng.standard_normal((samples, patches, dim - count))
    even = getattr(model, "probabilities", None) is None
    feature = rng.integers(count, size=samples) if even else rng.choice(count, size=samples, p=chances(model))
    sign = rng.choice((-1.0, 1.0), size=samples)
    order = np.argsort(rng.random((samples, patches)), axis=1)
    rows = np.arange(samples)
    for k in range(n):
        data[rows, order[:, k]] = 0.0
        data[rows, order[:, k], :count] = (sign * np.asarray(model.strengths)[feature])[:, None] * vectors(model)[feature]
    if model.mask == "half":
        mask = np.argsort(np.argsort(rng.random((samples, patches)), axis=1), axis=1) < patches // 2
    else:
        mask = rng.random((samples, patches)) < 0.5
    return data, mask


def sample_outputs(model, weights, samples: int, rng: np.random.Generator):
    """f(view 1), f(view 2), both (samples, m), and df_r(view 1)/dw_r, (samples, m, d), before the head."""
    weights = np.asarray(weights, float)
    data, mask = sample_views(model, weights.shape[1], samples, rng)
    _, degree, odd = ACTIVATIONS[model.activation]
    u = np.einsum("spd,jd->sjp", data, weights)
    active = np.ones(u.shape, bool) if odd else u > 0
    value, slope = active * u**degree, active * degree * u ** (degree - 1)
    first = (value * mask[:, None, :]).sum(-1)
    second = (value * ~mask[:, None, :]).sum(-1)
    change = np.einsum("sjp,spd->sjd", slope * mask[:, None, :], data)
    return first, second, change

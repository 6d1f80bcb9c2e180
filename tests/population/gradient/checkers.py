"""What any gradient of the population loss must satisfy, each check a function of the candidate it is put to.

A candidate has the signature of `dynlab.population_gradient`: (model, weights, head) -> (loss, d_weights,
d_head). A check raises AssertionError, naming the component that is wrong. Because the candidate is an
argument, the tests can also plant faults, which the checks must catch (test_faults.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from mpmath import mp, mpf

from tests import naive
from tests.oracles import exact, monte_carlo, quadrature

ULP = 2.0**-52
RELATIVE = 1e-11
"""What a component may differ from 50 digits, relative to itself."""
MOVEMENTS = 4
"""What it may differ where rounding moves it further, in units of the movement."""
PERTURBATIONS = 8
VANISHING = mpf(10) ** -150
"""Below this times the largest component, what is left at exact.DIGITS is zero in exact arithmetic."""


def components(gradient) -> dict[str, object]:
    """Loss and gradient as named components; checks the shapes and the head's fixed diagonal on the way."""
    loss, d_weights, d_head = gradient
    m = len(d_weights)
    assert np.shape(d_head) == (m, m), f"gradient of the head has shape {np.shape(d_head)}"
    assert all(d_head[j][j] == 0 for j in range(m)), "the fixed diagonal of the head has a gradient"
    named = {"loss": loss}
    named |= {f"dW[{j},{i}]": d_weights[j][i] for j in range(m) for i in range(len(d_weights[j]))}
    named |= {f"dE[{j},{r}]": d_head[j][r] for j in range(m) for r in range(m) if j != r}
    return named


def vector(gradient) -> np.ndarray:
    """Loss and gradient as one vector of floats, in the order of `components`."""
    return np.array([float(value) for value in components(gradient).values()])


# --- 50 digits ---


def reference(state) -> dict[str, mpf]:
    """The components at enough digits, those that vanish in exact arithmetic set to zero."""
    named = components(exact.population_gradient(state.model, state.weights, state.head))
    floor = VANISHING * max(1, *(abs(value) for value in named.values()))
    return {name: value if abs(value) > floor else mpf(0) for name, value in named.items()}


def movement(state, seed: int = 0) -> dict[str, mpf]:
    """How far each component moves when every input moves by an ulp, either way: the furthest of a few."""
    rng = np.random.default_rng(seed)
    at, largest = reference(state), {}
    for _ in range(PERTURBATIONS):
        weights = moved(state.weights, rng)
        head = moved(state.head, rng)
        for j in range(len(head)):
            head[j][j] = mpf(1)
        for name, value in reference(replace(state, weights=weights, head=head)).items():
            largest[name] = max(largest.get(name, mpf(0)), abs(value - at[name]))
    return largest


def rounding_of_terms(state) -> dict[str, mpf]:
    """What rounding each of the gradient's terms by an ulp can make of every component.

    Terms can cancel exactly, and whatever the inputs: an output that one feature alone reaches correlates with its target
    alike at any size of its response to it. Rounding the inputs then moves the sum by nothing.
    """
    named = components(exact.population_gradient(state.model, state.weights, state.head, absolute=True))
    return {name: abs(value) * mpf(ULP) for name, value in named.items()}


def moved(array, rng) -> list[list[mpf]]:
    """Each entry times 1 + 2^-52 or 1 - 2^-52, exactly."""
    signs = rng.choice((-1, 1), size=np.shape(array))
    with exact.precision():
        return [
            [mpf(float(x)) * (1 + int(s) * mpf(ULP)) for x, s in zip(row, row_signs, strict=True)]
            for row, row_signs in zip(array, signs, strict=True)
        ]


def against_exact(candidate, state) -> float:
    """Every component within 1e-11 of 50 digits, or within 4 times its movement.

    The movement is only computed where 1e-11 is missed. A component that vanishes, its terms cancelling to their last
    digit, may be 4 times the rounding of its terms; one without terms, zero whatever the weights, must be zero. Returns
    the worst relative error among the components that needed neither.
    """
    found = components(candidate(state.model, state.weights, state.head))
    right = reference(state)
    assert found.keys() == right.keys(), f"components {sorted(found.keys() ^ right.keys())} do not match"
    assert all(np.isfinite(float(value)) for value in found.values()), f"not finite: {found}"
    error = {name: abs(mpf(float(found[name])) - right[name]) for name in found}
    missed = [name for name in found if error[name] > RELATIVE * abs(right[name])]
    if missed:
        rounding, terms = movement(state), rounding_of_terms(state)
        rounding |= {name: max(rounding[name], terms[name]) for name in missed if abs(right[name]) <= terms[name]}
        wrong = [name for name in missed if not error[name] <= MOVEMENTS * rounding[name]]
        lines = [
            f"{name}: {float(found[name])!r}, not {float(right[name])!r}; error {float(error[name]):.2e}, "
            f"movement {float(rounding[name]):.2e}"
            for name in wrong
        ]
        assert not wrong, "\n".join([*lines, repr(state)])
    kept = [name for name in found if name not in missed and error[name]]
    return max((float(error[name] / abs(right[name])) for name in kept), default=0.0)


# --- the definition ---


def against_definition(candidate, state, tolerance: float = 1e-7) -> None:
    """Loss and gradient equal the enumeration of all masks and its central differences."""
    found = candidate(state.model, state.weights, state.head)
    right = naive.difference_gradient(state.model, state.weights, state.head)
    assert abs(found[0] - right[0]) < 1e-12 * len(state.weights), f"loss {found[0]!r}, not {right[0]!r}"
    for name, value, expected in zip(("dW", "dE"), found[1:], right[1:], strict=True):
        # Each row on its own scale: the longer a neuron, the smaller its gradient.
        scale = np.abs(expected).max(axis=1, keepdims=True) + 1e-3
        error = np.abs(value - expected) / scale
        assert error.max() < tolerance, f"{name}: relative errors {error.tolist()}\n{state!r}"


def against_samples(candidate, state, samples: int, seed: int = 0) -> None:
    """Loss and gradient within 5 standard errors of those of sampled data."""
    found = vector(candidate(state.model, state.weights, state.head))
    m = len(state.weights)
    kept = np.concatenate([np.ones(1 + state.weights.size, bool), ~np.eye(m, dtype=bool).ravel()])
    value, error = monte_carlo.estimate(state.model, state.weights, state.head, samples, seed=seed)
    distance = np.abs(found - value[kept]) / (error[kept] + 1e-12)
    assert distance.max() < 5, f"{distance.round(1).tolist()} standard errors away\n{state!r}"


# --- identities ---


def close(value, expected, what: str, tolerance: float = 1e-11) -> None:
    """Equal to `tolerance` of the largest entry, or of 1e-3 where all are smaller."""
    value, expected = np.asarray(value, float), np.asarray(expected, float)
    error = np.abs(value - expected).max() / np.abs(expected).max(initial=1e-3)
    assert error < tolerance, f"{what}: differs by {error:.1e} of the largest entry:\n{value}\n{expected}"


def same(gradient, expected, what: str) -> None:
    """Two gradients, array by array."""
    for name, value, right in zip(("loss", "dW", "dE"), gradient, expected, strict=True):
        close(value, right, f"{what}: {name}")


def euler_identity(candidate, state) -> None:
    """Scaling a neuron, or the output it drives, leaves the loss unchanged.

    Output j: sum_r E_jr dL/dE_jr = 0, the diagonal included. Neuron r, phi of degree q:
    <w_r, dL/dw_r>/q = sum_j E_jr dL/dE_jr, the diagonal included. Eliminating dL/dE_rr,
    <w_r, dL/dw_r>/q = sum_{j != r} (E_jr dL/dE_jr - E_rj dL/dE_rj).
    """
    _, d_weights, d_head = candidate(state.model, state.weights, state.head)
    degree = exact.DEGREE[state.model.activation]
    work = state.weights * d_weights / degree
    power = state.head * d_head
    for r in range(len(power)):
        left, right = work[r].sum(), power[:, r].sum() - power[r].sum()
        scale = np.abs(work[r]).sum() + np.abs(power[:, r]).sum() + np.abs(power[r]).sum()
        assert abs(left - right) <= 1e-11 * scale, f"neuron {r}: {left!r} is not {right!r} (of {scale:.1e})"


def rescaling(candidate, state, factors) -> None:
    """w_r -> c_r w_r, E_jr -> (c_j/c_r)^q E_jr scales every output and leaves the loss unchanged."""
    c = np.asarray(factors, float)
    ratio = np.outer(c, 1 / c) ** exact.DEGREE[state.model.activation]
    np.fill_diagonal(ratio, 1.0)
    loss, d_weights, d_head = candidate(state.model, c[:, None] * state.weights, ratio * state.head)
    right = candidate(state.model, state.weights, state.head)
    same((loss, c[:, None] * d_weights, ratio * d_head), right, "rescaling")


def permutation_of_neurons(candidate, state, order) -> None:
    """Renaming neurons, and outputs with them, renames the gradient."""
    order = np.asarray(order)
    loss, d_weights, d_head = candidate(state.model, state.weights, state.head)
    both = np.ix_(order, order)
    renamed = candidate(state.model, state.weights[order], state.head[both])
    same(renamed, (loss, d_weights[order], d_head[both]), "permutation of neurons")


def sign_flip(candidate, state, signs) -> None:
    """Odd phi: w_r -> s_r w_r, E_jr -> s_j s_r E_jr only changes the signs of outputs."""
    s = np.asarray(signs, float)
    loss, d_weights, d_head = candidate(state.model, state.weights, state.head)
    flipped = candidate(state.model, s[:, None] * state.weights, np.outer(s, s) * state.head)
    same(flipped, (loss, s[:, None] * d_weights, np.outer(s, s) * d_head), "sign flip of neurons")


def mirror_features(candidate, state, signs) -> None:
    """v_l -> -v_l changes nothing for any phi, because both signs of a feature are equally likely. Of correlated features
    that turns signs of the Gram matrix, and with those the axes."""
    mirror = np.ones(state.weights.shape[1])
    mirror[: state.model.features] = signs
    loss, d_weights, d_head = candidate(state.model, state.weights, state.head)
    model = state.model
    if model.correlation is not None:
        turned = np.array(model.feature_gram) * np.outer(signs, signs)
        model = replace(model, correlation=tuple(map(tuple, turned.tolist())))
    mirrored = candidate(model, state.weights * mirror, state.head)
    same(mirrored, (loss, d_weights * mirror, d_head), "mirrored features")


def rotation_of_noise(candidate, state, rng) -> None:
    """An orthogonal map of the noise space, into a larger one too, acts on the gradient alike."""
    K = state.model.features
    size = state.weights.shape[1] - K
    turn = np.linalg.qr(rng.standard_normal((size + 2, size)))[0].T
    loss, d_weights, d_head = candidate(state.model, state.weights, state.head)

    def rotate(array):
        return np.hstack([array[:, :K], array[:, K:] @ turn])

    rotated = candidate(state.model, rotate(state.weights), state.head)
    same(rotated, (loss, rotate(d_weights), d_head), "rotation of the noise space")


def permutation_of_features(candidate, state, order) -> None:
    """Features of equal strength are interchangeable."""
    assert len(set(state.model.strengths)) == 1, "all strengths must be equal here"
    columns = np.concatenate([order, np.arange(state.model.features, state.weights.shape[1])]).astype(int)
    loss, d_weights, d_head = candidate(state.model, state.weights, state.head)
    renamed = candidate(state.model, state.weights[:, columns], state.head)
    same(renamed, (loss, d_weights[:, columns], d_head), "permutation of equal features")


def bounds(candidate, state) -> None:
    """|rho_j| <= 1; for odd phi only features correlate: |rho_j| <= |E[N1 N2]|/E[N1^2] (Cauchy-Schwarz)."""
    loss = candidate(state.model, state.weights, state.head)[0]
    m, model = len(state.weights), state.model
    lowest, highest, slack = 0.0, 4.0 * m, 1e-12 * m
    if exact.ODD[model.activation]:
        counts = exact.count_moments(model.patches, model.feature_patches, model.mask)
        reach = float(abs(counts.NxN) / counts.NN)
        lowest, highest = 2 * m * (1 - reach), 2 * m * (1 + reach)
    assert lowest - slack <= loss <= highest + slack, f"loss {loss!r} is not in [{lowest}, {highest}]"


def leaves_inputs_alone(candidate, state) -> None:
    """The arrays handed in are not written to, and a second call gives the same bits."""
    weights, head = state.weights.copy(), state.head.copy()
    first = vector(candidate(state.model, weights, head))
    assert (weights == state.weights).all() and (head == state.head).all(), "an input was overwritten"
    assert (vector(candidate(state.model, weights, head)) == first).all(), "two calls differ"


# --- the formulas underneath ---


def moments_against_quadrature(candidate, activation: str) -> None:
    """`candidate(noise, norm_1, norm_2, angle)` -> (mu_1, mu_2, q_12) equals quadrature."""
    for noise, norm_1, norm_2 in ((1.0, 1.0, 1.0), (0.5, 1.3, 0.2), (2.0, 0.04, 3.0)):
        first, second = noise * norm_1, noise * norm_2
        for angle in (0.1, 0.5, 1.0, np.pi / 2, 2.0, 2.7, 3.0):
            right = (
                quadrature.mean(activation, first),
                quadrature.mean(activation, second),
                quadrature.moment(activation, first, second, angle),
            )
            found = candidate(noise, norm_1, norm_2, angle)
            moments_close(found, right, activation, (first, second, angle))


def moments_against_exact(candidate, activation: str, angle: float) -> None:
    """The same against the closed form at many digits, for any angle: quadrature needs a wide wedge."""
    noise, norm_1, norm_2 = 0.7, 1.5, 0.25
    with exact.precision():
        jj, rr = mpf(norm_1) ** 2, mpf(norm_2) ** 2
        jr = mpf(norm_1) * norm_2 * mp.cos(mpf(float(angle)))
        means = [exact.noise_mean(activation, mpf(noise), square) for square in (jj, rr)]
        right = [float(x) for x in (*means, exact.noise_moment(activation, mpf(noise), jj, rr, jr))]
    found = candidate(noise, norm_1, norm_2, angle)
    moments_close(found, right, activation, (noise * norm_1, noise * norm_2, angle))


def moments_close(found, right, activation: str, at) -> None:
    """(mu_1, mu_2, q_12) equal to 1e-13 of their units, the standard deviations to the degree of phi."""
    first, second = (deviation ** exact.DEGREE[activation] for deviation in at[:2])
    units = {"mu_1": first, "mu_2": second, "q_12": first * second}
    for (name, unit), value, expected in zip(units.items(), found, right, strict=True):
        wrong = f"{activation} at {at}: {name} {value!r}, not {expected!r}"
        assert abs(value - expected) < 1e-13 * unit, wrong


def counts_against_enumeration(candidate, patches: int, feature_patches: int, mask: str) -> None:
    """`candidate(P, n, half)` -> (E N1^2, E N1 N2, E n1, s1, s2, s3), s Cholesky factor of Cov(N1, n1)."""
    kept = [np.array(m, int) for m in naive.masks(patches, mask)]
    features = np.array([m[:feature_patches].sum() for m in kept], float)
    noises = np.array([m[feature_patches:].sum() for m in kept], float)
    same, across, noise, s1, s2, s3 = candidate(patches, feature_patches, mask == "half")
    found = {
        "E N1^2": (same, (features**2).mean()),
        "E N1 N2": (across, (features * (feature_patches - features)).mean()),
        "E n1": (noise, noises.mean()),
        "Var N1": (s1 * s1, features.var()),
        "Cov(N1, n1)": (s1 * s2, np.mean((features - features.mean()) * (noises - noises.mean()))),
        "Var n1": (s2 * s2 + s3 * s3, noises.var()),
    }
    for name, (value, expected) in found.items():
        assert abs(value - expected) < 1e-13 * patches**2, (
            f"{name} {value!r}, not {expected!r} (P={patches}, n={feature_patches}, {mask})"
        )

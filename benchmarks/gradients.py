"""Exact gradient: accuracy against 50 digits, then speed on one core beside JAX's jit(vmap(grad)) of the same loss."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.machine import difference, installed, shown, side_by_side, spread, timed_if_right, verified
from dynlab import Model, population_gradient
from dynlab.population.gradient import activation_kind, parameter_vector
from dynlab.population.pair import batch

STATES = 4096
GOALS = {"cubic": 60.0, "relu": 100.0}  # nanoseconds
GOAL_RATIO = 5.0


def draw_states(rng, count=STATES):
    """Weights (N, 2, 4) and heads (N, 2, 2), entries of order one."""
    weights = rng.standard_normal((count, 2, 4))
    head = np.tile(np.eye(2), (count, 1, 1))
    head[:, 0, 1], head[:, 1, 0] = 0.3 * rng.standard_normal((2, count))
    return weights, head


def check(model, weights, head, result, some=64) -> dict:
    """Refuse a wrong gradient: `population_gradient`, which the tests hold against 50 digits, at some of the states."""
    exact = [population_gradient(model, *state) for state in zip(weights[:some], head[:some], strict=True)]
    pairs = zip(("loss", "dL/dw", "dL/dE"), result, zip(*exact, strict=True), strict=True)
    found = {name: (difference(got[:some], want, 1e-3), 1e-9) for name, got, want in pairs}
    return verified(f"gradient {model.activation}, relative to population_gradient", found)


def jax_gradient(model):
    """jit(vmap(value_and_grad)) of the loss in plain JAX, float64, gradient through the online side only."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    from dynlab.formulas import masks

    same, across, patches, s1, s2, s3 = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    strengths, sigma = jnp.array(model.strengths), model.noise

    def parts(w):
        u, noise = strengths * w[:, :2], w[:, 2:]
        gram = noise @ noise.T
        if model.activation == "cubic":
            k = jnp.outer(jnp.diagonal(gram), jnp.diagonal(gram))
            return u**3, jnp.zeros(2), jnp.zeros(2), sigma**6 * gram * (9 * k + 6 * gram**2)
        states = jnp.concatenate([jnp.maximum(u, 0), jnp.maximum(-u, 0)], axis=1)
        mean = states.mean(1)
        norm = jnp.sqrt(jnp.diagonal(gram))
        area = jnp.abs(noise[0, 0] * noise[1, 1] - noise[0, 1] * noise[1, 0])
        theta = jnp.arctan2(area, gram[0, 1])
        off = sigma**2 / (2 * jnp.pi) * (area + (jnp.pi - theta) * gram[0, 1] - norm[0] * norm[1])
        own = sigma**2 * (0.5 - 0.5 / jnp.pi) * norm**2
        cov = jnp.array([[own[0], off], [off, own[1]]])
        return states - mean[:, None], mean, sigma / jnp.sqrt(2 * jnp.pi) * norm, cov

    def loss(w, e, target):
        f, t, mu, c = parts(w)
        g, tt, tmu, tc = parts(jax.lax.stop_gradient(target))
        head = jnp.array([[1.0, e[0]], [e[1], 1.0]])
        y = jnp.stack([s1 * t + s2 * mu, s3 * mu])
        z = jnp.stack([s1 * tt + s2 * tmu, s3 * tmu])
        variance = same * f @ f.T / f.shape[1] + patches * c + y.T @ y
        target_variance = jnp.diagonal(same * g @ g.T / g.shape[1] + patches * tc + z.T @ z)
        cross = across * f @ g.T / f.shape[1] - y.T @ z
        rho = jnp.einsum("jr,rj->j", head, cross) / jnp.sqrt(
            jnp.einsum("jr,rs,js->j", head, variance, head) * target_variance
        )
        return (2 - 2 * rho).sum()

    return jax.jit(jax.vmap(jax.value_and_grad(lambda w, e: loss(w, e, w), argnums=(0, 1))))


def speed(activation: str, repeats: int) -> dict:
    """Nanoseconds a gradient on one thread, and the ratio to JAX where it is installed, repeat by repeat."""
    model = Model(activation=activation)
    weights, head = draw_states(np.random.default_rng(0))
    w, e = batch.columns(weights, head)
    out = np.empty(STATES), np.empty_like(w), np.empty_like(e)
    loop, arguments = batch.pair_loop(model), (activation_kind(model), parameter_vector(model), w, e, *out)
    loop(*arguments)
    d_head = np.zeros_like(head)
    d_head[:, 0, 1], d_head[:, 1, 0] = out[2]
    ours = out[0], out[1].T.reshape(-1, 2, 4), d_head
    row: dict[str, Any] = {"activation": activation, "goal_ns": GOALS[activation]}
    row["differences"] = check(model, weights, head, ours)
    runs = {"dynlab": lambda: [loop(*arguments) for _ in range(20)]}
    if installed("JAX"):
        peer = jax_gradient(model)
        entries = np.stack([head[:, 0, 1], head[:, 1, 0]], axis=1)
        loss, (d_w, d_e) = peer(weights, entries)
        pairs = {"loss": (ours[0], loss), "dL/dw": (ours[1], d_w), "dL/dE": (out[2].T, d_e)}
        found = {name: (difference(*pair, 1e-3), 1e-6) for name, pair in pairs.items()}
        row["differences_jax"] = verified(f"gradient {activation}, relative to JAX", found)
        runs["jax"] = lambda: [peer(weights, entries)[0].block_until_ready() for _ in range(20)]
    seconds = side_by_side(runs, repeats)
    nanoseconds = {name: np.array(values) / (20 * STATES) * 1e9 for name, values in seconds.items()}
    row["ns"] = spread(nanoseconds["dynlab"])
    text = f"gradient {activation}: {shown(row['ns'])} ns (goal {row['goal_ns']:.0f})"
    if "jax" in nanoseconds:
        row |= {"jax_ns": spread(nanoseconds["jax"]), "jax_ratio": spread(nanoseconds["jax"] / nanoseconds["dynlab"])}
        row["goal_ratio"] = GOAL_RATIO
        text += f"; JAX {shown(row['jax_ns'])} ns, {shown(row['jax_ratio'], 2)} times (goal {GOAL_RATIO:.0f})"
    print(text, flush=True)
    return row


def run(quick: bool = False) -> list:
    """Both activations of the main run."""
    return [timed_if_right(speed, activation, 3 if quick else 15) for activation in GOALS]

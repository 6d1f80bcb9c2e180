"""Exact gradient: accuracy against 50 digits, then speed on one core beside JAX's jit(vmap(grad)) of the same loss."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.machine import side_by_side, spread
from dynlab import Model, population_gradient
from dynlab.population import batch
from dynlab.population.gradient import activation_kind, parameter_vector

STATES = 4096
GOALS = {"cubic": 60.0, "relu": 100.0}  # nanoseconds


def draw_states(rng, count=STATES):
    """Weights (N, 2, 4) and heads (N, 2, 2), entries of order one."""
    weights = rng.standard_normal((count, 2, 4))
    head = np.tile(np.eye(2), (count, 1, 1))
    head[:, 0, 1], head[:, 1, 0] = 0.3 * rng.standard_normal((2, count))
    return weights, head


def check(model, weights, head, result, some=64):
    """Refuse to time a wrong gradient: compare with `population_gradient`, which the tests hold against 50 digits."""
    loss, d_weights, d_head = result
    for i in range(some):
        exact = population_gradient(model, weights[i], head[i])
        for got, want in zip((loss[i], d_weights[i], d_head[i]), exact, strict=True):
            if not np.allclose(got, want, rtol=1e-9, atol=1e-12):
                raise AssertionError(f"{model.activation}: gradient of state {i} is wrong, not timed")


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


def speed(activation: str) -> dict:
    """Nanoseconds a gradient on one thread, and the ratio to JAX where it is installed, repeat by repeat."""
    model = Model(activation=activation)
    weights, head = draw_states(np.random.default_rng(0))
    check(model, weights, head, batch.pair_gradients(model, weights, head))
    w, e = batch.columns(weights, head)
    out = np.empty(STATES), np.empty_like(w), np.empty_like(e)
    loop, arguments = batch.pair_loop(model), (activation_kind(model), parameter_vector(model), w, e, *out)
    runs = {"dynlab": lambda: [loop(*arguments) for _ in range(20)]}
    try:
        peer = jax_gradient(model)
    except ImportError:
        peer = None
    if peer is not None:
        entries = np.stack([head[:, 0, 1], head[:, 1, 0]], axis=1)
        loss, (d_w, d_e) = peer(weights, entries)
        ours = batch.pair_gradients(model, weights, head)
        if not (np.allclose(loss, ours[0]) and np.allclose(d_w, ours[1], rtol=1e-6, atol=1e-9)):
            raise AssertionError(f"{activation}: JAX and dynlab differ, not timed")
        runs["jax"] = lambda: [peer(weights, entries)[0].block_until_ready() for _ in range(20)]
    seconds = side_by_side(runs)
    nanoseconds = {name: np.array(values) / (20 * STATES) * 1e9 for name, values in seconds.items()}
    row = {"activation": activation, "goal_ns": GOALS[activation], "ns": spread(nanoseconds["dynlab"])}
    if peer is not None:
        row |= {"jax_ns": spread(nanoseconds["jax"]), "jax_ratio": spread(nanoseconds["jax"] / nanoseconds["dynlab"])}
    return row


def run() -> list:
    """Both activations of the main run."""
    rows = [speed(activation) for activation in GOALS]
    for row in rows:
        text = f"gradient {row['activation']}: {row['ns']['median']:.0f} ns (goal {row['goal_ns']:.0f})"
        if "jax_ratio" in row:
            low, high = row["jax_ratio"]["quartiles"]
            text += f"; JAX {row['jax_ns']['median']:.0f} ns, {row['jax_ratio']['median']:.1f} times ({low:.1f}-{high:.1f})"
        print(text, flush=True)
    return rows

"""Random models and states that reach the edges, drawn by hypothesis (which shrinks them) or from a seed.

A state is (model, weights, head): dense weights (m, d), d = K + m or K + m + 1, the first K axes being the
features. Its edges: noise parts that are parallel or antiparallel, exactly and nearly, and as small as 1e-10;
head entries from 1e-14 to 10 and 0; signals down to 1e-8; neurons that nearly or exactly agree; no noise.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dynlab import Model

ACTIVATIONS = ("relu", "cubic", "relu3", "linear")


class HypothesisDraws:
    """Elementary draws made by hypothesis."""

    def __init__(self, draw):
        self._draw = draw

    def choice(self, options):
        return self._draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def apart(self) -> HypothesisDraws:
        """Draws that leave those that follow what they were without them."""
        return self

    def uniform(self, low: float, high: float) -> float:
        return self._draw(st.floats(low, high, allow_nan=False))


class SeededDraws:
    """The same draws from a NumPy generator."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def choice(self, options):
        return options[self._rng.integers(len(options))]

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def apart(self) -> SeededDraws:
        """Draws that leave those that follow what they were without them."""
        return SeededDraws(self._rng.spawn(1)[0])

    def uniform(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))


@dataclass(frozen=True)
class State:
    """Where the loss is evaluated; `edges` names what is special about it."""

    model: Any
    weights: np.ndarray
    head: np.ndarray
    edges: tuple[str, ...]

    def __repr__(self):
        return (
            f"State(Model(**{asdict(self.model)!r}),\n weights={self.weights.tolist()!r},\n head={self.head.tolist()!r},"
            f"\n edges={self.edges})"
        )


def magnitude(draws, low: float, high: float) -> float:
    """Positive, uniform in the logarithm."""
    return 10.0 ** draws.uniform(math.log10(low), math.log10(high))


def signed(draws, low: float, high: float) -> float:
    """Of either sign, the absolute value uniform in the logarithm."""
    return draws.choice((1.0, -1.0)) * magnitude(draws, low, high)


def some_probabilities(draws, features: int) -> tuple[float, ...]:
    """How often features come: of every size from alike to a thousandth of the others."""
    sizes = [magnitude(draws, 1e-3, 1) for _ in range(features)]
    return tuple(size / math.fsum(sizes) for size in sizes)


def some_correlation(draws, features: int):
    """One correlation of all pairs, or the Gram matrix of drawn unit vectors with a part of their own, so that it is
    positive definite even where two are the same."""
    if draws.integer(0, 1) == 0:
        return draws.uniform(-0.9 / (features - 1), 0.9)
    rows = np.array([ordinary_row(draws, features + 1) for _ in range(features)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    gram = 0.45 * (gram + gram.T)
    gram[np.diag_indices(features)] = 1.0
    return tuple(tuple(float(x) for x in row) for row in gram)


def a_model(
    draws, activation=None, neurons: int | None = None, max_patches: int = 16, edges: bool = True, alike: bool = False
):
    """Any valid model: both mask laws, equal and very different strengths, with `edges` also no noise; two in three with
    features of equal frequency and three in four with orthonormal ones, all if `alike`."""
    mask = draws.choice(("half", "independent"))
    patches = draws.integer(2, max_patches)
    patches += patches % 2 if mask == "half" else 0
    strengths = [draws.choice((1.0, magnitude(draws, 0.3, 3)))]
    for _ in range(draws.integer(1, 4) - 1):
        strengths.append(strengths[-1] * draws.choice((1.0, draws.uniform(0.05, 1.0))))
    # A single feature patch is in one view only: for odd phi nothing correlates and the gradient is zero.
    fewest = 1 if draws.integer(0, 7) == 0 else min(2, patches - 1)
    quiet = edges and draws.integer(0, 15) == 0
    often = None if alike else draws.apart()
    unequal = often is not None and often.integer(0, 2) == 0
    tied = often is not None and len(strengths) > 1 and often.integer(0, 3) == 0
    return Model(
        strengths=tuple(strengths),
        patches=patches,
        feature_patches=draws.integer(fewest, patches - 1),
        noise=0.0 if quiet else magnitude(draws, 0.01 if edges else 0.2, 3),
        activation=activation or draws.choice(ACTIVATIONS),
        neurons=neurons or draws.integer(1, 4),
        mask=mask,
        probabilities=some_probabilities(often, len(strengths)) if unequal else None,
        correlation=some_correlation(often, len(strengths)) if tied else None,
    )


def ordinary_row(draws, size: int) -> np.ndarray:
    """Entries of order one, none below 1/20, as any state in general position."""
    return np.array([signed(draws, 0.05, 2) for _ in range(size)])


def noise_part(draws, before: list[np.ndarray], size: int, edges: bool) -> tuple[np.ndarray, str]:
    """The next neuron's noise part, in general position or related to one of those before it."""
    related = edges and before
    relation = draws.choice(("free", "free", "multiple", "nearly multiple", "copied")) if related else "free"
    if relation == "free":
        row = ordinary_row(draws, size)
    else:
        row = draws.choice(before) * draws.choice((1.0, -1.0))
        if relation == "multiple":  # exactly parallel for a power of two, up to rounding otherwise
            row = row * draws.choice((2.0, 0.25, draws.uniform(0.3, 3)))
        elif relation == "nearly multiple":
            bend = magnitude(draws, 1e-15, 1e-2) * ordinary_row(draws, size)
            row = row * draws.choice((1.0, 0.5)) + bend * abs(row)
    if edges and draws.integer(0, 3) == 0:
        row = row * (magnitude(draws, 1e-10, 10) / np.linalg.norm(row))
        relation += " rescaled"
    return row, relation


def signal_row(draws, before: list[np.ndarray], count: int, edges: bool) -> tuple[np.ndarray, str]:
    """The next neuron's signals: of order one, tiny, one feature learnt, or tied with a neuron before it."""
    kind = draws.choice(("plain", "tiny", "learnt", "tied")) if edges else "plain"
    if kind == "plain" or (kind == "tied" and not before):
        return ordinary_row(draws, count), "plain"
    if kind == "tied":
        row = draws.choice(before) * draws.choice((1.0, -1.0, 0.5))
        size = draws.choice((0.0, magnitude(draws, 1e-15, 1e-2)))
        return row + row * size * ordinary_row(draws, count), kind
    row = np.array([signed(draws, 1e-8, 1e-2) for _ in range(count)])
    if kind == "learnt":
        row[draws.integer(0, count - 1)] = signed(draws, 0.3, 3)
    return row, kind


def a_head(draws, neurons: int, edges: bool) -> np.ndarray:
    """Unit diagonal; the other entries of order one, with `edges` from 1e-14 to 10 or exactly 0."""
    head = np.eye(neurons)
    for j in range(neurons):
        for r in range(neurons):
            if j != r:
                wide = draws.choice((0.0, signed(draws, 1e-14, 10))) if edges else signed(draws, 0.05, 1)
                head[j, r] = wide
    return head


def a_state(draws, activation: str | None = None, edges: bool = True, model=None, **limits) -> State:
    """A model and a state of it; without `edges` everything is of order one and in general position."""
    model = model or a_model(draws, activation, edges=edges, **limits)
    extra = draws.integer(0, 1)
    noises, signals, names = [], [], []
    for _ in range(model.neurons):
        noise, noise_name = noise_part(draws, noises, model.neurons + extra, edges)
        signal, signal_name = signal_row(draws, signals, model.features, edges)
        noises.append(noise)
        signals.append(signal)
        names.append(f"noise {noise_name}, signal {signal_name}")
    weights = np.hstack([np.array(signals), np.array(noises)])
    return State(model, weights, a_head(draws, model.neurons, edges), tuple(names))


def drawn_states(activation: str, number: int, seed: int = 0, edges: bool = True, **limits):
    """`number` states of one activation, the same for the same seed; one in five is in general position."""
    rng = np.random.default_rng([seed, ACTIVATIONS.index(activation)])
    for k in range(number):
        yield a_state(SeededDraws(rng), activation, edges=edges and k % 5 > 0, **limits)


@st.composite
def models(draw, **options):
    """Hypothesis strategy for a model; options as for `a_model`."""
    return a_model(HypothesisDraws(draw), **options)


@st.composite
def states(draw, **options):
    """Hypothesis strategy for a state; options as for `a_state`."""
    return a_state(HypothesisDraws(draw), **options)

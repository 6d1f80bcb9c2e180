r"""Fits of the linear probe in turn, each from what the ones before have found, the largest directions first.

Raw pictures have thousands of numbers, most of whose variance lies in a few hundred directions: of CIFAR-10's 3072, 98 % in
512. What takes the search long, classes that stand apart, lies there, too; along the others the loss is all but quadratic,
as the start's curvature says. So of many features the fit is made first within the span of Q, their `LEADING` largest
directions, at a sixth of the price, and goes on from there in all of them, to the same minimum and by the same verdict:

    W = Q A + P,     features Q stand in for features,     |W|^2 = |A|^2 + |P|^2,     Q^T P = 0,

with P, what the fit before had beside the span, and the scores that it gives staying as they are: J falls in both. Q is
found by iteration on a subspace (Halko, Martinsson & Tropp 2011, section 4.5) from a fixed start. It need not be exact: it
decides where the second search begins and not where it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images import logistic
from dynlab.images.layers.dense import matmul, multiply_packed, packed

if TYPE_CHECKING:
    from dynlab.tools.types import Array

LEADING = 512  # directions of the first search
MANY = 4 * LEADING  # features, from which on there is a first search
ROUNDS = 4  # of the iteration that finds them
LEAST = 1e-3  # of the mean moment, added to all: features may be fewer than they look


class Fits:
    """Fits of pictures in blocks (`logistic.blocks`), with any of their classes' number and growing strengths C.

    moments: of them or of most of them.
    """

    def __init__(self, parts: Sequence[logistic.Block], classes: int, moments: Array) -> None:
        self.parts, self.classes, self.moments = list(parts), classes, moments
        self.span = leading(moments, LEADING) if len(moments) >= MANY else None
        self.first = [] if self.span is None else projected(self.parts, self.span)
        self.first_moments = None if self.span is None else logistic.second_moments(self.first)

    def add(self, parts: Sequence[logistic.Block]) -> None:
        """More pictures for the fits that follow."""
        self.parts += parts
        if self.span is not None:
            self.first += projected(parts, self.span)

    def fit(
        self, strength: float, start: Array | None, iterations: int, tolerance: float = logistic.TOLERANCE,
        told: Callable[[int], None] = lambda iteration: None,
    ) -> logistic.Fit:  # fmt: skip
        """`logistic.fit` with C = strength from `start`, the flat parameters of another."""
        if self.span is not None:
            start = self._from_span(strength, start, iterations, 0.5 * tolerance)
        return logistic.fit(self.parts, self.classes, strength, start, iterations, self.moments, told, tolerance)

    def _from_span(self, strength: float, start: Array | None, iterations: int, tolerance: float) -> Array:
        """The minimum over the weights' part in the span."""
        assert self.span is not None
        before = np.zeros((len(self.span) + 1, self.classes)) if start is None else start.reshape(-1, self.classes)
        inside = product(self.span, before[:-1], transpose_a=True)
        beside = before[:-1] - product(self.span, inside)
        parts, flat = self.first if start is None else self._with_known(beside), np.concatenate([inside, before[-1:]])
        found = logistic.fit(
            parts, self.classes, strength, flat.ravel(), iterations, self.first_moments, tolerance=tolerance
        ).flat.reshape(-1, self.classes)
        return np.concatenate([product(self.span, found[:-1]) + beside, found[-1:]]).ravel()

    def _with_known(self, beside: Array) -> list[logistic.Block]:
        """The pictures within the span, with the scores that weights beside it give."""
        weights = np.ascontiguousarray(beside.T, self.parts[0].by_feature.panels.dtype)
        pairs = zip(self.first, self.parts, strict=True)
        return [replace(first, known=logistic.scores_of(weights, whole)) for first, whole in pairs]


def product(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """op(a) op(b), by `matmul`."""
    rows, columns = a.shape[1 if transpose_a else 0], b.shape[0 if transpose_b else 1]
    out: Array = matmul(a, b, np.empty((rows, columns), a.dtype), transpose_a, transpose_b)
    return out


def leading(moments: Array, count: int) -> Array:
    """Orthonormal columns (d, count) that about span the directions of the largest moments (d, d)."""
    mean = float(np.trace(moments)) / len(moments)
    if not mean > 0.0:  # features that never vary
        return np.eye(len(moments), count)
    moments = moments / mean + LEAST * np.eye(len(moments))
    found = np.random.default_rng(0).standard_normal((len(moments), count))
    for _ in range(ROUNDS):
        found = orthonormal(orthonormal(product(moments, found)))  # once leaves what rounding makes of columns far from it
    return found


def orthonormal(columns: Array) -> Array:
    """Columns of the same span, orthonormal but for rounding."""
    factor = logistic.cholesky(product(columns, columns, transpose_a=True))
    return product(columns, logistic.inverse_of_lower(factor), transpose_b=True)


def projected(parts: Sequence[logistic.Block], span: Array) -> list[logistic.Block]:
    """The same pictures, with their features' products with the columns of span."""
    right = packed(span.astype(parts[0].by_feature.panels.dtype))
    made = []
    for block in parts:
        rows = block.by_picture.columns_turned(0, len(block.labels))
        made += logistic.blocks(multiply_packed(rows, right, np.empty((len(rows), span.shape[1]), rows.dtype)), block.labels)
    return made

r"""The fit of the linear probe: multinomial logistic regression, with the same bits on any number of threads.

Features x (n, d) of unit variance, labels y of c classes; with p the softmax of W^T x + b,

    J(W, b) = (1/n) sum_i - log p_i(y_i) + |W|^2/(2 C n),        dJ/dW = (1/n) sum_i x_i (p_i - [y_i])^T + W/(C n).

**Variables.** Near W = 0 the curvature of J along every column of W is H = x^T x/(n c) + 1/(C n), to a factor 1 - 1/c. With
H = L L^T the search is in V = L^T W, where that curvature is 1 in all directions, which changes neither J nor |W|.

**Search.** Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.4). J is convex, so a step is judged by the slope along
it alone: the slope of J is right to rounding where differences of J are rounding only.

**Verdict.** |dJ/dV|^2/2 is what J would still fall by, were its curvature that of the start: `Fit.left`, in nats a picture.
The fit has converged where this is at most its tolerance.

**Underflow.** A probability below `NEGLIGIBLE` counts as 0: J feels it by less than its rounding. Numbers below the smallest
normal one, which classes far apart are full of, would make products fifteen times slower.

**Products.** Of the three matrices X (n, d), W (d, c) and the residuals (n, c) only X is large, and it never changes. So it
stands on the right, where matrices are packed, once and for all: W^T X^T gives the scores (c, n), residuals^T X the slope
(c, d). The rows of a product then are classes, of which a tile holds few, where its columns come by the panel: ten classes
in a panel of 32 columns were two thirds zeros.

**Bits.** Pictures are kept in blocks of `ROWS`; products are those of `dynlab.images.layers`, whose entries are sums in a
fixed order, and blocks are added in order. No BLAS has a part in it, so that neither its threads nor its version decide
about a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images.layers.dense import Packed, matmul, multiply_packed, packed
from dynlab.machine import jit

if TYPE_CHECKING:
    from dynlab.tools.types import Array

ROWS = 1024  # pictures of a block
ITERATIONS, TOLERANCE = 200, 1e-6
MEMORY = 20  # pairs of steps and slopes that are remembered
STEEP = 0.9  # a step ends where the slope along it is less than this of the slope at its start
TRIALS = 20  # of the length of a step
RESOLVED = 1e-4  # curvatures below this share of their mean are not told apart from rounding
NEGLIGIBLE = 1e-30  # probabilities
STRIP = 512  # rows of the second moments made at a time
PANEL = 128  # columns of the factor made at a time
LANES = 128  # pictures whose probabilities are made at a time


@dataclass(frozen=True)
class Block:
    """Some pictures: features^T (d, n) and features (n, d) as right sides of products, and labels (n,).

    known: scores (classes, n) that features beside these add, and that stay as they are.
    """

    by_picture: Packed
    by_feature: Packed
    labels: np.ndarray
    known: np.ndarray | None = None


@dataclass(frozen=True)
class Fit:
    """A fitted probe.

    flat: weights (d, classes) and biases (classes,). left: what J would still fall by, see the module. slope: the largest
    entry of dJ/dW and dJ/db. tolerance: of left.
    """

    flat: np.ndarray
    classes: int
    iterations: int
    left: float
    slope: float
    tolerance: float = TOLERANCE

    @property
    def converged(self) -> bool:
        """Whether the slope says that this is the minimum."""
        return self.left <= self.tolerance

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(n, classes)."""
        parts = self.flat.reshape(-1, self.classes).astype(features.dtype)
        out: np.ndarray = matmul(features, parts[:-1], np.empty((len(features), self.classes), features.dtype))
        out += parts[-1]
        return out

    def correct(self, parts: Sequence[Block]) -> int:
        """How many of the pictures have the largest score in their own class, the first of equals."""
        right = 0
        for block in parts:
            both = self.flat.reshape(-1, self.classes).T.astype(block.by_picture.panels.dtype)
            scores = scores_of(np.ascontiguousarray(both[:, :-1]), block)
            right += int(((scores + both[:, -1:]).argmax(0) == block.labels).sum())
        return right


def blocks(features: np.ndarray, labels: np.ndarray) -> list[Block]:
    """Pictures in blocks, as `fit` takes them: features twice, packed along both sides."""
    return [
        Block(packed(np.ascontiguousarray(part.T)), packed(part), labels[low : low + ROWS])
        for low in range(0, len(features), ROWS)
        for part in (np.ascontiguousarray(features[low : low + ROWS]),)
    ]


def second_moments(parts: Sequence[Block]) -> Array:
    """x^T x/n (d, d), float64: what is on and below the diagonal, and the same above it."""
    d = parts[0].by_feature.outputs
    total = np.zeros((d, d))
    for low in range(0, d, STRIP):
        high = min(low + STRIP, d)
        product = np.empty((high - low, high), parts[0].by_feature.panels.dtype)
        for block in parts:
            rows = block.by_feature.columns_turned(low, high)
            total[low:high, :high] += multiply_packed(rows, block.by_feature.first_columns(high), product)
        total[:low, low:high] = total[low:high, :low].T
    total /= sum(len(block.labels) for block in parts)
    return total


def scores_of(weights: np.ndarray, block: Block) -> np.ndarray:
    """(classes, n) for weights (classes, d), without biases."""
    out: np.ndarray = multiply_packed(weights, block.by_picture, np.empty((len(weights), len(block.labels)), weights.dtype))
    return out if block.known is None else np.add(out, block.known, out=out)


def fit(
    parts: Sequence[Block], classes: int, strength: float, start: Array | None = None, iterations: int = ITERATIONS,
    moments: Array | None = None, told: Callable[[int], None] = lambda iteration: None, tolerance: float = TOLERANCE,
) -> Fit:  # fmt: skip
    """Minimise J over the pictures of `blocks`, from `start` (None: zero), with C = strength.

    tolerance: of what J would still fall by. moments: about `second_moments`, which decide how fast but not where to.
    told: after each iteration.
    """
    moments = second_moments(parts) if moments is None else moments
    problem = Logistic(parts, classes, strength)
    least = max(problem.penalty, RESOLVED * float(np.trace(moments)) / len(moments) / classes)
    change = Change(moments / classes + least * np.eye(len(moments)), classes)
    flat = np.zeros((len(moments) + 1) * classes) if start is None else start

    def turned(variables: Array) -> tuple[float, Array]:
        value, gradient = problem(change.to_weights(variables))
        return value, change.of_slope(gradient)

    found, slope, count = minimise(turned, change.from_weights(flat), iterations, tolerance, told)
    weights = change.to_weights(found)
    steepest = float(np.abs(problem(weights)[1]).max())
    return Fit(weights, classes, count, 0.5 * dot(slope, slope), steepest, tolerance)


class Logistic:
    """J and its gradient as a function of flat float64 parameters; products in the features' type, sums in float64."""

    def __init__(self, parts: Sequence[Block], classes: int, strength: float) -> None:
        self.parts, self.classes = parts, classes
        self.count = sum(len(block.labels) for block in parts)
        self.penalty = 1.0 / (strength * self.count)

    def __call__(self, flat: Array) -> tuple[float, Array]:
        weights, biases = flat.reshape(-1, self.classes)[:-1], flat[-self.classes :]
        total, of_biases, loss = np.zeros((self.classes, len(weights))), np.zeros(self.classes), 0.0
        dtype = self.parts[0].by_feature.panels.dtype
        single, product = np.ascontiguousarray(weights.T, dtype), np.empty(total.shape, dtype)
        for block in self.parts:
            scores = scores_of(single, block)
            loss += _residuals(scores, biases, block.labels)
            total += multiply_packed(scores, block.by_feature, product)
            of_biases += scores.sum(1, dtype=np.float64)
        gradient = np.empty((len(weights) + 1, self.classes))
        gradient[:-1] = total.T / self.count + self.penalty * weights
        gradient[-1] = of_biases / self.count
        return loss / self.count + 0.5 * self.penalty * dot(weights.ravel(), weights.ravel()), gradient.ravel()


def _residuals(scores: np.ndarray, biases: Array, labels: np.ndarray) -> float:
    """Turn scores (c, n), without biases, into p - [y]; the sum of - log p(y)."""
    own, totals = np.empty(len(labels), scores.dtype), np.empty(len(labels), scores.dtype)
    _shift(scores, biases.astype(scores.dtype), labels, own)
    np.exp(scores, out=scores)
    _normalise(scores, labels, totals)
    return float(np.log(totals).sum(dtype=np.float64) - own.sum(dtype=np.float64))


@jit.kernel
def _shift(scores, biases, labels, own):
    """Add the biases, take away each picture's largest; own (n,): what is left for its own class. What is not a number stays
    so."""
    classes, count = scores.shape
    for low in range(0, count, LANES):
        high = min(low + LANES, count)
        top = np.full(high - low, -np.inf, scores.dtype)
        for k in range(classes):
            row = scores[k, low:high]
            for i in range(len(row)):
                row[i] += biases[k]
                top[i] = top[i] if row[i] <= top[i] else row[i]
        for k in range(classes):
            row = scores[k, low:high]
            for i in range(len(row)):
                row[i] -= top[i]
        for i in range(low, high):
            own[i] = scores[labels[i], i]


@jit.kernel
def _normalise(scores, labels, totals):
    """Divide by each picture's total, which fills totals (n,), drop what is negligible, and take 1 from the own class's."""
    classes, count = scores.shape
    none, least = scores.dtype.type(0.0), scores.dtype.type(NEGLIGIBLE)
    for low in range(0, count, LANES):
        high = min(low + LANES, count)
        total = np.zeros(high - low, scores.dtype)
        for k in range(classes):
            row = scores[k, low:high]
            for i in range(len(row)):
                total[i] += row[i]
        for k in range(classes):
            row = scores[k, low:high]
            for i in range(len(row)):
                share = row[i] / total[i]
                row[i] = none if share < least else share
        totals[low:high] = total
        for i in range(low, high):
            scores[labels[i], i] -= 1.0


class Change:
    """W = L^-T V for the weights and b = V sqrt(c) for the biases: the search's variables V, of curvature about 1."""

    def __init__(self, curvature: Array, classes: int) -> None:
        factor = cholesky(curvature)
        inverse = inverse_of_lower(factor)
        self._of_inverse, self._of_factor = Triangle(inverse), Triangle(factor)
        self._of_turned = Triangle(np.ascontiguousarray(inverse.T))
        self.classes, self.root = classes, float(np.sqrt(classes))

    def _with(self, matrix: Triangle, flat: Array, of_biases: float) -> Array:
        parts = flat.reshape(-1, self.classes)
        out = np.empty_like(parts)
        out[:-1] = matrix.after(np.ascontiguousarray(parts[:-1].T)).T
        out[-1] = of_biases * parts[-1]
        return out.ravel()

    def to_weights(self, variables: Array) -> Array:
        """Weights and biases."""
        return self._with(self._of_inverse, variables, self.root)

    def of_slope(self, gradient: Array) -> Array:
        """dJ/dV from the gradient by weights and biases."""
        return self._with(self._of_turned, gradient, self.root)

    def from_weights(self, flat: Array) -> Array:
        """The variables of these weights."""
        return self._with(self._of_factor, flat, 1.0 / self.root)


class Triangle:
    """A triangular matrix T (d, d) on the right of products, in strips of columns without their zeros above or below."""

    def __init__(self, matrix: Array) -> None:
        self.size = len(matrix)
        self.strips = []
        lower = not matrix[0, 1:].any()
        for low in range(0, self.size, STRIP):
            high = min(low + STRIP, self.size)
            first, last = (low, self.size) if lower else (0, high)
            self.strips.append((low, high, first, packed(np.ascontiguousarray(matrix[first:last, low:high]))))

    def after(self, left: Array) -> Array:
        """left T for a matrix left (rows, d)."""
        out = np.empty_like(left)
        for low, high, first, strip in self.strips:
            out[:, low:high] = multiply_packed(left, strip, np.empty((len(left), high - low)), first)
        return out


def minimise(
    function: Callable[[Array], tuple[float, Array]], x: Array, iterations: int, tolerance: float,
    told: Callable[[int], None] = lambda iteration: None,
) -> tuple[Array, Array, int]:  # fmt: skip
    """(place, slope there, iterations) of the minimum of a convex function(x) -> (value, gradient), of curvature about 1.

    tolerance: of half the square of the slope.
    """
    _, slope = function(x)
    steps: list[Array] = []
    changes: list[Array] = []
    for count in range(iterations):
        if 0.5 * dot(slope, slope) <= tolerance:
            return x, slope, count
        along = -inverse_curvature(slope, steps, changes)
        if not dot(along, slope) < 0.0:  # rounding has eaten what is remembered
            steps, changes, along = [], [], -slope
        length, found = search(function, x, along, dot(along, slope))
        if dot(length * along, found - slope) > 0.0:
            steps, changes = [*steps[1 - MEMORY :], length * along], [*changes[1 - MEMORY :], found - slope]
        x, slope = x + length * along, found
        told(count + 1)
    return x, slope, iterations


def search(function: Callable, x: Array, along: Array, before: float) -> tuple[float, Array]:
    """A length whose slope along the line is small beside `before` < 0, and the gradient there: regula falsi on slopes."""
    low, low_slope, high, high_slope = 0.0, before, np.inf, 0.0
    length = 1.0
    for _ in range(TRIALS):
        found = function(x + length * along)[1]
        slope = dot(along, found)
        if abs(slope) <= -STEEP * before:
            break
        if slope < 0.0:
            low, low_slope = length, slope
        else:  # too far, or not finite
            high, high_slope = length, slope
        if high == np.inf:
            length *= 4.0
        else:
            share = low_slope / (low_slope - high_slope) if np.isfinite(high_slope) else 0.1
            length = low + (high - low) * min(max(share, 0.1), 0.9)
    return length, found


def inverse_curvature(slope: Array, steps: Sequence[Array], changes: Sequence[Array]) -> Array:
    """H^-1 slope, H the curvature that steps and the changes of the slope over them tell of."""
    out, shares = slope.copy(), []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        share = dot(step, out) / dot(step, change)
        out -= share * change
        shares.append(share)
    if steps:
        out *= dot(steps[-1], changes[-1]) / dot(changes[-1], changes[-1])
    for step, change, share in zip(steps, changes, reversed(shares), strict=True):
        out += (share - dot(change, out) / dot(step, change)) * step
    return out


@jit.reduction
def _dot(x, y):
    total = 0.0
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


def dot(x: Array, y: Array) -> float:
    """sum x y, in an order that the length decides."""
    return float(_dot(x, y))


def cholesky(matrix: Array) -> Array:
    """L (d, d), lower, with L L^T = matrix, which is symmetric and positive definite."""
    left = np.array(matrix, np.float64, order="C")
    d = len(left)
    for low in range(0, d, PANEL):
        high = min(low + PANEL, d)
        own = left[low:high, low:high] = _small_cholesky(left[low:high, low:high].copy())
        if high < d:
            back = _small_inverse(own)
            below = matmul(left[high:, low:high], back, np.empty((d - high, high - low)), transpose_b=True)
            left[high:, low:high] = below
            left[high:, high:] -= matmul(below, below, np.empty((d - high, d - high)), transpose_b=True)
    return np.tril(left)


def inverse_of_lower(factor: Array) -> Array:
    """The inverse of a lower triangular matrix (d, d)."""
    d = len(factor)
    out = np.zeros_like(factor)
    for low in range(0, d, PANEL):
        high = min(low + PANEL, d)
        own = _small_inverse(np.ascontiguousarray(factor[low:high, low:high]))
        out[low:high, low:high] = own
        if low:
            before = matmul(factor[low:high, :low], out[:low, :low], np.empty((high - low, low)))
            out[low:high, :low] = -matmul(own, before, np.empty_like(before))
    return out


@jit.kernel
def _small_cholesky(a):
    for j in range(len(a)):
        for i in range(j, len(a)):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(total) if i == j else total / a[j, j]
        for i in range(j):
            a[i, j] = 0.0
    return a


@jit.kernel
def _small_inverse(lower):
    out = np.zeros_like(lower)
    for j in range(len(lower)):
        out[j, j] = 1.0 / lower[j, j]
        for i in range(j + 1, len(lower)):
            total = 0.0
            for k in range(j, i):
                total += lower[i, k] * out[k, j]
            out[i, j] = -total / lower[i, i]
    return out

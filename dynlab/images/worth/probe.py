"""The linear probe on frozen features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images import logistic
from dynlab.images.worth.accuracy import COARSE, DOUBT, Accuracy, _checked, _labels, standard_blocks
from dynlab.images.worth.ranks import varying
from dynlab.images.worth.span import Fits
from dynlab.tools.checks import real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.tools.types import Array


STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def linear_probe(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike,
    strengths: Sequence[float] = STRENGTHS, held_out: float = 0.1, iterations: int = logistic.ITERATIONS,
    told: Callable[[str], None] = lambda line: None, items: str = "pictures",
) -> Accuracy:  # fmt: skip
    """The linear probe on frozen features train (N, d) and test (n, d).

    train_labels (N,), test_labels (n,): integers from 0. strengths: the values of C that are tried. held_out: the share of
    each class that decides between them. iterations: of L-BFGS, at most. told: called with a line where it has come to.
    items: what rows are of, for the protocol.
    SettingError for what is not allowed.
    """
    train, test = _checked("train", train), _checked("test", test)
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    share = real("held_out", held_out, above=0.0, at_most=0.5)
    mean, deviation = standard(train)
    held, classes = stratified(train_labels, share), int(train_labels.max()) + 1
    inside, outside = (standard_blocks(train, train_labels, places, mean, deviation) for places in (~held, held))
    fits = Fits(inside, classes, logistic.second_moments(inside))
    chosen, tried, start = choose_strength(fits, outside, strengths, iterations, told)

    def said(iteration: int) -> None:
        told(f"probe: fit of all with C = {chosen:g}, iteration {iteration} of at most {iterations}")

    fits.add(outside)
    fit = fits.fit(chosen, start, iterations, told=said)
    correct = 0
    for low in range(0, len(test), logistic.ROWS):
        scores = fit.scores((test[low : low + logistic.ROWS] - mean) / deviation)
        correct += int((scores.argmax(1) == test_labels[low : low + logistic.ROWS]).sum())
    values = ", ".join(f"{c:g}" for c in sorted(strengths))
    protocol = (
        f"linear probe: multinomial logistic regression (L-BFGS, at most {iterations} iterations) on frozen features, "
        f"standardised by the training set; C chosen of {values} on {share:.0%} of each class "
        f"held out of {len(train)} training {items}, from the smallest on until one is worse than the best by three "
        f"standard errors; refitted on all, tested on {len(test)} {items}"
    )
    details = {"C": chosen, "held_out_accuracy": tried, "iterations": fit.iterations, "converged": fit.converged}
    return Accuracy(correct, len(test), protocol, details | {"slope": fit.slope, "left": fit.left})


def choose_strength(
    fits: Fits, outside: Sequence[logistic.Block], strengths: Sequence[float],
    iterations: int = logistic.ITERATIONS, told: Callable[[str], None] = lambda line: None,
) -> tuple[float, dict[str, float], Array]:  # fmt: skip
    """The C that is best on the held-out pictures `outside`, the held-out accuracy of each that was tried, its fit's flat.

    From the smallest on, each from the fit of the one before and only as far as accuracies need (`COARSE`), until one is
    worse than the best by `DOUBT` standard errors of their difference. fits: of the other pictures; outside: of
    `logistic.blocks`.
    """
    require(len(strengths) > 0, "strengths", strengths, "at least one number")
    total = sum(len(block.labels) for block in outside)
    start, tried, best = None, {}, (-1, 0.0, np.empty(0))
    for strength in sorted(real("strengths", c, above=0.0) for c in strengths):
        told(f"probe: C = {strength:g}")
        fit = fits.fit(strength, start, iterations, COARSE)
        start = fit.flat
        right = fit.correct(outside)
        tried[f"{strength:g}"] = right / max(total, 1)
        best = (right, strength, fit.flat) if right > best[0] else best
        if best[0] - right > DOUBT * np.sqrt(2.0 * best[0] * (1.0 - best[0] / max(total, 1))):
            break
    return best[1], tried, best[2]


def stratified(labels: np.ndarray, share: float) -> np.ndarray:
    """Mask (n,) of a share of each class, at least one of those with two or more: places spread evenly in their order."""
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        if count > 0:
            held[places[((np.arange(count) + 0.5) * len(places) / count).astype(int)]] = True
    return held


def standard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of the columns, sums in float64; infinite for one that does not vary (`varying`): it
    counts as 0."""
    total, square = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    parts = [features[low : low + logistic.ROWS] for low in range(0, len(features), logistic.ROWS)]
    for part in parts:
        total += part.sum(0, dtype=np.float64)
    mean = total / len(features)
    for part in parts:
        square += np.square(part - mean).sum(0)
    deviation = np.where(varying(features), np.sqrt(square / len(features)), np.inf)
    return mean.astype(features.dtype), deviation.astype(features.dtype)

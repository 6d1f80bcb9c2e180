r"""What features (n, d) are worth, and what they look like; on the host, with the protocol of every number in words.

**Weighted kNN** (Wu et al. 2018): features at unit length; a test picture's k nearest training pictures by cosine s_i vote
for their classes with weights exp(s_i/temperature).

**Linear probe**: multinomial logistic regression on standardised features, fitted by `dynlab.images.probe` with a penalty
|W|^2/(2 C n), C as elsewhere the weight of the data. C is the one with most held-out pictures right (of equals the
smallest), where a fixed share of every class of the *training* set is held out; values are tried from the smallest on, until
one is worse than the best by three standard errors of the difference: beyond, the probe only learns its pictures by heart.
Then all of the training set is fitted.

**Shape**: with R the correlations of the d features, `rank` = exp(entropy of the eigenvalues of R/d), between 1 and d: the
effective rank of the theory (`dynlab.population.moments.correlation_rank`). `singular_rank` is the same function of the
singular values of the centred features over their sum (Roy & Vetterli 2007), which counts weak directions more, and
`covariance_rank` of the covariances' eigenvalues, their squares. A feature that is
the same for all pictures has no correlations: it is a zero row of R, counts in d and is reported as dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab import _fork, _show
from dynlab._checks import integer, real, require
from dynlab._stats import wilson
from dynlab.images import layers, neighbours, probe
from dynlab.population import moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab._types import Array

_fork.watch()

CHUNK_ENTRIES = 1 << 24  # cosines held at a time: 64 MB in float32
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
COARSE, DOUBT = 1e-4, 3.0  # of the fits that decide about C: nats a picture; standard errors
WORDS = 30  # characters of a protocol in the one line of an accuracy


@dataclass(frozen=True)
class Accuracy:
    """How many (`correct`) of `total` test pictures are right.

    protocol: how it was found, in words; details: further numbers by name.
    """

    correct: int
    total: int
    protocol: str
    details: dict

    def __repr__(self) -> str:
        low, high = self.interval
        words = self.protocol.partition(":")[0]
        return f"Accuracy({self.share:.4g} [{low:.4g}, {high:.4g}], {self.correct} of {self.total}, {words[:WORDS]})"

    def _repr_html_(self) -> str:
        low, high = self.interval
        told = {"accuracy": self.share, "95 % from": low, "to": high, "correct": self.correct, "total": self.total}
        return _show.pairs_table(told | {"protocol": self.protocol} | self.details, "Accuracy")

    @property
    def share(self) -> float:
        """The accuracy."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, which does not know of the spread over training seeds."""
        return wilson(self.correct, self.total)

    def as_json(self) -> dict:
        """Plain values."""
        return {"accuracy": self.share, "interval": list(self.interval), **asdict(self)}


@dataclass(frozen=True)
class Shape:
    """What a cloud of features looks like; see the module for rank, covariance_rank, singular_rank.

    mean_abs_correlation: over pairs of features. dead: how many features are constant. spectrum: eigenvalues of the
    covariances, largest first. protocol: how it was found, in words.
    """

    rank: float
    covariance_rank: float
    singular_rank: float
    mean_abs_correlation: float
    dead: int
    spectrum: tuple[float, ...]
    protocol: str

    def __repr__(self) -> str:
        ranks = f"rank {self.rank:.4g} of {len(self.spectrum)}, singular {self.singular_rank:.4g}"
        return f"Shape({ranks}, mean |correlation| {self.mean_abs_correlation:.4g}, {self.dead} dead)"

    def _repr_html_(self) -> str:
        names = ("rank", "covariance_rank", "singular_rank", "mean_abs_correlation", "dead", "protocol")
        return _show.pairs_table({name: getattr(self, name) for name in names}, f"Shape of {len(self.spectrum)} features")

    def as_json(self) -> dict:
        """Plain values."""
        return asdict(self) | {"spectrum": list(self.spectrum)}


def knn(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike, k: int = 200,
    temperature: float = 0.1, told: Callable[[str], None] = lambda line: None,
) -> Accuracy:  # fmt: skip
    """Weighted kNN of test (n, d) among train (N, d), votes exp(cosine/temperature). With N < k all of them vote.

    train_labels (N,), test_labels (n,): integers from 0. told: called with a line where it has come to.
    SettingError for features that do not fit, k or temperature <= 0.
    """
    train, test = _unit(_checked("train", train)), _unit(_checked("test", test))
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    k, temperature = integer("k", k, at_least=1), real("temperature", temperature, above=0.0)
    used = min(k, len(train))
    found = knn_scores(train, train_labels, test, used, temperature, told).argmax(1)
    protocol = (
        f"weighted kNN: {used} nearest of {len(train)} training pictures by cosine similarity, "
        f"votes exp(similarity/{temperature:g}), tested on {len(test)} pictures"
    )
    return Accuracy(int((found == test_labels).sum()), len(test), protocol, {"k": used, "temperature": temperature})


def knn_scores(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int, temperature: float,
    told: Callable[[str], None] = lambda line: None,
) -> np.ndarray:  # fmt: skip
    """Votes (n, classes) for unit features, in blocks of rows that hold at most `CHUNK_ENTRIES` cosines.

    A vote is exp((cosine - the largest of the row's)/temperature): what a picture's votes have in common decides nothing.
    """
    classes = int(labels.max()) + 1
    scores = np.empty((len(test), classes))
    block = max(1, min(len(test), CHUNK_ENTRIES // len(train)))
    cosines, sides = np.empty((block, len(train)), train.dtype), np.empty((len(train), block), train.dtype)
    values, places = np.empty((block, k), train.dtype), np.empty((block, k), np.int64)
    for low in range(0, len(test), block):
        part = test[low : low + block]
        n = len(part)
        told(f"nearest neighbours of {low} of {len(test)} pictures")
        sides = sides if n == block else np.empty((len(train), n), train.dtype)
        layers.matmul(train, part, sides, transpose_b=True)  # this way round the few are packed, not the many
        cosines[:n] = sides.T
        neighbours.largest(cosines[:n], k, values[:n], places[:n])
        neighbours.votes(values[:n], places[:n], labels, temperature, scores[low : low + n])
    return scores


def linear_probe(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike,
    strengths: Sequence[float] = STRENGTHS, held_out: float = 0.1, iterations: int = probe.ITERATIONS,
    told: Callable[[str], None] = lambda line: None,
) -> Accuracy:  # fmt: skip
    """The linear probe on frozen features train (N, d) and test (n, d).

    train_labels (N,), test_labels (n,): integers from 0. strengths: the values of C that are tried. held_out: the share of
    each class that decides between them. iterations: of L-BFGS, at most. told: called with a line where it has come to.
    SettingError for what is not allowed.
    """
    train, test = _checked("train", train), _checked("test", test)
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    share = real("held_out", held_out, above=0.0, at_most=0.5)
    mean, deviation = standard(train)
    held, classes = stratified(train_labels, share), int(train_labels.max()) + 1
    inside, outside = (standard_blocks(train, train_labels, places, mean, deviation) for places in (~held, held))
    moments = probe.second_moments(inside)
    chosen, tried, start = choose_strength(inside, outside, classes, strengths, iterations, moments, told)

    def said(iteration: int) -> None:
        told(f"probe: fit of all with C = {chosen:g}, iteration {iteration} of at most {iterations}")

    fit = probe.fit([*inside, *outside], classes, chosen, start, iterations, moments, said)
    correct = 0
    for low in range(0, len(test), probe.ROWS):
        scores = fit.scores((test[low : low + probe.ROWS] - mean) / deviation)
        correct += int((scores.argmax(1) == test_labels[low : low + probe.ROWS]).sum())
    values = ", ".join(f"{c:g}" for c in sorted(strengths))
    protocol = (
        f"linear probe: multinomial logistic regression (L-BFGS, at most {iterations} iterations) on frozen features, "
        f"standardised by the training set; C chosen of {values} on {share:.0%} of each class "
        f"held out of {len(train)} training pictures, from the smallest on until one is worse than the best by three "
        f"standard errors; refitted on all, tested on {len(test)} pictures"
    )
    details = {"C": chosen, "held_out_accuracy": tried, "iterations": fit.iterations, "converged": fit.converged}
    return Accuracy(correct, len(test), protocol, details | {"slope": fit.slope, "left": fit.left})


def choose_strength(
    inside: Sequence[probe.Part], outside: Sequence[probe.Part], classes: int, strengths: Sequence[float],
    iterations: int = probe.ITERATIONS, moments: Array | None = None, told: Callable[[str], None] = lambda line: None,
) -> tuple[float, dict[str, float], Array]:  # fmt: skip
    """The C that is best on the held-out pictures `outside`, the held-out accuracy of each that was tried, its fit's flat.

    From the smallest on, each from the fit of the one before and only as far as accuracies need (`COARSE`), until one is
    worse than the best by `DOUBT` standard errors of their difference. inside, outside: `probe.blocks`. moments: of inside.
    """
    require(len(strengths) > 0, "strengths", strengths, "at least one number")
    moments = probe.second_moments(inside) if moments is None else moments
    total = sum(len(labels) for _, _, labels in outside)
    start, tried, best = None, {}, (-1, 0.0, np.empty(0))
    for strength in sorted(real("strengths", c, above=0.0) for c in strengths):
        told(f"probe: C = {strength:g}")
        fit = probe.fit(inside, classes, strength, start, iterations, moments, tolerance=COARSE)
        start = fit.flat
        right = sum(int((fit.scores(features).argmax(1) == labels).sum()) for features, _, labels in outside)
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
    parts = [features[low : low + probe.ROWS] for low in range(0, len(features), probe.ROWS)]
    for part in parts:
        total += part.sum(0, dtype=np.float64)
    mean = total / len(features)
    for part in parts:
        square += np.square(part - mean).sum(0)
    deviation = np.where(varying(features), np.sqrt(square / len(features)), np.inf)
    return mean.astype(features.dtype), deviation.astype(features.dtype)


def varying(features: np.ndarray) -> np.ndarray:
    """Mask (d,) of the columns that vary by more than their own rounding, four spacings of their largest entry: a network
    gives one number for two pictures only but for that, in an order of its sums that depends on the processor."""
    low, high = features.min(0), features.max(0)
    return high - low > 4.0 * np.finfo(features.dtype).eps * np.maximum(-low, high)


def standard_blocks(
    features: np.ndarray, labels: np.ndarray, chosen: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> list[probe.Part]:
    """`probe.blocks` of the standardised rows of features (n, d) that a mask (n,) chooses."""
    places, made = np.flatnonzero(chosen), []
    for low in range(0, len(places), probe.ROWS):
        some = places[low : low + probe.ROWS]
        made += probe.blocks((features[some] - mean) / deviation, labels[some])
    return made


def shape(features: ArrayLike) -> Shape:
    """Spectrum, ranks and correlations of features (n, d)."""
    features = _checked("features", features)
    alive = varying(features)
    centred = features.astype(np.float64)
    centred -= centred.mean(0)
    centred[:, ~alive] = 0.0  # not what rounding leaves of a constant
    covariance = centred.T @ centred / len(centred)
    spectrum = np.zeros(len(alive))
    spectrum[: alive.sum()] = np.linalg.eigvalsh(covariance[np.ix_(alive, alive)])[::-1]
    # What is left of an eigenvalue 0 is of the size of rounding in n products and d rotations, of either sign.
    spectrum[spectrum <= max(features.shape) * np.finfo(np.float64).eps * spectrum[0]] = 0.0
    sd = np.sqrt(np.diagonal(covariance)[alive])
    correlation = np.abs(covariance[np.ix_(alive, alive)] / np.outer(sd, sd))
    pairs = len(sd) * (len(sd) - 1)
    return Shape(
        rank=float(moments.correlation_rank(covariance)),
        covariance_rank=entropy_rank(spectrum),
        singular_rank=entropy_rank(np.sqrt(spectrum)),
        mean_abs_correlation=float((correlation.sum() - np.trace(correlation)) / pairs) if pairs else float("nan"),
        dead=int((~alive).sum()),
        spectrum=tuple(float(x) for x in spectrum),
        protocol=(
            f"of {features.shape[0]} pictures and {features.shape[1]} features: rank = exp(entropy of the eigenvalues of "
            "the correlation matrix over their number), covariance_rank the same of the covariance matrix's over their sum, "
            "singular_rank of their square roots (Roy & Vetterli 2007); "
            "mean absolute correlation over pairs of features that vary"
        ),
    )


def spread(features: Array) -> tuple[float, float]:
    """Standard deviations over the rows of features (n, d), means over columns: as they are, and of rows at unit length.

    The latter is what Chen & He (2021) plot: 1/sqrt(d) for directions spread over the whole sphere, 0 for one direction.
    """
    exact = features.astype(np.float64)
    largest = np.abs(exact).max(1, keepdims=True)
    unit = _unit(exact / np.where(largest > 0.0, largest, 1.0))
    return float(exact.std(0).mean()), float(unit.std(0).mean())


def entropy_rank(weights: Array) -> float:
    """exp(entropy) of weights >= 0 over their sum; 1 where all vanish."""
    share = weights[weights > 0.0] / weights.sum() if weights.sum() > 0.0 else np.ones(1)
    return float(np.exp(-(share * np.log(share)).sum()))


def _checked(name: str, features: ArrayLike) -> np.ndarray:
    """Features as a matrix of floats, finite."""
    features = np.asarray(features)
    require(features.ndim == 2 and min(features.shape) > 0, name, features.shape, "a matrix, rows for pictures")
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float32)
    require(bool(np.isfinite(features.sum(dtype=np.float64))), name, "nan or infinity", "finite numbers")
    return np.ascontiguousarray(features)


def _labels(labels: ArrayLike, features: np.ndarray) -> np.ndarray:
    """Labels as integers from 0, one for each row."""
    labels = np.asarray(labels)
    fits = labels.shape == features.shape[:1] and labels.dtype.kind in "iu" and labels.min() >= 0
    require(bool(fits), "labels", f"{labels.dtype} {labels.shape}", f"{len(features)} integers from 0")
    return labels.astype(np.int64)


def _unit(features: np.ndarray) -> np.ndarray:
    """Rows at unit length; a row of zeros stays zero."""
    out: np.ndarray = layers.unit_length(features, np.empty_like(features), np.empty(len(features), features.dtype))
    return out

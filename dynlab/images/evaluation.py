r"""What features (n, d) are worth, and what they look like; on the host, with the protocol of every number in words.

**Weighted kNN** (Wu et al. 2018): features at unit length; a test picture's k nearest training pictures by cosine s_i vote
for their classes with weights exp(s_i/temperature).

**Linear probe**: multinomial logistic regression on standardised features x, by L-BFGS (SciPy) with the exact gradient,

    J(W, b) = (1/n) sum_i [log sum_c exp(w_c . x_i + b_c) - (w_{y_i} . x_i + b_{y_i})] + |W|^2/(2 C n),

C as elsewhere the weight of the data. C is the one with most held-out pictures right (of equals the smallest), where a fixed
share of every class of the *training* set is held out; then all of the training set is fitted with it. With p the softmax,
dJ/dw_c = (1/n) sum_i (p_ic - [y_i = c]) x_i + w_c/(C n), dJ/db_c = (1/n) sum_i (p_ic - [y_i = c]). So that few iterations
do, x are turned onto the axes of their covariance, with eigenvalues e_k, which changes neither J's minimum nor |W|, and the
search is in w_k sqrt(e_k/classes + 1/(C n)), the square root being about that of the curvature of J.

**Shape**: with R the correlations of the d features, `rank` = exp(entropy of the eigenvalues of R/d), between 1 and d: the
effective rank of the theory (`dynlab.population.moments.correlation_rank`). `singular_rank` is the same function of the
singular values of the centred features over their sum (Roy & Vetterli 2007), which counts weak directions more, and
`covariance_rank` of the covariances' eigenvalues, their squares. A feature that is
the same for all pictures has no correlations: it is a zero row of R, counts in d and is reported as dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from dynlab import _show
from dynlab._checks import integer, real, require
from dynlab._stats import wilson
from dynlab.images import neighbours
from dynlab.population import moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab._types import Array

CHUNK_ENTRIES = 1 << 24  # cosines held at a time: 64 MB in float32
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
ITERATIONS, TOLERANCE = 200, 1e-5
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
    temperature: float = 0.1,
) -> Accuracy:  # fmt: skip
    """Weighted kNN of test (n, d) among train (N, d), votes exp(cosine/temperature). With N < k all of them vote.

    train_labels (N,), test_labels (n,): integers from 0. SettingError for features that do not fit, k or temperature <= 0.
    """
    train, test = _unit(_checked("train", train)), _unit(_checked("test", test))
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    k, temperature = integer("k", k, at_least=1), real("temperature", temperature, above=0.0)
    used = min(k, len(train))
    found = knn_scores(train, train_labels, test, used, temperature).argmax(1)
    protocol = (
        f"weighted kNN: {used} nearest of {len(train)} training pictures by cosine similarity, "
        f"votes exp(similarity/{temperature:g}), tested on {len(test)} pictures"
    )
    return Accuracy(int((found == test_labels).sum()), len(test), protocol, {"k": used, "temperature": temperature})


def knn_scores(train: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """Votes (n, classes) for unit features, in blocks of rows that hold at most `CHUNK_ENTRIES` cosines."""
    classes = int(labels.max()) + 1
    scores = np.empty((len(test), classes))
    block = max(1, min(len(test), CHUNK_ENTRIES // len(train)))
    cosines = np.empty((block, len(train)), train.dtype)
    values, places = np.empty((block, k), train.dtype), np.empty((block, k), np.int64)
    for low in range(0, len(test), block):
        part = test[low : low + block]
        n = len(part)
        np.matmul(part, train.T, out=cosines[:n])
        neighbours.largest(cosines[:n], k, values[:n], places[:n])
        neighbours.votes(values[:n], places[:n], labels, temperature, scores[low : low + n])
    return scores


def linear_probe(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike,
    strengths: Sequence[float] = STRENGTHS, held_out: float = 0.1, iterations: int = ITERATIONS,
) -> Accuracy:  # fmt: skip
    """The linear probe on frozen features train (N, d) and test (n, d).

    train_labels (N,), test_labels (n,): integers from 0. strengths: the values of C that are tried. held_out: the share of
    each class that decides between them. iterations: of L-BFGS, at most. SettingError for what is not allowed.
    """
    train, test = _checked("train", train), _checked("test", test)
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    share = real("held_out", held_out, above=0.0, at_most=0.5)
    inside, outside = on_axes(train, test)
    chosen, tried = choose_strength(inside, train_labels, strengths, share, iterations)
    fit = fit_logistic(inside, train_labels, chosen, iterations=iterations)
    correct = int((fit.scores(outside).argmax(1) == test_labels).sum())
    values = ", ".join(f"{c:g}" for c in strengths)
    protocol = (
        f"linear probe: multinomial logistic regression (L-BFGS, at most {iterations} iterations) on frozen features, "
        f"standardised by the training set; C = {chosen:g} of {values} chosen on {share:.0%} of each class "
        f"held out of {len(train)} training pictures, refitted on all, tested on {len(test)} pictures"
    )
    details = {"C": chosen, "held_out_accuracy": tried, "iterations": fit.iterations, "converged": fit.converged}
    return Accuracy(correct, len(test), protocol, details | {"slope": fit.slope})


def choose_strength(
    features: np.ndarray, labels: np.ndarray, strengths: Sequence[float], share: float, iterations: int
) -> tuple[float, dict[str, float]]:
    """The C that is best on held-out pictures of features (n, d), and the held-out accuracy of each."""
    require(len(strengths) > 0, "strengths", strengths, "at least one number")
    held = stratified(labels, share)
    inside, outside = features[~held], features[held]
    start, tried, best = None, {}, (-1.0, 0.0)
    for strength in sorted(real("strengths", c, above=0.0) for c in strengths):
        fit = fit_logistic(inside, labels[~held], strength, start, iterations, int(labels.max()) + 1)
        start = fit.flat
        accuracy = float((fit.scores(outside).argmax(1) == labels[held]).mean())
        tried[f"{strength:g}"] = accuracy
        best = max(best, (accuracy, -strength))
    return -best[1], tried


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
    """Mean and standard deviation (d,) of the columns, infinite for one that does not vary (`varying`): it counts as 0."""
    mean = features.mean(0, dtype=np.float64)
    deviation = features.std(0, dtype=np.float64)
    return mean.astype(features.dtype), np.where(varying(features), deviation, np.inf).astype(features.dtype)


def varying(features: np.ndarray) -> np.ndarray:
    """Mask (d,) of the columns that vary by more than their own rounding, four spacings of their largest entry: a network
    gives one number for two pictures only but for that, in an order of its sums that depends on the processor."""
    return np.ptp(features, axis=0) > 4.0 * np.finfo(features.dtype).eps * np.abs(features).max(0)


def on_axes(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both standardised by train and turned onto the axes of its covariance."""
    mean, deviation = standard(train)
    made = (train - mean) / deviation
    _, axes = np.linalg.eigh((made.T @ made).astype(np.float64))
    axes = axes.astype(train.dtype)
    return made @ axes, ((test - mean) / deviation) @ axes


@dataclass(frozen=True)
class Fit:
    """A fitted probe: flat = weights (d, classes) and biases (classes,); slope: the largest entry of the gradient."""

    flat: np.ndarray
    classes: int
    iterations: int
    converged: bool
    slope: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(n, classes)."""
        parts = self.flat.reshape(-1, self.classes).astype(features.dtype)
        return features @ parts[:-1] + parts[-1]


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, strength: float, start: Array | None = None, iterations: int = ITERATIONS,
    classes: int | None = None,
) -> Fit:  # fmt: skip
    """Minimise J of the module from `start` (None: zero); fastest for features from `on_axes`."""
    classes = int(labels.max()) + 1 if classes is None else classes
    start = np.zeros((features.shape[1] + 1) * classes) if start is None else start
    problem = Logistic(features, labels, classes, strength)
    scale = np.repeat(problem.lengths(), classes)

    def scaled(flat: Array) -> tuple[float, Array]:
        value, gradient = problem(flat * scale)
        return value, gradient * scale

    options = {"maxiter": iterations, "gtol": TOLERANCE, "ftol": 1e-9, "maxcor": 20}
    found = minimize(scaled, start / scale, jac=True, method="L-BFGS-B", options=options)
    return Fit(found.x * scale, classes, int(found.nit), bool(found.success), float(np.abs(found.jac / scale).max()))


class Logistic:
    """J and its gradient as a function of flat float64 parameters; products in the features' type, sums in float64."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> None:
        self.features, self.classes = features, classes
        self.penalty = 1.0 / (strength * len(features))
        self.own = np.arange(len(labels)) * classes + labels
        self.scores = np.empty((len(features), classes), features.dtype)
        self.slope = np.empty((features.shape[1], classes), features.dtype)

    def lengths(self) -> np.ndarray:
        """(d + 1,): one over the square root of about J's curvature along the weights of each feature, and the biases."""
        power = np.einsum("ij,ij->j", self.features, self.features) / len(self.features)
        return 1.0 / np.sqrt(np.append(power.astype(np.float64) / self.classes + self.penalty, 1.0 / self.classes))

    def __call__(self, flat: Array) -> tuple[float, Array]:
        parts = flat.reshape(-1, self.classes)
        weights, scores, n = parts[:-1], self.scores, len(self.scores)
        np.matmul(self.features, weights.astype(scores.dtype), out=scores)
        scores += parts[-1].astype(scores.dtype)
        scores -= scores.max(1, keepdims=True)
        loss = -scores.ravel()[self.own].sum(dtype=np.float64)
        np.exp(scores, out=scores)
        total = scores.sum(1, keepdims=True)
        loss += np.log(total).sum(dtype=np.float64)
        scores /= total
        scores.ravel()[self.own] -= 1.0
        np.matmul(self.features.T, scores, out=self.slope)
        gradient = np.empty_like(parts)
        gradient[:-1] = self.slope / n + self.penalty * weights
        gradient[-1] = scores.sum(0, dtype=np.float64) / n
        return loss / n + 0.5 * self.penalty * float((weights * weights).sum()), gradient.ravel()


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
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0.0, length, 1.0).astype(features.dtype)

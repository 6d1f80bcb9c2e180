r"""What features (n, d) are worth, and what they look like; on the host, with the protocol of every number in words.

**Weighted kNN** (Wu et al. 2018): features at unit length; a test picture's k nearest training pictures by cosine s_i vote
for their classes with weights exp(s_i/temperature).

**Linear probe**: multinomial logistic regression on standardised features, fitted by `dynlab.images.logistic` with a penalty
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

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images import logistic
from dynlab.images.layers.dense import unit_length
from dynlab.machine import fork
from dynlab.tools import show
from dynlab.tools.checks import require
from dynlab.tools.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.tools.types import Array

fork.watch()

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
        return show.pairs_table(told | {"protocol": self.protocol} | self.details, "Accuracy")

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


def standard_blocks(
    features: np.ndarray, labels: np.ndarray, chosen: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> list[logistic.Block]:
    """`logistic.blocks` of the standardised rows of features (n, d) that a mask (n,) chooses."""
    places, made = np.flatnonzero(chosen), []
    for low in range(0, len(places), logistic.ROWS):
        some = places[low : low + logistic.ROWS]
        made += logistic.blocks((features[some] - mean) / deviation, labels[some])
    return made


def spread(features: Array) -> tuple[float, float]:
    """Standard deviations over the rows of features (n, d), means over columns: as they are, and of rows at unit length.

    The latter is what Chen & He (2021) plot: 1/sqrt(d) for directions spread over the whole sphere, 0 for one direction.
    """
    exact = features.astype(np.float64)
    largest = np.abs(exact).max(1, keepdims=True)
    unit = _unit(exact / np.where(largest > 0.0, largest, 1.0))
    return float(exact.std(0).mean()), float(unit.std(0).mean())


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
    out: np.ndarray = unit_length(features, np.empty_like(features), np.empty(len(features), features.dtype))
    return out

"""Weighted nearest neighbours on frozen features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images.layers.dense import multiply_packed, packed
from dynlab.images.worth import neighbours
from dynlab.images.worth.accuracy import Accuracy, _checked, _labels, _unit
from dynlab.tools.checks import integer, real, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


CHUNK_ENTRIES = 1 << 24  # cosines held at a time: 64 MB in float32


def knn(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike, k: int = 200,
    temperature: float = 0.1, told: Callable[[str], None] = lambda line: None, items: str = "pictures",
) -> Accuracy:  # fmt: skip
    """Weighted kNN of test (n, d) among train (N, d), votes exp(cosine/temperature). With N < k all of them vote.

    train_labels (N,), test_labels (n,): integers from 0. told: called with a line where it has come to. items: what rows
    are of, for the protocol. SettingError for features that do not fit, k or temperature <= 0.
    """
    train, test = _unit(_checked("train", train)), _unit(_checked("test", test))
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    require(train.shape[1] == test.shape[1], "test", test.shape, f"of {train.shape[1]} columns, as train")
    k, temperature = integer("k", k, at_least=1), real("temperature", temperature, above=0.0)
    used = min(k, len(train))
    found = knn_scores(train, train_labels, test, used, temperature, told).argmax(1)
    protocol = (
        f"weighted kNN: {used} nearest of {len(train)} training {items} by cosine similarity, "
        f"votes exp(similarity/{temperature:g}), tested on {len(test)} {items}"
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
    cosines, right = np.empty((block, len(train)), train.dtype), packed(train, transpose=True)
    values, places = np.empty((block, k), train.dtype), np.empty((block, k), np.int64)
    for low in range(0, len(test), block):
        part = test[low : low + block]
        n = len(part)
        told(f"nearest neighbours of {low} of {len(test)} pictures")
        multiply_packed(part, right, cosines[:n])
        neighbours.largest(cosines[:n], k, values[:n], places[:n])
        neighbours.votes(values[:n], places[:n], labels, temperature, scores[low : low + n])
    return scores

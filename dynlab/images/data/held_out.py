"""Which of one's own pictures are for the test, where nobody says, and how their classes are numbered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EVERY = 5  # of so many pictures the last one is for the test


def rows_of(split: str, count: int) -> np.ndarray:
    """The rows, of `count`, of split "train" or "test": the fifth, tenth, ... are for the test."""
    rows = np.arange(count)
    return rows[(rows % EVERY == EVERY - 1) == (split == "test")]


def held_out_note(place: object, instead: str) -> str:
    """What is told of a set without a test part; instead: what decides otherwise."""
    return f"{place}: every fifth picture is held out for evaluation ({instead} would decide otherwise)"


def class_numbers(labels: np.ndarray, classes: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(labels as int64 from 0, names of the classes); classes: those of the training part (None: this is it).

    labels (n,): integers or words; numbered by size or alphabet. KeyError with the name of a class that is not known.
    """
    names, codes = np.unique(labels, return_inverse=True)
    here = [str(name) for name in names]
    known = tuple(here) if classes is None else tuple(classes)
    place = {name: i for i, name in enumerate(known)}
    return np.array([place[name] for name in here], np.int64)[codes.reshape(-1)], known

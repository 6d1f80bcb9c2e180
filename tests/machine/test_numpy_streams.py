"""Streams of NumPy's generators drawn together are NumPy's own, bit by bit; where they are not, they are not used."""

from __future__ import annotations

import numpy as np
import pytest

from dynlab.machine import numpy_streams

INDICES = np.array([0, 1, 2, 77, 2**32 - 1, 2**32, 2**32 + 5, 2**62 + 1, *range(100, 400)])


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63 - 1])
def test_streams_are_those_of_default_rng(seed):
    """Seeds of one word and of two, indices likewise, and so many numbers that the ziggurat's tail comes."""
    degrees = np.array([2.5, 40.0, 1e12])
    normals, squares = numpy_streams.normals_and_squares(seed, INDICES, 300, degrees)
    for i, index in enumerate(INDICES):
        rng = np.random.default_rng((seed, int(index)))
        assert (rng.standard_normal(300) == normals[i]).all() and (rng.chisquare(degrees) == squares[i]).all()
    assert np.abs(normals).max() > 3.6541528853610088  # where the tail begins


def test_few_degrees_are_left_to_numpy():
    assert numpy_streams.normals_and_squares(0, np.arange(3), 4, np.array([5.0, 2.0])) is None


def test_other_bits_are_seen(monkeypatch):
    """A NumPy that rounds otherwise: nothing is drawn here."""

    class Other:
        def __init__(self, entropy):
            self.rng = rng(entropy)

        def standard_normal(self, count):
            return self.rng.standard_normal(count)

        def chisquare(self, degrees):
            return np.nextafter(self.rng.chisquare(degrees), 0.0)

    rng = np.random.default_rng
    numpy_streams.usable.cache_clear()
    monkeypatch.setattr(np.random, "default_rng", Other)
    assert numpy_streams.normals_and_squares(0, np.arange(3), 4, np.array([5.0])) is None
    monkeypatch.undo()
    numpy_streams.usable.cache_clear()
    assert numpy_streams.usable()


def test_tables_that_are_missing_are_no_error(monkeypatch):
    def missing():
        raise ImportError("no such module")

    numpy_streams.usable.cache_clear()
    monkeypatch.setattr(numpy_streams, "tables", missing)
    assert not numpy_streams.usable()
    numpy_streams.usable.cache_clear()

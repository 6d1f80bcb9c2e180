"""Many starts drawn at once are the starts drawn one by one, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from dynlab import Model
from dynlab.machine import cache, numpy_streams
from dynlab.population import starts

CASES = [
    (Model(), 1000, 0), (Model(), 6, 7), (Model(), 10**12, 2**63 - 1), (Model(neurons=1, strengths=(1.0, 0.5, 0.2)), 64, 3),
    (Model(neurons=5, strengths=(1.0, 0.9, 0.8)), 1000, 2**40), (Model(neurons=3), 5, 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "dim", "seed"), CASES)
def test_many_are_those_drawn_one_by_one(model, dim, seed):
    numbers = np.array([0, 5, 2**33, *range(1000, 1200)])
    signal, gram = starts.draw_starts(model, dim, seed, numbers, 0.7, many=True)
    for i, number in enumerate(numbers):
        one = starts.draw_start(model, dim, seed, int(number), 0.7)
        assert (one.signal == signal[i]).all() and (one.noise_gram == gram[i]).all()


def test_few_degrees_of_freedom_come_from_numpy(monkeypatch):
    """Dimension 5 with three neurons leaves one degree of freedom, where gamma numbers are drawn otherwise."""
    monkeypatch.setattr(numpy_streams, "drawn", None)
    assert starts._at_once(Model(neurons=3), 5, 0, np.arange(3), 1.0) is None


def test_a_kernel_that_is_on_the_disk_is_used_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    assert [starts.worth_a_kernel(count) for count in (1, 500, 9999, 10_000)] == [False, False, False, True]
    (tmp_path / f"{starts.KERNEL}.0123456789abcdef{cache.SUFFIX}").touch()
    assert [starts.worth_a_kernel(count) for count in (1, 499, 500, 10_000)] == [False, False, True, True]
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    assert [starts.worth_a_kernel(count) for count in (500, 10_000)] == [False, True]


def test_the_kernel_has_the_name_that_is_looked_for():
    function = numpy_streams.fill.py_func
    assert f"{function.__module__}.{function.__qualname__}" == starts.KERNEL

"""The comparison of heads: which runs it makes, and how their figures come together."""

from dataclasses import replace

import numpy as np
import pytest

from dynlab import heads
from dynlab.images.comparison import tables
from dynlab.images.comparison.runs import entries, of_entry


def test_mean_and_interval_over_seeds():
    mean, low, high = tables.mean_and_interval([0.5, 0.52, 0.54])
    assert mean == pytest.approx(0.52) and high - mean == pytest.approx(4.302652729911275 * 0.02 / np.sqrt(3.0))
    assert mean - low == pytest.approx(high - mean)


def test_settings_of_contest_runs():
    one = heads.check(heads.parser().parse_args(["--recipe", "demo"]))
    made = [of_entry(one, *entry) for entry in entries(one)]
    assert [(run.normalisation, run.head, run.seed) for run in made] == [
        ("batch", "none", 0), ("batch", "off-diagonal", 0), ("length", "none", 0), ("length", "off-diagonal", 0),
    ]  # fmt: skip
    assert all(replace(run, head="none", normalisation="batch") == replace(made[0]) for run in made)

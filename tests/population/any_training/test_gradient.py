"""The gradient of every combination of switches against the oracle of 50 digits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.population.any_training.gradient import training_gradient
from tests.oracles import exact
from tests.population.any_training.combinations import a_case, against_exact
from tests.strategies import HypothesisDraws, SeededDraws


@given(st.data())
def test_any_combination(data):
    against_zero_variance_or_exact(a_case(HypothesisDraws(data.draw)))


def against_zero_variance_or_exact(case):
    """`against_exact`; where an output has no variance the gradient must say so."""
    try:
        against_exact(training_gradient, case)
    except exact.Degenerate:
        with pytest.raises(ValueError, match="zero variance"):
            training_gradient(*case.arguments())


@pytest.mark.parametrize("block", range(10))
def test_drawn_combinations(block):
    for seed in range(100 * block, 100 * block + 100):
        against_zero_variance_or_exact(a_case(SeededDraws(np.random.default_rng(seed))))

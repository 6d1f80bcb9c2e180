"""Commands on good models from all over the allowed range: no crash, and numbers that can be.

DYNLAB_FAULTS=N draws N times as many, of every activation from 4 on.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pandas as pd
import pytest

from tests.faults import good_models
from tests.faults.good_models import EDGES, Drawn, check, check_run, draw

TIMES = int(os.environ.get("DYNLAB_FAULTS", "1"))
ACTIVATIONS = ("cubic",) if TIMES < 4 else ("cubic", "relu", "relu3", "linear")
USUAL = {
    "strong": 1.0, "weak": 0.3, "noise": 0.5, "patches": 16, "feature_patches": 4, "mask": "half", "dim": 1000,
    "eta_head": 0.01, "activation": "cubic",
}  # fmt: skip


@pytest.mark.parametrize("number", range(4 * TIMES))
def test_drawn_models(number, tmp_path):
    drawn = draw(random.Random(number), ACTIVATIONS)
    assert check(drawn, tmp_path / "drawn", maps=number % 4 == 0) == [], drawn


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_what_crashed_or_misled_once(edge, tmp_path):
    """Figures included: phases that ended before the axis did and axes of a single time could not be drawn."""
    assert check_run(Drawn(USUAL | edge), tmp_path, draws=True) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss_end": np.nan}, "loss"), ({"loss_end": -np.inf}, "loss"), ({"loss_end": 8.1}, "loss"),
        ({"status": "resting"}, "unknown status"), ({"outcome": "failed"}, "a failure"), ({"rank": 2.5}, "rank"),
        ({"outcome": "neither", "status": "stationary"}, "nothing is learnt"), ({"time_end": np.inf}, "no time"),
    ],
)  # fmt: skip
def test_the_checks_see_what_is_wrong(change, words):
    row = {"outcome": "both", "status": "stationary", "loss_end": 2.6, "time_end": 1e9, "rank": 2.0}
    assert good_models.wrong_frame(pd.DataFrame([row, row])) == []
    (line,) = good_models.wrong_frame(pd.DataFrame([row, row | change]))
    assert words in line

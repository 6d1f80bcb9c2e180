"""The table of forecasts: its runs are allowed, its numbers are those of hand computations, what is told is on the page."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import forecasts
from dynlab.embeddings import theory_forecast


def test_all_runs_are_allowed_and_of_other_seeds_than_the_rule_was_chosen_by():
    found = forecasts.runs()
    assert len(found) >= 60 and {one.seed for one in found.values()} == {2, 3}
    assert {one.head for one in found.values()} == {"none", "off-diagonal", "linear"}
    assert {one.loss for one in found.values()} == {"similarity"} and "cosine" in {one.schedule for one in found.values()}


def test_rank_correlations_and_scores_by_hand():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert forecasts.correlation(x, np.array([1.0, 4.0, 9.0, 16.0])) == pytest.approx(1.0)
    assert forecasts.correlation(x, np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(0.6)  # 1 - 6 * 4 / (4 * 15)
    assert np.isnan(forecasts.correlation(x, np.ones(4)))
    rows = [{"collapsed": True}, {"collapsed": False}]
    assert forecasts.brier(rows, np.array([0.8, 0.4])) == pytest.approx((0.04 + 0.16) / 2)


def test_the_curve_is_where_the_likelihood_is_largest():
    rng = np.random.default_rng(0)
    rows = [{"merged": x, "collapsed": bool(rng.random() < 1 / (1 + np.exp(4 - 10 * x)))} for x in rng.random(200)]
    x, y = forecasts.of(rows, "merged"), forecasts.of(rows, "collapsed")

    def miss(a: float, b: float) -> float:
        return float(np.logaddexp(0.0, -(2 * y - 1) * (a + b * x)).sum() + b**2 / 1800)

    a, b = forecasts.curve(rows)
    assert all(miss(a, b) < miss(a + da, b + db) for da, db in ((0.05, 0), (-0.05, 0), (0, 0.1), (0, -0.1)))


def made(seed: int, k: int, collapsed: bool) -> dict:
    """A run whose forecast of the peak is right, and whose share of merged pairs is the outcome."""
    return {
        "seed": seed, "rate": 0.001 * (k + 1), "head": not collapsed, "guarded": not collapsed, "normalisation": "batch",
        "collapsed": collapsed, "early_rank": 1.5, "peak": 1.0 + k, "peak_step": 10 * k, "inside": True, "half_step": 5 * k,
        "early_norm": 0.5, "said_peak": 1.0 + k, "said_step": 20.0 * k, "said_half": 100.0 - k, "merged": float(collapsed),
    }  # fmt: skip


def test_the_table_of_runs_that_are_known():
    rows = [made(seed, k, k % 4 == 0) for seed in (0, 1, 2) for k in range(1, 17)]
    lines = forecasts.table(rows)
    assert lines[0].startswith("32 runs judged, 16 that")
    text = "\n".join(lines)
    assert "| peak: rank correlation, forecast | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |" in text
    assert "| half of the peak: rank correlation of its step | -1.00 (-1.00 to -1.00)" in text
    assert "| forecast over peak's step, median | 2.00 (2.00 to 2.00)" in text
    assert "| runs, of these collapsed | 32, 8 | 16, 4 |" in text
    assert "| the forecast, the share of merged pairs | 0.000 (0.000 to 0.000)" in text
    assert "| 60 to 100 % | 8 | 100 % | 8 of 8" in text


def test_what_a_forecast_says_of_its_worth_is_on_the_page():
    page = forecasts.PAGE.read_text(encoding="utf-8")
    assert f"{theory_forecast.JUDGED} runs judged" in page
    assert f"| runs, of these collapsed | {theory_forecast.JUDGED}, {theory_forecast.COLLAPSED} |" in page
    assert f"| runs | {theory_forecast.HEADS} |" in page
    for words, number in (
        ("peak: rank correlation, forecast", theory_forecast.PEAK_WORTH[0]),
        ("the same, of the norm at the last record used", theory_forecast.PEAK_WORTH[1]),
        ("the forecast, the share of merged pairs", theory_forecast.BRIER[0]),
    ):
        assert f"| {words} | {number} |" in page, words
    assert f"% for all | {theory_forecast.BRIER[1]} |" in page

"""What the main run says follows from its numbers, and which start it shows follows from its ensembles."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dynlab import report
from dynlab._stats import wilson
from dynlab.run import representative


def summary_rows(activation, with_head, without, n=1000):
    """Rows of a summary, as many of n seeds learning both as told, the others the strong feature only."""
    rows = []
    for head, both in (("off-diagonal", with_head), ("none", without)):
        counts = {"both": both, "only_strong": n - both, "only_weak": 0, "neither": 0, "waiting": 0, "failed": 0}
        row = {"activation": activation, "head": head, "seeds": n, "time_first": 31234.5}
        row |= {"head_peak": 0.05, "head_bound": 0.0625, "head_end": 3e-17, "merged": 1 - both / n}
        for outcome, count in counts.items():
            row[outcome] = count / n
            row[f"{outcome}_low"], row[f"{outcome}_high"] = wilson(count, n)
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("with_head", "without", "words"),
    [
        (980, 170, "the head rescues the weak feature"),
        (170, 980, "the head harms the weak feature"),
        (0, 0, "the head does not rescue the weak feature"),
        (180, 170, "the head does not rescue the weak feature"),
    ],
)
def test_the_verdict_follows_the_intervals(with_head, without, words):
    rows = summary_rows("relu", with_head, without).set_index("head")
    text = report.verdict("relu", rows, 0.25)
    assert text.startswith(f"relu: {words}: ")
    assert f"with it {with_head / 10:.1f} % of the seeds learn both, without {without / 10:.1f} %" in text
    assert ("80.0 % of its bound" in text) == (with_head > 500)
    assert ("takes the strong feature v_1 in 25.0 % of the seeds" in text) == (with_head <= 500)


def test_the_table_has_a_block_an_activation_and_every_number():
    summary = pd.concat([summary_rows("relu", 0, 0), summary_rows("cubic", 980, 170)], ignore_index=True)
    text = "\n".join(report.table(summary))
    low, high = wilson(980, 1000)
    share = f"98.0 % ({100 * low:.1f} to {100 * high:.1f})"
    for part in ("relu ", "cubic ", share, "3.12e+04", "0.05 (0.0625)"):
        assert part in text, part
    assert max(len(line) for line in text.splitlines()) <= 100


def test_what_did_not_happen_is_a_dash():
    assert report.number(float("nan")) == "-"


def test_failed_seeds_are_named_with_their_status():
    outcomes = ["both"] * 37 + ["failed"] * 3
    frame = pd.DataFrame({"seed": range(40), "outcome": outcomes, "status": "underflow"})
    (line,) = report.failures(frame, "cubic, head none")
    assert line == "failed: cubic, head none: 3 of 40 seeds: 37 (underflow), 38 (underflow), 39 (underflow)"
    assert report.failures(frame[:37], "cubic, head none") == []
    (line,) = report.failures(frame.assign(outcome="failed"), "cubic, head none")
    assert line.endswith("19 (underflow), and 20 more")


@pytest.mark.parametrize(
    ("with_head", "without", "row"),
    [
        ("both both only_strong both", "both only_strong only_strong only_strong", 1),
        ("only_strong both both", "only_strong both both", 1),
        ("failed failed both", "only_strong only_strong both", 2),
        ("failed failed", "failed only_strong", 1),
        ("only_strong only_strong both", "only_strong only_strong only_strong", 0),
    ],
)
def test_the_start_that_is_shown(with_head, without, row):
    words = {"off-diagonal": with_head, "none": without}
    frames = {head: pd.DataFrame({"outcome": outcomes.split()}) for head, outcomes in words.items()}
    assert representative({head: SimpleNamespace(frame=frame) for head, frame in frames.items()}) == row


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1000, 0.000177, 0.00564)],
)
def test_wilson_against_published_values(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_where_the_score_test_turns():
    """The ends are the shares p whose distance from the seen one is 1.96 standard errors at p."""
    for successes, trials in ((3, 17), (250, 1000), (999, 1000)):
        for end in wilson(successes, trials):
            distance = abs(successes / trials - end) / np.sqrt(end * (1 - end) / trials)
            assert distance == pytest.approx(1.959963984540054, rel=1e-9)
    assert wilson(0, 0) == (0.0, 1.0)

"""What the main run says follows from its numbers, and which start it shows follows from its ensembles."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab import Model
from dynlab.ensembles.main_run import representative
from dynlab.reports import main_run
from dynlab.tools.intervals import mcnemar, tango, wilson


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


@dataclass
class Made:
    """What a verdict reads of an ensemble, from made-up outcomes."""

    frame: pd.DataFrame
    settings: dict
    model: Model = Model()


def made(head, outcomes, strong=0.25):
    """An ensemble with these outcomes, of whose outputs every fourth start's carry the strong feature alone."""
    n = len(outcomes)
    frame = pd.DataFrame({"outcome": outcomes, "head_peak": 0.05, "head_bound": 0.0625, "head_end": 3e-17})
    on = np.arange(n) < strong * n
    return Made(frame.assign(carried_1_1=np.where(on, 0.9, 0.2), carried_2_1=0.9), {"head": head})


def said(both, gained, lost, neither, waiting=(0, 0), failed=0):
    """The verdict on so many starts of each kind."""
    pairs = [("both", "both")] * both + [("both", "only_strong")] * gained + [("only_strong", "both")] * lost
    pairs += [("only_strong", "only_strong")] * neither + [("failed", "both")] * failed
    pairs += [("waiting", "both")] * waiting[0] + [("both", "waiting")] * waiting[1]
    with_head, without = zip(*pairs, strict=True)
    return main_run.head_verdict("cubic", made("off-diagonal", list(with_head)), made("none", list(without)))


def test_a_rescue_is_told_where_chance_does_not_make_it():
    """Of 6 that differ all 6 gained: 2/2^6 = 0.031. Of 5: 2/2^5 = 0.0625, beyond the 5 % that are allowed."""
    text = said(both=2, gained=6, lost=0, neither=0)
    assert text.startswith("cubic: the head rescues the weak feature: with it 100.0 % of the seeds learn both, without 25")
    assert "(6 of 8 only with it, 0 only without; exact McNemar p = 0.03)" in text and "80.0 % of its bound" in text
    text = said(both=3, gained=5, lost=0, neither=0)
    assert text.startswith("cubic: 8 seeds cannot tell whether the head makes a difference (between +0.0 and +86.3 %): with")
    assert "with it 100.0 % of the seeds learn both, without 37.5 % (5 of 8 only with it, 0 only without" in text
    assert said(both=100, gained=790, lost=3, neither=107).startswith("cubic: the head rescues the weak feature: with it 89")


def test_a_harm_is_told_alike():
    text = said(both=10, gained=1, lost=12, neither=27)
    assert text.startswith("cubic: the head harms the weak feature: with it 22.0 % of the seeds learn both, without 44.0 %")
    assert "takes" not in text and "p = 0.003" in text  # 2 (1 + 13)/2^13
    assert said(both=0, gained=0, lost=5, neither=5).startswith("cubic: 10 seeds cannot tell")


def test_no_difference_is_told_with_how_large_it_could_be():
    """No pair of N differs: up to z^2/(N + z^2), 0.4 % of 1000; 32.4 % of 8, which cannot tell."""
    text = said(both=0, gained=0, lost=0, neither=1000)
    assert text.startswith("cubic: the head makes no difference above 0.4 % of the seeds: with it 0.0 % of the seeds learn")
    assert "mostly the strong feature v_1 in 25.0 % of the seeds" in text and "McNemar" not in text
    text = said(both=0, gained=0, lost=0, neither=8)
    assert text.startswith("cubic: 8 seeds cannot tell whether the head makes a difference (between -32.4 and +32.4 %)")
    # (180 - 170)/1000 with 350 that differ: within 1.96 sqrt(350)/1000 of 1 %, -2.7 to 4.7 %.
    assert said(both=0, gained=180, lost=170, neither=650).startswith("cubic: the head makes no difference above 4.7 % of")


def test_starts_that_wait_or_failed_are_counted_and_not_judged():
    text = said(both=2, gained=6, lost=0, neither=0, waiting=(3, 1), failed=1)
    assert text.startswith("cubic: the head rescues the weak feature: with it 100.0 % of the seeds learn both, without 25")
    assert "(6 of 8 only with it" in text
    assert text.endswith(
        "Not judged: 4 seeds had learnt nothing at the end and were not at rest (train for longer: --until), 1 seed failed."
    )
    text = said(both=0, gained=0, lost=0, neither=0, waiting=(5, 0))
    assert text == (
        "cubic: nothing can be said of the head: 5 seeds had learnt nothing at the end and were not at rest (train for "
        "longer: --until)."
    )


@given(st.integers(1, 60), st.data())
def test_paired_interval_is_where_the_score_test_turns(pairs, data):
    """Tango's ends, from the likelihood maximised on a grid: the difference lies 1.96 standard errors from both."""
    gained = data.draw(st.integers(0, pairs))
    lost = data.draw(st.integers(0, pairs - gained))
    for end, sign in zip(tango(pairs, gained, lost), (1, -1), strict=True):
        assert -1.0 <= end <= 1.0
        if abs(end) > 0.999:
            continue
        only_lost = np.linspace(max(0.0, -end), (1 - end) / 2, 20001)[1:-1]
        likelihood = np.zeros_like(only_lost)
        for count, share in ((gained, only_lost + end), (lost, only_lost), (pairs - gained - lost, 1 - 2 * only_lost - end)):
            likelihood += count * np.log(share) if count else 0.0
        best = only_lost[likelihood.argmax()]
        error = np.sqrt((2 * best + end - end**2) / pairs)
        assert sign * ((gained - lost) / pairs - end) == pytest.approx(1.96 * error, rel=0.02, abs=2e-4)


def test_exact_test_by_hand():
    """Heads of a fair coin: 0 of 5 or all: 2/32; 1 of 6 or less, or as many to the other side: 2 (1 + 6)/64; half: 1."""
    assert mcnemar(5, 0) == pytest.approx(2 / 32) and mcnemar(1, 5) == pytest.approx(14 / 64)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0


def test_the_table_has_a_block_an_activation_and_every_number():
    summary = pd.concat([summary_rows("relu", 0, 0), summary_rows("cubic", 980, 170)], ignore_index=True)
    text = "\n".join(main_run.table(summary))
    low, high = wilson(980, 1000)
    share = f"98.0 % ({100 * low:.1f} to {100 * high:.1f})"
    for part in ("relu ", "cubic ", share, "3.12e+04", "0.05 (0.0625)"):
        assert part in text, part
    assert max(len(line) for line in text.splitlines()) <= 100


def test_what_did_not_happen_is_a_dash():
    assert main_run.three_digits(float("nan")) == "-"


def test_failed_seeds_are_named_with_their_status():
    outcomes = ["both"] * 37 + ["failed"] * 3
    frame = pd.DataFrame({"seed": range(40), "outcome": outcomes, "status": "underflow"})
    line, *remedies = main_run.failures(frame, "cubic, head none")
    assert line == "failed: cubic, head none: 3 of 40 seeds: 37 (underflow), 38 (underflow), 39 (underflow)"
    assert len(remedies) == 1 and remedies[0].startswith("  underflow: The solver's step became too small")
    assert main_run.failures(frame[:37], "cubic, head none") == []
    line, _ = main_run.failures(frame.assign(outcome="failed"), "cubic, head none")
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

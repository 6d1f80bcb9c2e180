"""explain on minibatch runs with hidden units: what is said, against enumerations of all masks and features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dynlab import compare, run
from dynlab.explanation.explanation import explain
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError
from tests import naive

SHAPE = "--patches 4 --feature-patches 2 --dim 8 --weak 0.6 --noise 0.4 --activation relu --hidden 2".split()
WORDS = ["--method", "sgd", *SHAPE, *"--batch 16,64 --steps 60 --seeds 3 --lr 0.1 --eta-head 2 --quiet --no-plots".split()]
DATA = naive.settings((1.0, 0.6), 4, 2, 0.4, "relu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("layered") / "run"
    assert run.main([*WORDS, "--out", str(place)]) == 0
    return place


def by_enumeration(row):
    """(m, K) shares that outputs carry, and the effective rank of the outputs, from a row of trajectory.csv."""
    numbers = {name: float(row[name]) for name in row.index if name not in ("activation", "head")}
    signal = np.array([[numbers[f"signal_{h}_{l}"] for l in (1, 2)] for h in range(1, 5)])
    gram = np.array([[numbers[f"noise_{min(h, k)}_{max(h, k)}"] for k in range(1, 5)] for h in range(1, 5)])
    readout = np.array([[numbers[f"readout_{j}_{h}"] for h in range(1, 5)] for j in (1, 2)])
    values, vectors = np.linalg.eigh(gram)
    units = np.hstack([signal, vectors * np.sqrt(np.maximum(values, 0.0))])  # weights with these products
    found = naive.population_moments(DATA, units, units)
    variance = readout @ (found["view_1"] - np.outer(found["mean_1"], found["mean_1"])) @ readout.T
    masks = naive.masks(4, "half")
    square = np.mean([sum(mask[:2]) ** 2 for mask in masks])  # of the number of feature patches in a view
    carried = np.zeros((2, 2))
    for l, strength in enumerate((1.0, 0.6)):
        plus, minus = (readout @ np.maximum(sign * strength * signal[:, l], 0.0) for sign in (1.0, -1.0))
        carried[:, l] = square / 2 * ((plus - minus) / 2) ** 2 / np.diag(variance)
    correlation = variance[0, 1] / np.sqrt(variance[0, 0] * variance[1, 1])
    shares = np.array([1.0 + correlation, 1.0 - correlation]) / 2
    return carried, np.exp(-(shares * np.log(shares)).sum())


def said_at(found):
    return " ".join(" ".join(found.lines).split())


@pytest.mark.parametrize("at", [None, 7])
def test_a_run_is_told_by_what_its_outputs_carry(folder, at):
    table = pd.read_csv(folder / "trajectory.csv")
    runs = explain(folder, at=at).runs
    assert [one.finding.head for one in runs] == ["off-diagonal", "none"]
    for one in runs:
        finding, rows = one.finding, table[table["head"] == one.finding.head]
        step = 60 if at is None else at
        rows = rows[rows["time"] < 0.1 * (step + 0.5)]
        mine = rows[(rows["batch"] == 64) & (rows["seed"] == 0)]
        carried, rank = by_enumeration(mine.iloc[-1])
        np.testing.assert_allclose(finding.carried, carried, rtol=1e-9)
        assert finding.rank == pytest.approx(rank, rel=1e-9)
        assert finding.learnt == (carried.max(0) > 0.05).sum()
        text = said_at(one)
        assert f"at step {step}: " in text and f"(effective rank {rank:.2f} of 2)" in text
        assert f"Output 2: feature 1 makes {100 * carried[1, 0]:.1f} % of its variance" in text
        front = "samples (strong 1, weak 0.6, dim 8, " + ("eta_head 2, " if one.finding.head != "none" else "")
        assert front + "batch 64, lr 0.1)" in text
        carried, rank = by_enumeration(rows[rows["batch"] == 0].iloc[-1])
        learnt = int((carried.max(0) > 0.05).sum())
        exact = f"The exact descent from the same start, at step {step}: {learnt} of 2 features "
        assert exact + f"{'is' if learnt == 1 else 'are'} carried, effective rank {rank:.2f}." in text
        largest = table[(table["head"] == one.finding.head) & (table["batch"] == 64) & (table["seed"] == 0)]
        largest = largest[["head_1_2", "head_2_1"]].abs().max(axis=1)
        if one.finding.head == "none":
            assert "Head" not in text
        else:
            when = largest.index[largest.argmax()]
            at_peak = round(table["time"][when] / 0.1)
            assert f"its largest entry off the diagonal ever was {largest.max():.3g}, at step {at_peak}, now" in text
        assert ("It took all its 60 steps." in text) == ("Of the 3 runs" in text) == (at is None)


def test_all_runs_of_a_batch_are_counted(folder, tmp_path):
    table = pd.read_csv(folder / "trajectory.csv")
    ends = table[(table["batch"] == 64) & (table["head"] == "none")].groupby("seed").tail(1)
    shares, ranks = zip(*(by_enumeration(row) for _, row in ends.iterrows()), strict=True)
    every = sum((carried.max(0) > 0.05).all() for carried in shares)
    text = said_at(explain(folder, head="none").runs[0])
    words = f"Of the 3 runs with batches of 64, from the same start, {every} {'ends' if every == 1 else 'end'} with every"
    assert words in text and f"{sum(rank < 1.2 for rank in ranks)} " in text.partition("feature carried, ")[2][:3]
    # One of the three made to answer with outputs that differ, output 2 by a unit of feature 2 alone; another with outputs
    # that are alike, output 2 reading units that are those of output 1.
    copied(folder, tmp_path)
    apart, alike = (ends.index[ends["seed"] == seed][0] for seed in (1, 0))
    for name in ends.columns:
        if name.startswith(("signal", "noise", "readout")):
            table.loc[apart, name] = float(name in DIFFERENT)
    for name, like in ALIKE.items():
        table.loc[alike, name] = table.loc[alike, like]
    table.to_csv(tmp_path / "trajectory.csv", index=False)
    carried, rank = by_enumeration(table.loc[apart])
    assert rank > 1.2 and (carried.max(0) > 0.05).all()
    text = said_at(explain(tmp_path, head="none").runs[0])
    kept = ranks[2] < 1.2
    assert f"{1 + kept} {'end' if kept else 'ends'} with outputs that say the same." in text
    assert "(effective rank 1.00 of 2)" in text and ("COLLAPSED at step 60" in text or "ONE OUTPUT at step 60" in text)


DIFFERENT = ("signal_1_1", "signal_3_2", "noise_1_1", "noise_2_2", "noise_3_3", "noise_4_4", "readout_1_1", "readout_2_3")
ALIKE = {
    "signal_3_1": "signal_1_1", "signal_3_2": "signal_1_2", "signal_4_1": "signal_2_1", "signal_4_2": "signal_2_2",
    "noise_3_3": "noise_1_1", "noise_1_3": "noise_1_1", "noise_4_4": "noise_2_2", "noise_2_4": "noise_2_2",
    "noise_3_4": "noise_1_2", "noise_1_4": "noise_1_2", "noise_2_3": "noise_1_2",
    "readout_2_3": "readout_1_1", "readout_2_4": "readout_1_2",
}  # fmt: skip


def copied(folder, place):
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())


def test_a_run_that_was_stopped_says_where(tmp_path):
    words = [*WORDS, "--activation", "cubic", "--head", "none", "--batch", "16", "--seeds", "1", "--lr", "1e90"]
    assert run.main([*words, "--out", str(tmp_path / "run")]) == 1
    text = said_at(explain(tmp_path / "run", activation="cubic").runs[0])
    assert "The run did not end well: stopped at step " in text and "Of the " not in text


def test_a_folder_of_compare_is_read(tmp_path):
    words = [*SHAPE, *"--batch 8,16 --steps 8 --seeds 2 --quiet --no-plots --head none --out".split(), str(tmp_path / "c")]
    assert compare.main(words) == 0
    text = said_at(explain(tmp_path / "c").runs[0])
    assert text.startswith("relu, 2 hidden units an output (own readout), head none: samples (")
    assert "batch 16, lr 0.02)" in text and "Of the 2 runs with batches of 16, from the same start," in text


def test_what_cannot_be_explained_is_refused_in_a_line(folder, tmp_path):
    for more, words in (({"trial": True}, "left out for a run with hidden units"), ({"at": 61}, "at most 60, where relu")):
        with pytest.raises(SettingError, match=words) as caught:
            explain(folder, **more)
        assert "\n" not in str(caught.value)
    copied(folder, tmp_path)
    table = pd.read_csv(tmp_path / "trajectory.csv")
    table.drop(columns="readout_2_3").to_csv(tmp_path / "trajectory.csv", index=False)
    with pytest.raises(FolderError, match="readout_2_3 is missing"):
        explain(tmp_path)
    table.assign(noise_1_2=np.nan).to_csv(tmp_path / "trajectory.csv", index=False)
    with pytest.raises(FolderError, match="holds noise_gram that are not finite"):
        explain(tmp_path)

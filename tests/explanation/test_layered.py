"""explain on runs with hidden units: numbers against the run's own files and a computation of their own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dynlab import Model, run
from dynlab.explanation import layered
from dynlab.explanation.explanation import explain
from dynlab.reports.main_run import restless
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError

WORDS = "--activation relu --hidden 2 --weak 0.6 --dim 200 --eta-head 0.1 --seeds 6 --threads 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("layered") / "run"
    assert run.main([*WORDS.split(), "--no-plots", "--quiet", "--out", str(place)]) == 0
    return place


def test_both_trajectories_are_told_by_what_their_outputs_carry(folder):
    found = explain(folder)
    assert [one.finding.head for one in found.runs] == ["off-diagonal", "none"]
    table = pd.read_csv(folder / "trajectory.csv")
    for one in found.runs:
        finding, rows = one.finding, table[table["head"] == one.finding.head]
        last = rows.iloc[-1]
        assert finding.time == last["time"] and finding.at_end
        # By hand: odd answers of each output, beside its variance from the loss-free moments of one state.
        signal = last[[f"signal_{h}_{l}" for h in range(1, 5) for l in (1, 2)]].to_numpy(dtype=float).reshape(4, 2)
        readout = last[[f"readout_{j}_{h}" for j in (1, 2) for h in range(1, 5)]].to_numpy(dtype=float).reshape(2, 4)
        odd = readout @ (signal * [1.0, 0.6]) / 2.0
        assert ((finding.carried > 0.05) <= (np.abs(odd) > 1e-3)).all()
        crossed = finding.carried[:, 0] * odd[:, 1] ** 2, finding.carried[:, 1] * odd[:, 0] ** 2
        np.testing.assert_allclose(*crossed, rtol=1e-9, atol=1e-15)
        text = " ".join(one.lines)
        assert f"rank {finding.rank:.2f} of 2" in text
        assert "Of 6 starts" in text
        assert ("Head: its largest entry" in text) == (finding.head != "none")
        assert ("HEALTHY" in text) == (finding.learnt == 2 and finding.rank >= 1.2)


@pytest.mark.parametrize(("more", "words"), [([], "exact descent"), (["--optimiser", "adam"], "exact descent by adam")])
def test_descent_is_called_so_and_has_the_flows_bound_where_it_is_plain(tmp_path, more, words):
    place = tmp_path / "run"
    steps = [*"--method descent --eta 0.01 --until 0.5 --no-plots --quiet --out".split(), str(place), *more]
    assert run.main([*WORDS.split(), *steps]) == 0
    text = " ".join(" ".join(explain(place, head="off-diagonal").runs[0].lines).split())
    assert f"head off-diagonal: {words} of start" in text
    assert ("what its output can pay" in text) == (not more)


def test_an_earlier_time_and_one_head_can_be_asked_for(folder):
    begun = explain(folder, head="none", at=0.0).runs
    assert len(begun) == 1 and begun[0].finding.time == 0.0
    assert "NOTHING LEARNT at t = 0" in " ".join(begun[0].lines)
    assert not begun[0].finding.at_end


def test_how_a_start_ended_is_said(folder, tmp_path):
    for status, period, words in (
        ("stationary", "", "It is at rest"), ("cycle", "123.4", "on a limit cycle"),
        ("until", "99.0", "rounds come back, but drift"),
        ("until", "", "ended at the time that was asked for. Nothing is wrong"),
        ("vanished", "", "ended early (vanished)"), ("steps", "", "did not end well: steps. The solver used up"),
    ):  # fmt: skip
        place = tmp_path / f"{status}{period}"
        place.mkdir()
        for path in folder.iterdir():
            (place / path.name).write_bytes(path.read_bytes())
        rows = pd.read_csv(place / "ensemble.csv").assign(status=status, period=period)
        rows.to_csv(place / "ensemble.csv", index=False)
        assert words in " ".join(" ".join(explain(place, head="none").runs[0].lines).split())


def test_a_run_says_in_words_whether_the_head_rescues(tmp_path, capsys):
    words = "--activation relu --hidden 4 --eta-head 0.1 --seeds 30 --no-plots"
    assert run.main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "relu: the head rescues the weak feature: with it " in said
    table = pd.read_csv(tmp_path / "run" / "ensemble.csv")
    both = {head: (rows["outcome"] == "both").to_numpy() for head, rows in table.groupby("head")}
    gained = int((both["off-diagonal"] & ~both["none"]).sum())
    assert not (both["none"] & ~both["off-diagonal"]).any() and gained > 5
    assert f"({gained} of 30 only with it, 0 only without; exact McNemar p = {2.0 ** (1 - gained):.1g})" in said


def test_the_report_counts_the_starts_that_are_not_at_rest():
    frame = pd.DataFrame({"status": ["stationary", "until", "cycle", "until"], "period": [np.nan, np.nan, 800.0, 900.0]})
    flow, descent = (SimpleNamespace(frame=frame, settings={"method": method}) for method in ("flow", "descent"))
    (line,) = restless(flow, "relu, head off-diagonal")
    assert line.startswith(
        "relu, head off-diagonal: 75.0 % of the seeds were not at rest at the end, 50.0 % go round (once in 850"
    )
    assert restless(descent, "") == restless(SimpleNamespace(frame=frame[:1], settings=flow.settings), "") == []
    assert restless(SimpleNamespace(frame=frame[["status"]], settings=flow.settings), "") == []  # without hidden units


@pytest.mark.parametrize(
    ("error", "more", "words"),
    [
        (SettingError, {"trial": True}, "left out for a run with hidden units"),
        (SettingError, {"at": 1e9}, "at most"),
        (SettingError, {"head": "linear"}, "one of off-diagonal, none"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line(folder, error, more, words):
    with pytest.raises(error, match=words) as caught:
        explain(folder, **more)
    assert "\n" not in str(caught.value)


def test_units_that_died_and_answers_of_any_degree_are_told():
    # Two units an output: unit 1 has shrunk to a part 1e-4 of what it was; cubic answers a (alpha A)^3, the sign of a kept.
    model = Model(activation="cubic", weak=0.5, hidden=2)
    signal = np.array([[[1.0, 0.2], [2.0, 0.0], [0.5, 2.0], [0.0, -4.0]]] * 2)
    gram = np.tile(np.eye(4), (2, 1, 1))
    signal[1, 0], gram[1, 0, 0] = 1e-4 * signal[1, 0], 1e-8
    state = {
        "time": np.array([0.0, 1.0]), "signal": signal, "noise_gram": gram, "head": np.tile(np.eye(2), (2, 1, 1)),
        "readout": np.array([[[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]] * 2),
    }  # fmt: skip
    finding = layered.finding_at(model, "off-diagonal", state, 1, (0.0, np.nan, np.nan))
    assert finding.dead == 1 and finding.at_end
    np.testing.assert_allclose(finding.answers[0, :, 0], [1e-12, -8.0, 0.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(finding.answers[1, :, 1], [0.0, 0.0, 1.0, -16.0], rtol=1e-12)
    text = " ".join(layered.layered_lines(finding))
    assert "1 of 4 hidden units has died: nothing is left of the weights." in text
    assert "Head: it is the identity, and was all the time." in text
    assert "Output 2: feature 1 makes " in text and "(0 units), feature 2 makes " in text and "(1 unit)." in text
    begun = layered.finding_at(model, "off-diagonal", state, 0, (0.5, 1.0, np.nan))
    assert begun.dead == 0 and "died" not in " ".join(layered.layered_lines(begun))
    assert "now 0: it lends nothing any more (it is the identity)." in " ".join(layered.layered_lines(begun))


def test_a_run_by_descent_says_its_rate_and_schedule(tmp_path):
    place = tmp_path / "run"
    steps = "--method descent --eta 0.01 --until 0.2 --optimiser adam --schedule cosine --warm-up 5 --no-plots --quiet --out"
    assert run.main([*WORDS.split(), *steps.split(), str(place)]) == 0
    text = " ".join(" ".join(explain(place, head="none").runs[0].lines).split())
    assert "exact descent by adam of start" in text
    assert "(strong 1, weak 0.6, dim 200, eta 0.01, schedule cosine, warm-up 5)" in text


def test_damage_is_named(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = pd.read_csv(tmp_path / "trajectory.csv").drop(columns="readout_1_1")
    table.to_csv(tmp_path / "trajectory.csv", index=False)
    with pytest.raises(FolderError, match="readout_1_1 is missing"):
        explain(tmp_path)

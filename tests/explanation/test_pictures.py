"""What explain says of runs on pictures, from the recorded curves of figures/pictures and from made-up ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dynlab import pretrain
from dynlab.explain import main as explain_command
from dynlab.explanation import pictures
from dynlab.explanation.explanation import explain
from dynlab.images.settings import Pretraining
from dynlab.images.training.run_folder import METRIC_COLUMNS
from tests import ROOT

CURVES = ROOT / "figures" / "pictures" / "head_norm.csv"
DEMO = Pretraining(encoder="demo", batch=512, steps=19400, record=200, knn_every=0)


def folder(place, settings, columns: dict, status="finished", pictures_=50000):
    """A run's folder with these columns in its metrics.csv; the rest nan, the epoch from the step."""
    place.mkdir()
    record = {"kind": "pretraining", "status": status, "data": "data", "pictures": pictures_, "settings": settings.plain()}
    (place / "run.json").write_text(json.dumps(record))
    table = pd.DataFrame({name: columns.get(name, np.nan) for name in METRIC_COLUMNS})
    table["epoch"] = table["step"] / settings.epoch_steps(pictures_)
    table["loss"] = table["loss"].fillna(1.0)
    table.to_csv(place / "metrics.csv", index=False)
    return place


def simple(place, ranks, correlations, settings=DEMO, **more):
    steps = 1 + 200 * np.arange(len(ranks))
    norm = more.pop("norm", np.linspace(0.2, 3.0, len(ranks)))
    return folder(place, settings, {"step": steps, "rank": ranks, "correlation": correlations, "head_norm": norm}, **more)


def told(place, **more):
    run = explain(place, **more).runs[0]
    return run.finding, " ".join(" ".join(run.lines).split())


RECORDED = {
    "batch norm": ("healthy", "rising"),
    "batch norm, cosine": ("healthy", "falling"),
    "batch norm, head decay 1e-3": ("healthy", "falling"),
    "unit length, cosine": ("healthy", "steady"),
    "unit length": ("healthy", "rising"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_runs_are_told_apart(tmp_path, name):
    """Real runs of 100 and 200 epochs: none collapsed, and what each head does at its end."""
    table = pd.read_csv(CURVES)
    table = table[table["run"] == name]
    assert len(table) > 20
    changed = {"normalisation": "batch" if name.startswith("batch") else "length", "head_decay": 1e-3 * ("decay" in name)}
    place = folder(tmp_path / "run", replace(DEMO, **changed), {column: table[column].to_numpy() for column in table})
    finding, text = told(place)
    assert (finding.verdict, finding.trend) == RECORDED[name]
    assert "NO COLLAPSE" in text and "COLLAPSED" not in text and finding.trend in text
    assert finding.head_peak == table["head_norm"].max() and finding.rank == pytest.approx(table["rank"].tail(5).median())
    assert max(map(len, explain(place).runs[0].lines)) <= 100


# Rank and correlation of z every 70 steps of real runs of the encoder demo (CIFAR-10, unit length, 490 steps).
WITHOUT_HEAD = ([23.9, 1.09, 1.06, 1.07, 1.03, 1.03, 1.03, 1.02], [0.20, 0.98, 0.99, 0.99, 1.00, 1.00, 1.00, 1.00])
WITH_HEAD = ([23.9, 2.28, 3.01, 4.54, 4.95, 5.42, 5.77, 5.91], [0.20, 0.73, 0.57, 0.45, 0.43, 0.40, 0.40, 0.40])


def test_outputs_without_a_projector_are_the_encoders(tmp_path):
    made = {"encoder": "patch", "activation": "relu", "hidden": 4, "neurons": 16, "patch_side": 6, "projector": ()}
    one = Pretraining(**made, batch=512, steps=19400, record=200, knn_every=0, normalisation="batch")
    said = told(simple(tmp_path / "a", [5.0] * 20, [0.4] * 20, one))[1]
    assert "encoder patch (relu, 4 hidden units an output, 16 outputs, patches of 6 x 6), head off-diagonal" in said
    assert "The outputs z of the encoder: effective rank 5.0 of 16 (how" in said
    assert "correlation 0.40 (1: all say the same), medians of the last 5 records; at the first step" in said


def test_of_how_many_records_numbers_are_medians(tmp_path):
    """Of the last five, or of the last quarter; one record is no median and is not called so."""
    ranks = [20.0, 19.0, 18.0, 17.0, 16.0, 15.0, 14.0, 13.0, 12.0, 30.0, 11.0]  # of the last two of eleven: 20.5
    finding, text = told(simple(tmp_path / "two", ranks, [0.3] * 11))
    assert finding.judged == 2 and "effective rank 20.5 of 64" in text and "medians of the last 2 records" in text
    finding, text = told(simple(tmp_path / "one", ranks[-7:], [0.3] * 7))
    assert finding.judged == 1 and "effective rank 11.0 of 64" in text and "medians" not in text
    assert replace(DEMO, encoder="patch").encoder_words == "patch"


def test_short_runs_that_did_and_did_not_collapse(tmp_path):
    finding, text = told(simple(tmp_path / "none", *WITHOUT_HEAD, replace(DEMO, head="none"), norm=np.zeros(8)))
    assert finding.verdict == "collapsed" and "There is no head" in text
    finding, text = told(simple(tmp_path / "head", *WITH_HEAD, norm=[0.19, 1.65, 1.76, 1.78, 1.9, 2.0, 2.08, 2.18]))
    assert finding.verdict == "healthy" and "Nothing needs changing" in text


def test_collapse_since(tmp_path):
    """The step from which on the criterion holds without a break; a dip before does not count."""
    ranks = [20.0, 1.5, 5.0, 4.0, 1.9, 1.2, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0]
    finding, text = told(simple(tmp_path / "run", ranks, [0.9 if r < 2 else 0.4 for r in ranks]))
    assert finding.verdict == "collapsed" and finding.since == 801 and "ever since step 801" in text
    assert finding.lowest == (1401, 1.0) and finding.first == (20.0, 0.4)


def test_the_first_steps_are_not_judged(tmp_path):
    steps = np.array([1, 25, 50])
    columns = {"step": steps, "rank": [24.0, 1.8, 1.9], "correlation": [0.2, 0.84, 0.8], "head_norm": [0.2, 1.4, 1.5]}
    finding, text = told(folder(tmp_path / "run", DEMO, columns, status="running"))
    assert finding.verdict == "dip" and "TOO EARLY TO TELL" in text and "the run is not finished" in text
    finding, _ = told(tmp_path / "run", at=0.001)
    assert finding.step == 1 and finding.verdict == "healthy"


CAUSES = {
    "none": ({"head": "none"}, {"head": "off-diagonal"}),
    "directpred": ({"head": "directpred"}, {"target": "average", "target_momentum": 0.996}),
    "directcopy": ({"head": "directcopy", "optimiser": "sgd"}, {"target": "average", "target_momentum": 0.996}),
    "decay": ({"head_decay": 1e-3}, {"head_decay": 0.0}),
    "slow head": ({"head_lr": 0.1}, {"head_lr": 1.0}),
    "no stop": ({"stop_gradient": "none"}, {"stop_gradient": "target"}),
    "two": ({"head": "none", "stop_gradient": "online"}, {"head": "off-diagonal", "stop_gradient": "target"}),
}


@pytest.mark.parametrize("name", CAUSES)
def test_known_causes_and_the_command_that_changes_them(tmp_path, name):
    """The command is one that dynlab.pretrain takes, and means this run's settings with the causes changed."""
    given, change = CAUSES[name]
    settings = replace(DEMO, projector=(96, 32), **given)
    finding, text = told(simple(tmp_path / "run", [1.1] * 8, [0.99] * 8, settings))
    assert finding.verdict == "collapsed" and "Why: " in text and "Try instead" in text
    words = pictures.command(finding).replace("\\\n", " ").split()
    assert words[:3] == ["python", "-m", "dynlab.pretrain"]
    arguments = pretrain.parser().parse_args(words[3:])
    assert pretrain.settings_of(arguments) == replace(settings, **change)
    assert arguments.data == "data" and arguments.out == str(tmp_path / "run-changed")
    for option in change:
        assert f"--{option.replace('_', '-')}" in words


def test_what_is_not_known_is_not_blamed(tmp_path):
    """Causes seen with unit length are not named for batch norm; other losses have no head to change."""
    assert pictures.causes(replace(DEMO, normalisation="batch", head_decay=1e-3, head_lr=0.1)) == []
    assert pictures.causes(Pretraining(loss="vicreg", head="none", stop_gradient="none")) == []
    finding, text = told(simple(tmp_path / "run", [1.1] * 8, [0.99] * 8))
    assert finding.causes == () and "none of the settings known for collapse here is set" in text and "Try" not in text


def test_a_run_that_was_stopped(tmp_path):
    place = simple(tmp_path / "run", [9.0] * 8, [0.3] * 8, status="stopped: step 30: the loss is nan")
    finding, text = told(place)
    assert finding.verdict == "diverged" and " DIVERGED: step 30: the loss is nan. " in text and "--lr 0.0003" in text
    finding, text = told(place, at=0.1)  # what was seen before that
    assert finding.verdict == "healthy" and "NO COLLAPSE" in text


def test_a_run_that_was_stopped_before_its_first_line(tmp_path):
    place = folder(tmp_path / "run", DEMO, {"step": []}, status="stopped: step 1: outputs are not finite")
    finding, text = told(place)
    assert finding.verdict == "diverged" and text.endswith("--lr 0.0003 for 0.003.") and "nan" not in text


@pytest.mark.parametrize(
    "columns",
    [
        {"head_norm": [0.2, 1e3, 3.7e29], "rank": [24.0, 20.0, 9.0], "correlation": [0.2, 0.3, 0.3]},
        {"sd": [0.3, 1e10, 1e11], "rank": [24.0, 1.0, 1.0], "correlation": [0.2, 1.0, 1.0], "loss": [2.0, 0.0, 0.0]},
        {"loss": [1.0, 2.0, np.inf], "rank": [24.0, 20.0, 9.0], "correlation": [0.2, 0.3, 0.3]},
    ],
    ids=["head", "Adam at rate 1e10", "loss"],
)
def test_numbers_beyond_all_measure_are_divergence(tmp_path, columns):
    """Neither healthy because rank is high, nor too early to tell because steps are few."""
    finding, text = told(folder(tmp_path / "run", DEMO, {"step": [1, 25, 50], **columns}))
    assert finding.verdict == "diverged" and "DIVERGED: step 50" in text
    assert "NO COLLAPSE" not in text and "TOO EARLY" not in text
    last = {name: values[-1] for name, values in columns.items()}
    rank, correlation, loss = last["rank"], last["correlation"], last.get("loss", 1.0)
    said = f"What was recorded last, at step 50: effective rank {rank:.1f} of 64, mean absolute correlation {correlation}"
    norm = ", norm of the head's entries off its diagonal 3.7e+29." if "head_norm" in last else "."
    assert f"{said}0, loss {loss:g}{norm}" in text
    assert "steady" not in text and "does not tell" not in text, "what would be said of a run that goes on"


VICREG = Pretraining(loss="vicreg", head="none", stop_gradient="none", record=200)
DINO = Pretraining(loss="dino", head="none", target="average", record=200)


def test_collapse_that_rank_and_correlation_do_not_show(tmp_path):
    """VICReg whose outputs hardly vary; unit length at one direction; DINO's teacher with one answer, or with a flat one."""
    steps = {"step": 1 + 200 * np.arange(8), "rank": [20.0] * 8, "correlation": [0.3] * 8}
    cases = [
        (VICREG, {"sd": [0.5] + [0.012] * 7, "unit_sd": [0.12] * 8}, "vary by 0.012, where the loss asks for 1"),
        (DEMO, {"sd": [0.5] * 8, "unit_sd": [0.12] + [0.001] * 7}, "at unit length vary by 0.001"),
        (DINO, {"entropy_mean": [4.0] + [0.1] * 7, "entropy": [3.0] + [0.08] * 7}, "tells pictures apart by 0.02 nats"),
        (DINO, {"entropy_mean": [4.0] + [4.15] * 7, "entropy": [3.0] + [4.15] * 7}, "tells pictures apart by"),
    ]
    for number, (settings, columns, words) in enumerate(cases):
        finding, text = told(folder(tmp_path / str(number), settings, steps | columns))
        assert finding.verdict == "collapsed" and words in text and "ever since step 201" in text, text
        assert "NO COLLAPSE" not in text and "Nothing needs changing" not in text


def test_the_moving_average_is_no_longer_named_where_it_is_there(tmp_path):
    for head in ("directpred", "directcopy"):
        settings = replace(DEMO, head=head, target="average", target_momentum=0.996)
        finding, text = told(simple(tmp_path / head, [14.0] * 8, [0.2] * 8, settings))
        assert finding.causes == () and "without a moving-average" not in text and "All the same" not in text


def test_metrics_of_an_earlier_version(tmp_path):
    place = simple(tmp_path / "run", [9.0] * 8, [0.3] * 8)
    table = pd.read_csv(place / "metrics.csv").drop(columns=["sd", "unit_sd", "entropy_mean", "entropy"])
    table.to_csv(place / "metrics.csv", index=False)
    finding, text = told(place)
    assert finding.verdict == "healthy" and np.isnan(finding.sd) and "Size:" not in text


def test_heads_without_a_norm(tmp_path):
    columns = {"step": [1, 200], "rank": [20.0, 9.0], "correlation": [0.3, 0.3]}
    finding, text = told(folder(tmp_path / "run", replace(DEMO, head="mlp"), columns))
    assert np.isnan(finding.head_norm) and "is no matrix" in text


BAD = {
    "no metrics": (lambda place: (place / "metrics.csv").unlink(), "metrics.csv: is missing"),
    "empty metrics": (lambda place: (place / "metrics.csv").write_text(""), "metrics.csv: cannot be read"),
    "heading alone": (lambda place: (place / "metrics.csv").write_text(",".join(METRIC_COLUMNS) + "\n"), "has no line yet"),
    "column less": (lambda place: (place / "metrics.csv").write_text("step,epoch\n1,0.1\n"), "no column lr"),
    "words": (lambda place: (place / "metrics.csv").write_text(",".join(METRIC_COLUMNS) + "\n1" + ",x" * 12 + "\n"),
              "is damaged (no numbers)"),
    "bad settings": (lambda place: (place / "run.json").write_text('{"kind": "pretraining", "settings": {"head": "x"}}'),
                     "run.json: is damaged"),
    "no status": (lambda place: (place / "run.json").write_text('{"kind": "pretraining", "settings": {}, "pictures": 500}'),
                  "run.json: is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_folder_is_one_line(tmp_path, capsys, name):
    spoil, message = BAD[name]
    place = simple(tmp_path / "run", [9.0] * 8, [0.3] * 8)
    spoil(place)
    assert explain_command([str(place)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and message in said.err


@pytest.mark.parametrize(("words", "name"), [("--try", "--try"), ("--head none", "--head"), ("--at 1e9", "--at")])
def test_options_that_do_not_fit_pictures(tmp_path, capsys, words, name):
    place = simple(tmp_path / "run", [9.0] * 8, [0.3] * 8)
    assert explain_command([str(place), *words.split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"dynlab.explain: error: {name}")

"""The ablations that the paper argues from, as claims on ensembles; and the command."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dynlab import Model, Training, ensemble
from dynlab.ablate import GROUPS
from dynlab.ensembles.ablations import ablations, early_end, late_end, row_of, run_ablation, run_early
from dynlab.population.outcomes import squared_cosines
from dynlab.population.starts import draw_start
from tests.command_line.calling import called, refusal

SEEDS = 48


@pytest.fixture(scope="module")
def rows():
    """Lines of the table that the claims below are about, by group and name."""
    wanted = {"paper", "head", "normalisation", "stop-gradient"}
    found = {}
    for one in ablations(Model(), Training(), 1000):
        if one.group in wanted:
            run = run_ablation(one, dim=1000, seeds=SEEDS, seed=0, until=1e10, rtol=1e-6, threads=None, progress=None)
            found[one.group, one.name] = row_of(one, run)
    return found


def test_no_trajectory_fails(rows):
    assert {name: row["failed"] for name, row in rows.items() if row["failed"]} == {}


def test_without_output_normalisation_no_acceleration(rows):
    """Both features are then learnt about as often as without head; and every output dies away."""
    off, bare = rows["normalisation", "none"], rows["head", "no head"]
    assert off["all"] < 0.45 and abs(off["all"] - bare["all"]) < 0.15
    assert off["loss"] < 1e-6 < bare["loss"]
    assert rows["paper", "off-diagonal head"]["all"] > 0.9


def test_stop_gradient_on_the_online_side_leaves_the_second_neuron_on_the_strong_feature(rows):
    """The head does not train, and what each neuron learns is what it learns without head."""
    moved, bare = rows["stop-gradient", "on the online side"], rows["head", "no head"]
    assert moved["all"] == bare["all"] and moved["head_peak"] < 1e-12
    start = ensemble(Model(), 1000, SEEDS, training=Training(stop_gradient="online"), until=1e10)
    without = ensemble(Model(), 1000, SEEDS, training=Training(head="none"), until=1e10)
    alike = [squared_cosines(one.model, *one.ends[:2]) > 0.5 for one in (start, without)]
    assert (alike[0] == alike[1]).all()


def test_stop_gradient_on_neither_side_learns_one_feature(rows):
    """With a head both neurons then end on one feature always: a finding, stronger than without head."""
    assert rows["stop-gradient", "on neither side"]["learnt_1"] > 0.9
    assert rows["stop-gradient", "on neither side, no head"]["all"] == rows["head", "no head"]["all"]


def test_every_trained_head_is_better_than_none(rows):
    bare = rows["head", "no head"]["all_high"]
    for name in ("linear", "symmetric", "directpred", "directcopy"):
        assert rows["head", name]["all_low"] > bare, name


def test_batch_and_scale_agree_for_an_odd_activation(rows):
    """An odd activation has no means, so that centring does nothing."""
    scaled, paper = rows["normalisation", "scale only"], rows["paper", "off-diagonal head"]
    assert scaled["all"] == paper["all"]
    assert scaled["time_first"] == pytest.approx(paper["time_first"], rel=1e-3)


def test_the_table_goes_to_rest_and_says_who_was_early(rows):
    """1e10 dim^2; early is 1e4 dim^2, the end of this fixture, of which both shares are then."""
    assert late_end(Model(), 1000) == 1e16 and early_end(Model(), 1000) == 1e10
    for name, row in rows.items():
        assert row["early"] == row["all"], name
    assert rows["paper", "off-diagonal head"]["early"] > 0.9
    assert rows["head", "symmetric"]["early"] < rows["head", "linear"]["early"]


def test_early_is_the_share_at_that_time_by_what_outputs_carry():
    """The same starts, stopped there: features that come later do not count, and ones that fade later do."""
    one = next(one for one in ablations(Model(), Training(), 1000) if one.name == "symmetric")
    given = {"dim": 1000, "seeds": 12, "seed": 0, "rtol": 1e-6, "threads": None, "progress": None}
    run, stopped = run_ablation(one, until=1e13, **given), run_ablation(one, until=1e10, **given)
    early = run_early(one, run, threads=None)
    assert run_early(one, stopped, threads=None) is stopped
    assert early.settings["until"] == 1e10 and (early.ends[0] == stopped.ends[0]).all()
    row = row_of(one, run, early)
    assert row["early"] == row_of(one, stopped)["all"] < row["all"]


def test_every_group_has_its_lines():
    assert {one.group for one in ablations(Model(), Training(), 1000)} == set(GROUPS)


def test_the_command_writes_its_table(tmp_path):
    words = ("--seeds", "4", "--groups", "head", "--until", "1e8", "--out", str(tmp_path / "a"), "--threads", "1")
    done = subprocess.run([sys.executable, "-m", "dynlab.ablate", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "a" / "ablate.csv")
    assert list(table["name"][:2]) == ["off-diagonal head", "no head"] and len(table) == 6
    shares = table[[name for name in table if name.startswith("learnt_")]].sum(axis=1) + table["failed"]
    assert np.allclose(shares, 1.0)
    assert "directpred" in done.stdout and (tmp_path / "a" / "run.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--groups", "heads"), "--groups heads: must be some of paper, head"),
        (("--head", "linear"), '--head linear: must be "off-diagonal"'),
        (("--target-rate", "0"), "--target-rate 0: must be"),
        (("--dim", "5"), "--dim 5: must be"),
        (("--normalisation", "length"), "only without noise"),
    ],
)
def test_bad_settings_are_one_line(words, message, capsys):
    assert message in refusal("ablate", words, capsys)


def test_the_main_run_takes_the_switches(tmp_path, capsys):
    words = ("--activation", "cubic", "--seeds", "8", "--until", "1e8", "--no-plots", "--threads", "1")
    done = called("run", [*words, "--head", "linear", "--weight-decay", "1e-9", "--out", str(tmp_path / "a")], capsys)
    assert done.returncode == 0, done.stderr
    assert "head linear, weight-decay 1e-09" in done.stdout
    table = pd.read_csv(tmp_path / "a" / "summary.csv")
    assert list(table["head"]) == ["linear", "none"]
    path = pd.read_csv(tmp_path / "a" / "trajectory.csv")
    diagonal = path.loc[path["head"] == "linear", "head_1_1"]
    assert (diagonal != 1.0).any()


def test_the_start_that_is_followed_has_the_scale_asked_for(tmp_path, capsys):
    words = ("--activation", "cubic", "--seeds", "4", "--until", "1e4", "--no-plots", "--start-scale", "0.5")
    done = called("run", [*words, "--out", str(tmp_path / "a")], capsys)
    assert done.returncode == 0, done.stderr
    seed = json.loads((tmp_path / "a" / "run.json").read_text())["seed_followed"]["cubic"]
    start = draw_start(Model(), 1000, 0, seed, 0.5)
    assert np.allclose(start.signal, 0.5 * draw_start(Model(), 1000, 0, seed).signal, rtol=1e-15)
    first = pd.read_csv(tmp_path / "a" / "trajectory.csv").iloc[0]
    assert np.allclose([first["signal_1_1"], first["signal_2_2"]], np.diagonal(start.signal), rtol=1e-9)


def test_an_objective_without_head_is_run_alone(tmp_path, capsys):
    words = ("--activation", "cubic", "--seeds", "4", "--until", "1e6", "--no-plots", "--objective", "vicreg")
    done = called("run", [*words, "--out", str(tmp_path / "a")], capsys)
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(tmp_path / "a" / "summary.csv")["head"]) == ["none"]


def test_combinations_without_meaning_are_refused_in_one_line(capsys):
    for words, message in (
        (("--normalisation", "length"), "--normalisation length: must be"),
        (("--target", "average", "--stop-gradient", "none"), "--stop-gradient none: must be"),
        (("--optimiser", "adam"), "--optimiser adam: must be"),
        (("--head", "fixed"), "--head fixed: must be"),
    ):
        assert message in refusal("run", words, capsys)

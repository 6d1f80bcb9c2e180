"""What the map holds: the numbers of the flow, the same for any executor, and the theory beside them."""

from __future__ import annotations

import io
import multiprocessing
import random
import re
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.maps import points
from dynlab.maps.axes import parse_axis
from dynlab.maps.boundary import crossed, deviations, near_level, pooled, sides
from dynlab.maps.measures import MEDIANS, SHARES, Measure
from dynlab.maps.phase_map import phase_map
from dynlab.maps.point_store import BLOCK_COLUMNS
from dynlab.maps.points import run_jobs, starts
from dynlab.maps.predictions import prediction
from dynlab.population.moments import carried
from dynlab.population.outcomes import OUTCOMES
from dynlab.population.pair.limit import share_weak
from dynlab.tools.checks import SettingError
from dynlab.tools.intervals import wilson
from dynlab.tools.progress import progress
from tests.maps.cases import finished, options, record, small_grid


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return phase_map(small_grid(), tmp_path_factory.mktemp("map"), seeds=32)


def test_the_table(found):
    frame = found.frame
    assert len(frame) == 4 * 3 * 2
    assert list(frame.columns[:3]) == ["weak", "eta_head", "head"]
    assert (frame[list(OUTCOMES)].sum(axis=1) == frame["seeds"]).all() and (frame["seeds"] == 32).all()
    assert (frame["value"] == frame["both"] / 32).all()
    for row in frame.itertuples():
        assert (row.low, row.high) == wilson(row.both, 32)
    assert found.field("none").shape == (3, 4)
    row = frame[(frame["weak"] == found.grid.x.values[2]) & (frame["eta_head"] == 1.0) & (frame["head"] == "none")]
    assert found.field("none")[2, 2] == row["value"].item()


def test_without_a_head_the_rate_does_nothing_and_is_computed_once(found):
    frame = found.frame
    assert found.computed == (4 * 3 + 4) * 32
    copied = (frame["head"] == "none") & (frame["eta_head"] > 1e-3)
    assert (frame["copied"] == copied).all()
    plain = frame[frame["head"] == "none"].drop(columns=["eta_head", "copied"])
    for _, column in plain.groupby("weak"):
        assert len(column) == 3 and len(column.drop_duplicates()) == 1
    turned = small_grid(x="eta-head=1e-3:1:2:log", y="weak=0.2:0.8:3")
    assert (turned.repeats("none"), turned.repeats("off-diagonal"), small_grid().repeats("none")) == (1, None, 0)
    assert turned.source(1, 2, 1) == (1e-3, 0.8) and turned.source(0, 2, 1) == (1.0, 0.8)
    assert small_grid(x="dim=100:200:2", y="weak=0.2:0.8:3").repeats("none") is None


def plateau(seed, level, shape=(13, 16), seeds=32):
    """Shares of `seeds` starts that rise along x from 0 to a plateau at `level`, with their noise."""
    chance = np.minimum(np.linspace(0.0, 2.0 * level, shape[1]), level)
    return np.random.default_rng(seed).binomial(seeds, np.broadcast_to(chance, shape)) / seeds


def crossing(value, level, seeds=32):
    """Where a map of shares of `seeds` passes the level."""
    _, low, high = pooled(value, np.full(value.shape, seeds), deviations(value.size))
    return crossed(sides(low, high, level))


def test_a_plateau_at_the_level_has_no_boundary():
    """The race law's 2p(1-p) is at most 1/2: noise about a level is no crossing. Of 200 maps at most 5 % + 3 deviations."""
    wrong = [crossing(plateau(seed, 0.5), 0.5).any() for seed in range(200)]
    assert np.mean(wrong) < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    contours = [(plateau(seed, 0.5) > 0.5).any() for seed in range(200)]
    assert np.mean(contours) == 1.0, "a plain contour would be drawn in all of them"


def test_a_crossing_is_found_where_it_is():
    """Shares from 0.1 to 0.9 along x pass 1/2 in the middle, in every row, and nowhere near the ends."""
    for seed in range(20):
        chance = np.broadcast_to(np.linspace(0.1, 0.9, 16), (13, 16))
        found = crossing(np.random.default_rng(seed).binomial(64, chance) / 64, 0.5, 64)
        assert found[:, 7:9].all() and not found[:, :3].any() and not found[:, 13:].any()


def test_crossings_by_hand():
    side = np.array([[-1, -1, 1, 1, 1, 1, 1, 1]])
    assert crossed(side).tolist() == [[False, True, True, False, False, False, False, False]]
    side = np.array([[-1, -1, -1, 0, 0, 1, 1, 1]])
    assert crossed(side).tolist() == [[False, False, True, True, True, True, False, False]]
    assert not crossed(np.array([[-1, -1, 0, 0, 0, 0, 0, 0]])).any() and not crossed(np.ones((3, 3), int)).any()
    # A plateau behind a crossing is none: only what lies within a quarter of the axis of both sides.
    side = np.array([[-1, 0, 1] + [0] * 9])
    assert crossed(side).tolist() == [[True] * 3 + [False] * 9]


def test_a_point_is_what_simulate_says():
    """Outcomes and columns of a few seeds, each run by itself through the interface for single runs."""
    point = small_grid().point(0.4, 0.1)
    for head in ("off-diagonal", "none"):
        _, [(outcomes, columns)] = run_jobs(((point, head, 3, 9),), 0, 1e-6)
        signal, gram = starts(point, 0, 3, 9)
        for n in range(6):
            start = dynlab.OrderParameters(signal[n], gram[n], np.eye(2))
            run = dynlab.simulate(point.model, start, head=head, eta_head=0.1, until=1e12)
            learnt = (carried(point.model, run.signal[-1], run.noise_gram[-1]) > 0.05).any(0)
            name = {(True, True): "both", (True, False): "only_strong", (False, True): "only_weak"}[tuple(learnt)]
            assert OUTCOMES[outcomes[n]] == name
            of = dict(zip(BLOCK_COLUMNS, columns[:, n], strict=True))
            assert of["time_first"] == pytest.approx(run.events["first"], rel=1e-3)
            assert of["head_peak"] == pytest.approx(np.abs(run.head - np.eye(2)).max(), rel=1e-3, abs=1e-12)
            assert of["loss_end"] == pytest.approx(run.loss[-1], rel=1e-3)


def test_starts_are_keyed_by_the_values_of_the_point():
    first, same = small_grid().point(0.4, 0.1), small_grid(x="weak=0.4:0.9:3").point(0.4, 0.1)
    whole = starts(first, 0, 0, 50)
    part = starts(same, 0, 13, 37)
    assert all((a[13:37] == b).all() for a, b in zip(whole, part, strict=True))
    for other in (small_grid().point(0.6, 0.1), small_grid().point(0.4, 0.2), small_grid(dim=2000).point(0.4, 0.1)):
        assert not np.isin(starts(other, 0, 0, 50)[0], whole[0]).any()
    assert not np.isin(starts(first, 1, 0, 50)[0], whole[0]).any()
    assert len(np.unique(whole[0])) == whole[0].size


def test_starts_have_the_law_of_the_paper():
    point = small_grid(dim=50).point(0.4, 0.1)
    signal, gram = starts(point, 0, 0, 20_000)
    assert signal.mean(0) == pytest.approx(np.zeros((2, 2)), abs=4 * (50 * 20_000) ** -0.5)
    assert 50 * (signal**2).mean(0) == pytest.approx(np.ones((2, 2)), rel=0.05)
    assert np.diagonal(gram, axis1=1, axis2=2).mean(0) == pytest.approx(np.full(2, 48 / 50), rel=0.01)


def test_both_heads_have_the_same_starts():
    """Before anything is learnt the head hardly matters, so T_1 of equal starts agrees."""
    point = small_grid().point(0.4, 1e-3)
    _, runs = run_jobs(tuple((point, head, 0, 48) for head in ("off-diagonal", "none")), 0, 1e-6)
    first = [columns[BLOCK_COLUMNS.index("time_first")] for _, columns in runs]
    assert np.abs(np.log(first[0] / first[1])).max() < 0.02
    assert np.log(first[0]).std() > 1.0


class Shuffled(Executor):
    """Finishes tasks late and in any order."""

    def __init__(self):
        self.pool, self.random = ThreadPoolExecutor(6), random.Random(1)

    def submit(self, work, *given) -> Future:
        delay = 0.05 * self.random.random()
        return self.pool.submit(lambda: (time.sleep(delay), work(*given))[1])


@pytest.mark.parametrize("kind", ["one thread", "shuffled", "processes"])
def test_any_executor_gives_the_same_bits(tmp_path, found, kind):
    if kind == "processes":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            again = phase_map(small_grid(), tmp_path, seeds=32, executor=pool)
    elif kind == "shuffled":
        again = phase_map(small_grid(), tmp_path, seeds=32, executor=Shuffled(), ahead=5)
    else:
        again = phase_map(small_grid(), tmp_path, seeds=32, threads=1)
    assert again.frame.equals(found.frame) and again.computed == (4 * 3 + 4) * 32


def test_workers_with_other_sources_are_refused(tmp_path):
    class Stale(Executor):
        def submit(self, work, *given):
            future = Future()
            future.set_result(("f" * 64, work(*given)[1]))
            return future

    with pytest.raises(SettingError, match="workers that run the same sources"):
        phase_map(small_grid(), tmp_path, seeds=2, executor=Stale())
    assert phase_map(small_grid(), tmp_path, seeds=2).computed == (4 * 3 + 4) * 2  # nothing of theirs was kept


def test_without_head_the_race_law_is_met(tmp_path):
    found = phase_map(small_grid(x="weak=0.3:0.9:2", dim=10**6), tmp_path, seeds=300)
    frame = found.frame[found.frame["head"] == "none"]
    for weak, rows in frame.groupby("weak"):
        p = share_weak(dynlab.Model(weak=weak))
        assert rows["predicted"].to_numpy() == pytest.approx(2 * p * (1 - p), rel=1e-12)
        low, high = wilson(int(rows["both"].sum()), int(rows["seeds"].sum()), z=3.9)
        assert low < 2 * p * (1 - p) < high


@pytest.mark.parametrize(("measure", "weak", "rate"), [("both", 0.3, 1.0), ("merged", 0.3, 1.0), ("only_strong", 0.3, 1.0)])
def test_with_head_the_limit_is_met(measure, weak, rate):
    point = small_grid(dim=10**8).point(weak, rate)
    _, [(outcomes, columns)] = run_jobs(((point, "off-diagonal", 0, 3000),), 0, 1e-6)
    value, *_ = Measure.named(measure).estimate(outcomes, columns)
    low, high = wilson(round(3000 * value), 3000, z=4.5)
    assert low < prediction(point, measure, "off-diagonal") < high


def test_predicted_times_and_peaks():
    point = small_grid(dim=10**8).point(0.3, 0.01)
    _, [(outcomes, columns)] = run_jobs(((point, "off-diagonal", 0, 400),), 0, 1e-6)
    for name, slack in (("time", 0.25), ("peak", 0.05)):
        value, *_ = Measure.named(name).estimate(outcomes, columns)
        assert prediction(point, name, "off-diagonal") == pytest.approx(value, rel=slack)


@pytest.mark.parametrize("fixed", [{"activation": "relu"}, {"neurons": 3}, {"until": 100.0}])
def test_no_prediction_where_there_is_no_theory(fixed):
    point = small_grid(**fixed).point(0.3, 0.01)
    for head in ("none", "off-diagonal"):
        assert all(np.isnan(prediction(point, name, head)) for name in ("both", "time", "peak"))


@pytest.mark.parametrize("name", [*SHARES, *MEDIANS])
def test_measures(name):
    rng = np.random.default_rng(0)
    outcomes = rng.integers(0, len(OUTCOMES), 101).astype(np.uint8)
    columns = rng.uniform(0.9, 1.3, (len(BLOCK_COLUMNS), 101))
    columns[:, :10] = np.nan
    value, low, high = Measure.named(name).estimate(outcomes, columns)
    if name == "merged":
        expected = sum(1 for rank in columns[BLOCK_COLUMNS.index("rank")] if rank < 1.2) / 101
    elif name in SHARES:
        expected = sum(1 for code in outcomes if OUTCOMES[code] == name) / 101
    else:
        row = columns[BLOCK_COLUMNS.index(MEDIANS[name][0])]
        expected = np.median([v for v, code in zip(row, outcomes, strict=True) if v == v and OUTCOMES[code] != "failed"])
    assert value == pytest.approx(expected) and low < value < high


def test_whole_numbers_are_rounded_and_taken_once():
    assert parse_axis("x", "neurons=2:5:10").values == (2, 3, 4, 5)
    assert parse_axis("x", "dim=10:1e12:4:log").values == (10, 46416, 215443469, 10**12)
    assert parse_axis("x", "weak=0:1:11").values == tuple(n / 10 for n in range(11))
    assert parse_axis("x", "feature-patches=2:4:3").name == "feature_patches"


AXES = [
    ("patches=8:16:3", "strong=1:2:2"),
    ("feature-patches=1:7:3", "noise=0.1:1:3"),
    ("dim=10:1e9:3:log", "until=10:1e6:2:log"),
    ("neurons=1:2:2", "weak=0.2:0.4:2"),
]


@pytest.mark.parametrize(("x", "y"), AXES)
def test_every_setting_is_an_axis(tmp_path, x, y):
    found = phase_map(small_grid(x=x, y=y), tmp_path, seeds=4, measure=Measure.named("rank"))
    assert found.frame["value"].notna().all() and (found.frame["failed"] == 0).all()


def test_near_the_level():
    value = np.array([[0.1, 0.1, 0.1], [0.1, 0.4, 0.6], [0.1, 0.1, 0.9]])
    near = near_level(value, value - 0.05, value + 0.05, 0.5)
    assert near.tolist() == [[False, False, True], [False, True, True], [False, True, True]]
    assert near_level(value, value - 0.05, value + 0.45, 0.5).all()


def test_pooling():
    value, seeds = np.random.default_rng(0).uniform(size=(48, 24)), np.full((48, 24), 64)
    seeds[:, ::2] = 16
    found = pooled(value, seeds)
    for i, j in ((0, 0), (20, 10), (47, 23), (5, 0)):
        near = [(a, b) for a in range(48) for b in range(24) if abs(a - i) <= 2 and abs(b - j) <= 1]
        share = sum(value[at] for at in near) / len(near)
        assert found[0, i, j] == pytest.approx(share)
        variance = sum(share * (1 - share) / seeds[at] for at in near) / len(near) ** 2
        assert found[2, i, j] - found[1, i, j] == pytest.approx(2 * 1.96 * variance**0.5, rel=0.05)
    assert (pooled(value[:11, :11], seeds[:11, :11])[0] == value[:11, :11]).all()


def test_refinement_spends_seeds_at_the_boundary(tmp_path):
    plain = small_grid(x="weak=0.05:0.95:10", y="eta-head=1e-3:1e-2:2:log")
    refined = phase_map(plain, tmp_path / "a", seeds=128, refine=True, level=0.25)
    rows = refined.frame[refined.frame["head"] == "none"]
    assert set(rows["seeds"]) <= {16, 32, 64, 128}
    near = rows["weak"].between(0.2, 0.5)
    assert (rows.loc[near, "seeds"] > 64).mean() > 0.5 and (rows.loc[rows["weak"] < 0.1, "seeds"] <= 32).all()
    assert refined.computed < 0.6 * (10 * 2 + 10) * 128
    far = rows[rows["seeds"] < 128]
    assert ((far["low"] > 0.25) | (far["high"] < 0.25)).all()  # the rule's own promise
    # The same in a store that holds more already, and the same seeds as in a plain map.
    full = phase_map(plain, tmp_path / "b", seeds=128, level=0.25)
    assert phase_map(plain, tmp_path / "b", seeds=128, refine=True, level=0.25).frame.equals(refined.frame)
    merged = refined.frame.merge(full.frame, on=["weak", "eta_head", "head"], suffixes=("", "_full"))
    whole = merged["seeds"] == 128
    assert whole.any() and (merged.loc[whole, "both"] == merged.loc[whole, "both_full"]).all()
    assert (merged["both"] <= merged["both_full"]).all()


def test_refinement_of_a_median(tmp_path):
    found = phase_map(small_grid(), tmp_path, seeds=64, refine=True, measure=Measure.named("rank"))
    assert found.level == 1.5 and set(found.frame["seeds"]) <= {16, 32, 64}


def test_the_command_writes_settings_and_version(undisturbed):
    out, files = undisturbed
    assert pd.read_csv(out / "phase.csv").shape == (24, 20)
    assert files["phase.png"].startswith(b"\x89PNG") and files["phase.pdf"].startswith(b"%PDF")
    for name in ("phase.png", "phase.pdf"):
        assert f"dynlab {dynlab.__version__}".encode() in files[name]
        assert b"eta_head" in files[name] and b"CreationDate" not in files[name]
    settings = record(out)["settings"]
    assert settings["x"]["setting"] == "weak" and settings["seeds"] == 32 and settings["noise"] == 0.5


@pytest.mark.parametrize("more", ["--measure time --level 1e5", "--measure peak", "--measure time-second"])
def test_maps_of_medians_are_drawn(tmp_path, more):
    finished(tmp_path / "out", *more.split(), seeds=8)


def test_refined_command_resumes(tmp_path):
    first = finished(tmp_path / "a", "--refine", seeds=64)
    store = tmp_path / "a" / "store" / "points.bin"
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    assert finished(tmp_path / "a", "--refine", seeds=64) == first


def test_no_plots_and_quiet(tmp_path, capsys):
    assert dynlab.phase.main(options(tmp_path / "out", "--no-plots", "--quiet", seeds=2)) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["phase.csv", "run.json", "store"]


def test_progress_counts_to_the_total(tmp_path):
    seen = []
    phase_map(small_grid(), tmp_path, seeds=16, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == ((4 * 3 + 4) * 16,) * 2 and sorted(seen) == seen
    assert points.BLOCK == 16  # starts are drawn in blocks of so many: another number is another ensemble


def test_progress_takes_the_total_of_each_round(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    now = [0.0]
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with progress(0, "trajectories") as show:
        for done, total in ((5, 50), (50, 50), (3, 30)):
            now[0] += 0.12
            show(done, total)
        text = sys.stderr.getvalue()
    assert "0/50" in text and "50/50" in text and "0/30" in text and re.search(r"\d\d:\d\d<", text)


@pytest.mark.parametrize("fixed", [{"feature_patches": 1}, {"noise": 0.0}])
def test_no_prediction_without_a_race(fixed):
    """A single feature patch is never in both views: nothing is learnt, whatever the shares of a race would be."""
    point = small_grid(**fixed).point(0.3, 0.01)
    assert all(np.isnan(prediction(point, name, head)) for name in ("both", "time") for head in ("none", "off-diagonal"))

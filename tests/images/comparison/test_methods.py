"""The comparison of methods: its runs, its table, its gates, and that stopped, shared or repeated it comes to the same."""

import json
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dynlab import methods as command
from dynlab.drawing import method_comparison
from dynlab.images.comparison import all_methods, measured_runs
from dynlab.images.comparison import tables as the_tables
from dynlab.images.data import datasets
from dynlab.images.recipes.recipe_files import Recipe
from dynlab.images.training import run_folder, train
from tests.images import small

RECIPE = """method = "{name}"
{gate}
[settings]
encoder = "demo"
projector = [8, 4]
batch = 16
limit = 48
steps = 5
record = 1
augmentation = "demo"
knn_every = 0
head = "{head}"
"""


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(datasets, "load", small.load)


@pytest.fixture
def words(tmp_path):
    """Two recipes of a few steps whose gates pass, and the words of a comparison of them."""
    (tmp_path / "plain.toml").write_text(RECIPE.format(name="plain", head="none", gate="most_gain = 1.0"))
    (tmp_path / "headed.toml").write_text(RECIPE.format(name="headed", head="off-diagonal", gate=""))
    both = f"{tmp_path / 'plain.toml'},{tmp_path / 'headed.toml'}"
    return ["--methods", both, "--seeds", "2", "--data", "nowhere", "--no-plots", "--quiet", "--out", str(tmp_path / "out")]


def tables(place):
    return {name: (place / name).read_bytes() for name in ("methods.csv",)} | {
        "runs": pd.read_csv(place / "runs.csv").drop(columns="seconds").to_csv()
    }


def test_a_comparison_is_made_once_and_a_stopped_one_goes_on(words, tmp_path, monkeypatch, capsys):
    assert command.main(words) == 0
    whole = tables(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"plain-seed0", "headed-seed1", "random-seed0.json", "random-seed1.json", "methods.json"} <= names
    facts = json.loads((tmp_path / "out" / "methods.json").read_text())
    assert (
        facts["gates"] == [facts["gates"][0]]
        and facts["gates"][0]["passed"]
        and set(facts["recipes"]) == {"plain", "headed"}
    )
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "pretrain", lambda *_, **__: pytest.fail("trained again"))
        assert command.main(words) == 0
    assert tables(tmp_path / "out") == whole
    assert command.main([*words[:-1], str(tmp_path / "other"), "--seeds", "1", "--lr", "0.5"]) == 0
    assert capsys.readouterr().err == ""
    assert command.main([*words, "--lr", "0.5"]) == 2
    assert "must be a folder of runs with these settings, which plain-seed0 has not" in capsys.readouterr().err

    step, count = train.Trainer.step, 0

    def stopping(self, number):
        nonlocal count
        count += 1
        if count == 8:  # in the middle of the second run
            raise KeyboardInterrupt
        step(self, number)

    stopped = [*words[:-1], str(tmp_path / "stopped")]
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "step", stopping)
        assert command.main(stopped) == 130
    assert (tmp_path / "stopped" / "plain-seed0" / "evaluate.json").is_file()
    assert not (tmp_path / "stopped" / "headed-seed0" / "evaluate.json").is_file()
    assert command.main(stopped) == 0 and tables(tmp_path / "stopped") == whole


class Later(Executor):
    """Does a job when the next one comes, the last one first: another order than that of the runs, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def test_workers_come_to_the_same(words, tmp_path, capsys):
    settings = command.check(command.parser().parse_args(words))
    chosen, data = list(all_methods.method_entries(settings)), (small.load("", ""), small.load("", "", "test"))
    alone = measured_runs.make_all(all_methods.conditions_of(settings), chosen, data, None, lambda made: None)
    shared = replace(settings, out=tmp_path / "shared")
    told = []
    by_workers = measured_runs.make_all(all_methods.conditions_of(shared), chosen, data, Later(), told.append)
    assert list(by_workers) == list(alone) and len(told) == len(chosen)
    frames = [the_tables.frame([row for one in made.values() for row in one.rows]) for made in (alone, by_workers)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    damaged = tmp_path / "shared" / "plain-seed1" / "evaluate.json"
    damaged.write_text("{")
    with pytest.raises(OSError, match="remove it, and the run is measured again"):
        measured_runs.make_all(all_methods.conditions_of(shared), chosen, data, Later(), told.append)
    with pytest.raises(ValueError, match="a folder with the same pictures for all workers"):
        measured_runs.job(all_methods.conditions_of(shared), chosen[0], "other", measured_runs._sources())
    with pytest.raises(ValueError, match="run the same sources of dynlab"):
        measured_runs.job(all_methods.conditions_of(shared), chosen[0], data[0].content(None), "other")


def test_z_at_unit_length_spreads_as_by_hand(words, tmp_path):
    settings = command.check(command.parser().parse_args(words))
    data = (small.load("", ""), small.load("", "", "test"))
    entry = next(all_methods.method_entries(settings))
    made = measured_runs.make(all_methods.conditions_of(settings), entry, data)
    by = {row["representation"]: row for row in made.rows}
    assert "unit_sd" not in by["encoder"]
    from dynlab.images import layers
    from dynlab.images.worth import representations

    networks = representations.networks_of(entry.settings, data[1].pictures, layers)
    networks.load(run_folder.read_weights(settings.out / entry.name))
    z = representations.features_of(networks, data[1].pictures, entry.settings)[1].astype(float)
    unit = np.array([row / np.sqrt(sum(x * x for x in row)) for row in z])
    spread = np.mean([np.sqrt(np.mean([(x - column.mean()) ** 2 for x in column])) for column in unit.T])
    assert by["z"]["unit_sd"] == pytest.approx(spread, rel=1e-6)


def frames(gain=0.1, rank=9.0, verdict="healthy"):
    """Tables of a method whose probe is that much above the random encoder's."""
    lines = []
    for method, probe in (("one", 0.4 + gain), (all_methods.RANDOM, 0.4)):
        for seed in (0, 1):
            for representation in ("encoder", "z"):
                measured = {"probe": probe + 0.01 * (2 * seed - 1), "knn": 0.3, "singular_rank": rank, "rank": rank}
                key = {"method": method, "seed": seed, "representation": representation}
                lines.append(key | measured | {"correlation": 0.2, "unit_sd": 0.1})
    seen = pd.DataFrame([{"method": "one", "seed": seed, "verdict": verdict if seed else "healthy"} for seed in (0, 1)])
    return all_methods.table(pd.DataFrame(lines)), seen


@pytest.mark.parametrize(
    ("gate", "given", "passed", "words"),
    [
        ({"least_gain": 0.08}, {}, True, "probe +0.100 against the random encoder"),
        ({"least_gain": 0.08}, {"gain": 0.079}, False, "probe +0.079 against the random encoder, must be +0.08 or more"),
        ({"least_gain": 0.08}, {"rank": 4.0}, False, "rank of z 4.00, must be above 4"),
        ({"least_gain": 0.08}, {"rank": float("nan")}, False, "rank of z nan, must be above 4"),
        ({"least_gain": 0.08}, {"verdict": "collapsed"}, False, "seed 1 collapsed"),
        ({"least_gain": 0.08}, {"verdict": "diverged"}, False, "seed 1 diverged"),
        ({"most_gain": 0.0}, {"gain": -0.001, "rank": 1.0, "verdict": "collapsed"}, True, "probe -0.001"),
        ({"most_gain": 0.0}, {"gain": 0.001}, False, "probe +0.001 against the random encoder, must be below +0"),
    ],
)
def test_gates_can_fail(gate, given, passed, words, tmp_path):
    settings = command.check(command.parser().parse_args(["--out", str(tmp_path)]))
    settings = replace(settings, recipes=(Recipe("one", "one", **gate),))
    (found,) = all_methods.gates(settings, *frames(**given))
    assert found.method == "one" and found.passed == passed and found.words.startswith(words)
    assert all_methods.gates(replace(settings, changed={"steps": 3}), *frames(**given)) == []


def test_a_gate_that_fails_is_told_and_is_the_status(words, tmp_path, capsys):
    path = tmp_path / "headed.toml"
    path.write_text(path.read_text().replace('method = "headed"', 'method = "headed"\nleast_gain = 1.0'))
    assert command.main([*words, "--seeds", "1"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("dynlab.methods: gate of headed: ") and line.count("\n") == 1


def test_means_and_intervals_of_the_table():
    table = all_methods.table(pd.DataFrame([
        {"method": "a", "seed": seed, "representation": "z", "probe": probe, "knn": 0.1, "singular_rank": 2.0 + seed,
         "rank": 1.0, "correlation": 0.5, "unit_sd": 0.1} for seed, probe in enumerate((0.5, 0.52, 0.54))
    ]))  # fmt: skip
    (row,) = table.to_dict("records")
    half = 4.302652729911275 * 0.02 / np.sqrt(3.0)  # Student's t with two degrees of freedom
    assert row["probe"] == pytest.approx(0.52) and row["probe_high"] - row["probe"] == pytest.approx(half)
    assert row["singular_rank"] == pytest.approx(3.0) and row["seeds"] == 3
    assert row["singular_rank_low"] == pytest.approx(3.0 - 50 * half)


def test_methods_are_the_small_recipes_and_all_of_one_budget(tmp_path):
    settings = command.check(command.parser().parse_args([]))
    assert all_methods.small_names()[:2] == ["none", "off-diagonal"] and len(settings.recipes) == len(
        all_methods.small_names()
    )
    made = [entry for entry in all_methods.method_entries(settings)]
    assert [entry.seed for entry in made if not entry.trained] == [0, 1, 2]
    assert made[0].name == "none-seed0" and made[len(settings.recipes)].name == "none-seed1"
    assert made[1].settings.seed == 0 and made[len(settings.recipes)].settings.seed == 1
    labels = all_methods.labels(all_methods.recipes_of(["demo", "small-off-diagonal", "byol"]))
    assert labels == {"demo": "demo", "small-off-diagonal": "small-off-diagonal", "small-byol": "BYOL"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "bylo"], "--methods bylo: must be one of none, off-diagonal,"),
        (["--methods", "x.toml"], "--methods x.toml: must be a TOML file of a recipe that can be read"),
        (["--processes", "0"], "--processes 0: must be an integer >= 1"),
        (["--processes", "2", "--dask", "tcp://x"], "--processes 2: must be 1 with --dask, whose workers compute"),
        (
            ["--methods", "byol,cpu-small"],
            "--methods byol,cpu-small: must be recipes of one encoder, not of convnet and demo",
        ),
        (["--dataset", "stl10"], "--dataset stl10: must be one whose training pictures have labels"),
        (["--dataset", "speech", "--bands", "3"], "--bands 3: must be 40 or 80"),
        (["--pattern", "{speaker}"], "--pattern {speaker}: must be None without dataset"),
        (["--methods", "speech-small", "--dataset", "mnist"], "--encoder tdnn: must be one of"),
        (["--seeds", "0"], "--seeds 0: must be an integer >= 1"),
        (["--methods", ""], "--methods '': must be one of none,"),
    ],
)
def test_refusals_are_a_line(words, said, capsys):
    assert command.main(words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith(f"dynlab.methods: error: {said}")


def test_a_cluster_computes_where_one_process_is_asked_for():
    settings = command.check(command.parser().parse_args(["--processes", "1", "--dask", "tcp://x"]))
    assert settings.dask == "tcp://x" and settings.processes == 1


def test_the_figure_draws_every_method_and_every_number():
    runs = pd.DataFrame([
        {"method": method, "seed": seed, "representation": representation, "probe": 0.4, "knn": 0.3,
         "singular_rank": 5.0 + seed, "rank": 5.0, "correlation": 0.2, "unit_sd": 0.1 if representation == "z" else np.nan}
        for method in ("a", "b", all_methods.RANDOM) for seed in (0, 1) for representation in ("encoder", "z")
    ])  # fmt: skip
    figure = method_comparison.methods(runs)
    rank = next(axes for axes in figure.axes if "rank" in axes.get_title())
    assert [label.get_text() for label in rank.get_yticklabels()] == ["a", "b"]
    dots = [line for line in rank.lines if line.get_marker() == "."]
    assert len(dots) == 2 and list(dots[0].get_xdata()) == [5.0, 6.0]
    means = [line.get_xdata()[0] for line in rank.lines if line.get_marker() == "o"]
    assert means == [5.5, 5.5]

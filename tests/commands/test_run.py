"""The main command as its user meets it: what it prints and writes, and what it leaves when it is stopped."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.tools.checks import available_threads
from tests.command_line.calling import called, refusal
from tests.waiting import HANGS, PROGRESS, beyond_progress

FILES = ["ensemble.csv", "phases.pdf", "phases.png", "run.json", "summary.csv", "trajectory.csv"]
SUMMARY = ["activation", "head", "seeds", "both", "only_strong", "only_weak", "neither", "waiting", "failed"]
SUMMARY += ["time_first", "head_peak", "head_bound", "head_end"]
SMALL = ["--seeds", "40", "--seed", "3"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": dynlab.__file__.rsplit("/dynlab/", 1)[0],
    "OMP_WAIT_POLICY": "passive",
    "COLUMNS": "80",
}


def command(folder, *options):
    """Run the command in a folder; the finished process."""
    words = [sys.executable, "-m", "dynlab.run", *options]
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANGS, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small run into a folder named by the command: (finished process, run folder)."""
    folder = tmp_path_factory.mktemp("main")
    done = command(folder, "--strong", "1.0", "--weak", "0.3", *SMALL)
    assert done.returncode == 0, done.stderr
    (place,) = (folder / "runs").iterdir()
    return done, place


def test_the_folder_is_complete_and_alone(run):
    _, place = run
    assert sorted(path.name for path in place.iterdir()) == FILES
    assert all(path.stat().st_size > 0 for path in place.iterdir())
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_nothing_but_the_report_is_printed(run):
    done, place = run
    assert beyond_progress(done.stderr) == []
    labels = ("relu", "cubic", "both features learnt", "head peak (one-way bound)", "rescue")
    for words in (*labels, f"runs/{place.name}"):
        assert words in done.stdout, words
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= 120


def test_summary_is_one_row_an_activation_and_head_with_shares_that_add_up(run):
    summary = pd.read_csv(run[1] / "summary.csv")
    assert set(SUMMARY) <= set(summary)
    rows = list(zip(summary["activation"], summary["head"], strict=True))
    assert rows == [(a, h) for a in ("relu", "cubic") for h in ("off-diagonal", "none")]
    shares = summary[["both", "only_strong", "only_weak", "neither", "waiting", "failed"]]
    assert np.allclose(shares.sum(axis=1), 1.0)
    assert ((shares >= 0) & (shares <= 1)).all(axis=None)
    for outcome in shares:
        assert (summary[f"{outcome}_low"] <= summary[outcome]).all()
        assert (summary[outcome] <= summary[f"{outcome}_high"]).all()
    assert (summary["seeds"] == 40).all()


def test_summary_counts_what_ensemble_lists(run):
    summary = pd.read_csv(run[1] / "summary.csv")
    ensemble = pd.read_csv(run[1] / "ensemble.csv")
    assert len(ensemble) == 4 * 40
    for row in summary.itertuples():
        seeds = ensemble[(ensemble["activation"] == row.activation) & (ensemble["head"] == row.head)]
        assert seeds["seed"].nunique() == 40
        for outcome in ("both", "only_strong", "only_weak", "neither", "waiting", "failed"):
            assert (seeds["outcome"] == outcome).sum() == round(getattr(row, outcome) * 40)
        assert np.isclose(seeds["head_end"].median(), row.head_end, rtol=1e-12, atol=0)


def test_both_heads_of_an_activation_start_alike(run):
    trajectory = pd.read_csv(run[1] / "trajectory.csv")
    signals = [name for name in trajectory if name.startswith(("signal", "noise"))]
    for _, rows in trajectory.groupby("activation"):
        starts = rows.groupby("head").first()
        assert (starts["time"] == 0).all()
        assert starts.loc["none", signals].equals(starts.loc["off-diagonal", signals])
        assert (starts[["head_1_2", "head_2_1"]] == 0).all(axis=None)
        assert (rows.loc[rows["head"] == "none", ["head_1_2", "head_2_1"]] == 0).all(axis=None)


def test_the_trajectory_is_the_ensemble_row_it_claims_to_be(run):
    record = json.loads((run[1] / "run.json").read_text())
    trajectory = pd.read_csv(run[1] / "trajectory.csv")
    ensemble = pd.read_csv(run[1] / "ensemble.csv")
    for (activation, head), steps in trajectory.groupby(["activation", "head"]):
        last = steps.iloc[-1]
        rows = ensemble[(ensemble["activation"] == activation) & (ensemble["head"] == head)]
        row = rows[rows["seed"] == record["seed_followed"][activation]].iloc[0]
        for j in (1, 2):
            square = last[f"signal_{j}_1"] ** 2 + last[f"signal_{j}_2"] ** 2 + last[f"noise_{j}_{j}"]
            for l in (1, 2):
                cosine = last[f"signal_{j}_{l}"] ** 2 / square
                assert cosine == pytest.approx(row[f"cosine_{j}_{l}"], abs=1e-3)


def test_run_json_tells_all_that_a_repetition_needs(run):
    record = json.loads((run[1] / "run.json").read_text())
    assert record["command"] == "python -m dynlab.run --strong 1.0 --weak 0.3 --seeds 40 --seed 3"
    settings = record["settings"]
    assert settings["activation"] == ["relu", "cubic"]
    given = {"strong": 1.0, "weak": 0.3, "dim": 1000, "seeds": 40, "seed": 3, "noise": 0.5}
    assert {name: settings[name] for name in given} == given
    packages = {"dynlab", "python", "numpy", "numba", "scipy", "pandas", "matplotlib"}
    assert packages <= record["versions"].keys()
    assert {"system", "machine", "cores"} <= record["platform"].keys()
    assert record["wall_time_seconds"] > 0
    ensembles = ["relu, off-diagonal", "relu, none", "cubic, off-diagonal", "cubic, none"]
    assert list(record["failed"]) == ensembles


def test_one_and_two_threads_give_the_same_bytes(tmp_path, run, capsys):
    for threads in range(1, min(available_threads(), 2) + 1):
        place = f"threads-{threads}"
        done = called("run", [*SMALL, "--threads", str(threads), "--out", str(tmp_path / place), "--no-plots"], capsys)
        assert done.returncode == 0, done.stderr
        for name in ("summary.csv", "ensemble.csv", "trajectory.csv"):
            assert (tmp_path / place / name).read_bytes() == (run[1] / name).read_bytes(), name


def test_another_seed_gives_another_ensemble(tmp_path, run, capsys):
    done = called("run", ["--seeds", "40", "--seed", "4", "--out", str(tmp_path / "other"), "--no-plots"], capsys)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "ensemble.csv").read_bytes() != (run[1] / "ensemble.csv").read_bytes()


def test_quiet_without_plots_and_one_activation(tmp_path):
    done = command(tmp_path, *SMALL, "--activation", "cubic", "--quiet", "--no-plots", "--out", "deep/one")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    place = tmp_path / "deep" / "one"
    assert sorted(path.name for path in place.iterdir()) == [name for name in FILES if "phases" not in name]
    assert set(pd.read_csv(place / "summary.csv")["activation"]) == {"cubic"}


def test_a_second_run_does_not_touch_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert called("run", [*SMALL, "--no-plots", "--activation", "cubic"], capsys).returncode == 0
    one, two = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert two == one + "-2"
    assert "holds another run" in refusal("run", ["--out", f"runs/{one}"], capsys)


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    words = [sys.executable, "-m", "dynlab.run", *SMALL, "--activation", "cubic", "--no-plots"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=HANGS) == 0


# Says how far it is as soon as there is something to say.
TELLING = (
    "import sys; from dynlab import run; from dynlab.tools import progress; progress.SECONDS = 0.0; sys.exit(run.main())"
)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_in_the_middle_it_leaves_no_half_written_run(tmp_path, number, status):
    words = [sys.executable, "-c", TELLING, "--seeds", "10000000", "--out", "deep/one"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stderr.readline()
    while line.startswith("compiling "):  # so many starts are drawn by a kernel that no other test here needs
        line = process.stderr.readline()
    assert PROGRESS.fullmatch(line.rstrip()), process.communicate()  # it is in the ensembles
    assert (tmp_path / "deep" / ".one.partial").exists()
    process.send_signal(number)
    output, errors = process.communicate(timeout=HANGS)
    assert process.returncode == status
    assert output == ""
    assert not (tmp_path / "deep" / "one").exists()
    if number == signal.SIGKILL:
        assert [path.name for path in (tmp_path / "deep").iterdir()] == [".one.partial"]
    else:
        assert len(beyond_progress(errors)) == (1 if number == signal.SIGINT else 0), errors
        assert list(tmp_path.iterdir()) == []

"""The monitor: its records against the diagnosis, one warning, and folders that are continued, taken or damaged."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab import SettingError
from dynlab.embeddings.forecast import on_the_way
from dynlab.embeddings.monitor import CollapseWarning, measure
from dynlab.images.verdict import METRIC_COLUMNS
from dynlab.tools.files import FolderError, FolderTaken
from tests import ROOT
from tests.waiting import HANGS

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((12, 12))


def batch(seed=0, n=128):
    """z (n, 12)."""
    return (np.random.default_rng(seed).standard_normal((n, 12)) @ MIX).astype(np.float32)


def falling(step, n=128):
    """z whose rank falls from 12 towards 1 in some 300 steps."""
    rng = np.random.default_rng(step)
    return rng.standard_normal((n, 1)) * np.ones(12) + 0.97 ** (step / 2) * 2.0 * rng.standard_normal((n, 12))


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.name != ".lock"}


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_a_record_is_the_diagnosis(scale):
    z = batch().astype(float) * scale
    head = np.eye(12) + 0.1 * MIX
    line, found = measure(z, head), dynlab.diagnose(z, head)
    assert line["rank"] == pytest.approx(found.rank, rel=1e-9)
    assert line["correlation"] == pytest.approx(found.mean_abs_correlation, rel=1e-9)
    assert line["unit_sd"] == pytest.approx(found.unit_sd, rel=1e-9)
    assert line["sd"] == pytest.approx(scale * batch().astype(float).std(0).mean(), rel=1e-9)
    assert (line["head_norm"], line["head_asymmetry"], line["head_diagonal"]) == (
        found.head.norm,
        found.head.asymmetry,
        found.head.diagonal,
    )
    assert (line["rows"], line["outputs"], line["dead"], line["verdict"]) == (128, 12, 0, found.verdict)


def test_constant_outputs_and_rows_of_zeros_are_recorded():
    z = batch()
    tenth = np.float32(0.1)
    z[:, 3] = np.where(np.arange(128) % 3, tenth, np.nextafter(tenth, np.float32(1.0)))  # but for rounding
    z[5] = 0.0
    z[5, 3] = 0.1
    line, found = measure(z), dynlab.diagnose(z)
    assert line["dead"] == found.dead == 1 and line["rank"] == pytest.approx(found.rank, rel=1e-9)
    assert line["unit_sd"] == pytest.approx(found.unit_sd, rel=1e-6)
    assert measure(np.zeros((20, 3)))["verdict"] == "collapsed" and measure(np.ones((20, 3)))["rank"] == 0.0


def test_files_hold_the_records(tmp_path):
    with dynlab.Monitor(tmp_path / "run") as monitor:
        made = [monitor.update(step, batch(step), np.eye(12), loss=1.0 / (1 + step)) for step in (0, 10, 20)]
        assert "3 records" in repr(monitor) and monitor.lines[-1]["step"] == 20
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
        table = pd.read_csv(tmp_path / "run" / "metrics.csv")  # on the disk at once
    assert tuple(table.columns) == METRIC_COLUMNS and list(table["step"]) == [0, 10, 20]
    assert table["rank"].tolist() == [one["rank"] for one in made] and table["knn"].isna().all()
    lines = [json.loads(line) for line in (tmp_path / "run" / "monitor.jsonl").read_text().splitlines()]
    assert [one["dead"] for one in lines] == [0, 0, 0] and lines[1]["head_asymmetry"] is None
    assert {name for one in lines for name in one} >= {"rows", "outputs", "verdict", "head_diagonal"}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def test_one_warning_on_the_way_to_collapse_and_none_elsewhere(tmp_path):
    with dynlab.Monitor(tmp_path / "falls") as monitor, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(0, 400, 10):
            monitor.update(step, falling(step))
    assert [one.category for one in caught] == [CollapseWarning]
    assert f"(dynlab explain {tmp_path / 'falls'})" in str(caught[0].message) and caught[0].filename == __file__
    ranks = {line["step"]: line["rank"] for line in monitor.lines}
    fell = next(step for step, rank in ranks.items() if rank < 2.0)
    assert monitor.warned is not None and monitor.warned <= fell
    with dynlab.Monitor(tmp_path / "stays") as monitor, warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(0, 400, 10):
            monitor.update(step, batch(step))


def series(*ranks):
    """Lines of a run with these ranks every 10 steps."""
    return [{"step": 10 * i, "rank": rank, "correlation": 0.3, "unit_sd": 0.1} for i, rank in enumerate(ranks)]


def warns(*ranks):
    """Whether a run with these ranks is warned of at any of its lines."""
    lines = series(*ranks)
    return any(on_the_way(lines[: n + 1]) for n in range(len(lines)))


def test_the_rule_of_the_warning():
    """Low and falling, not low and rising: a run that goes well passes through small ranks in its first steps."""
    assert not warns(24.0, 1.9)
    assert not warns(24.0, 2.0, 2.0, 2.2, 2.4, 2.5, 3.0, 3.2)
    assert not warns(24.0, 1.6, 1.7, 1.8, 1.8, 2.0, 2.0, 2.0, 2.2, 2.4)
    assert not warns(*np.linspace(24.0, 5.0, 20))
    assert warns(24.0, 12.0, 8.0, 6.0, 5.0, 4.0, 3.2, 2.7, 2.4, 2.2)
    assert warns(24.0, 1.1, 1.06, 1.07, 1.03, 1.03, 1.03)
    assert not on_the_way(series(1.9, 1.6, 1.5, 1.5, 1.45, 1.42, 1.4), directions=2) and on_the_way(
        series(1.9, 1.1, 1.1, 1.0, 1.0), 2
    )


def test_numbers_that_are_not_finite_are_recorded_and_training_goes_on(tmp_path):
    z = batch()
    z[3, 4] = np.nan
    with dynlab.Monitor(tmp_path / "run") as monitor:
        monitor.update(0, batch(), loss=1.0)
        with pytest.warns(CollapseWarning, match=r"^step 10: z, the head or the loss are not finite"):
            found = monitor.update(10, z, loss=np.inf)
        monitor.update(20, batch(2))
    assert found["verdict"] == "diverged" and np.isnan(found["rank"])
    last = json.loads((tmp_path / "run" / "monitor.jsonl").read_text().splitlines()[1])
    assert last["rank"] is None and last["loss"] is None
    from dynlab.explanation.explanation import explain

    assert "NO COLLAPSE" in explain(tmp_path / "run").text and "DIVERGED" in explain(tmp_path / "run", at=10).text


def test_a_folder_is_gone_on_with_to_the_same_bytes(tmp_path, capsys):
    whole, parts = dynlab.Monitor(tmp_path / "whole"), dynlab.Monitor(tmp_path / "parts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(0, 200, 10):
            if step == 70:
                parts.close()
                parts = dynlab.Monitor(tmp_path / "parts")
            whole.update(step, falling(step), np.eye(12), 0.5)
            parts.update(step, falling(step), np.eye(12), 0.5)
    whole.close()
    parts.close()
    parts.close()
    assert files(tmp_path / "whole") == files(tmp_path / "parts")
    assert capsys.readouterr().err == f"dynlab.Monitor: {tmp_path / 'parts'}: goes on after step 60 (7 records)\n"


def test_a_step_that_goes_back_takes_the_place_of_what_followed(tmp_path, capsys):
    """As training that goes on from a checkpoint; the same bytes as of a run that was never ahead."""
    straight = dynlab.Monitor(tmp_path / "straight")
    back = dynlab.Monitor(tmp_path / "back")
    for step in (0, 10, 20, 30):
        back.update(step, batch(step + 1000))
    for step in (0, 10, 20):
        straight.update(step, batch(step))
        back.update(step, batch(step))
    straight.close()
    back.close()
    assert files(tmp_path / "straight") == files(tmp_path / "back")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"dynlab.Monitor: {tmp_path / 'back'}: step 0 after step 30: 4 records from it on are dropped"]


def test_a_warning_that_was_gone_back_behind_is_given_again(tmp_path):
    with dynlab.Monitor(tmp_path / "run", quiet=True) as monitor:
        for _ in range(2):
            with pytest.warns(CollapseWarning) as caught:
                for step in range(0, 400, 10):
                    monitor.update(step, falling(step))
            assert len(caught) == 1


def test_the_warning_of_a_run_that_goes_on_is_not_given_again(tmp_path):
    with dynlab.Monitor(tmp_path / "run", quiet=True) as monitor, pytest.warns(CollapseWarning):
        for step in range(0, 400, 10):
            monitor.update(step, falling(step))
    with dynlab.Monitor(tmp_path / "run", quiet=True) as monitor, warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.update(400, falling(400))


def test_what_a_killed_process_left_of_a_line_is_dropped(tmp_path, capsys):
    with dynlab.Monitor(tmp_path / "run") as monitor:
        for step in (0, 10):
            monitor.update(step, batch(step))
    whole = files(tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", "a") as file:
        file.write("20,nan,na")
    with dynlab.Monitor(tmp_path / "run"):
        pass
    assert files(tmp_path / "run") == whole and "after step 10 (2 records)" in capsys.readouterr().err


def test_another_process_that_writes_there_is_told(tmp_path):
    held = dynlab.Monitor(tmp_path / "run")
    script = f"import dynlab; dynlab.Monitor({str(tmp_path / 'run')!r})"
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANGS, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith("another run is writing there")
    held.update(0, batch())
    held.close()
    assert dynlab.Monitor(tmp_path / "run").update(10, batch())["step"] == 10


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"kind": "pretraining"}')
    (tmp_path / "file").write_text("precious")
    for name, words in (("notes", "holds other files"), ("run", "holds another run"), ("file", "is a file")):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(FolderTaken, match=f"{name}: {words}; must be a new or an empty folder, or that of a monitor$"):
            dynlab.Monitor(tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_closed_monitor_says_so(tmp_path):
    monitor = dynlab.Monitor(tmp_path / "run")
    monitor.close()
    with pytest.raises(FolderError, match="this monitor was closed"):
        monitor.update(0, batch())


WRONG = {
    "step": ((-1, batch()), "step=-1: must be an integer >= 0"),
    "a stack": ((0, np.zeros((2, 4, 4))), "z=(2, 4, 4): must be a matrix of two rows or more"),
    "one row": ((0, np.zeros((1, 4))), "z=(1, 4): must be a matrix of two rows or more"),
    "objects": ((0, np.array([[None]])), "z='object (1, 1)': must be an array"),
    "loss": ((0, batch(), None, [1.0, 2.0]), "loss=(2,): must be one number"),
    "head": ((0, batch(), np.eye(3)), "head=(3, 3): must be 12 x 12"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line_and_records_nothing(tmp_path, name):
    words, message = WRONG[name]
    with dynlab.Monitor(tmp_path / "run") as monitor:
        with pytest.raises(SettingError) as refused:
            monitor.update(*words)
        assert message in str(refused.value) and monitor.lines == []


def test_numbers_of_a_loop_are_taken_as_they_come(tmp_path):
    """Lists, NumPy scalars, integers, halves."""
    with dynlab.Monitor(tmp_path / "run") as monitor:
        found = monitor.update(np.int64(3), (10 * batch()).astype(np.float16).tolist(), loss=np.float32(0.5))
    assert found["step"] == 3 and found["loss"] == 0.5 and found["rank"] > 1.0

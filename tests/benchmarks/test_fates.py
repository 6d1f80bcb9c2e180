"""The runs with a known fate: all settings are allowed, and the tables count what the files hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import fates


def test_all_runs_are_allowed_and_of_every_kind():
    found = fates.runs()
    assert len(found) >= 60 and all(one.steps == fates.STEPS for one in found.values())
    kinds = {name: {getattr(one, name) for one in found.values()} for name in ("loss", "head", "target", "stop_gradient")}
    assert kinds["loss"] == {"similarity", "barlow-twins", "vicreg", "dino", "simclr"} and kinds["head"] == set(fates.HEADS)
    assert kinds["target"] == {"same", "average"} and {"target", "none"} <= kinds["stop_gradient"]
    assert {one.lr for one in found.values()} >= set(fates.RATES)
    assert len({(one.dataset, one.seed) for one in found.values()}) == len(fates.SETS) * len(fates.SEEDS)


def run(place, name, sizes, probe):
    """A run whose z has one direction of size 1 and the others of these sizes, with its probe; the random one has 500."""
    rng = np.random.default_rng(0)
    z = [rng.standard_normal((60, 1)) * np.ones(8) + size * rng.standard_normal((60, 8)) for size in sizes]
    fate = {"random": 500, "probe": probe, "total": 1000}
    with open(place / f"{name}.npz", "wb") as file:
        np.savez(
            file, fate=np.array(json.dumps(fate)), settings=np.array(json.dumps({"dataset": "small", "seed": 0})),
            step=10 * np.arange(len(z)), z=np.array(z), head=np.zeros((len(z), 0, 0)), loss=np.zeros(len(z)), test=z[-1],
            labels=np.zeros(60, np.int64),
        )  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """Three that stay, one of them no better than before training, one that falls, one that diverged."""
    np.save(tmp_path / "random_small_0.npy", np.random.default_rng(1).standard_normal((60, 8)))
    run(tmp_path, "stays", [9.0] * 8, 700)
    run(tmp_path, "stays too", [9.0] * 8, 510)
    run(tmp_path, "learns nothing", [9.0] * 8, 300)
    run(tmp_path, "falls", [9.0, 2.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1], 200)
    run(tmp_path, "diverges", [9.0] * 3 + [np.nan] * 3, None)
    return tmp_path


def test_tables_count_what_the_files_hold(place, capsys, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{fates.BEGIN}\nold\n{fates.END}\nafter\n")
    monkeypatch.setattr(fates, "PAGE", page)
    assert fates.main(["judge", str(place), "--write"]) == 0
    said = capsys.readouterr().out
    assert "5 runs of" in said and "1 of them diverged. Collapsed by the probe: 2, surely so 2; surely better" in said
    assert "| collapsed | 1 | 1 of 1 (21 to 100 %) | 1 | 0 | 0 |" in said
    assert "| healthy | 3 | 1 of 3 (6 to 79 %) | 1 | 1 | 1 |" in said
    written = page.read_text()
    assert written.startswith("before\n") and written.endswith("after\n") and "old" not in written
    assert "| runs whose rank fell below 2 for good: warned | 1 of 1" in written
    assert "false alarms | 0 of 3" in written
    falls = fates.judged(place / "falls.npz")
    assert falls["fell"] is not None and falls["warned"] is not None and fates.judged(place / "stays.npz")["warned"] is None

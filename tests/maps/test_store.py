"""The store: damage is named and only that is computed again; other settings and other sources are refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from dynlab import Model
from dynlab.maps import phase_map as grid
from dynlab.maps.phase_map import phase_map
from dynlab.maps.point_store import BLOCK_COLUMNS, HEADER, SEED_BYTES, open_store
from dynlab.maps.points import MapPoint
from dynlab.phase import main
from tests.maps.cases import copied, finished, options, record, small_grid, store_of

BLOCK = HEADER.size + 32 * SEED_BYTES  # of the small map


def spoil(path, start: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(data)


@pytest.mark.parametrize(
    ("start", "data", "lost"),
    [
        (2 * BLOCK + HEADER.size + 100, b"\xff", 1),  # in the numbers of one block
        (2 * BLOCK + 30, b"\xff\xff", 1),  # in its header
        (2 * BLOCK, b"x", 1),
        (0, b"\xff", 1),
        (15 * BLOCK + 4, b"\xff\xff", 1),  # the last header
        (16 * BLOCK - 1, b"\xff", 1),  # the last byte
        (5 * BLOCK - 10, b"\xff" * 20, 2),  # across two
        (3 * BLOCK + 7, b"\xa5" * (4 * BLOCK), 5),
        (3 * BLOCK + HEADER.size, b"dynlabP1" * 40, 1),  # looks like headers
    ],
)
def test_only_what_is_damaged_is_computed_again(tmp_path, undisturbed, capsys, start, data, lost):
    out = copied(undisturbed, tmp_path)
    spoil(store_of(out), start, data)
    capsys.readouterr()
    assert finished(out) == undisturbed[1]
    assert record(out)["trajectories"]["computed now"] == 32 * lost
    said = capsys.readouterr().err.splitlines()
    assert 1 <= len(said) <= 2
    assert all(f"{store_of(out)}: bytes " in line and "are damaged" in line and "computed again" in line for line in said)
    assert said == record(out)["damage"]
    ranges = [[int(word) for word in line.split("bytes ")[1].split(" are")[0].split(" to ")] for line in said]
    assert min(low for low, _ in ranges) <= start and max(high for _, high in ranges) >= start + len(data) - 1
    capsys.readouterr()
    assert main(options(out, "--no-plots")) == 0  # said and mended once
    assert capsys.readouterr().err == "" and record(out)["trajectories"]["computed now"] == 0


def test_damaged_numbers_are_named_by_their_point(tmp_path, undisturbed, capsys):
    out = copied(undisturbed, tmp_path)
    _, _, weak, rate, head, *_ = HEADER.unpack(store_of(out).read_bytes()[: HEADER.size])
    spoil(store_of(out), HEADER.size + 5, b"\xff")
    assert main(options(out, "--no-plots")) == 0
    point = f"(weak={weak:g}, eta_head={rate:g}, head {('off-diagonal', 'none')[head]}, seeds 0 to 31)"
    assert point in capsys.readouterr().err


def test_damaged_settings_are_written_again_where_the_points_tell_whose_they_are(tmp_path, undisturbed, capsys):
    out = copied(undisturbed, tmp_path)
    settings = out / "store" / "settings.json"
    whole = settings.read_bytes()
    settings.write_bytes(whole.replace(b'"noise": 0.5', b'"noise": 0.6'))
    assert finished(out) == undisturbed[1]
    assert "settings.json: is damaged: written again" in capsys.readouterr().err
    assert settings.read_bytes() == whole
    settings.write_bytes(b"{")
    assert main(options(out, "--noise", "0.4")) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "settings.json is damaged, and the points are of other settings" in line
    assert settings.read_bytes() == b"{"


@pytest.mark.parametrize(
    ("more", "which"),
    [
        (["--noise", "0.4"], "noise = 0.5, this one has 0.4"),
        (["--seed", "1"], "seed = 0, this one has 1"),
        (["--activation", "relu"], "activation = cubic, this one has relu"),
        (["--until", "100"], "until = None, this one has 100.0"),
        (["--rtol", "1e-7"], "rtol = 1e-06, this one has 1e-07"),
        (["--dim", "2000"], "dim = 1000, this one has 2000"),
    ],
)
def test_other_settings_are_refused_by_name(undisturbed, capsys, more, which):
    out, before = undisturbed
    capsys.readouterr()
    kept = store_of(out).read_bytes()
    assert main(options(out, *more)) == 2
    assert capsys.readouterr().err == f"dynlab.phase: error: --out {out}: holds a map with {which}: give another folder\n"
    assert store_of(out).read_bytes() == kept


def test_other_axes_are_refused_by_name(undisturbed, capsys):
    out, _ = undisturbed
    capsys.readouterr()
    assert main(options(out, x="noise=0.2:0.8:4")) == 2
    assert "holds a map with x axis = weak, this one has noise" in capsys.readouterr().err


def test_other_sources_are_refused(undisturbed, capsys, monkeypatch):
    out, _ = undisturbed
    monkeypatch.setattr(grid, "sources_key", lambda: "0" * 64)
    capsys.readouterr()
    assert main(options(out)) == 2
    assert "holds a map computed by other sources of dynlab" in capsys.readouterr().err


def test_a_store_serves_other_ranges_seeds_and_measures(tmp_path):
    """Points are found by their values, so what coincides is not computed again, and is the same as in a new store."""
    first, second = small_grid(), small_grid(x="weak=0.2:0.8:7")
    assert set(first.x.values) < set(second.x.values)
    assert phase_map(first, tmp_path / "a", seeds=20).computed == (4 * 3 + 4) * 20
    more = phase_map(first, tmp_path / "a", seeds=40)
    assert more.computed == (4 * 3 + 4) * 20
    wider = phase_map(second, tmp_path / "a", seeds=40)
    assert wider.computed == (3 * 3 + 3) * 40
    fewer = phase_map(first, tmp_path / "a", seeds=20)
    assert fewer.computed == 0
    new = phase_map(second, tmp_path / "b", seeds=40)
    assert new.frame.equals(wider.frame)
    assert phase_map(first, tmp_path / "c", seeds=20).frame.equals(fewer.frame)
    both = wider.frame.merge(more.frame, on=["weak", "eta_head", "head"], suffixes=("", "_more"))
    assert len(both) == len(more.frame) and (both["both"] == both["both_more"]).all()


def test_missing_and_read(tmp_path):
    with open_store(tmp_path, {"a": 1}, "key", ("x", "y"), ("h",)) as store:
        values = np.arange(len(BLOCK_COLUMNS) * 30, dtype=float).reshape(len(BLOCK_COLUMNS), 30)
        outcomes = np.arange(30, dtype=np.uint8) % 5
        for first, stop in ((20, 30), (4, 10), (0, 6)):  # in any order, overlapping
            store.append(0.1, 1e-4, 0, first, outcomes[first:stop], values[:, first:stop])
        assert store.missing(0.1, 1e-4, 0, 40) == [(10, 20), (30, 40)]
        assert store.missing(0.1, 1e-4, 0, 8) == []
        assert store.missing(0.2, 1e-4, 0, 8) == [(0, 8)]
        store.append(0.1, 1e-4, 0, 10, outcomes[10:20], values[:, 10:20])
    with open_store(tmp_path, {"a": 1}, "key", ("x", "y"), ("h",)) as store:
        assert store.damage == []
        found = store.read(0.1, 1e-4, 0, 25)
        assert (found[0] == outcomes[:25]).all() and (found[1] == values[:, :25]).all()
    assert json.loads((tmp_path / "settings.json").read_text())["settings"] == {"a": 1}


# --- where starts come from ---

WRITTEN = (  # as the first version wrote a point
    '{"dim": 100, "eta_head": 0.001, "model": {"activation": "cubic", "feature_patches": 4, "mask": "half", "neurons": 2, '
    '"noise": 0.5, "patches": 16, "strengths": [1.0, 0.1], "strong": 1.0, "weak": 0.1}, "until": null}'
)


def test_a_point_keeps_its_starts_when_the_model_gets_more_settings():
    expected = int.from_bytes(hashlib.sha256(WRITTEN.encode()).digest()[:16], "little")
    assert MapPoint(Model(weak=0.1), 100, 0.001, None).key(3, 2) == [3, expected, 2]


def test_what_is_not_the_default_makes_other_starts():
    plain, hidden = (MapPoint(Model(weak=0.1, hidden=units), 100, 0.001, None).key(3, 2) for units in (1, 2))
    assert plain != hidden

"""Hidden units on pictures: the settings are those that are told, and the table pairs runs by seed."""

from __future__ import annotations

import json

from benchmarks import hidden_pictures


def test_all_runs_are_allowed_and_differ_in_what_is_compared():
    found = hidden_pictures.runs()
    assert len(found) == 5 * 2 * (5 + 2)
    for one in found.values():
        assert one.readout is None and one.projector == () and one.normalisation == "batch" and one.steps == 1501
        assert one.neurons == 16 and (24 // one.patch_side) ** 2 == 16
    kinds = {(one.optimiser, one.activation, one.hidden, one.head, one.seed) for one in found.values()}
    assert len(kinds) == len(found)


def test_the_table_pairs_runs_by_seed(tmp_path, capsys, monkeypatch):
    ranks = {"none": (1.0, 2.0, 9.0), "off-diagonal": (4.0, 7.0)}  # the third has no partner
    for head, numbers in ranks.items():
        for seed, rank in enumerate(numbers):
            path = tmp_path / hidden_pictures.name_of("adam", "relu", 2, head, seed) / hidden_pictures.WORTH
            path.parent.mkdir()
            norm = 0.0 if head == "none" else 2.5
            found = {"rank": rank, "correlation": 0.5, "probe": rank / 10.0, "peak": norm, "at": 40, "end": norm / 2.0}
            start = {"before": {"rank": 6.0, "correlation": 0.1, "probe": 0.35}} if head == "none" else {}
            path.write_text(json.dumps(found | start))
    page, data = tmp_path / "page.md", tmp_path / "data.csv"
    page.write_text(f"before\n{hidden_pictures.BEGIN}\nold\n{hidden_pictures.END}\nafter\n")
    monkeypatch.setattr(hidden_pictures, "PAGE", page)
    monkeypatch.setattr(hidden_pictures, "DATA", data)
    assert hidden_pictures.main(["judge", str(tmp_path), "--write"]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    # Student's t for two seeds: 12.706 times half their difference.
    assert row.startswith("| adam | relu | 2 | 2 | 6.0 | 4.00 [") and "| 4.00 [-8.71, 16.71] |" in row
    assert "| 0.400 [-0.871, 1.671] | 0.200 [-1.706, 2.106] | 2.50 (40), 1.25 |" in row
    assert row in page.read_text() and "old" not in page.read_text()
    assert len(data.read_text().splitlines()) == 1 + 3 + 2 + 3

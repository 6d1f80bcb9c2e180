"""`Ensemble.summary()`: the numbers of `summary_row`, upright, in a table that fits a screen of 80 columns and 24 lines."""

import numpy as np

import dynlab


def test_the_summary_fits_a_screen_and_holds_the_row():
    found = dynlab.ensemble(dynlab.Model(), dim=10**12, seeds=12)
    row, table = found.summary_row().iloc[0], found.summary()
    shown = repr(table).splitlines()
    assert len(shown) <= 24 and max(map(len, shown)) < 80 and "NaN" not in repr(table)
    assert shown[0].split() == ["cubic,", "head", "off-diagonal", "value", "low", "high"]
    outcomes = ["both", "only_strong", "only_weak", "neither", "waiting", "failed"]
    assert [name for name in table.index if np.isfinite(table.loc[name, "low"])] == outcomes
    for name in table.index:
        assert table.loc[name, "value"] == row[name]
    for name in outcomes:
        assert (table.loc[name, "low"], table.loc[name, "high"]) == (row[f"{name}_low"], row[f"{name}_high"])
    told = {"activation", "head", *table.index, *(f"{name}_{end}" for name in outcomes for end in ("low", "high"))}
    assert told == set(row.index)
    assert "<table" in table._repr_html_() and type(table["value"].to_frame()) is not type(table)


def test_the_summary_of_three_features():
    found = dynlab.ensemble(dynlab.Model(strengths=(1.0, 0.6, 0.3)), dim=100, seeds=2, until=1.0)
    assert list(found.summary().index[4:10]) == ["learnt_0", "learnt_1", "learnt_2", "learnt_3", "waiting", "failed"]

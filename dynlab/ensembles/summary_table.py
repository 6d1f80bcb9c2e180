"""The summary of an ensemble as a table that fits a screen: a row for each number, with its interval where it has one."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dynlab.tools.show import number


class SummaryTable(pd.DataFrame):
    """A DataFrame that is printed with a few digits and without the words for what is missing."""

    def __repr__(self) -> str:
        return self.to_string(float_format=number, na_rep="")

    def _repr_html_(self) -> str:
        return self.to_html(float_format=number, na_rep="")


def upright(row: dict[str, Any], shares: list[str]) -> SummaryTable:
    """The row of a summary, stood upright: columns value, low, high; its words stand over the names.

    shares: names of `row` that have intervals, name_low and name_high.
    """
    words = [name for name in ("activation", "head") if name in row]
    ends = [f"{name}_{end}" for name in shares for end in ("low", "high")]
    kept = [name for name in row if name not in words and name not in ends]
    columns = {
        "value": [float("nan") if row[name] is None else float(row[name]) for name in kept],
        **{end: [row.get(f"{name}_{end}", float("nan")) for name in kept] for end in ("low", "high")},
    }
    found = SummaryTable(columns, index=kept)
    found.columns.name = f"{row['activation']}, head {row['head']}"
    return found

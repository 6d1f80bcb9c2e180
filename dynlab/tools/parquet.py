"""Tables as Parquet, which other tools read with the types of their columns (extra `arrays`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.tools.checks import SettingError
from dynlab.tools.files import whole_file

if TYPE_CHECKING:
    import pandas as pd


def check_parquet(wanted: bool) -> None:
    """SettingError where Parquet is wanted and what writes it is not there: before anything is computed."""
    if wanted:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            how = "used with the extra arrays: python -m pip install 'dynlab-ssl[arrays]'"
            raise SettingError("parquet", True, how) from None


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table, whole or not at all: columns as they stand, numbers to the bit, nan as missing, no index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), partial)


def write_beside(path: Path, frame: pd.DataFrame, wanted: bool) -> None:
    """The table of a CSV file as Parquet too, beside it, where that is wanted."""
    if wanted:
        write_parquet(path.with_suffix(".parquet"), frame)

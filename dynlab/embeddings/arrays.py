"""Arrays from files: npy, npz, csv, safetensors; parquet where its package is installed.

Of a file with several arrays the one is taken that has the asked name (z, head, target, labels). An npy file is never in
memory as a whole: `OnDisk` reads the rows that are asked for. A csv file may have a line of names; a parquet
file has a number in each column, or one column of lists of equal length.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.tools.checks import SettingError, require
from dynlab.tools.damage import DAMAGED
from dynlab.tools.files import FolderError, expanded
from dynlab.tools.tensor_file import read_tensors

if TYPE_CHECKING:
    import pandas as pd

TITLES = ("label", "labels", "class", "classes", "y", "target")  # of a column of labels that are words
EXTRA = "python -m pip install 'dynlab-ssl[arrays]'"


@dataclass(frozen=True)
class OnDisk:
    """Rows (n, m) of an npy file, read where they are asked for: indexed by a slice of rows or by their numbers.

    offset: bytes before the first one.
    """

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, int]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            low, high, _ = rows.indices(self.shape[0])
            return self._read(low, max(high - low, 0))
        return np.concatenate([self._read(int(row), 1) for row in rows])

    def __len__(self) -> int:
        return self.shape[0]

    def _read(self, row: int, count: int) -> np.ndarray:
        """So many rows from one on. A map of the file would count as memory of the process, whole pages around each row."""
        place = self.offset + row * self.shape[1] * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, count * self.shape[1], offset=place)
        return found.reshape(count, self.shape[1])


def read_array(name: str, path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a file, called `name` where there are several; an npy file is mapped, not yet read.

    SettingError of one line for a kind of file or a name that is not known, FolderError for one that cannot be read.
    """
    path = expanded(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SettingError(name, str(path), f"a file of {', '.join(kind[1:] for kind in READERS)}")
    try:
        return reader(name, path)
    except FileNotFoundError:
        raise FolderError(path, "does not exist") from None
    except (SettingError, FolderError):
        raise
    except (*DAMAGED, OSError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise FolderError(path, f"cannot be read ({why})") from None


def _npy(name: str, path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        raise FolderError(path, "is empty")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, kind = read(file)
        if kind.hasobject:
            raise SettingError(name, str(path), "an array of numbers: this one holds objects")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except UnicodeDecodeError as error:
        raise ValueError(error) from None
    return found


def _npz(name: str, path: Path) -> np.ndarray:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        key = _chosen_key(name, path, list(file.files))
        try:
            return np.asarray(file[key])
        except ValueError as error:
            if "pickle" in str(error):
                raise SettingError(name, str(path), "an array of numbers: this one holds objects") from None
            raise


def _chosen_key(name: str, path: Path, keys: list[str]) -> str:
    """The array that is meant in a file of several."""
    if len(keys) == 1:
        return keys[0]
    if name in keys:
        return name
    held = ", ".join(sorted(keys)[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
    raise SettingError(
        name, str(path), f"a file with one array, or with one that is called {name}: it holds {held or 'none'}"
    )


def _csv(name: str, path: Path) -> np.ndarray:
    import pandas as pd

    with open(path, encoding="utf-8-sig") as file:
        first = file.readline()
    if not first.strip():
        raise FolderError(path, "is empty")
    names = any(not _is_number(cell) for cell in first.strip().split(","))
    table = pd.read_csv(path, header=None if name == "labels" or not names else 0)
    if (
        name == "labels"
        and names
        and len(table) > 1
        and (first.strip().lower() in TITLES or _is_number(str(table.iloc[1, 0])))
    ):
        table = pd.read_csv(path, header=0)
    return _of_table(name, path, table)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


def _of_table(name: str, path: Path, table: pd.DataFrame) -> np.ndarray:
    """The numbers of a table, or of labels the one column whatever it holds."""
    if name == "labels":
        require(table.shape[1] == 1, name, str(path), f"one column: it has {table.shape[1]}")
        return np.asarray(table.iloc[:, 0].to_numpy())
    words = [str(column) for column in table if table[column].dtype.kind not in "iuf"]
    require(not words, name, str(path), f"numbers alone: column {words[0] if words else ''} holds others")
    return np.asarray(table.to_numpy())


def _parquet(name: str, path: Path) -> np.ndarray:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SettingError(name, str(path), f"used with the extra arrays: {EXTRA}") from None
    table = pq.read_table(path)
    if name in table.column_names:
        table = table.select([name])
    column = table.column(0) if table.num_columns == 1 else None
    if column is not None and pa.types.is_nested(column.type):
        whole = column.combine_chunks()
        lengths = {0 if one is None else len(one) for one in whole}
        require(len(lengths) == 1, name, str(path), "a column of lists of equal length")
        return np.asarray(whole.flatten().to_numpy(zero_copy_only=False)).reshape(len(whole), -1)
    return _of_table(name, path, table.to_pandas())


def _safetensors(name: str, path: Path) -> np.ndarray:
    tensors = read_tensors(path)
    return tensors[_chosen_key(name, path, list(tensors))]


READERS: dict[str, Callable[[str, Path], Any]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _csv, ".parquet": _parquet, ".safetensors": _safetensors,
}  # fmt: skip

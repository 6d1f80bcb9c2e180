"""Arrays by name in one file, as safetensors keeps them, for other frameworks.

Eight bytes hold the length of a header, little-endian; the header is JSON, {name: {"dtype", "shape", "data_offsets"}}, with
words about the file under "__metadata__"; then come the numbers, row by row, little-endian, at the offsets counted from the
end of the header, without gaps (https://github.com/huggingface/safetensors). That is all of it, so it stands here and needs
no package; and NumPy's side of the published one refuses bfloat16, which NumPy has not: here it is read as float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
BRAIN = "BF16"  # the upper half of a float32
ABOUT = "__metadata__"
FORMAT = {"format": "pt"}  # without it some readers refuse a file


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name; those of wide numbers first, so that all are aligned. ValueError for numbers of another kind."""
    kinds = {np.dtype(kind): name for name, kind in KINDS.items()}
    held = {name: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for name, array in tensors.items()}
    header: dict[str, Any] = {ABOUT: FORMAT}
    start, order = 0, sorted(held, key=lambda name: (-held[name].itemsize, name))
    for name in order:
        one = held[name]
        if one.dtype not in kinds:
            raise ValueError(f"{name}: {one.dtype} has no place in safetensors")
        header[name] = {"dtype": kinds[one.dtype], "shape": list(one.shape), "data_offsets": [start, start + one.nbytes]}
        start += one.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(held[name].tobytes())


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, mapped from the file and read-only (bfloat16: copies). ValueError of one line for a bad file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError("no safetensors, or cut short")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_without_twins)
        except RecursionError:
            raise ValueError("its header is no JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its header holds no names")
    header.pop(ABOUT, None)
    rest = size - 8 - length
    places = {name: _place(name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, first, last) in sorted(places.items(), key=lambda item: item[1][2:]):
        if first != end:
            raise ValueError(f"{name} does not begin where the one before it ends")
        end = last
    if end != rest:
        raise ValueError(f"it holds {rest} bytes of numbers, and its header says {end}")
    numbers = np.memmap(path, np.uint8, "r", offset=8 + length) if rest else np.empty(0, np.uint8)
    return {name: _array(numbers[first:last], kind, shape) for name, (kind, shape, first, last) in places.items()}


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in its header")
    return found


def _place(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """(kind, shape, first and last byte) of an entry of the header."""
    try:
        kind, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, first, last))
        width = 2 if kind == BRAIN else np.dtype(KINDS[kind]).itemsize
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name}: an entry of its header is damaged, or of a kind that is not known") from None
    if not whole or last - first != prod(shape) * width:
        raise ValueError(f"{name}: shape and bytes do not fit")
    return kind, shape, first, last


def _array(part: np.ndarray, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind == BRAIN:
        return (np.asarray(part).view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.asarray(part).view(KINDS[kind]).reshape(shape)

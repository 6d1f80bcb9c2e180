"""What a diagnosis is given: arrays of any framework or names of files, checked; each refusal is one line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.embeddings.arrays import OnDisk, read_array
from dynlab.tools.checks import SettingError, require
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from dynlab.tools.types import Array

BLOCK = 1 << 19  # entries of a block of rows: what the caches hold


@dataclass(frozen=True)
class Embeddings:
    """Checked input. steps: z (n, m) of each step, one where it is no stack; head (T, m, m) or None; target (n, m) of the
    last step or None; labels (n,), integers from 0, or None."""

    steps: tuple[Array | OnDisk, ...]
    head: Array | None
    target: Array | OnDisk | None
    labels: np.ndarray | None

    @property
    def last(self) -> Array | OnDisk:
        """z of the last step."""
        return self.steps[-1]


def host_array(name: str, value: Any) -> np.ndarray:
    """An array of anything that numpy.asarray takes, and of tensors that must first leave their graph or device.

    Numbers only: objects, truth values, complex numbers and words are refused (SettingError).
    """
    for method in ("detach", "cpu"):
        value = getattr(value, method)() if hasattr(value, method) else value
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(name, type(value).__name__, f"an array of numbers ({' '.join(str(error).split())})") from None
    kinds = "iufUSO" if name == "labels" else "iuf"
    require(found.dtype.kind in kinds, name, f"{found.dtype} {found.shape}", "an array of integers or of floats")
    return found


def embeddings(z: Any, head: Any = None, target: Any = None, labels: Any = None) -> Embeddings:
    """Check shapes and numbers of arrays or names of files; SettingError or FolderError of one line."""
    steps = _steps("z", z)
    n, m = steps[0].shape
    require(n >= 2, "z", (n, m), "two rows or more")
    other = None
    if target is not None:
        found = _steps("target", target)
        require(found[-1].shape == (n, m), "target", found[-1].shape, f"of z's shape {(n, m)}")
        other = found[-1]
    return Embeddings(steps, None if head is None else _head(head, m), other, None if labels is None else _labels(labels, n))


def _opened(name: str, value: Any) -> np.ndarray:
    named = isinstance(value, str | os.PathLike)
    return host_array(name, read_array(name, value) if named else value)


def _steps(name: str, value: Any) -> tuple[Array | OnDisk, ...]:
    """The matrices of a stack (T, n, m), or of one (n, m)."""
    whole = _opened(name, value)
    shape = whole.shape
    fits = len(shape) in (2, 3) and min(shape) > 0
    require(fits, name, shape, "a matrix, a row for each input, or a stack of such (T, N, m)")
    n, m = shape[-2:]
    base = _base(whole)
    mapped = isinstance(value, str | os.PathLike) and isinstance(base, np.memmap)
    if not mapped or not whole.flags.c_contiguous:
        return (whole,) if len(shape) == 2 else tuple(whole)
    place, first, size = expanded(value), int(base.offset), n * m * whole.dtype.itemsize
    return tuple(OnDisk(place, whole.dtype, first + t * size, (n, m)) for t in range(1 if len(shape) == 2 else shape[0]))


def _base(array: np.ndarray) -> Any:
    """What an array is a view of."""
    while not isinstance(array, np.memmap) and isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _head(value: Any, outputs: int) -> Array:
    """Heads (T, m, m), finite."""
    found = _opened("head", value)
    fits = found.ndim in (2, 3) and found.shape[-2:] == (outputs, outputs) and len(found) > 0
    require(fits, "head", found.shape, f"{outputs} x {outputs}, a row for each output of z, or a stack of such")
    stack = found.astype(np.float64).reshape(-1, outputs, outputs)
    require(bool(np.isfinite(stack).all()), "head", "nan or infinity", "finite numbers")
    return stack


def _labels(value: Any, rows: int) -> np.ndarray:
    """Classes as integers from 0, in the order of their names."""
    found = _opened("labels", value)
    require(found.ndim == 1 or found.size == max(found.shape, default=0), "labels", found.shape, "one for each row of z")
    found = found.reshape(-1)
    require(len(found) == rows, "labels", f"{len(found)} of them", f"{rows}, one for each row of z")
    whole = found.dtype.kind != "f" or bool((np.isfinite(found) & (np.trunc(found) == found)).all())
    require(whole, "labels", f"{found.dtype} {found.shape}", "integers or words")
    found = found.astype(str) if found.dtype.kind == "O" else found
    classes, numbers = np.unique(found, return_inverse=True)
    require(len(classes) > 1, "labels", f"all {classes[0]}", "of two classes or more")
    return np.asarray(numbers.reshape(-1), dtype=np.int64)


def block_rows(outputs: int) -> int:
    """Rows of a block."""
    return max(BLOCK // outputs, 16)


def refuse_not_finite(name: str, z: Array | OnDisk) -> None:
    """Count the rows that hold nan or infinity, and say where the first one is (SettingError), where there is any."""
    count, first, size = 0, -1, block_rows(z.shape[1])
    for low in range(0, z.shape[0], size):
        bad = np.flatnonzero(~np.isfinite(z[low : low + size]).all(1))
        if len(bad):
            first = low + int(bad[0]) if first < 0 else first
            count += len(bad)
    many = f"{count} of {z.shape[0]} rows hold" if count != 1 else f"1 of {z.shape[0]} rows holds"
    require(count == 0, name, f"{many} nan or infinity, the first is row {first}", "finite numbers (rows count from 0)")

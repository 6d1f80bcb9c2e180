"""Results as labelled arrays of xarray (extra `xarray`), which is loaded by the first call.

What NetCDF cannot hold as an attribute (tables, None, true and false) is written as JSON; times that did not happen are nan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab._version import __version__
from dynlab.tools.checks import OneLine

if TYPE_CHECKING:
    import xarray

INSTALL = "python -m pip install 'dynlab-ssl[xarray]'"


class NoXarray(OneLine, ImportError):
    """xarray is not installed; the text says how to get it."""


@dataclass(frozen=True)
class Labelled:
    """An array with the names of its dimensions and what it is: in words, and its unit ("1": none)."""

    dims: Sequence[str]
    values: Any
    long_name: str
    units: str = "1"


def dataset(
    variables: Mapping[str, Labelled], coordinates: Mapping[str, Labelled], about: Mapping[str, Any]
) -> xarray.Dataset:
    """The Dataset of these variables; coordinates may be named as a dimension. about: its attributes."""
    try:
        import xarray
    except ImportError:
        raise NoXarray(f"xarray is not installed: {INSTALL}") from None
    made: dict[str, tuple] = {}
    for name, one in (*variables.items(), *coordinates.items()):
        values = np.asarray(one.values)
        values = values.astype(str) if values.dtype.kind == "O" else values
        made[name] = (tuple(one.dims), values, {"long_name": one.long_name, "units": one.units})
    outer = {name: made.pop(name) for name in coordinates}
    attributes = {name: _attribute(value) for name, value in {**about, "source": f"dynlab {__version__}"}.items()}
    return xarray.Dataset(made, outer, attributes)


def numbered(dimension: str, count: int, long_name: str, start: int = 1) -> dict[str, Labelled]:
    """The coordinate of a dimension that counts from `start`."""
    return {dimension: Labelled((dimension,), np.arange(start, start + count), long_name)}


def _attribute(value: Any) -> str | float | int:
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if plain else json.dumps(value)

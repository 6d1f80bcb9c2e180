"""Arrays of float64 shown to compiled code as arrays of something larger, one entry being what the last axis holds.

`dynlab.machine.lanes` and `dynlab.machine.tangents` say what an entry is, how it is loaded and stored, and have the
intrinsic that shows arrays so; the rest is alike and stands here: the type, indices, rows, lengths and shapes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import make_attribute_wrapper, overload, overload_attribute, register_model


class ShownArray(types.Type):
    """An array (...) whose entries are the last axis of `rows`, a C-contiguous float64 array (..., length of an entry)."""

    entry: ClassVar[types.Type]
    show: ClassVar[Any]  # the intrinsic that makes it of such an array

    def __init__(self, rows: types.Array):
        self.rows = rows
        super().__init__(name=f"{type(self).__name__}({rows})")


class _ShownArrayModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("rows", kind.rows)])


make_attribute_wrapper(ShownArray, "rows", "rows")


def made_known(kind: type[ShownArray]) -> type[ShownArray]:
    """A decorator of the types: memory for their arrays."""
    register_model(kind)(_ShownArrayModel)
    return kind


def is_plain(kind: object) -> bool:
    """Whether a type is that of a plain number."""
    return isinstance(kind, (types.Float, types.Integer, types.Boolean))


def splat(builder: Any, value: Any, count: int) -> Any:
    """A vector that holds the value `count` times."""
    kind, index = ir.VectorType(value.type, count), ir.IntType(32)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(index, 0))
    return builder.shuffle_vector(
        first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(index, count), [0] * count)
    )


def showing(array: type[ShownArray], given: Any) -> tuple[Any, Callable]:
    """What an intrinsic returns that shows an array of float64 as `array`, a tuple of arrays likewise; given: its type."""
    return _shown(array, given)(given), lambda context, builder, _, values: _show(array, context, builder, given, values[0])


def _members(kind: Any) -> list | None:
    """The types in a tuple's type; None for any other type."""
    return list(kind) if isinstance(kind, types.BaseTuple) else None  # type: ignore[call-overload]  # iterable where it is


def _shown(array: type[ShownArray], kind: Any) -> types.Type:
    members = _members(kind)
    if members is not None:
        return types.Tuple([_shown(array, one) for one in members])
    return array(kind) if isinstance(kind, types.Array) and kind.dtype == types.float64 else kind


def _show(array: type[ShownArray], context: Any, builder: Any, kind: Any, value: Any) -> Any:
    members = _members(kind)
    if members is not None:
        parts = cgutils.unpack_tuple(builder, value)
        made = [_show(array, context, builder, one, part) for one, part in zip(members, parts, strict=True)]
        return context.make_tuple(builder, _shown(array, kind), made)
    if context.enable_nrt:
        context.nrt.incref(builder, kind, value)
    shown = _shown(array, kind)
    if not isinstance(shown, ShownArray):
        return value
    proxy = cgutils.create_struct_proxy(shown)(context, builder)
    proxy.rows = value
    return proxy._getvalue()


def _whole(array: Any, index: Any) -> types.Type | None:
    """The type of an index (integers) that names one entry of a shown array, as it is looked up; None for any other."""
    if not isinstance(array, ShownArray):
        return None
    axes = array.rows.ndim - 1
    members = _members(index)
    if members is not None and len(members) == axes and all(isinstance(one, types.Integer) for one in members):
        return types.UniTuple(types.intp, axes)
    return types.intp if isinstance(index, types.Integer) and axes == 1 else None


@infer_global(operator.getitem)
class _Reading(AbstractTemplate):
    key = operator.getitem

    def generic(self, arguments, _keywords):
        index = _whole(*arguments)
        return None if index is None else signature(arguments[0].entry, arguments[0], index)


@infer_global(operator.setitem)
class _Writing(AbstractTemplate):
    key = operator.setitem

    def generic(self, arguments, _keywords):
        array, index, value = arguments
        index = _whole(array, index)
        known = index is not None and (value is array.entry or is_plain(value))
        return signature(types.none, array, index, array.entry) if known else None


def opened(context: Any, builder: Any, kind: ShownArray, array: Any, index_type: Any, index: Any) -> tuple[Any, list]:
    """(The array of float64 behind a shown one, the numbers of an index)."""
    rows = cgutils.create_struct_proxy(kind)(context, builder, value=array).rows
    made = context.make_array(kind.rows)(context, builder, rows)
    return made, cgutils.unpack_tuple(builder, index) if isinstance(index_type, types.BaseTuple) else [index]


@overload(operator.getitem)
def _overload_row(array, index):
    """array[i] of an array of more than one axis."""
    if isinstance(array, ShownArray) and array.rows.ndim > 2 and isinstance(index, types.Integer):
        show = array.show
        return lambda array, index: show(array.rows[index])
    return None


@overload(len)
def _overload_len(array):
    return (lambda array: len(array.rows)) if isinstance(array, ShownArray) else None


@overload_attribute(ShownArray, "shape")
def _overload_shape(array):
    return lambda array: array.rows.shape[:-1]

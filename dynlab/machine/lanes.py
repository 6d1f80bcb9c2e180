r"""Vectors of eight float64, for compiled formulas: what is written for one number is done for eight, one in each lane.

Formulas are written for numbers of any kind (`dynlab.formulas`): they run with these as with float64, and each lane goes
through float64's own operations, rounded alike, so that a lane's bits are those of the plain number and no lane knows of
the others. Comparisons give a mask, a bit for each lane, which `formulas.lanewise` chooses by; nothing branches on one.

Known are + - * / and negation, among vectors and with plain numbers, comparisons, & | of masks, `abs`, `min`, `max`, sqrt,
atan, and the functions of `formulas.lanewise`; anything else is an error of types when the kernel is compiled.

`in_lanes(rows)` shows a float64 array (..., LANE_COUNT) of memory as an array (...) of vectors; a tuple of arrays likewise,
what is not float64 passing through. `lane_array` makes arrays whose vectors lie at multiples of their size.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model

from dynlab.formulas import lanewise
from dynlab.machine.shown_arrays import ShownArray, is_plain, made_known, opened, showing, splat

LANE_COUNT = 8
_BYTES = 8 * LANE_COUNT
_DOUBLE, _WORD, _INDEX = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
_VECTOR, _WORDS, _BITS = (ir.VectorType(kind, LANE_COUNT) for kind in (_DOUBLE, _WORD, ir.IntType(1)))
_intrinsic: Any = intrinsic  # whose first argument, the compiler's context, callers do not give


class _Vector(types.Type):
    """Eight float64."""

    def can_convert_from(self, _context, other):
        """A plain number is one that all lanes have."""
        return Conversion.promote if is_plain(other) else None

    def unify(self, _context, other):
        """What a variable is that holds this in one branch and `other` in another."""
        return self if is_plain(other) else None


class _Mask(types.Type):
    """A bit for each lane."""

    def can_convert_from(self, _context, other):
        """A plain condition is one that holds in all lanes, or in none."""
        return Conversion.promote if isinstance(other, types.Boolean) else None

    def unify(self, _context, other):
        """As of vectors."""
        return self if isinstance(other, types.Boolean) else None


@made_known
class _Vectors(ShownArray):
    """An array of vectors."""


VECTOR, MASK = _Vector("eight float64"), _Mask("eight conditions")
_Vectors.entry = VECTOR


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _BITS)


@lower_cast(types.Float, _Vector)
@lower_cast(types.Integer, _Vector)
@lower_cast(types.Boolean, _Vector)
def _from_plain(context, builder, kind, _vector, value):
    return splat(builder, context.cast(builder, value, kind, types.float64), LANE_COUNT)


@lower_cast(types.Boolean, _Mask)
def _from_condition(context, builder, kind, _mask, value):
    bit = context.cast(builder, value, kind, types.boolean) if kind is not types.boolean else value
    return splat(builder, bit, LANE_COUNT)


def _know(operation: Callable, takes: tuple, gives: types.Type, rule: Callable) -> None:
    """Teach the compiler an operation for which some arguments, or all, are vectors or masks: rule(builder, *values).

    takes: VECTOR or MASK for each argument; plain ones are spread.
    """

    class _Typing(AbstractTemplate):
        key = operation

        def generic(self, arguments, _keywords):
            special = tuple(one for one in arguments if one in (VECTOR, MASK))
            known = len(arguments) == len(takes) and len(special) > 0
            for one, wanted in zip(arguments, takes, strict=False):
                plain = is_plain(one) if wanted is VECTOR else isinstance(one, types.Boolean)
                known = known and (one is wanted or plain)
            return signature(gives, *takes) if known else None

    infer_global(operation)(_Typing)
    lower_builtin(operation, *takes)(lambda _context, builder, _signature, values: rule(builder, *values))


def _called(name: str) -> Callable:
    """A rule that calls an operation of LLVM."""

    def rule(builder, *values):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(values))
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANE_COUNT}f64"), values)

    return rule


def _compared(sign: str) -> Callable:
    ordered = ir.IRBuilder.fcmp_unordered if sign == "!=" else ir.IRBuilder.fcmp_ordered
    return lambda builder, x, y: ordered(builder, sign, x, y)


def _larger(builder, x, y):
    """As numba's max of two numbers."""
    return builder.select(builder.fcmp_ordered("<", x, y), y, x)


def _smaller(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), y, x)


def _lane_by_lane(name: str) -> Callable:
    """A rule that calls a function of the C library for each lane, so that its bits are those of the plain number's."""

    def rule(builder, x):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_DOUBLE, [_DOUBLE]), name)
        result = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(LANE_COUNT):
            at = ir.Constant(_INDEX, lane)
            result = builder.insert_element(result, builder.call(function, [builder.extract_element(x, at)]), at)
        return result

    return rule


def _power_of_two(builder, x):
    """`lanewise.two_to_the`."""
    words = builder.add(builder.bitcast(x, _WORDS), ir.Constant(_WORDS, [lanewise.EXPONENT_BIAS] * LANE_COUNT))
    return builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [lanewise.MANTISSA_BITS] * LANE_COUNT)), _VECTOR)


for _operation, _rule in (
    (operator.add, ir.IRBuilder.fadd), (operator.sub, ir.IRBuilder.fsub), (operator.mul, ir.IRBuilder.fmul),
    (operator.truediv, ir.IRBuilder.fdiv), (operator.iadd, ir.IRBuilder.fadd), (operator.isub, ir.IRBuilder.fsub),
    (operator.imul, ir.IRBuilder.fmul), (operator.itruediv, ir.IRBuilder.fdiv), (max, _larger), (min, _smaller),
):  # fmt: skip
    _know(_operation, (VECTOR, VECTOR), VECTOR, _rule)
for _operation, _sign in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="), (operator.eq, "=="),
    (operator.ne, "!="),
):  # fmt: skip
    _know(_operation, (VECTOR, VECTOR), MASK, _compared(_sign))
_know(operator.and_, (MASK, MASK), MASK, ir.IRBuilder.and_)
_know(operator.or_, (MASK, MASK), MASK, ir.IRBuilder.or_)
_know(operator.neg, (VECTOR,), VECTOR, ir.IRBuilder.fneg)
_know(abs, (VECTOR,), VECTOR, _called("fabs"))
_know(np.sqrt, (VECTOR,), VECTOR, _called("sqrt"))
_know(np.arctan, (VECTOR,), VECTOR, _lane_by_lane("atan"))
_know(lanewise.where, (MASK, VECTOR, VECTOR), VECTOR, ir.IRBuilder.select)
_know(lanewise.two_to_the, (VECTOR,), VECTOR, _power_of_two)


@infer_global(lanewise.where)
class _PlainWhere(AbstractTemplate):
    key = lanewise.where

    def generic(self, arguments, _keywords):
        plain = all(is_plain(one) for one in arguments) and len(arguments) == 3
        return signature(types.float64, types.boolean, types.float64, types.float64) if plain else None


@lower_builtin(lanewise.where, types.boolean, types.float64, types.float64)
def _plain_where(_context, builder, _signature, values):
    return builder.select(*values)


@infer_global(lanewise.two_to_the)
class _PlainPower(AbstractTemplate):
    key = lanewise.two_to_the

    def generic(self, arguments, _keywords):
        return signature(types.float64, types.float64) if tuple(arguments) == (types.float64,) else None


@lower_builtin(lanewise.two_to_the, types.float64)
def _plain_power(_context, builder, _signature, values):
    word = builder.add(builder.bitcast(values[0], _WORD), ir.Constant(_WORD, lanewise.EXPONENT_BIAS))
    return builder.bitcast(builder.shl(word, ir.Constant(_WORD, lanewise.MANTISSA_BITS)), _DOUBLE)


@infer_global(lanewise.anywhere)
class _Anywhere(AbstractTemplate):
    key = lanewise.anywhere

    def generic(self, arguments, _keywords):
        return signature(types.boolean, *arguments) if arguments[0] in (MASK, types.boolean) else None


@lower_builtin(lanewise.anywhere, MASK)
def _any_lane(_context, builder, _signature, values):
    bits = builder.bitcast(values[0], ir.IntType(LANE_COUNT))
    return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANE_COUNT), 0))


@lower_builtin(lanewise.anywhere, types.boolean)
def _plain_any(_context, _builder, _signature, values):
    return values[0]


@_intrinsic
def in_lanes(_typing, rows):
    """The float64 array `rows` (..., LANE_COUNT), C-contiguous, made by `lane_array`, as an array (...) of vectors."""
    return showing(_Vectors, rows)


_Vectors.show = in_lanes


def lane_array(*shape: int) -> np.ndarray:
    """Zeros (*shape, LANE_COUNT) whose vectors lie at multiples of their size."""
    count = int(np.prod(shape)) * LANE_COUNT
    room = np.zeros(count + LANE_COUNT)
    first = -room.ctypes.data % _BYTES // 8
    return room[first : first + count].reshape(*shape, LANE_COUNT)


def _place(context, builder, kind, array, index_type, index):
    """Pointer to the vector at an index."""
    made, indices = opened(context, builder, kind, array, index_type, index)
    # The last axis is as long as a vector, and all are contiguous: offsets are products of lengths.
    shape = cgutils.unpack_tuple(builder, made.shape)
    at = indices[0]
    for length, one in zip(shape[1:], indices[1:], strict=False):
        at = builder.add(builder.mul(at, length), one)
    return builder.gep(builder.bitcast(made.data, _VECTOR.as_pointer()), [at])


@lower_builtin(operator.getitem, _Vectors, types.Integer)
@lower_builtin(operator.getitem, _Vectors, types.BaseTuple)
def _read(context, builder, kinds, arguments):
    loaded = builder.load(_place(context, builder, kinds.args[0], arguments[0], kinds.args[1], arguments[1]))
    loaded.align = _BYTES
    return loaded


@lower_builtin(operator.setitem, _Vectors, types.Integer, VECTOR)
@lower_builtin(operator.setitem, _Vectors, types.BaseTuple, VECTOR)
def _write(context, builder, kinds, arguments):
    place = _place(context, builder, kinds.args[0], arguments[0], kinds.args[1], arguments[1])
    builder.store(arguments[2], place).align = _BYTES
    return context.get_dummy_value()


@infer_global(lanewise.taken)
class _Taking(AbstractTemplate):
    key = lanewise.taken

    def generic(self, arguments, _keywords):
        values, places = arguments
        if isinstance(values, _Vectors) and values.rows.ndim == 2 and places is VECTOR:
            return signature(VECTOR, values, VECTOR)
        if isinstance(values, types.Array) and values.ndim == 1 and is_plain(places):
            return signature(values.dtype, values, types.intp)
        return None


@lower_builtin(lanewise.taken, _Vectors, VECTOR)
def _take(context, builder, kinds, arguments):
    first = _place(context, builder, kinds.args[0], arguments[0], types.intp, ir.Constant(_WORD, 0))
    words = builder.fptosi(arguments[1], _WORDS)
    result = ir.Constant(_VECTOR, ir.Undefined)
    base = builder.bitcast(first, _DOUBLE.as_pointer())
    for lane in range(LANE_COUNT):
        word = builder.extract_element(words, ir.Constant(_INDEX, lane))
        at = builder.add(builder.mul(word, ir.Constant(_WORD, LANE_COUNT)), ir.Constant(_WORD, lane))
        result = builder.insert_element(result, builder.load(builder.gep(base, [at])), ir.Constant(_INDEX, lane))
    return result


@lower_builtin(lanewise.taken, types.Array, types.intp)
def _take_plain(context, builder, kinds, arguments):
    array = context.make_array(kinds.args[0])(context, builder, arguments[0])
    place = cgutils.get_item_pointer(context, builder, kinds.args[0], array, [arguments[1]])
    return builder.load(place)

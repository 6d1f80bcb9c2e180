r"""Numbers with tangents, for compiled formulas: a value and its derivatives by nine coordinates, carried along exactly.

Forward mode: f(x + sum_k eps_k e_k) with eps_i eps_k = 0, so that

    (a, a') + (b, b') = (a + b, a' + b')        (a, a') (b, b') = (a b, a' b + b a')
    (a, a')/(b, b')   = (q, (a' - q b')/b),  q = a/b          phi(a, a') = (phi(a), phi'(a) a')

Formulas are written for numbers of any kind (`dynlab.formulas`): they run with these as with float64. Comparisons are of
`.real`, the value. One passage gives nine columns of a Jacobian, eight of them in vector registers, and the value is
computed once, with float64's own exp and atan: values are float64's, bit by bit, and columns are exact to rounding.

Known are + - * / and negation, among these numbers and with plain ones, x**b with a plain b, `.real`, and sqrt, exp,
expm1, log, tanh, cosh, atan; anything else is an error of types when the kernel is compiled.

`with_tangents(rows)` shows a float64 array (..., TANGENT_ENTRIES) of memory as an array (...) of such numbers, each of them
[value, nine derivatives]; a tuple of arrays likewise, what is not float64 passing through. All of it is for compiled code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, make_attribute_wrapper, overload, register_model

from dynlab.machine.shown_arrays import ShownArray, is_plain, made_known, opened, showing, splat

LANES = 8  # of the vector; the ninth derivative travels beside it
DIRECTIONS = LANES + 1
TANGENT_ENTRIES = DIRECTIONS + 1
_DOUBLE, _VECTOR, _WORD = ir.DoubleType(), ir.VectorType(ir.DoubleType(), LANES), ir.IntType(64)
_intrinsic: Any = intrinsic  # whose first argument, the compiler's context, callers do not give


class _Lanes(types.Type):
    """Eight float64 in a register."""


class _Number(types.Type):
    """A value and its derivatives."""

    def can_convert_from(self, _context, other):
        """A plain number is one whose derivatives are 0."""
        return Conversion.promote if is_plain(other) else None

    def unify(self, _context, other):
        """What a variable is that holds this in one branch and `other` in another."""
        return self if is_plain(other) else None


@made_known
class _Array(ShownArray):
    """An array of such numbers."""


LANES_TYPE, NUMBER = _Lanes("lanes of tangents"), _Number("number with tangents")
_Array.entry = NUMBER


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


@register_model(_Number)
class _NumberModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("value", types.float64), ("lanes", LANES_TYPE), ("last", types.float64)])


make_attribute_wrapper(_Number, "value", "real")


def _parts(context, builder, number):
    return cgutils.create_struct_proxy(NUMBER)(context, builder, value=number)


def _number(context, builder, value, lanes, last):
    made = cgutils.create_struct_proxy(NUMBER)(context, builder)
    made.value, made.lanes, made.last = value, lanes, last
    return made._getvalue()


def _spread(builder, value):
    """The value in all lanes."""
    return splat(builder, value, LANES)


def _sum(b, x, y):
    return b.fadd(x.value, y.value), b.fadd(x.lanes, y.lanes), b.fadd(x.last, y.last)


def _difference(b, x, y):
    return b.fsub(x.value, y.value), b.fsub(x.lanes, y.lanes), b.fsub(x.last, y.last)


def _product(b, x, y):
    lanes = b.fadd(b.fmul(_spread(b, x.value), y.lanes), b.fmul(_spread(b, y.value), x.lanes))
    return b.fmul(x.value, y.value), lanes, b.fadd(b.fmul(x.value, y.last), b.fmul(y.value, x.last))


def _quotient(b, x, y):
    value, inverse = b.fdiv(x.value, y.value), b.fdiv(ir.Constant(_DOUBLE, 1.0), y.value)
    lanes = b.fsub(x.lanes, b.fmul(_spread(b, value), y.lanes))
    last = b.fsub(x.last, b.fmul(value, y.last))
    return value, b.fmul(lanes, _spread(b, inverse)), b.fmul(last, inverse)


def _number_and_plain(b, x, y):
    return b.fadd(x.value, y), x.lanes, x.last


def _less_plain(b, x, y):
    return b.fsub(x.value, y), x.lanes, x.last


def _plain_less(b, x, y):
    return b.fsub(x, y.value), b.fneg(y.lanes), b.fneg(y.last)


def _times_plain(b, x, y):
    return b.fmul(x.value, y), b.fmul(x.lanes, _spread(b, y)), b.fmul(x.last, y)


def _over_plain(b, x, y):
    inverse = b.fdiv(ir.Constant(_DOUBLE, 1.0), y)
    return b.fdiv(x.value, y), b.fmul(x.lanes, _spread(b, inverse)), b.fmul(x.last, inverse)


def _plain_over(b, x, y):
    value = b.fdiv(x, y.value)
    slope = b.fneg(b.fdiv(value, y.value))
    return value, b.fmul(y.lanes, _spread(b, slope)), b.fmul(y.last, slope)


def _turned(rule: Callable) -> Callable:
    return lambda b, x, y: rule(b, y, x)


# What is done with (two numbers, a number and a plain one, a plain one and a number).
_RULES = {
    operator.add: (_sum, _number_and_plain, _turned(_number_and_plain)),
    operator.sub: (_difference, _less_plain, _plain_less),
    operator.mul: (_product, _times_plain, _turned(_times_plain)),
    operator.truediv: (_quotient, _over_plain, _plain_over),
}  # fmt: skip


def _know(operation: Callable, rules: tuple[Callable, ...]) -> None:
    """Teach the compiler an operation on numbers."""

    class _Typing(AbstractTemplate):
        key = operation

        def generic(self, arguments, _keywords):
            kinds = tuple(NUMBER if one is NUMBER else types.float64 for one in arguments)
            known = len(kinds) == 2 and NUMBER in kinds and all(one is NUMBER or is_plain(one) for one in arguments)
            return signature(NUMBER, *kinds) if known else None

    infer_global(operation)(_Typing)
    shapes = ((NUMBER, NUMBER), (NUMBER, types.float64), (types.float64, NUMBER))
    for kinds, rule in zip(shapes, rules, strict=True):

        def lower(context, builder, _signature, arguments, kinds=kinds, rule=rule):
            pairs = zip(arguments, kinds, strict=True)
            given = [_parts(context, builder, one) if kind is NUMBER else one for one, kind in pairs]
            return _number(context, builder, *rule(builder, *given))

        lower_builtin(operation, *kinds)(lower)


for _operation, _three in _RULES.items():
    _know(_operation, _three)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    key = operator.neg

    def generic(self, arguments, _keywords):
        return signature(NUMBER, NUMBER) if tuple(arguments) == (NUMBER,) else None


@lower_builtin(operator.neg, NUMBER)
def _negate(context, builder, _signature, arguments):
    x = _parts(context, builder, arguments[0])
    return _number(context, builder, builder.fneg(x.value), builder.fneg(x.lanes), builder.fneg(x.last))


@lower_cast(types.Float, _Number)
@lower_cast(types.Integer, _Number)
@lower_cast(types.Boolean, _Number)
def _from_plain(context, builder, kind, _number_type, value):
    zero = ir.Constant(_DOUBLE, 0.0)
    return _number(context, builder, context.cast(builder, value, kind, types.float64), _spread(builder, zero), zero)


@_intrinsic
def _chain(_typing, x, value, slope):
    """(x, phi(x), phi'(x)) -> phi(x) with its tangents."""

    def lower(context, builder, _signature, arguments):
        x, slope = _parts(context, builder, arguments[0]), arguments[2]
        lanes, last = builder.fmul(x.lanes, _spread(builder, slope)), builder.fmul(x.last, slope)
        return _number(context, builder, arguments[1], lanes, last)

    return NUMBER(NUMBER, types.float64, types.float64), lower


@overload(operator.pow)
def _overload_pow(x, power):
    """x^power for a plain power."""
    if x is NUMBER and is_plain(power):
        return lambda x, power: _chain(x, x.real**power, power * x.real ** (power - 1.0))
    return None


def _exp(x):
    value = np.exp(x.real)
    return _chain(x, value, value)


def _expm1(x):
    return _chain(x, np.expm1(x.real), np.exp(x.real))


def _tanh(x):
    cosh = np.cosh(x.real)
    return _chain(x, np.tanh(x.real), 1.0 / cosh / cosh)


def _cosh(x):
    return _chain(x, np.cosh(x.real), np.sinh(x.real))


def _atan(x):
    return _chain(x, np.arctan(x.real), 1.0 / (1.0 + x.real * x.real))


def _sqrt(x):
    root = np.sqrt(x.real)
    return _chain(x, root, 0.5 / root)


def _log(x):
    return _chain(x, np.log(x.real), 1.0 / x.real)


def _overload_function(function: Callable, made: Callable) -> None:
    overload(function)(lambda x: made if x is NUMBER else None)


for _plain, _made in (
    (np.exp, _exp), (np.expm1, _expm1), (np.tanh, _tanh), (np.cosh, _cosh), (np.arctan, _atan), (np.sqrt, _sqrt),
    (np.log, _log),
):  # fmt: skip
    _overload_function(_plain, _made)


@_intrinsic
def with_tangents(_typing, rows):
    """The float64 array `rows` (..., TANGENT_ENTRIES), C-contiguous, as an array (...) of numbers with tangents."""
    return showing(_Array, rows)


_Array.show = with_tangents


def _places(context, builder, kind, array, index_type, index):
    """Pointers to the value, the lanes and the last derivative of the number at an index."""
    made, indices = opened(context, builder, kind, array, index_type, index)
    first = cgutils.get_item_pointer(context, builder, kind.rows, made, [*indices, ir.Constant(_WORD, 0)])
    lanes = builder.bitcast(builder.gep(first, [ir.Constant(_WORD, 1)]), _VECTOR.as_pointer())
    return first, lanes, builder.gep(first, [ir.Constant(_WORD, TANGENT_ENTRIES - 1)])


@lower_builtin(operator.getitem, _Array, types.Integer)
@lower_builtin(operator.getitem, _Array, types.BaseTuple)
def _read(context, builder, kinds, arguments):
    value, lanes, last = _places(context, builder, kinds.args[0], arguments[0], kinds.args[1], arguments[1])
    loaded = builder.load(lanes)
    loaded.align = 8
    return _number(context, builder, builder.load(value), loaded, builder.load(last))


@lower_builtin(operator.setitem, _Array, types.Integer, _Number)
@lower_builtin(operator.setitem, _Array, types.BaseTuple, _Number)
def _write(context, builder, kinds, arguments):
    value, lanes, last = _places(context, builder, kinds.args[0], arguments[0], kinds.args[1], arguments[1])
    parts = _parts(context, builder, arguments[2])
    builder.store(parts.value, value)
    builder.store(parts.lanes, lanes).align = 8
    builder.store(parts.last, last)
    return context.get_dummy_value()


@numba.njit(error_model="numpy", nogil=True)
def seed(z, first, rows):
    """Fill rows (n, TANGENT_ENTRIES) with the coordinates z (n,); that of first + k has derivative 1 in direction k."""
    for i in range(len(z)):
        rows[i, 0] = z[i]
        for k in range(DIRECTIONS):
            rows[i, 1 + k] = 1.0 if i == first + k else 0.0

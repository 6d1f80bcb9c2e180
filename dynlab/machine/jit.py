"""Compilation: the undecorated formulas, compiled for the CPU and kept on disk by `dynlab.machine.cache`."""

from __future__ import annotations

import gc
import math
import types
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import event
from numba.core import types as numba_types
from numba.extending import intrinsic

from dynlab.formulas import number_table
from dynlab.machine import cache
from dynlab.machine.parts import part

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "nogil": True}
SELDOM = (200_000, 20, 20)  # thresholds of `gc` while something is compiled


class _SeldomCollected(event.Listener):
    """Lets Python look for garbage less often while numba compiles, which holds its lock then.

    Compiling makes millions of objects that live until it is done: looking through them again and again takes an eighth of
    its time, or more.
    """

    def __init__(self) -> None:
        self.under_way = 0  # functions, each compiled from within the one before
        self.usual = gc.get_threshold()

    def on_start(self, _event: event.Event) -> None:
        if self.under_way == 0:
            self.usual = gc.get_threshold()
            gc.set_threshold(*SELDOM)
        self.under_way += 1

    def on_end(self, _event: event.Event) -> None:
        self.under_way -= 1
        if self.under_way == 0:
            gc.set_threshold(*self.usual)


event.register("numba:compile", _SeldomCollected())


def kernel(function: Callable) -> Any:
    """Compile `function` as an entry point (called from Python), cached on disk, releasing the GIL."""
    compiled = numba.njit(**OPTIONS)(function)
    cache.attach(compiled, function)
    return compiled


def parallel(function: Callable) -> Any:
    """Compile `function` as an entry point whose `numba.prange` loops are shared among threads, cached on disk.

    What an iteration does must not depend on the others nor raise; sums across iterations belong in parts of their own.
    """
    compiled = numba.njit(parallel=True, **OPTIONS)(function)
    cache.attach(compiled, function)
    return compiled


def inner(function: Callable, inline: bool = False) -> Any:
    """Compile `function` as a part of other kernels; it is stored inside theirs, with `inline` at every call."""
    return part(function, forceinline=inline, **OPTIONS)


def reduction(function: Callable) -> Any:
    """Compile a function that is one sum, whose terms the compiler may add in an order of its own, so that it vectorises.

    The order is fixed when it is compiled: calls with arrays of one length give the same bits, on any thread.
    """
    return numba.njit(**{**OPTIONS, "fastmath": {"reassoc", "contract"}})(function)


def _generic_sqrt(x):
    return np.sqrt(x)


def _generic_exp(x):
    return np.exp(x)


def _generic_tanh(x):
    return np.tanh(x)


def _generic_cosh(x):
    return np.cosh(x)


def _generic_atan(x):
    return np.arctan(x)


def _generic_expm1(x):
    return np.expm1(x)


# Formulas are also evaluated in complex arithmetic (exact Jacobians, `dynlab.formulas.flow_rates`), where math.* has no
# meaning.
_NUMERIC = {
    math.sqrt: inner(_generic_sqrt),
    math.exp: inner(_generic_exp),
    math.tanh: inner(_generic_tanh),
    math.cosh: inner(_generic_cosh),
    math.atan: inner(_generic_atan),
    math.expm1: inner(_generic_expm1),
}

# A symbol, not an address: kernels that are loaded from the disk find the table where this process has it.
_TABLE_SYMBOL = "dynlab_table_of_activations"
llvmlite.binding.add_symbol(_TABLE_SYMBOL, number_table.TABLE.buffer_info()[0])


@intrinsic
def _table_number(_context, _place):
    """`table.table_number` in compiled code."""

    def load(_context, builder, _signature, arguments):
        module = builder.module
        if _TABLE_SYMBOL not in module.globals:
            numbers = ir.GlobalVariable(module, ir.ArrayType(ir.DoubleType(), number_table.SIZE), _TABLE_SYMBOL)
            numbers.linkage = "external"
        zero = ir.Constant(ir.IntType(64), 0)
        return builder.load(builder.gep(module.globals[_TABLE_SYMBOL], [zero, arguments[0]]))

    return numba_types.float64(numba_types.int64), load


_COMPILED: dict = {number_table.table_number: _table_number}


def compile_module(module, entries: tuple[str, ...] | None = None) -> types.SimpleNamespace:
    """Compile every function that `module` defines, calls between them and into earlier modules included.

    The sources stay undecorated: each function is rebuilt over a copy of its module's globals in which formulas
    are replaced by their compiled versions. entries: the functions that others call, into which the rest is inlined;
    None leaves that to the compiler. (Handing a dozen arrays to a small function takes longer than the function.)
    """
    inlined = set() if entries is None else set(vars(module)) - set(entries)
    return rebuild(module, _COMPILED, _NUMERIC, lambda clone, name: inner(clone, name in inlined))


def rebuild(module, compiled, numeric, compile_one) -> types.SimpleNamespace:
    """The functions that `module` defines, each compiled by compile_one(function, name) over a copy of its globals.

    In the copy, what `compiled` and `numeric` know stands in place of the plain functions; `compiled` comes to know more.
    """
    space = dict(vars(module))
    for name, value in vars(module).items():
        if isinstance(value, (types.FunctionType, types.BuiltinFunctionType)) and value in compiled:
            space[name] = compiled[value]
        elif isinstance(value, types.BuiltinFunctionType) and value in numeric:
            space[name] = numeric[value]
    made = {}
    for name, value in vars(module).items():
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            clone = types.FunctionType(value.__code__, space, name, value.__defaults__)
            clone.__module__ = module.__name__
            clone.__qualname__ = name
            space[name] = made[name] = compiled[value] = compile_one(clone, name)
    return types.SimpleNamespace(**made)


def compiled(function):
    """The compiled version of a formula whose module has been through `compile_module`."""
    return _COMPILED[function]

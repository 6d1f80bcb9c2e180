"""Compilation: the undecorated formulas, compiled for the CPU and cached on disk.

Numba's own cache looks at one file's modification time and does not notice an edit to a helper elsewhere. Here the
cache folder is keyed by a hash of every source file of dynlab, the versions of numba, llvmlite, numpy and Python, and
the processor, so a stale kernel can never be loaded. The folder is $DYNLAB_CACHE_DIR, or
$XDG_CACHE_HOME/dynlab, or ~/.cache/dynlab; where it cannot be written kernels are compiled anew, with a warning.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types as numba_types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.extending import intrinsic

from dynlab.formulas import table

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "nogil": True}


def cache_root() -> Path:
    """The folder that holds all caches of dynlab, one subfolder for each key."""
    chosen = os.environ.get("DYNLAB_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dynlab"


@cache
def cache_key() -> str:
    """Hash of dynlab's sources, the versions that decide what is compiled, and the processor."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(set(root.rglob("*.py")) - set((root / "docs").rglob("*.py"))):  # pages are in no kernel
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    import llvmlite.binding as llvm

    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__, platform.machine())
    # Switches of numba that change the code it makes; the simulator of CUDA changes none of the CPU's.
    named = (f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k != "NUMBA_ENABLE_CUDASIM")
    switches = tuple(named)
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    digest.update(repr((versions, switches, processor)).encode())
    return digest.hexdigest()[:20]


@cache
def cache_folder() -> Path | None:
    """The cache folder of this very version, created; None (with one warning) where it cannot be written."""
    folder = cache_root() / cache_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        warnings.warn(f"dynlab: kernels are not cached: {folder} cannot be written ({error.strerror})", stacklevel=2)
        return None
    return folder


class _Locator(_CacheLocator):
    """Puts every kernel into the keyed folder; the key stands for the freshness of the sources."""

    def __init__(self, function):
        self._name = f"{function.__module__}.{function.__qualname__}"

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return cache_key()

    def get_disambiguator(self):
        return hashlib.sha256(self._name.encode()).hexdigest()[:10]

    @classmethod
    def from_function(cls, function, _file):
        return cls(function)


class _Implementation(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # type: ignore[list-item]  # numba's hint says class of any object, not of locators


class _Cache(FunctionCache):
    _impl_class = _Implementation


def kernel(function: Callable) -> Any:
    """Compile `function` as an entry point (called from Python), cached on disk, releasing the GIL."""
    compiled = numba.njit(**OPTIONS)(function)
    if cache_folder() is not None:
        compiled._cache = _Cache(function)
    return compiled


def parallel(function: Callable) -> Any:
    """Compile `function` as an entry point whose `numba.prange` loops are shared among threads, cached on disk.

    What an iteration does must not depend on the others nor raise; sums across iterations belong in parts of their own.
    """
    compiled = numba.njit(parallel=True, **OPTIONS)(function)
    if cache_folder() is not None:
        compiled._cache = _Cache(function)
    return compiled


def inner(function: Callable, inline: bool = False) -> Any:
    """Compile `function` as a part of other kernels; it is stored inside theirs, with `inline` at every call."""
    return numba.njit(forceinline=inline, **OPTIONS)(function)


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


# Formulas are also evaluated in complex arithmetic (exact Jacobians, `dynlab.formulas.flow`), where math.* has no meaning.
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
llvmlite.binding.add_symbol(_TABLE_SYMBOL, table.TABLE.buffer_info()[0])


@intrinsic
def _table_number(_context, _place):
    """`table.table_number` in compiled code."""

    def load(_context, builder, _signature, arguments):
        module = builder.module
        if _TABLE_SYMBOL not in module.globals:
            numbers = ir.GlobalVariable(module, ir.ArrayType(ir.DoubleType(), table.SIZE), _TABLE_SYMBOL)
            numbers.linkage = "external"
        zero = ir.Constant(ir.IntType(64), 0)
        return builder.load(builder.gep(module.globals[_TABLE_SYMBOL], [zero, arguments[0]]))

    return numba_types.float64(numba_types.int64), load


_COMPILED: dict = {table.table_number: _table_number}


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

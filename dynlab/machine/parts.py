"""Parts of kernels: functions that are turned into LLVM's language and left there, for the kernels that call them.

Numba compiles each function that a kernel calls to the end: everything below it is linked in, optimised and translated into
machine code, once for the function itself, once for its caller, and so on up to the kernel, which is all that runs. For a
kernel of sixty small functions that is most of the time of compiling. Parts skip it: what is below a part is linked in, and
optimising and translating are left to the kernel, which does both once. (Every function is still simplified by itself.)

A part that is called from Python after all, as tests do, is compiled as a kernel of its own then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Codegen:
    """The code generator of a library without machine code: there is no place to keep an environment in."""

    def __init__(self, generator: Any):
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def set_env(self, name: str, env: object) -> None:
        """Nothing: environments are for code that handles objects of Python."""


class _Library(JITCodeLibrary):
    """Code in LLVM's language, linked but neither optimised nor translated."""

    @property
    def codegen(self) -> Any:
        return _Codegen(self._codegen)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0


class _Compiler(Compiler):
    """Numba's compiler, which puts what it makes into such a library, without wrappers for callers in Python."""

    def define_pipelines(self) -> Any:
        name = self.state.func_id.func_qualname
        self.state.library = _Library(self.state.targetctx.codegen(), name)
        self.state.flags.no_cpython_wrapper = True
        self.state.flags.no_cfunc_wrapper = True
        return super().define_pipelines()


def part(function: Callable, **options: Any) -> Any:
    """Compile `function` as a part of kernels; options are numba's."""
    dispatcher = numba.njit(pipeline_class=_Compiler, **options)(function)
    dispatcher.__class__ = _part_class(type(dispatcher))
    dispatcher._whole = None
    return dispatcher


_CLASSES: dict[type, type] = {}


def _part_class(base: type) -> type:
    """A dispatcher that is a kernel of its own where Python calls it."""
    if base not in _CLASSES:

        def call(self, *arguments):
            if self._whole is None:
                options = {name: value for name, value in self.targetoptions.items() if name != "nopython"}
                self._whole = numba.njit(**options)(self.py_func)
            return self._whole(*arguments)

        _CLASSES[base] = type("Part", (base,), {"__call__": call})
    return _CLASSES[base]

"""Processes forked from one that has computed with several threads: said in a line, where OpenMP would end them.

Threads do not come along into the child, and GNU's OpenMP ends a process that asks for them there. So the kernels for
several threads are made to raise there; those for one go on as before.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numba


class ForkError(RuntimeError):
    """A kernel for several threads was called in a process that was forked from one which had such threads."""


def _refuse(*_: Any, **__: Any) -> None:
    raise ForkError(
        "this process was forked from one that had computed with several threads, which it has not: start processes by the "
        "method spawn or forkserver, as multiprocessing.get_context('spawn') does"
    )


def _in_child() -> None:
    """Let the kernels for several threads raise, where those of the parent were started by GNU's OpenMP."""
    pool = sys.modules.get("numba.np.ufunc.omppool")
    try:
        started = numba.threading_layer() == "omp"
    except ValueError:  # no threads have been started
        return
    if started and getattr(pool, "openmp_vendor", "") == "GNU":
        for name, module in list(sys.modules.items()):
            for value in list(vars(module).values()) if name.startswith("dynlab.") else []:
                if getattr(value, "targetoptions", {}).get("parallel"):
                    value._reset_overloads()
                    value._compile_for_args = _refuse


def watch() -> None:
    """From now on, in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)

"""Modules that can be called: where a command and a function of Python have one name, the module of the command is both.

`import dynlab.portrait` binds `dynlab.portrait` to the module, whatever stood there before, so a function of that name
would be there or not by the order of imports. The module itself is therefore what `dynlab.portrait` is, and calling it
calls the function.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(module: str, function: Callable[..., Any]) -> None:
    """Let the loaded module of this name be called as `function` is; its signature is then that of the function."""

    class CallableModule(ModuleType):
        """A module, and the function that bears its name."""

        def __call__(self, *given: Any, **options: Any) -> Any:
            return function(*given, **options)

    found = sys.modules[module]
    found.__class__ = CallableModule
    vars(found)["__signature__"] = inspect.signature(function)  # what help in a notebook shows

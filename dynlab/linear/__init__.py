"""The linear theory: encoder, predictor and target as matrices (Tian, Chen & Ganguli, ICML 2021, arXiv 2102.06810).

Its modules are loaded when they are first used: after `import dynlab`, `dynlab.linear.laws.balance` needs no other import.
"""

from importlib import import_module
from typing import Any

_MODULES = ("gradient_flow", "laws", "model", "modes", "search")
_NAMES = {"LinearModel": "model", "simulate_linear": "gradient_flow"}  # as they are in `dynlab`


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join((*_MODULES, *_NAMES))}")


def __dir__() -> list[str]:
    return sorted((*_MODULES, *_NAMES))

"""The sources of the package as syntax trees, for tests that read them."""

from __future__ import annotations

import ast
from functools import cache

from tests.architecture import imports


@cache
def trees() -> dict[str, ast.Module]:
    """{module, named from inside the package: its tree}."""
    modules = imports.modules_of(imports.ROOT, imports.PACKAGE)
    return {imports.short(name): imports.tree_of(path) for name, path in modules.items()}


@cache
def texts() -> dict[str, str]:
    """{module, named from inside the package: its text}."""
    modules = imports.modules_of(imports.ROOT, imports.PACKAGE)
    return {imports.short(name): path.read_text(encoding="utf-8") for name, path in modules.items()}

"""Which source files decide what a module of dynlab computes: its own, and all that they import, however far.

A compiled kernel, or a stored result, is that of its sources. Which those are is read from the import statements that
run when a module is loaded: those in functions do not (no kernel can refer to what they bring), nor do those for type
checkers.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Functions of a module and of its classes: the first line, and those below it that are empty, indented further or begin with
# a closing bracket. What they hold is not looked at, and parsing it takes every process that loads kernels longer than all
# else that is done here.
FUNCTIONS = (
    (re.compile(rb"^(?:async )?def .*\n(?:(?:[ )].*)?\n)*", re.MULTILINE), b"def _(): pass\n"),
    (re.compile(rb"^    (?:async )?def .*\n(?:(?:    [ )].*)?\n)*", re.MULTILINE), b"    def _(): pass\n"),
)


@cache
def sources_of(module: str) -> frozenset[Path]:
    """Files of the modules of dynlab that importing `module` ("dynlab.population.pair.flow") loads, its own and those of the
    packages on the way included; empty where it is no module of dynlab on the disk.

    The top package is left out: its names are loaded when they are used, and it holds no numbers.
    """
    found: set[Path] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        found.add(path)
        waiting.append(name.rpartition(".")[0])
        waiting += _imported(path)
    return frozenset(found)


@cache
def digest_of(module: str) -> bytes:
    """Hash of the files of `sources_of`, as they stand when it is first asked for."""
    digest = hashlib.sha256()
    for path in sorted(sources_of(module)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.digest()


def _file(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != PACKAGE.name or len(parts) == 1:
        return None
    place = PACKAGE.joinpath(*parts[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """Names of what a file may import when it is loaded: modules, and names in modules, which may be modules themselves."""
    names: list[str] = []
    for statement in _loaded(_without_functions(path.read_bytes())):
        if isinstance(statement, ast.Import):
            names += [one.name for one in statement.names]
        elif statement.module:
            names += [statement.module, *(f"{statement.module}.{one.name}" for one in statement.names)]
    return tuple(names)


def _without_functions(source: bytes) -> ast.Module:
    """The tree of a file in which functions are empty; with all that they hold where that is not so easily left out."""
    short = source
    for function, nothing in FUNCTIONS:
        short = function.sub(nothing, short)
    try:
        return ast.parse(short)
    except SyntaxError:
        return ast.parse(source)


def _loaded(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run when a module is loaded."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                children = getattr(node, part, [])
                waiting += children if isinstance(children, list) else []

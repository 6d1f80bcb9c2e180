"""The folders of the tests are those of dynlab: what has no counterpart, in lines.

A folder of tests stands for a room of dynlab (`tests/machine`), or for one of its modules where that takes several files
(`tests/machine/gpu`). The few others are listed with what they are for.
"""

from __future__ import annotations

import ast
from pathlib import Path

OTHERS = {
    "architecture": "of all of dynlab: its imports, its shape, its hints, its wheel",
    "benchmarks": "of the folder beside dynlab",
    "commands": "the modules that lie flat in dynlab",
    "faults": "of all commands, in processes of their own",
    "oracles": "references that share no code with dynlab",
    "processors": "a command: tests and results in the arithmetic of other processors",
    "thorough": "a command: what is checked on demand",
    "thorough/planted": "faults, for tests to catch",
}
SHARED = ("__init__.py", "browsing.py", "conftest.py", "strategies.py", "waiting.py", "naive.py", "naive_*.py")
"""What may lie flat in the folder of the tests, because several rooms use it."""


def rooms_of(package: Path) -> set[str]:
    """The folders of a package that hold code, by their paths inside it."""
    return {path.parent.relative_to(package).as_posix() for path in package.rglob("__init__.py")} - {"."}


def apart(package: Path, tests: Path, others: dict[str, str] = OTHERS) -> list[str]:
    """Rooms without tests, folders of tests without a room, tests that lie flat, folders that do not say what they are."""
    rooms = rooms_of(package)
    modules = {path.relative_to(package).with_suffix("").as_posix() for path in package.rglob("*.py")}
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("*.py")} - {"."}
    found = [f"{room}: no tests/{room}/test_*.py" for room in sorted(rooms) if not list((tests / room).glob("test_*.py"))]
    for folder in sorted(folders):
        if folder not in rooms | modules | set(others):
            found.append(f"tests/{folder}: neither a room nor a module of {package.name}")
        said = tests / folder / "__init__.py"
        if not said.is_file() or not ast.get_docstring(ast.parse(said.read_text(encoding="utf-8"))):
            found.append(f"tests/{folder}: no __init__.py that says what is tested there")
    found += [f"tests/{folder}: named as one that may be apart, and not there" for folder in sorted(set(others) - folders)]
    flat = [path.name for path in sorted(tests.glob("*.py")) if not any(path.match(pattern) for pattern in SHARED)]
    return found + [f"tests/{name}: lies flat" for name in flat]

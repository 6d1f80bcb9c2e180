"""Every import of a package, read from its sources, and what is wrong with them: `python -m tests.architecture.imports`.

An import counts wherever it stands: at the top, inside a function, under TYPE_CHECKING, and `import_module` of a name that
is written out. A circle is a set of files each of which leads to every other, or of rooms of one layer that do.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.architecture import layers

TESTS = Path(__file__).resolve().parents[1]
# Where the tests stand beside an installed wheel, it is the wheel that is read.
_FOUND = find_spec("dynlab")
_INSTALLED = Path(_FOUND.origin).parents[1] if _FOUND is not None and _FOUND.origin else TESTS.parent
ROOT = TESTS.parent if (TESTS.parent / "dynlab" / "__init__.py").is_file() else _INSTALLED
PACKAGE = "dynlab"
INIT = "__init__"


@dataclass(frozen=True)
class Import:
    """One import: the module it stands in, what it loads (both with the package's name in front), its line, and where it
    stands: "" for the top of the file, "TYPE_CHECKING", or the name of the function."""

    source: str
    target: str
    line: int
    where: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" + (f" [{self.where}]" if self.where else "") + f" imports {self.target}"


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """{module: file} of all sources of a package, a folder in root. A package's own file is called package.__init__.

    The figures, which a wheel holds inside dynlab, stand beside it in the source and are read with neither.
    """
    files = sorted((root / package).rglob("*.py"))
    files = [path for path in files if path.parent.name != "figures" or path.stem == INIT]
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in files}


class _Reader(ast.NodeVisitor):
    """Imports of one file, as (name, names taken from it or None, level of dots, line, where it stands)."""

    def __init__(self) -> None:
        self.found: list[tuple[str, list[str] | None, int, int, str]] = []
        self._inside: list[str] = []

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._inside.append(node.name)
        self.generic_visit(node)
        self._inside.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_If(self, node: ast.If) -> None:
        checking = any(getattr(part, "id", getattr(part, "attr", "")) == "TYPE_CHECKING" for part in ast.walk(node.test))
        self._inside += ["TYPE_CHECKING"] if checking else []
        for part in node.body:
            self.visit(part)
        if checking:
            self._inside.pop()
        for part in node.orelse:
            self.visit(part)

    def _add(self, node: ast.stmt | ast.expr, name: str, names: list[str] | None = None, level: int = 0) -> None:
        self.found.append((name, names, level, node.lineno, self._inside[-1] if self._inside else ""))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._add(node, node.module or "", [alias.name for alias in node.names], node.level)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node, str(node.args[0].value))
        self.generic_visit(node)


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once for as long as it does not change."""
    state = path.stat()
    return _tree(path, state.st_mtime_ns, state.st_size)


@cache
def _tree(path: Path, changed: int, size: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path, module: str, known: Iterable[str]) -> Iterator[Import]:
    """Imports of a file: of modules in `known` by their own names, of others as they are written."""
    known = set(known)
    reader = _Reader()
    reader.visit(tree_of(path))
    for name, names, level, line, where in reader.found:
        if level:
            above = module.split(".")[:-level]
            name = ".".join([*above, name] if name else above)
        taken = names or [""]
        for one in taken:
            nearest = f"{name}.{one}" if one else name
            candidates = (nearest, f"{nearest}.{INIT}", name, f"{name}.{INIT}")
            yield Import(module, next((c for c in candidates if c in known), name), line, where)


def read(root: Path = ROOT, package: str = PACKAGE) -> list[Import]:
    """All imports of a package that stands in root."""
    modules = modules_of(root, package)
    found = [one for module, path in modules.items() for one in imports_of(path, module, modules)]
    return list(dict.fromkeys(found))


def within(imports: Iterable[Import], package: str = PACKAGE) -> list[Import]:
    """Those that load something of the package itself, but for a module that names itself."""
    return [i for i in imports if i.target.split(".")[0] == package and i.target != i.source]


def short(module: str) -> str:
    """A module's name inside the package: what the table of layers knows it by."""
    inside = module.partition(".")[2] or INIT
    return inside if inside == INIT else inside.removesuffix(f".{INIT}")


def unplaced(modules: Iterable[str]) -> list[str]:
    """Modules that the table of layers has no place for."""
    return [f"{module} is in no layer" for module in modules if layers.layer_of(short(module)) is None]


def upward(imports: Iterable[Import], package: str = PACKAGE) -> list[str]:
    """Imports of a higher layer."""
    found = []
    for one in within(imports, package):
        low, high = (layers.layer_of(short(module)) for module in (one.source, one.target))
        excepted = (short(one.source), short(one.target)) in layers.UPWARD_EXCEPTIONS
        if low is not None and high is not None and high > low and not excepted:
            found.append(f"{one}: up from layer {low + 1} to {high + 1}")
    return found


def impure(imports: Iterable[Import], package: str = PACKAGE) -> list[str]:
    """Imports of the formulas beyond `math` and themselves."""
    home = f"{package}.{layers.PURE}"
    found = []
    for one in imports:
        inside = one.source.startswith(f"{home}.")
        allowed = (*layers.PURE_IMPORTS, "__future__")
        own = one.target == home or one.target.startswith(f"{home}.")
        excepted = (short(one.source), short(one.target) if one.target.startswith(f"{package}.") else one.target)
        if inside and not own and one.target.split(".")[0] not in allowed and excepted not in layers.PURE_EXCEPTIONS:
            found.append(f"{one}: formulas import only {', '.join(layers.PURE_IMPORTS)} and themselves")
    return found


def components(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Sets of two or more that all lead to each other (Tarjan 1972), each sorted, the largest first."""
    following: dict[str, list[str]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
        following.setdefault(b, [])
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []
    for root in following:
        work = [] if root in number else [(root, iter(following[root]))]
        if work:
            number[root] = lowest[root] = len(number)
            stack.append(root)
        while work:
            at, rest = work[-1]
            for other in rest:
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    stack.append(other)
                    work.append((other, iter(following[other])))
                    break
                if other in stack:
                    lowest[at] = min(lowest[at], number[other])
            else:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[at])
                if lowest[at] == number[at]:
                    cut = stack.index(at)
                    found.append(sorted(stack[cut:]))
                    del stack[cut:]
    return sorted((one for one in found if len(one) > 1), key=lambda one: (-len(one), one))


def circles(imports: Iterable[Import], package: str = PACKAGE) -> list[str]:
    """Circles of files, each with the imports that close it."""
    imports = within(imports, package)
    found = []
    for part in components((one.source, one.target) for one in imports):
        lines = [f"  {one}" for one in imports if one.source in part and one.target in part]
        found.append("\n".join([f"a circle of {len(part)}: {', '.join(short(name) for name in part)}", *lines]))
    return found


def rooms_of(source: str, target: str) -> tuple[str, str] | None:
    """The two folders side by side in which two modules are, at whatever depth; None where one is a file beside the other's
    folder, or both are in one folder."""
    a, b = source.split(".")[1:], target.split(".")[1:]
    depth = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if depth is None or depth >= min(len(a), len(b)) - 1:
        return None
    return ".".join(a[: depth + 1]), ".".join(b[: depth + 1])


def circles_of_rooms(imports: Iterable[Import], package: str = PACKAGE) -> list[str]:
    """Circles of folders that stand side by side: of two rooms one may look at the other, but not both."""
    pairs: dict[tuple[str, str], list[Import]] = {}
    for one in within(imports, package):
        rooms = rooms_of(one.source, one.target)
        if rooms is not None:
            pairs.setdefault(rooms, []).append(one)
    found = []
    for part in components(pairs):
        lines = [f"  {one}" for (a, b), ones in pairs.items() if a in part and b in part for one in ones]
        found.append("\n".join([f"a circle of rooms: {', '.join(part)}", *lines]))
    return found


def oracles_that_cheat(tests: Path = TESTS, package: str = PACKAGE) -> list[str]:
    """Imports of the package by files of tests that are to share no code with it, or by what those import of the tests."""
    modules = {f"tests.{'.'.join(path.relative_to(tests).with_suffix('').parts)}": path for path in tests.rglob("*.py")}
    waiting = [
        name for name, path in modules.items()
        if any(fnmatch(path.relative_to(tests).as_posix(), pattern) for pattern in layers.ORACLES)
    ]  # fmt: skip
    found, seen = [], set(waiting)
    while waiting:
        module = waiting.pop(0)
        for one in imports_of(modules[module], module, modules):
            if one.target.split(".")[0] == package:
                found.append(f"{one}: oracles import nothing of {package}")
            elif one.target in modules and one.target not in seen:
                seen.add(one.target)
                waiting.append(one.target)
    return found


def violations(root: Path = ROOT, package: str = PACKAGE) -> list[str]:
    """All that is wrong with the imports of a package that stands in root, in lines (of a circle: several)."""
    imports = read(root, package)
    return [
        *unplaced(modules_of(root, package)), *upward(imports, package), *impure(imports, package),
        *circles(imports, package), *circles_of_rooms(imports, package),
    ]  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Print what is wrong; 1 where there is something."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.imports", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="the folder that holds the package")
    parser.add_argument("--package", default=PACKAGE, help="its name (default: %(default)s)")
    given = parser.parse_args(words)
    found = [*violations(given.root, given.package), *(oracles_that_cheat() if given.root == ROOT else [])]
    print("\n".join(found or ["every import looks down, and none goes round"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""A kernel's stamp covers every module whose code can be in it."""

from __future__ import annotations

import ast
import importlib
import re
import types
from pathlib import Path

import pytest

import dynlab
from dynlab.machine import closure

PACKAGE = Path(dynlab.__file__).parent


def modules_with_kernels() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^@_?jit\.(kernel|parallel)", text, re.M):
            found.append(".".join(("dynlab", *path.relative_to(PACKAGE).with_suffix("").parts)))
    return found


def reached(function) -> set[str]:
    """Modules of dynlab in which functions are defined that this one can call, found on the live objects."""
    seen, homes, waiting = set(), set(), [function]
    while waiting:
        one = waiting.pop()
        one = getattr(one, "py_func", one)
        if isinstance(one, types.SimpleNamespace):
            waiting += vars(one).values()
            continue
        if not isinstance(one, types.FunctionType) or one in seen or not one.__module__.startswith("dynlab."):
            continue
        seen.add(one)
        homes.add(one.__module__)
        waiting += [one.__globals__[name] for name in one.__code__.co_names if name in one.__globals__]
    return homes


@pytest.mark.parametrize("name", modules_with_kernels())
def test_the_closure_holds_all_that_kernels_reach(name):
    module = importlib.import_module(name)
    kernels = [value for value in vars(module).values() if hasattr(value, "py_func") and value.__module__ == name]
    assert kernels
    sources = {path.relative_to(PACKAGE) for path in closure.sources_of(name)}
    for kernel in kernels:
        for home in reached(kernel):
            path = Path(*home.split(".")[1:])
            assert path.with_suffix(".py") in sources or path / "__init__.py" in sources, (kernel, home)


def test_imports_that_run_count_and_others_do_not():
    text = (
        "import a\nfrom b import c\nif TYPE_CHECKING:\n    import d\nelse:\n    import e\ntry:\n    import f\n"
        "except ImportError:\n    import g\ndef h():\n    import i\nclass J:\n    import k\nwith x:\n    import l\n"
    )
    statements = closure._loaded(ast.parse(text))
    found = [one.module if isinstance(one, ast.ImportFrom) else one.names[0].name for one in statements]
    assert sorted(found) == ["a", "b", "e", "f", "g", "k", "l"]


def statements(tree: ast.Module) -> list[str]:
    return [ast.dump(one) for one in closure._loaded(tree)]


@pytest.mark.parametrize(
    "room", [None, *sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())]
)
def test_functions_that_are_left_out_hide_no_import(room):
    """Against the whole tree, for every file of a room; None: those that lie flat."""
    files = sorted(PACKAGE.glob("*.py") if room is None else (PACKAGE / room).rglob("*.py"))
    for path in files:
        source = path.read_bytes()
        assert statements(closure._without_functions(source)) == statements(ast.parse(source)), path
    assert files


def test_functions_are_left_out_and_what_stands_between_is_not():
    text = (
        '"""Words:\nimport not_this\n"""\n@some(\n    1\n)\ndef f(\n    x,\n):\n    import g\n\n    return x\n\n\nimport a\n'
        "class B:\n    import c\n\n    @property\n    def d(self):\n        import e\n\n    import h\n\n\n"
        "async def i():\n    import j\nfrom k import l\n"
    )
    short = closure._without_functions(text.encode())
    names = [one.module if isinstance(one, ast.ImportFrom) else one.names[0].name for one in closure._loaded(short)]
    assert sorted(names) == ["a", "c", "h", "k"]
    assert not {"e", "g", "j"} & {one.names[0].name for one in ast.walk(short) if isinstance(one, ast.Import)}


def test_a_file_whose_functions_are_not_so_easily_left_out_is_taken_whole():
    text = 'def f():\n    return """\nimport not_this\n"""\n\n\nimport a\n'
    whole = closure._without_functions(text.encode())
    assert statements(whole) == statements(ast.parse("import a"))


def test_the_closure_of_the_flow_by_hand():
    sources = {str(path.relative_to(PACKAGE)) for path in closure.sources_of("dynlab.formulas.cubic_flow_rates")}
    assert {
        "formulas/cubic_flow_rates.py",
        "formulas/activations.py",
        "formulas/number_table.py",
        "formulas/__init__.py",
    } <= sources
    assert not any(name.startswith(("population", "images")) for name in sources)
    assert closure.sources_of("dynlab.no_such_module") == frozenset() == closure.sources_of("numba.njit")

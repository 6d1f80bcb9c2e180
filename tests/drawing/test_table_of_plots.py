"""The table behind `.plot()`: every result that can be drawn is in it, and every entry draws what it is there for."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import dynlab
from dynlab.tools import plots

PACKAGE = Path(dynlab.__file__).parent


def results():
    """{name: module} of the classes with a method `plot`, read from the sources."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(getattr(one, "name", "") == "plot" for one in node.body):
                found[node.name] = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
    return found


def test_the_table_holds_every_result_that_can_be_drawn():
    assert set(plots.FIGURES) == set(results()) and len(plots.FIGURES) >= 9


@pytest.mark.parametrize("name", plots.FIGURES)
def test_the_figure_of_a_result_takes_it(name, monkeypatch):
    """`.plot()` hands the result itself to the function of the table, which needs nothing else."""
    module, function = plots.FIGURES[name].split(":")
    drawing = importlib.import_module(module)
    needed = [one for one in inspect.signature(getattr(drawing, function)).parameters.values() if one.default is one.empty]
    assert len(needed) == 1
    monkeypatch.setattr(drawing, function, lambda result: ("drawn", result))
    kind = getattr(importlib.import_module(results()[name]), name)
    for one in (kind, type("Narrower", (kind,), {})):
        result = kind.__new__(one)
        word, given = result.plot()
        assert word == "drawn" and given is result

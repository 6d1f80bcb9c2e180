"""The house has one way up: every import looks down or beside, none goes round, formulas know nothing but mathematics."""

import pytest

from tests.architecture import imports, layers


@pytest.fixture(scope="module")
def house():
    return imports.read()


def test_every_file_has_its_layer():
    assert imports.unplaced(imports.modules_of(imports.ROOT, imports.PACKAGE)) == []


def test_no_import_looks_up(house):
    assert imports.upward(house) == []


def test_no_circle_of_files(house):
    assert imports.circles(house) == []


def test_no_circle_of_rooms(house):
    assert imports.circles_of_rooms(house) == []


def test_formulas_import_mathematics_alone(house):
    assert imports.impure(house) == []


def test_oracles_import_nothing_of_dynlab():
    assert imports.oracles_that_cheat() == []


def test_exceptions_are_needed(house):
    """An exception whose import is gone is taken off the list, and every one says why it is there."""
    found = {(imports.short(one.source), imports.short(one.target)) for one in imports.within(house)}
    outside = {(imports.short(one.source), one.target) for one in house}
    for pair, reason in (layers.UPWARD_EXCEPTIONS | layers.PURE_EXCEPTIONS).items():
        assert pair in found | outside and len(reason) > 10, pair


# A made-up package of the same layers. {file: its text}; the faults are planted into it one by one.
HOUSE = {
    "__init__.py": "",
    "run.py": "from dynlab import reports\nfrom dynlab.population import flow\n",
    "reports/__init__.py": "",
    "reports/tables.py": "from dynlab.population.flow import rate\nfrom dynlab.tools import show\n",
    "population/__init__.py": "",
    "population/flow.py": "import math\nfrom . import moments\nfrom dynlab.formulas.pair import force\n",
    "population/moments.py": "from ..formulas import pair\n",
    "linear/__init__.py": "",
    "linear/flow.py": "from dynlab.tools.show import line\n",
    "formulas/__init__.py": "",
    "formulas/pair.py": "from __future__ import annotations\nimport math\nfrom dynlab.formulas import masks\n",
    "formulas/masks.py": "from math import sqrt\n",
    "images/__init__.py": "",
    "images/settings.py": "",
    "images/training/__init__.py": "",
    "images/training/run.py": "",
    "images/training/train.py": "from dynlab.images.worth import probe\nfrom dynlab.images import settings\n",
    "images/worth/__init__.py": "",
    "images/worth/probe.py": "from .. import settings\n",
    "tools/__init__.py": "",
    "tools/show.py": "import numpy as np\n",
}
FAULTS = {
    "up, at the top": ("population/flow.py", "from dynlab.reports.tables import x\n", "up from layer 4 to 8"),
    "up, of a whole room": ("tools/show.py", "from dynlab import population\n", "up from layer 1 to 4"),
    "up, as a relative import": ("formulas/masks.py", "from ..population.flow import rate\n", "up from layer 2 to 4"),
    "up, inside a function": (
        "population/flow.py", "def plot():\n    import dynlab.reports.tables as t\n    return t\n",
        "[plot] imports dynlab.reports.tables",
    ),
    "up, inside a method": (
        "linear/flow.py", "class A:\n    def plot(self):\n        from dynlab.reports import tables\n",
        "up from layer 4 to 8",
    ),
    "up, for type checkers": (
        "tools/show.py", "import typing as t\nif t.TYPE_CHECKING:\n    from dynlab.population.flow import Flow\n",
        "[TYPE_CHECKING] imports dynlab.population.flow",
    ),
    "up, by a name": (
        "tools/show.py", "import importlib\nimportlib.import_module('dynlab.reports.tables')\n", "up from layer 1 to 8",
    ),
    "up, of a name of the package": ("tools/show.py", "from dynlab import __version__\n", "up from layer 1 to 10"),
    "round, of two": ("population/moments.py", "from dynlab.population import flow\n", "a circle of 2: population.flow"),
    "round, lazily": (
        "population/moments.py", "def f():\n    from dynlab.population.flow import rate\n    return rate\n",
        "a circle of 2",
    ),
    "round, of rooms of one layer": (
        "linear/flow.py", "from dynlab.population import moments\n", "a circle of rooms: linear, population",
    ),
    "round, of rooms inside a room": (
        "images/worth/probe.py", "from dynlab.images.training import run\n",
        "a circle of rooms: images.training, images.worth",
    ),
    "formulas import numpy": ("formulas/pair.py", "import numpy as np\n", "imports numpy: formulas import only math"),
    "formulas import a tool": ("formulas/pair.py", "from dynlab.tools import show\n", "formulas import only math"),
    "a file without a layer": ("misc.py", "", "dynlab.misc is in no layer"),
}  # fmt: skip


def build(place, texts):
    for name, text in texts.items():
        path = place / "dynlab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def test_a_sound_house_is_sound(tmp_path):
    assert imports.violations(build(tmp_path, HOUSE)) == []
    assert len(imports.read(tmp_path)) == 17


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path, fault, capsys):
    file, text, said = FAULTS[fault]
    # One room of a layer may look at the other, until that one looks back.
    beside = "from dynlab.linear import flow\n" if fault == "round, of rooms of one layer" else ""
    build(tmp_path, HOUSE | {"population/flow.py": HOUSE["population/flow.py"] + beside})
    assert imports.violations(tmp_path) == []
    build(tmp_path, {file: HOUSE.get(file, "") + text})
    found = imports.violations(tmp_path)
    assert said in "\n".join(found)
    assert imports.main([str(tmp_path)]) == 1 and said in capsys.readouterr().out


def test_an_excepted_import_is_let_through_and_no_other(tmp_path, monkeypatch):
    build(tmp_path, HOUSE | {"tools/show.py": "from dynlab.population import flow, moments\n"})
    monkeypatch.setattr(layers, "UPWARD_EXCEPTIONS", {("tools.show", "population.flow"): "because"})
    (found,) = imports.upward(imports.read(tmp_path))
    assert "imports dynlab.population.moments" in found


def test_an_oracle_that_cheats_by_way_of_another_file_is_found(tmp_path):
    (tmp_path / "naive.py").write_text("from tests.helper import number\nimport numpy\n")
    (tmp_path / "helper.py").write_text("def number():\n    from dynlab.model import Model\n    return Model\n")
    (tmp_path / "test_x.py").write_text("import dynlab\n")
    (found,) = imports.oracles_that_cheat(tmp_path)
    assert "tests.helper:2 [number] imports dynlab.model" in found


def test_the_circles_of_a_graph():
    edges = [(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 4), (5, 6), (7, 7)]
    named = [(str(a), str(b)) for a, b in edges]
    assert imports.components(named) == [["1", "2", "3"], ["4", "5"]]

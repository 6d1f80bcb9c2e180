"""No module of dynlab is without a test: one names it, or it is said through which it is reached."""

import pytest

from tests.architecture import imports, named


@pytest.fixture(scope="module")
def table():
    return named.table()


def test_every_module_is_named_or_said_to_be_reached(table):
    assert [module for module, files in table.items() if not files and module not in named.THROUGH] == []


def test_what_is_said_to_be_reached_is_there(table):
    assert [module for module in named.THROUGH if module not in table] == []


@pytest.mark.parametrize("module", [module for module in named.THROUGH if module not in named.NOT_IMPORTED])
def test_the_test_that_is_said_leads_there(module):
    test, _ = named.THROUGH[module]
    assert (imports.TESTS / test).is_file(), test
    assert module in named.reached_from(test), f"nothing leads from {test} to {module}"


NAMING = {
    "an import": "from dynlab.population import gradient\n",
    "an import of a name": "from dynlab.population.gradient import population_loss\n",
    "a public name": "from dynlab import population_gradient\n",
    "an attribute": "import dynlab\ndynlab.population_gradient\n",
    "a string": "WORDS = ['-m', 'dynlab.population.gradient']\n",
    "a path": "PATH = 'population/gradient.py'\n",
}


@pytest.mark.parametrize("name", NAMING)
def test_what_names_a_module_is_seen(tmp_path, name):
    (tmp_path / "test_it.py").write_text(NAMING[name])
    found = named.table(tests=tmp_path)
    assert found["dynlab.population.gradient"] == ["test_it.py"]
    assert not found["dynlab.population.moments"]

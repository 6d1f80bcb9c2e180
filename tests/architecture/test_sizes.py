"""Functions fit a screen, take what they need in records, and modules stay short."""

import ast

import pytest

from tests.architecture import sources

LINES = 60  # of a function from `def` to its end, decorators and docstring not counted, functions inside it counted
ARGUMENTS = 12
MODULE = 450
# Options that a user gives by name: to put them into a record would change the call.
PUBLIC = {
    ("ensembles.ensemble", "ensemble"),
    ("samples.minibatch", "minibatch_gradient"),
    ("samples.train", "follow"),
    ("simulation", "simulate"),
}
# The arguments of formulas are the letters of their derivation, arrays that are filled in place among them.
FORMULAS = {
    "formulas.components": {"responses": 13},
    "formulas.cubic_flow_rates": {"pair_flow": 17},
    "formulas.objective": {"forces": 15, "gradient": 15, "head_noise_forces": 14, "radial_forces": 17},
    "formulas.pair": {"odd_forces": 13, "rectified_neuron": 13},
    "formulas.second_moments": {"two_views": 19, "decorrelated": 15},
    "formulas.switched": {"switched_forces": 13, "similarity": 23, "one_output": 16, "correlation_forces": 14},
}


def functions(tree):
    """(name, lines, arguments) of every function of a module, methods and functions inside others among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            given = node.args
            several = [one for one in (given.vararg, given.kwarg) if one is not None]
            yield node.name, lines, len([*given.posonlyargs, *given.args, *given.kwonlyargs, *several])


def test_functions_fit_a_screen():
    long = [(m, name, n) for m, tree in sources.trees().items() for name, n, _ in functions(tree) if n > LINES]
    assert long == []


def test_functions_take_few_arguments():
    many = {}
    for module, tree in sources.trees().items():
        for name, _, n in functions(tree):
            if n > ARGUMENTS and (module, name) not in PUBLIC:
                many.setdefault(module, {})[name] = n
    assert many == FORMULAS


def test_modules_are_short():
    assert {name: n for name, text in sources.texts().items() if (n := len(text.splitlines())) > MODULE} == {}


@pytest.mark.parametrize(
    "text, found",
    [
        ("def f(x):\n" + "    x += 1\n" * 60, ("f", 61, 1)),
        ('def f(x):\n    """\n' + "    a word\n" * 90 + '    """\n' + "    x += 1\n" * 59, ("f", 60, 1)),
        ("class A:\n    def f(self, a, b=1, *c, d, **e): ...\n", ("f", 1, 6)),
        ("def f():\n    def g(a):\n" + "        a += 1\n" * 60 + "    return g\n", ("f", 63, 0)),
    ],
)
def test_sizes_are_counted(text, found):
    assert next(functions(ast.parse(text))) == found

"""Every public name says what it takes, what it returns, and that it refuses what is not allowed."""

import ast
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import dynlab
from dynlab.docs.docstrings import parameters

REFERENCE = Path(dynlab.__file__).parent / "docs" / "reference.rst"
PAGE = REFERENCE.read_text(encoding="utf-8")
MODULES = re.findall(r"automodule:: (dynlab\.\S+)\n +:members:(.*)", PAGE)
COMMON = PAGE.partition("mean the same everywhere")[2].partition("\ndynlab\n")[0]
EXPLAINED = set(re.findall(r"(?:^\* |[.,] )``(\w+)``(?=[:,])", COMMON, re.M))  # once for all, at the head of the page
CHECKS = {"require", "choice", "integer", "real", "flag", "covariance"}  # each raises SettingError
STARTS = ("__init__", "__post_init__")
# A docstring that begins with one of these says what is done; one that does not names what comes back.
DOES = set(
    "Build Check Compute Connect Draw Execute Fill Find Follow Give Go Judge Make Measure Minimise Prepare Print Read "
    "Return Run Save Search Solve Store Take Train Turn Validate Write".split()
)


def public():
    """(name, object, strict) of everything documented; strict, with a section Parameters: what is in `dynlab` itself."""
    for name in dynlab.__all__:
        if name != "__version__":
            thing = getattr(dynlab, name)
            # A command's module that can be called is described by the function it calls.
            yield f"dynlab.{name}", vars(thing)[name] if inspect.ismodule(thing) else thing, True
    for place, chosen in MODULES:
        module = importlib.import_module(place)
        mine = [name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == place]
        own = [name for name in mine if not name.startswith("_") and callable(vars(module)[name])]
        for name in chosen.replace(" ", "").split(",") if chosen.strip() else own:
            yield f"{place}.{name}", getattr(module, name), False


def members(name, thing):
    """(name, function) of the public methods and properties that a class defines."""
    for short, member in vars(thing).items():
        if short.startswith("_"):
            continue
        member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
        if inspect.isfunction(member) and member.__module__ == thing.__module__ and member.__code__.co_name == short:
            yield f"{name}.{short}", member


def own_docstring(thing) -> str:
    """The docstring that was written for it, not one made or inherited."""
    text = thing.__doc__ or ""
    made = inspect.isclass(thing) and re.fullmatch(rf"{thing.__name__}\(.*\)", text, re.S)
    return "" if made else inspect.cleandoc(text)


@functools.cache
def tree(thing) -> ast.AST:
    """Its syntax tree."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    return found


def nodes_of(function):
    """The nodes of a function without those of functions inside it."""
    waiting = list(tree(function).body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def refuses(function) -> bool:
    """Whether it checks settings itself."""
    calls = (node.func for node in nodes_of(function) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Name) and call.id in CHECKS | {"SettingError"} for call in calls)


def returns(function) -> bool:
    """Whether it returns or yields something."""
    kinds = ast.Return | ast.Yield | ast.YieldFrom
    return any(isinstance(node, kinds) and node.value is not None for node in nodes_of(function))


def faults(thing, strict: bool) -> list[str]:
    """What the docstring of a function or a class lacks."""
    text = own_docstring(thing)
    if not text:
        return ["has no docstring"]
    found = []
    if inspect.isclass(thing):
        inside = [member for name, member in vars(thing).items() if name in STARTS or name.startswith("_check")]
        checked = [each for each in inside if inspect.isfunction(each) and each.__code__.co_filename != "<string>"]
    else:
        checked = [thing]
        if returns(thing) and text.split()[0] in DOES and not re.search(r"\breturn|^Returns$|->", text, re.I | re.M):
            found.append("does not say what it returns")
    if any(refuses(function) for function in checked) and not re.search(r"SettingError|^Raises?\b.*ValueError", text, re.M):
        found.append("does not name SettingError")
    return found + parameter_faults(thing, text, strict)


def parameter_faults(thing, text: str, strict: bool) -> list[str]:
    """Where a section Parameters and the signature differ; without one, names that do not occur in the text."""
    if inspect.isclass(thing) and not ("__init__" in vars(thing) or hasattr(thing, "_fields")):
        return []  # made as what it inherits from
    signature = inspect.signature(thing)
    taken = set(signature.parameters) - {"self", "cls"}
    listed = {name.lstrip("*") for name in parameters(text)}
    optional = {name for name, p in signature.parameters.items() if p.kind == inspect.Parameter.VAR_KEYWORD}
    if listed:
        found = [f"lists {name}, which it does not take" for name in sorted(listed - taken)]
        return found + [f"does not list {name}" for name in sorted(taken - listed - optional)]
    if strict and taken:
        return ["has no section Parameters"]
    return [f"does not name {name}" for name in sorted(taken - optional - EXPLAINED) if not re.search(rf"\b{name}\b", text)]


@pytest.mark.parametrize(("name", "thing", "strict"), [pytest.param(*each, id=each[0]) for each in public()])
def test_docstrings_are_complete(name, thing, strict):
    found = [f"{name} {fault}" for fault in faults(thing, strict)]
    if inspect.isclass(thing):
        for inner, member in members(name, thing):
            found += [f"{inner} {fault}" for fault in faults(member, False)]
    assert not found, "\n".join(found)


class Undocumented:
    """Functions whose docstrings lack something, or nothing."""

    def extra(model, weights, depth):
        """Something of a model.

        Parameters
        ----------
        model : Model
        weights : (m, d) array
        """

    def gone(model):
        """Something of a model.

        Parameters
        ----------
        model : Model
        depth : int
        """

    def unnamed(model, shape):
        """Something of a model."""

    def silent(model):
        """Compute something of a model."""
        return model

    def careless(model):
        """Something of a model."""
        CHECKS and require(model, "model", model, "one")  # noqa: F821 (never called)
        return model

    def bare(model):
        pass

    def good(model, shape, *, depth=1, **options):
        """Compute something of a model.

        Parameters
        ----------
        model : Model
        shape, depth : as everywhere; SettingError otherwise.

        Returns
        -------
        Model
        """
        return require(model)  # noqa: F821 (never called)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("extra", "does not list depth"),
        ("gone", "lists depth, which it does not take"),
        ("unnamed", "does not name shape"),
        ("silent", "does not say what it returns"),
        ("careless", "does not name SettingError"),
        ("bare", "has no docstring"),
        ("good", None),
    ],
)
def test_what_is_missing_is_seen(name, fault):
    assert faults(getattr(Undocumented, name), False) == ([] if fault is None else [fault])
    assert "has no section Parameters" in faults(Undocumented.unnamed, True)


def test_claims_and_layers_of_networks_say_what_they_are():
    """A claim's `points` and `judge`, which ensembles it asks for and what it tells; the nodes of networks."""
    from dynlab import claims
    from dynlab.images.networks import nodes

    of_claims = [(module.__name__, getattr(module, name)) for module in claims.MODULES for name in ("points", "judge")]
    classes = {name: thing for name, thing in vars(nodes).items() if inspect.isclass(thing) and not name.startswith("_")}
    of_nodes = [(name, thing) for name, thing in classes.items() if thing.__module__ == nodes.__name__]
    assert len(of_claims) >= 20 and len(of_nodes) >= 8
    assert [name for name, thing in of_claims + of_nodes if len(own_docstring(thing).split()) < 5] == []

"""What the whole package must agree on is written in one place: how a trajectory ends, the head's default rate."""

import ast
import inspect
import re

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.explanation import words
from dynlab.population import simulate as exact
from dynlab.population import status
from dynlab.reports import main_run
from dynlab.settings.training import ETA_HEAD
from tests.architecture import sources

# "until" and "steps" are names of other things too.
DISTINCT = {ending.name for ending in status.ENDINGS} - {"until", "steps"} | {"too many steps", "step underflow"}
NAMES = {ending.name for ending in status.ENDINGS} | {"step underflow"}


def tables(tree):
    """Lines of tuples, lists, sets and dicts that hold two names of endings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            parts = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
            if len({part.value for part in parts if isinstance(part, ast.Constant)} & DISTINCT) > 1:
                yield node.lineno


def misspelt(tree):
    """(line, text) where a status is compared with a text that no trajectory ends with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and all(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            sides = [node.left, *node.comparators]
            asked = any(getattr(side, "attr", getattr(side, "id", "")) in ("status", "ended") for side in sides)
            for side in sides:
                if (
                    asked
                    and isinstance(side, ast.Constant)
                    and isinstance(side.value, str)
                    and side.value not in NAMES | {""}
                ):
                    yield node.lineno, side.value


def test_every_ending_has_a_number_a_name_and_one_sentence_of_its_own():
    codes, names, _, remedies = zip(*status.ENDINGS, strict=True)
    assert sorted({*codes, status.AT_REST}) == list(range(len(status.ENDINGS) + 1))
    assert len(set(names)) == len(names) and len(set(remedies)) == len(remedies)
    for text in remedies:
        assert re.fullmatch(r"[A-Z][^.!?]+\.", text), text
    # What files have held since they are written.
    assert [status.STATUS_NAMES[code] for code in range(7)] == [
        "until", "stationary", "steps", "underflow", "not finite", "vanished", "until"
    ]  # fmt: skip
    assert set(status.SUCCESS) == {"until", "stationary", "vanished", "singular", "cycle", "waiting", "stopped"}


def test_a_remedy_is_found_by_every_name_that_results_hold():
    for ending in status.ENDINGS:
        assert status.remedy(ending.name) == status.remedy(f"{ending.name}: of output 2") == ending.remedy
    assert status.remedy("step underflow") == status.remedy("underflow")
    assert status.remedy("step 12: an output is constant") == status.remedy("") == ""


def test_no_other_module_has_a_table_of_endings():
    assert [
        (name, line) for name, tree in sources.trees().items() if name != "population.status" for line in tables(tree)
    ] == []


def test_a_status_is_compared_with_names_that_there_are():
    # The folder of a run of pictures has a status of its own: "running", "finished" or "stopped: ...".
    pictures = ("images", "drawing", "explanation.pictures", "heads", "methods", "pretrain")
    found = [
        (name, *one) for name, tree in sources.trees().items() if not name.startswith(pictures) for one in misspelt(tree)
    ]
    assert [one for one in found if not (one[0] == "linear.gradient_flow" and one[2] in ("0", "1"))] == []


@pytest.mark.parametrize(
    "text",
    ['GOOD = ("stationary", "waiting")', '{"vanished": 1, "underflow": 2}', 'x = run.status == "stationnary"',
     'run.ended != "too many steps"'],
)  # fmt: skip
def test_a_planted_table_or_misspelling_is_found(text):
    tree = ast.parse(text)
    assert [*tables(tree), *misspelt(tree)]


@pytest.mark.parametrize("name", ["steps", "underflow", "not finite"])
def test_what_failed_is_told_with_the_remedy(name):
    frame = pd.DataFrame({"seed": [3, 4, 5], "outcome": ["failed", "both", "failed"], "status": [name, "until", name]})
    said = main_run.failures(frame, "cubic, head none")
    assert said == [f"failed: cubic, head none: 2 of 3 seeds: 3 ({name}), 5 ({name})", f"  {name}: {status.remedy(name)}"]
    run = dynlab.simulate(dynlab.Model(), dynlab.OrderParameters(np.eye(2) / 9, np.eye(2)), until=1.0)
    assert "what to do" not in run._repr_html_()
    object.__setattr__(run, "status", name)
    assert status.remedy(name) in run._repr_html_().replace("&#x27;", "'")


def test_explain_tells_the_remedy(monkeypatch):
    monkeypatch.setattr(words, "_headline", lambda finding: "PHASE II.")

    def headline(ended):
        return words.headline(type("Finding", (), {"run": type("Run", (), {"ended": ended})}))

    assert headline("until") == headline("") == headline("waiting") == "PHASE II."
    for name in ("steps", "underflow"):
        assert headline(name) == f"PHASE II. The run did not end well: {name}. {status.remedy(name)}"
    for name in ("not finite", "step 9: the loss is not finite"):
        assert headline(name) == f"DIVERGED: {name}. {status.remedy('not finite')} Before that: PHASE II."


def rates(tree):
    """Lines where the head's default rate is written as a number."""
    spelt = re.compile(r"-*eta[-_]head")
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            given = [*zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False)]
            given += zip(node.kwonlyargs, node.kw_defaults, strict=True)
            yield from (part.lineno for part, value in given if part.arg == "eta_head" and isinstance(value, ast.Constant))
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "eta_head":
            yield from [node.lineno] if isinstance(node.value, ast.Constant) else []
        elif isinstance(node, ast.Dict | ast.Tuple | ast.Call):
            parts = (
                [*node.keys, *node.values] if isinstance(node, ast.Dict)
                else [*node.args, *(k.value for k in node.keywords if k.arg == "eta_head")] if isinstance(node, ast.Call)
                else node.elts
            )  # fmt: skip
            values = {part.value for part in parts if isinstance(part, ast.Constant)}
            named = any(isinstance(value, str) and spelt.fullmatch(value) for value in values)
            named |= isinstance(node, ast.Call) and any(k.arg == "eta_head" for k in node.keywords)
            if named and values & {ETA_HEAD, str(ETA_HEAD)}:
                yield node.lineno


def test_the_heads_default_rate_is_written_once():
    found = [(name, line) for name, tree in sources.trees().items() if name != "docs.tutorial" for line in rates(tree)]
    assert found == []
    assert ETA_HEAD == dynlab.Training().eta_head == 0.01
    for function in (dynlab.simulate, exact.simulate, dynlab.ensemble):
        assert inspect.signature(function).parameters["eta_head"].default is ETA_HEAD


@pytest.mark.parametrize(
    "text",
    ["def f(model, eta_head=0.01): ...", "def f(*, eta_head: float = 0.01): ...", "class A:\n    eta_head: float = 0.01",
     'p.option("--eta-head", "rate", "0.01")', 'd = {"dim": 1000, "eta_head": 0.01}', "f(eta_head=0.01)",
     'for n, d in (("noise", "0.5"), ("eta-head", "0.01")): ...'],
)  # fmt: skip
def test_a_planted_rate_is_found(text):
    assert list(rates(ast.parse(text)))

"""Sentences with holes stand whole in one module, each hole named and filled."""

import ast
import inspect
import string
from pathlib import Path

import pytest

import dynlab
from dynlab.explanation import sentences

ROOM = Path(dynlab.__file__).parent / "explanation"
WHOLE = {name: text for name, text in vars(sentences).items() if name.isupper()}


def split(tree):
    """Lines of sentences with holes that are put together of several pieces over several lines."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and node.lineno != node.end_lineno]


def filled(tree):
    """(sentence, names of the holes that are filled, whether some come as a mapping) of every use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            if isinstance(node.func.value, ast.Attribute) and getattr(node.func.value.value, "id", "") == "sentences":
                names = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                yield node.func.value.attr, names, any(keyword.arg is None for keyword in node.keywords)


def trees():
    return {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOM.glob("*.py"))}


def test_no_sentence_is_put_together_of_lines():
    assert {name: split(tree) for name, tree in trees().items() if split(tree)} == {}
    assert split(ast.parse('x = (f"the head {a} "\n f"rises")')) == [1]


def test_every_sentence_is_used_and_every_hole_filled():
    used = [one for tree in trees().values() for one in filled(tree)]
    assert {name for name, *_ in used} == set(WHOLE)
    for name, names, more in used:
        holes = {hole for _, hole, _, _ in string.Formatter().parse(WHOLE[name]) if hole is not None}
        assert holes == names or (more and names < holes), name


@pytest.mark.parametrize("name", WHOLE)
def test_a_sentence_is_whole(name):
    text = WHOLE[name]
    assert "  " not in text.strip().replace("III  failed", "") and "" not in string.Formatter().parse(text)
    assert not text.startswith(" ") or name == "HEAD_ENTRY"


def test_the_module_holds_nothing_else():
    assert not [name for name, value in vars(sentences).items() if inspect.isfunction(value) or inspect.isclass(value)]

"""Where to compute is decided once a command, and handed on."""

import ast
import inspect

import pytest

from dynlab import compare, phase, theorem
from dynlab import run as main
from dynlab.claims import judgement
from dynlab.claims.claim import Scale
from dynlab.machine import device
from dynlab.population import simulate as exact
from tests.architecture import sources

SMALL = Scale(dims=(10**3, 10**5), seeds=4, rare_seeds=4, rates=(1e-2, 1e-1), slow_seeds=2)
RUN = ["--activation", "cubic", "--seeds", "3", "--dim", "50", "--no-plots", "--quiet"]
COMMANDS = {
    "run": (main, RUN),
    "run, descent": (main, [*RUN, "--method", "descent", "--until", "5"]),
    "run, any training": (main, [*RUN, "--head", "linear", "--target", "average"]),
    "run, minibatches": (main, ["--method", "sgd", "--activation", "cubic", "--steps", "5", "--batch", "8", "--quiet"]),
    "phase": (
        phase, ["--x", "weak=0.2:0.6:2", "--y", "eta-head=0.1:1:2", "--seeds", "2", "--dim", "50", "--no-plots", "--quiet"]
    ),
    "compare": (compare, ["--steps", "5", "--batch", "8,16", "--seeds", "2", "--no-plots", "--quiet"]),
    "theorem": (theorem, ["--quick", "--claims", "1,2,9", "--no-plots", "--quiet"]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_decides_once(name, tmp_path, monkeypatch):
    command, words = COMMANDS[name]
    monkeypatch.setattr(judgement, "scale_of", lambda settings: SMALL)
    asked = []
    decide = device.decide

    def counted(*given):
        asked.append(given)
        return decide(*given)

    monkeypatch.setattr(device, "decide", counted)
    assert command.main([*words, "--out", str(tmp_path / "out")]) in (0, None)
    assert len(asked) == 1 and asked[0][0] == "cpu"


def calls_without_device(tree):
    """Lines that call `ensemble`, whose own default is a word, and hand no device on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "ensemble":
            if not any(keyword.arg == "device" for keyword in node.keywords):
                yield node.lineno


def test_whatever_computes_is_handed_the_decision():
    found = [
        (name, n) for name, tree in sources.trees().items() if name != "docs.tutorial" for n in calls_without_device(tree)
    ]
    assert found == [] and list(calls_without_device(ast.parse("ensemble(model, 10)"))) == [1]
    assert inspect.signature(exact.simulate).parameters["device"].default is device.CPU


def test_a_decision_is_handed_through():
    made = device.Device("auto", "cuda", "cuda (a card)")
    assert device.chosen(made, lambda: pytest.fail("asked again")) is made

"""What a type checker makes of a user's script: right uses pass, each wrong one is refused on its line."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dynlab
from tests import ROOT

USER = Path(__file__).with_name("user.py")


def test_a_checker_refuses_the_wrong_uses_and_only_those():
    pytest.importorskip("mypy", reason="needs a type checker (extra test)")
    words = [sys.executable, "-m", "mypy", "--no-error-summary", str(USER)]
    # In the checkout, with its settings and its cache, so that what `mypy` has just checked is not checked again.
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    found = re.findall(r"^(.*?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.M)
    assert {Path(place).name for place, *_ in found} == {USER.name}, done.stdout + done.stderr
    marks = [re.search(r"# wrong: (\S+)$", line) for line in USER.read_text().splitlines()]
    wrong = {(number, mark[1]) for number, mark in enumerate(marks, 1) if mark}
    assert {(int(line), code) for _, line, code in found} == wrong


def test_a_checker_knows_every_lazy_name():
    source = Path(dynlab.__file__).read_text(encoding="utf-8")
    told = {name: home for home, name in re.findall(r"^    from (\S+) import (\w+) as \2$", source, re.M)}
    assert told == dynlab._HOMES
    assert all(hasattr(import_module(home), name) for name, home in told.items())
    assert (Path(dynlab.__file__).parent / "py.typed").is_file()

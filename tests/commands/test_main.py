"""The command `dynlab`: its subcommands are the modules; what is mistyped is answered with the nearest that there is."""

import argparse
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dynlab
from dynlab.__main__ import main, module_of
from dynlab.command_line.names import COMMANDS
from dynlab.command_line.parser import Parser
from tests import ROOT
from tests.waiting import HANGS

BESIDE = Path(dynlab.__file__).parents[1]
PROJECT = ROOT / "pyproject.toml"
STRAY = [("run", "stray"), ("theorem", "stray"), ("phase", "stray"), ("doctor", "stray")]
NEAREST = [
    ("rum", "'rum': must be one of run, theorem,", "; did you mean run?"),
    ("pretrian", "'pretrian': must be one of", "; did you mean pretrain?"),
    ("run --wek 0.3", "unrecognized arguments: --wek 0.3", "; did you mean --weak?"),
    ("run --eta_head=1", "unrecognized arguments: --eta_head=1", "; did you mean --eta-head?"),
    ("run --activation cubik", "--activation cubik: must be one of relu,", "; did you mean cubic?"),
    ("run --head offdiagonal", "--head offdiagonal: must be one of none,", "; did you mean off-diagonal?"),
    ("run --method sdg", "--method sdg: must be one of flow, descent, sgd", "; did you mean sgd?"),
    ("pretrain --encoder resnet", "--encoder resnet: must be one of", "; did you mean resnet18?"),
    ("heads --recipe demi", "--recipe demi: must be one of", "; did you mean demo?"),
    ("figures phase", "NAME phase: must be one of", "; did you mean phases?"),
    ("compare --optimiser adm", "--optimiser adm: must be one of", "; did you mean adam?"),
]


def program(*words: str) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(BESIDE)}
    command = [sys.executable, "-m", "dynlab", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False, env=environment)


HELP = """
import contextlib, io, sys
from dynlab.__main__ import main
from dynlab.command_line.names import COMMANDS
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([name, "--help"])
    assert "usage:" in said.getvalue(), name
    loaded = {"numba", "scipy", "pandas", "matplotlib", "bokeh", "sphinx"} & set(sys.modules)
    assert not loaded, f"{name} --help loads {loaded}"
"""


def test_help_comes_at_once():
    """Without the packages that take a second to load."""
    environment = os.environ | {"PYTHONPATH": str(BESIDE)}
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-500:]


def test_alone_it_lists_the_commands():
    done = program()
    assert done.returncode == 0 and done.stderr == ""
    for name, (_, what) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", done.stdout, re.M)


def test_it_says_its_version():
    assert program("--version").stdout == f"dynlab {dynlab.__version__}\n"


def test_a_subcommand_is_the_module(capsys):
    for name in COMMANDS:
        pages = []
        for called in (main, module_of(name).main):
            with pytest.raises(SystemExit) as stopped:
                called([name, "--help"] if called is main else ["--help"])
            assert stopped.value.code == 0
            pages.append(capsys.readouterr().out)
        assert pages[0] == pages[1] and pages[0].startswith("usage: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_the_parser_takes(name, capsys, monkeypatch):
    """The example at the foot of the page is taken apart by the very parser it belongs to."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    page = " ".join(capsys.readouterr().out.split())
    example = re.search(rf"example: dynlab {name} (.*?)(?:\(|$)", page)
    assert example, page[-200:]
    taken = []
    monkeypatch.setattr("dynlab.command_line.parser.run_command", lambda call, work: taken.append(call) or 0)
    module = module_of(name)
    monkeypatch.setattr(module, "run_command", lambda call, work: taken.append(call) or 0, raising=False)
    assert main([name, *example[1].split()]) == 0
    assert len(taken) == 1 and taken[0].options


@pytest.mark.parametrize(("words", "start", "end"), NEAREST, ids=[words for words, *_ in NEAREST])
def test_what_is_mistyped_is_answered_with_the_nearest(words, start, end, capsys):
    try:
        status = main(words.split())
    except SystemExit as stopped:
        status = stopped.code
    said = capsys.readouterr()
    assert status == 2 and said.out == ""
    assert said.err.count("\n") == 1 and f"error: {start}" in said.err
    assert said.err.rstrip().endswith(end) and ("did you mean" in said.err) == bool(end)


def test_the_console_script_is_this_command():
    scripts = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts["dynlab"].partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_every_option_of_every_command_has_help(monkeypatch):
    """Each says what it is; each that takes a value and has a default names it."""
    parsers = []
    monkeypatch.setattr(Parser, "call", lambda self, argv: parsers.append(self) or sys.exit(0))
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name])
    with pytest.raises(SystemExit):
        main(["run", "--method", "sgd"])
    assert len(parsers) == len(COMMANDS) + 1
    for parser in parsers:
        for action in parser._actions:
            assert action.help, (parser.prog, action.dest)
            if isinstance(action.default, str) and argparse.SUPPRESS not in (action.help, action.default):
                assert action.default in action.help, (parser.prog, action.dest)

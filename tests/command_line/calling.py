"""Commands called in this process: with what a process of its own would end with, at a hundredth of its time."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass

QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # Python prints none of these


@dataclass(frozen=True)
class Said:
    """Exit status, standard output and standard error of a command, named as those of a finished process."""

    returncode: int
    stdout: str
    stderr: str


def called(name: str, words: tuple[str, ...] | list[str], capsys) -> Said:
    """Call `main(words)` of dynlab's module of that name. A warning, which a process would print, is an error here."""
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in QUIET:
            warnings.simplefilter("ignore", category)
        try:
            status = importlib.import_module(f"dynlab.{name}").main([*words])
        except SystemExit as end:  # argparse's own
            status = end.code
    return Said(status, *capsys.readouterr())


def refusal(name: str, words: tuple[str, ...] | list[str], capsys) -> str:
    """The one line with which the command refuses its words, after checking that it says no more."""
    said = called(name, words, capsys)
    assert said.returncode == 2 and said.stdout == "" and said.stderr.count("\n") == 1, said
    assert said.stderr.startswith(f"dynlab.{name}: error: "), said
    return said.stderr.removeprefix(f"dynlab.{name}: error: ")

"""Options from files: --config FILE and --set NAME=VALUE.

A TOML file holds options by name, as they are typed without the dashes (weak = 0.3, eta-head = 0.01, no-plots = true,
activation = ["relu", "cubic"]); a table [run], [phase], ... holds those of one command, so that one file serves several.
A JSON file is the run.json of a run: its "options" are taken, so that the run is repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynlab.tools.files import expanded


def spelled(name: str) -> str:
    """The one spelling of an option's name: eta_head for --eta-head, eta-head and eta_head."""
    return name.removeprefix("--").replace("-", "_")


def configuration(program: str, path: str | None) -> dict[str, Any]:
    """The options that a file holds for a program (dynlab.run), by name; ValueError of one line where it holds none."""
    if path is None:
        return {}
    try:
        text = expanded(path).read_text(encoding="utf-8-sig")  # editors put a byte-order mark before the first line
        found = json.loads(text) if Path(path).suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"--config {path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config {path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"--config {path}: must hold options by name")
    chosen = _of_record(found, program, path) if Path(path).suffix == ".json" else _of_tables(found, program)
    return {spelled(name): value for name, value in chosen.items()}


def assignments(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """{name: (value, words as typed)} of the words NAME=VALUE; ValueError of one line for any other."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {word or repr(word)}: must be NAME=VALUE")
        found[spelled(name)] = value, f"--set {word}"
    return found


def option_words(action: argparse.Action, value: Any) -> list[str]:
    """The words that give an option this value; ValueError where it cannot have it."""
    option = action.option_strings[0]
    if action.nargs == 0:
        said = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(said, bool):
            raise ValueError(f"{value!r}: must be true or false")
        return [option] if said else []
    if value is None:
        return []
    if isinstance(value, dict) and getattr(action, "takes_table", False):
        return [f"{option}={json.dumps(value)}"]
    words = [_word(part) for part in value] if isinstance(value, list) else [_word(value)]
    if isinstance(action, argparse._AppendAction):
        return [f"{option}={word}" for word in words]
    return [f"{option}={','.join(words)}"]


def _word(value: Any) -> str:
    """A value as it is typed: whole numbers without a point, others with every digit."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r}: must be a number, a word, or a list of these")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_record(found: dict, program: str, path: str) -> dict:
    options, of = found.get("options"), found.get("program")
    if not isinstance(options, dict):
        raise ValueError(f"--config {path}: holds no options; must be a TOML file or the run.json of a run")
    if of != program:
        raise ValueError(f"--config {path}: is of {of}; must be of {program}")
    return options | _head_rate(found, options, path)


def _head_rate(found: dict, options: dict, path: str) -> dict:
    """The option eta-head of a run whose record is older than its present meaning; nothing for any other."""
    from dynlab.settings.optimisation import DESCENT_ETA
    from dynlab.settings.training import recorded_ratio, records_own_rate

    settings = found.get("settings")
    method = "sgd" if found["program"] == "dynlab.compare" else options.get("method")
    if "eta_head" not in options or not isinstance(settings, dict) or not records_own_rate(settings, method):
        return {}
    try:
        eta = float(options["lr"]) if method == "sgd" else DESCENT_ETA
        recorded = {"method": method, "eta_head": options["eta_head"]}
        return {"eta_head": str(recorded_ratio(recorded, eta, f"--config {path}"))}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"--config {path}: is damaged ({type(error).__name__}: {error})") from None


def _of_tables(found: dict, program: str) -> dict:
    """The options outside tables, then those of the program's own table; the other commands' tables are theirs."""
    from dynlab.command_line.names import COMMANDS

    command = program.rpartition(".")[2]
    plain = {name: value for name, value in found.items() if not (name in COMMANDS and isinstance(value, dict))}
    own = found.get(command, {})
    return plain | own if isinstance(own, dict) else plain

"""What the commands share: options from words and files, one-line errors, exit statuses, numbers as they are typed."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dynlab.command_line.configuration import assignments, configuration, option_words, spelled
from dynlab.tools.checks import SettingError, nearest
from dynlab.tools.files import FolderError, expanded, termination_as_exception
from dynlab.tools.provenance import UNRECORDED, Call


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that suggests, whose options take negative numbers of any form, and can
    come from a file (--config) or by name (--set); what stands among the words wins over --set, and that over --config."""

    def __init__(self, prog: str, **more: Any):
        super().__init__(prog=prog, allow_abbrev=False, **more)
        elsewhere = self.add_argument_group("options from elsewhere")
        file = "take options from a TOML file (weak = 0.3) or from the run.json of a run, which is then repeated"
        elsewhere.add_argument("--config", metavar="FILE", help=file)
        one = "set an option by its name, over those of --config; may be repeated"
        elsewhere.add_argument("--set", metavar="NAME=VALUE", help=one, action="append", dest="assigned")

    def parse_args(self, args: Sequence[str], namespace: Any | None = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse; joins `--option -1e-3` to `--option=-1e-3`, which argparse would take for two options."""
        joined: list[str] = []
        for word in args:
            if joined and re.fullmatch(r"--[a-z-]+", joined[-1]) and re.match(r"-(\d|\.|inf|nan)", word):
                joined[-1] += "=" + word
            else:
                joined.append(word)
        found, unknown = self.parse_known_args([*self._from_elsewhere(joined), *joined], namespace)
        if unknown:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{nearest(unknown[0].partition('=')[0], known)}")
        return found

    def call(self, argv: Sequence[str] | None) -> Call:
        """Parse these words (None: the process's own)."""
        started = time.perf_counter()
        words = tuple(sys.argv[1:] if argv is None else argv)
        arguments = self.parse_args(words)
        named = [action.dest for action in self._actions if action.option_strings and action.dest not in UNRECORDED]
        given = {name: getattr(arguments, name) for name in named if hasattr(arguments, name)}
        options = {name: value for name, value in given.items() if value is not None and value is not False}
        typed = {one.dest: one.option_strings[-1] if one.option_strings else str(one.metavar) for one in self._actions}
        return Call(self.prog, words, arguments, options, typed, started)

    def elsewhere(self, words: Sequence[str]) -> dict[str, tuple[Any, str]]:
        """The options that --config and --set give, by name, each with the words it comes from; not yet looked at."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.error = self.error  # type: ignore[method-assign]
        first.add_argument("--config")
        first.add_argument("--set", action="append", default=[])
        given, _ = first.parse_known_args(words)
        try:
            found = configuration(self.prog, given.config)
            of_file = {name: (value, f"--config {given.config}: {name}") for name, value in found.items()}
            return of_file | assignments(given.set)
        except ValueError as error:
            self.error(str(error))

    def _from_elsewhere(self, words: Sequence[str]) -> list[str]:
        """Words for the options of --config and --set that are not among `words`."""
        actions = self.by_name(left_out=("config", "set", "help"))
        taken = {spelled(word.partition("=")[0]) for word in words if word.startswith("--")}
        made: list[str] = []
        for name, (value, source) in self.elsewhere(words).items():
            if name not in actions:
                self.error(f"{source}: is no option of {self.prog}{nearest(name, actions)}")
            if name not in taken:
                try:
                    made += option_words(actions[name], value)
                except ValueError as error:
                    self.error(f"{source}: {error}")
        return made

    def by_name(self, left_out: Sequence[str] = ()) -> dict[str, argparse.Action]:
        """The options that are typed with two dashes, by their names without them (eta_head), but for those left out."""
        actions = {spelled(typed): action for typed, action in self._option_string_actions.items() if typed[:2] == "--"}
        return {name: action for name, action in actions.items() if name not in left_out}

    def option(self, name: str, what: str, default: str | None = None, metavar: str = "N", **more: Any) -> None:
        """Add an option that takes a value, which stays a word; its help names the default."""
        shown = f"{what} (default {default})" if default else what
        self.add_argument(name, help=shown, default=default, metavar=metavar, **more)

    def format_usage(self) -> str:
        """A line: the command, what it must be given, and that it has options."""
        needed = [action.dest for action in self._actions if action.required]
        places = [action.metavar or action.dest for action in self._get_positional_actions()]
        must = [f"--{name} {name.upper()}" for name in needed if f"--{name}" in self._option_string_actions]
        return f"usage: {' '.join([self.prog.replace('.', ' '), *map(str, places), *must, '[--option ...]'])}\n"

    def format_help(self) -> str:
        """The help page under a short line of usage."""
        self.usage = self.format_usage().removeprefix("usage: ").strip().replace("%", "%%")
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def number_of(text: object) -> Any:
    """The number that a word means, an int where it is whole (1e12 too); what is no number stays as it is."""
    if not isinstance(text, str):
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    whole = "." not in text and value.is_integer()
    return int(value) if whole else value


def run_command(call: Call, work: Callable[[], None]) -> int:
    """Do the work and return the exit status; what went wrong is said in one line on standard error.

    0 done, 1 the files could not be written, 2 a setting is not allowed, 130 Ctrl-C, 128 + n for signal n.
    """
    program = call.program
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        with termination_as_exception():
            work()
    except SettingError as error:
        return _fail(program, 2, _of_setting(call, error))
    except FolderError as error:
        return _fail(program, 2, _of_folder(call, error))
    except BrokenPipeError:
        # The reader of our output has gone (as in `| head`): nothing to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(program, 1, getattr(error, "typed", str(error)))
    except MemoryError as error:
        return _fail(program, 1, f"not enough memory: {error}" if str(error) else "not enough memory")
    except KeyboardInterrupt:
        return _fail(program, 130, "interrupted")
    return 0


def run_and_tell(call: Call, work: Callable[[], list[str]]) -> int:
    """`run_command` with work that returns a line for each part that did not come to its end, as a run that diverged.

    These are said on standard error, and the exit status is 1 where there are any and nothing else went wrong.
    """
    wrong: list[str] = []
    status = run_command(call, lambda: wrong.extend(work()))
    for line in wrong:
        print(f"{call.program}: {line}", file=sys.stderr)
    return status or (1 if wrong else 0)


def _of_setting(call: Call, error: SettingError) -> str:
    """What is not allowed, named as it is typed; a setting that this command has no option for keeps its own name."""
    word = getattr(call.arguments, error.name, None)
    given = word if isinstance(word, str) else error.value
    if error.name not in call.typed:
        return str(error)
    shown = given if str(given).strip() else repr(given)  # of blanks alone nothing would be seen
    return f"{call.typed[error.name]} {shown}: must be {error.allowed}"


def _of_folder(call: Call, error: FolderError) -> str:
    """What is wrong with a folder, behind the option that named it: the one typed with this path or one above it."""
    for name, typed in call.typed.items():
        word = getattr(call.arguments, name, None)
        if isinstance(word, str) and word and _within(error.place, word):
            return f"{typed} {error}" if typed.startswith("--") else str(error)
    return f"--out {error}" if "out" in call.typed and getattr(call.arguments, "out", None) is None else str(error)


def _within(place: Path, word: str) -> bool:
    """Whether a place is what a word names, or inside it."""
    try:
        named = expanded(word)
    except FolderError:  # ~nobody: the place is the word
        named = Path(word)
    return place == named or named in place.parents


def _fail(program: str, status: int, message: str) -> int:
    line = " ".join(message.split())
    print(f"{program}: error: {line}", file=sys.stderr)
    return status

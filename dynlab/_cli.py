"""What the commands share: one-line errors, exit statuses, numbers as they are typed."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from dynlab._checks import SettingError
from dynlab.files import FolderError, termination_as_exception


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose options take negative numbers of any form."""

    def parse_args(self, args: Sequence[str], namespace=None):  # type: ignore[override]
        """Parse; joins `--option -1e-3` to `--option=-1e-3`, which argparse would take for two options."""
        joined: list[str] = []
        for word in args:
            if joined and re.fullmatch(r"--[a-z-]+", joined[-1]) and re.match(r"-(\d|\.|inf|nan)", word):
                joined[-1] += "=" + word
            else:
                joined.append(word)
        return super().parse_args(joined, namespace)

    def option(self, name: str, what: str, default: str | None = None, metavar: str = "N", **more) -> None:
        """Add an option that takes a value, which stays a word; its help names the default."""
        shown = f"{what} (default {default})" if default else what
        self.add_argument(name, help=shown, default=default, metavar=metavar, **more)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def number(text: object) -> object:
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


def run_command(program: str, arguments: argparse.Namespace, work: Callable[[], None]) -> int:
    """Do the work and return the exit status; what went wrong is said in one line on standard error.

    0 done, 1 the files could not be written, 2 a setting is not allowed, 130 Ctrl-C, 128 + n for signal n.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        with termination_as_exception():
            work()
    except SettingError as error:
        typed = getattr(arguments, error.name, None)
        given = typed if isinstance(typed, str) else error.value
        option = "--" + error.name.replace("_", "-")
        return _fail(program, 2, f"{option} {given or repr(given)}: must be {error.allowed}")
    except FolderError as error:
        return _fail(program, 2, f"--out {error}" if hasattr(arguments, "out") else str(error))
    except BrokenPipeError:
        # The reader of our output has gone (as in `| head`): nothing to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(program, 1, str(error))
    except KeyboardInterrupt:
        return _fail(program, 130, "interrupted")
    return 0


def _fail(program: str, status: int, message: str) -> int:
    line = " ".join(message.split())
    print(f"{program}: error: {line}", file=sys.stderr)
    return status

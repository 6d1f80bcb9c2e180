"""Waiting for other processes: until something has happened, never for so long that it should have.

No test passes or fails by how long something takes. `HANGS` only ends what would go on for ever.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable

PROGRESS = re.compile(r"[a-z ]+: \d+ of \d+(, \d+ s left)?")
"""What a command says in a pipe when it takes long: on a slow machine any does."""
HANGS = 3600.0
"""Seconds after which a process is taken to hang: more than any takes that goes on, on whatever machine."""


def until(happened: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Wait until something has happened; an error where the process that is to do it has ended before, or hangs."""
    end = time.monotonic() + HANGS
    while not happened():
        if process is not None and process.poll() is not None and not happened():
            raise AssertionError(f"the process has ended, with {process.returncode}, before that: {process.communicate()}")
        if time.monotonic() > end:
            raise AssertionError("it does not come")
        time.sleep(0.002)


def beyond_progress(errors: str) -> list[str]:
    """The lines on standard error that do not tell how far a command is."""
    return [line for line in errors.splitlines() if not PROGRESS.fullmatch(line)]

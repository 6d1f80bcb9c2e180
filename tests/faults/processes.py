"""Commands in processes of their own, in which something goes wrong at a chosen moment.

Processes are forked from one that has loaded what commands load, so that each takes milliseconds to start. What a command
does to files is seen by an audit hook, which Python calls before files are opened to be written, renamed, removed and before
folders are made or removed, if they lie in the desk. A fault happens at the n-th of these events: so moments can be drawn,
are the same on every machine, and need no privileges.
"""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import HANGS

PRELOADED = (
    "dynlab.reports.main_run", "dynlab.reports.phase_map", "dynlab.reports.portrait", "dynlab.ensembles.ablations",
    "dynlab.claims", "dynlab.ensembles.ensemble", "dynlab.samples.overlay", "dynlab.images.training.run_folder",
    "dynlab.images.training.train", "dynlab.images.worth.representations",
    "dynlab.heads", "dynlab.images.comparison.tables", "dynlab.population.simulate", "figures.parts", "tests.images.small",
    "tests.faults.processes",
)  # fmt: skip
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
FREEING = ("os.remove", "os.rmdir", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Fault:
    """What happens: kind of KINDS, `at` the event of this number (from 0); "full" and "read-only" also at all later ones.

    "size" is no event: no file can grow beyond `at` bytes. "none" counts the events.
    """

    kind: str
    at: int = 0


KINDS = ("none", "kill", "full", "read-only", "size", "pause")
NONE = Fault("none")


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status (negative: the signal), what it printed, and the number of events (-1: killed)."""

    status: int
    out: str
    errors: str
    events: int


class Running:
    """A command in a process of its own, started in the folder `desk`.

    module, words: `main(words)` of the module is the command. notes: a folder outside the desk for what it prints. prepare:
    "module:function", called before.
    """

    def __init__(self, module: str, words: list[str], desk: Path, notes: Path, fault: Fault = NONE, prepare: str = ""):
        notes.mkdir(parents=True, exist_ok=True)
        self.notes = notes
        given = (module, words, str(desk), str(notes), fault, prepare)
        self.process = _context.Process(target=_child, args=given)
        self.process.start()

    def wait(self) -> Ended:
        """Until it has ended."""
        self.process.join(HANGS)
        assert self.process.exitcode is not None, "the command does not end"
        out, errors = ((self.notes / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "errors"))
        events = self.notes / "events"
        return Ended(self.process.exitcode, out, errors, int(events.read_text()) if events.exists() else -1)

    def wait_for_pause(self) -> None:
        """Until the fault "pause" holds it."""
        end = time.monotonic() + HANGS
        while not (self.notes / "paused").exists():
            assert self.process.is_alive() and time.monotonic() < end, self.wait()
            time.sleep(0.002)

    def release(self) -> Ended:
        """Let it go on after a pause, to its end."""
        (self.notes / "paused").unlink()
        return self.wait()

    def kill(self) -> Ended:
        """Kill it now."""
        self.process.kill()
        return self.wait()


def _child(module: str, words: list[str], desk: str, notes: str, fault: Fault, prepare: str) -> None:
    for name, number in (("out", 1), ("errors", 2)):
        file = os.open(os.path.join(notes, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    os.chdir(desk)
    if prepare:
        place, _, name = prepare.partition(":")
        getattr(importlib.import_module(place), name)()
    command = importlib.import_module(module).main
    if fault.kind == "size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.at, resource.RLIM_INFINITY))
    count = _watch(desk, notes, fault)
    status = command(words)
    sys.stdout.flush()
    sys.stderr.flush()
    if fault.kind in ("none", "pause"):
        with open(os.path.join(notes, "events"), "w") as file:
            file.write(str(count()))
    sys.exit(status)


def _watch(desk: str, notes: str, fault: Fault):
    """Count events in the desk, and let the fault happen; returns a function that tells how many there were."""
    seen = 0

    def hook(event: str, given: tuple) -> None:
        nonlocal seen
        if event not in EVENTS or not given or not isinstance(given[0], (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(given[0]))
        inside = path == desk or path.startswith(desk + os.sep)
        if not inside or (event == "open" and not (isinstance(given[2], int) and given[2] & WRITING)):
            return
        now, seen = seen, seen + 1
        if fault.kind == "kill" and now == fault.at:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind == "pause" and now == fault.at:
            _pause(os.path.join(notes, "paused"))
        elif fault.kind in ("full", "read-only") and now >= fault.at and event not in FREEING:
            number = errno.ENOSPC if fault.kind == "full" else errno.EROFS
            raise OSError(number, os.strerror(number), path)

    sys.addaudithook(hook)
    return lambda: seen


def _pause(marker: str) -> None:
    os.close(os.open(marker, os.O_WRONLY | os.O_CREAT))
    while os.path.exists(marker):
        time.sleep(0.002)

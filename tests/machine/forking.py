"""Processes that run a few lines of code, each forked from one that has loaded numba and compiled a function.

A process of its own takes two seconds for that, and for the lines of these tests a tenth of one. What they load of dynlab
they load themselves: the process they are forked from knows none. Python runs this file as that process: it reads a line of
JSON for each thing to do, and answers with one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


class Forking:
    """The process that forks; as a context, which ends it."""

    def __enter__(self) -> Forking:
        pipe = subprocess.PIPE
        # No byte code: a source that is edited within a second, without another size, passes for the one before.
        words = [sys.executable, "-B", __file__]
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()

    def ask(self, **what: Any) -> Any:
        """Let it do something, and wait for its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, code: str, folder: Path, environment: dict[str, str], printed: Path) -> Forked:
        """Start a process that runs the code as `python -c` would in the folder; what it prints is kept in `printed`."""
        printed.mkdir()
        return Forked(self, printed, self.ask(code=code, folder=str(folder), environment=environment, printed=str(printed)))


class Forked:
    """A process that was forked, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, server: Forking, printed: Path, pid: int):
        self._server, self._printed, self.pid = server, printed, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status, when it has ended; `until` knows when it hangs."""
        from tests.waiting import until  # here: the process that forks knows no tests

        until(lambda: self.poll() is not None)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, when it has ended."""
        self.wait()
        return (self._printed / "out").read_text(), (self._printed / "errors").read_text()


def _fork(code: str, folder: str, environment: dict[str, str], printed: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for name, number in ((os.devnull, 0), (f"{printed}/out", 1), (f"{printed}/errors", 2)):
            file = os.open(name, os.O_RDWR | os.O_CREAT)
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:0] = ["", environment["PYTHONPATH"]]
        sys.argv = ["-c"]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main() -> None:
    import numba

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it ends with what started it
    del sys.path[0]  # the folder of this file
    numba.njit(lambda x: 2.0 * x)(1.0)
    assert not [name for name in sys.modules if name.partition(".")[0] in ("dynlab", "tests")]
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        what = json.loads(line)
        if "ended" in what:
            pid, status = os.waitpid(what["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = _fork(**what)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _main()

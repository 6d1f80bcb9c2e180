"""Progress: on a terminal a bar with the time left, in a pipe a plain line now and then, with quiet not a byte."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace

from dynlab.tools import progress
from tests.waiting import HANGS

SCRIPT = """
import sys, time
now = [0.0]
time.time = time.monotonic = lambda: now[0]
from dynlab.tools import progress
progress.SECONDS = SECONDS_BETWEEN
with progress.progress(100, "trajectories", quiet=len(sys.argv) > 1) as show:
    for done in (10, 40, 100):
        now[0] += 0.15
        show(done)
print("tqdm" in sys.modules)
"""


def script(seconds=20.0):
    return SCRIPT.replace("SECONDS_BETWEEN", repr(seconds))


def on_a_terminal(*arguments):
    """What the script shows on a terminal, and what it prints."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows, columns
    command = [sys.executable, "-c", script(), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    printed = process.communicate(timeout=HANGS)[0]
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(leader)
    return shown.decode(), printed


def in_a_pipe(seconds, *arguments):
    words = [sys.executable, "-c", script(seconds), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    return done.stderr


def test_short_work_is_silent_in_a_pipe():
    assert in_a_pipe(20.0) == ""


def test_long_work_says_in_a_pipe_how_far_it_is():
    lines = in_a_pipe(0.0).splitlines()
    assert lines[0] == "trajectories: 10 of 100"
    assert re.fullmatch(r"trajectories: 40 of 100, \d+ s left", lines[1])
    assert lines[2] == "trajectories: 100 of 100, 0 s left" and len(lines) == 3
    assert in_a_pipe(0.0, "quiet") == ""


def test_the_time_left_counts_what_this_process_did(monkeypatch, capsys):
    """Steps 901 to 920 of 1000 in 2 s each: 80 are left, 160 s; a new total starts anew."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress.progress(1000, "steps") as show:
        for step in range(901, 921):
            now[0] += 2.0
            show(step)
        now[0] += 2.0
        show(0, 50)
        now[0] += 30.0
        show(10, 50)
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["steps: 910 of 1000, 180 s left", "steps: 920 of 1000, 160 s left", "steps: 10 of 50, 120 s left"]


def test_a_terminal_shows_counts_and_the_time_left():
    shown, _ = on_a_terminal()
    assert "trajectories" in shown
    assert "40/100" in shown
    assert re.search(r"\d\d:\d\d<", shown)  # elapsed < left


def test_quiet_on_a_terminal():
    assert on_a_terminal("quiet") == ("", "False\n")

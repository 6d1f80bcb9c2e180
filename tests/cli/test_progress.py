"""Progress is for eyes only: on a terminal with the time left, and not a byte in a pipe or with quiet."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

SCRIPT = """
import sys, time
from dynlab._progress import progress
with progress(100, "trajectories", quiet=len(sys.argv) > 1) as show:
    for done in (10, 40, 100):
        time.sleep(0.15)
        show(done)
print("tqdm" in sys.modules)
"""


def on_a_terminal(*arguments):
    """What the script shows on a terminal, and what it prints."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows, columns
    command = [sys.executable, "-c", SCRIPT, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    printed = process.communicate(timeout=60)[0]
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(leader)
    return shown.decode(), printed


def test_silent_in_a_pipe():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "False\n"


def test_a_terminal_shows_counts_and_the_time_left():
    shown, _ = on_a_terminal()
    assert "trajectories" in shown
    assert "40/100" in shown
    assert "00:00<" in shown  # elapsed < left


def test_quiet_on_a_terminal():
    assert on_a_terminal("quiet") == ("", "False\n")

"""Several processes compute for a command, and none is left when it ends, however it does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dynlab.command_line.executors import processes
from tests.waiting import HANGS, until

SCRIPT = """
import os, sys
from dynlab.command_line.executors import processes
from tests.command_line.test_executors import wait
from tests.waiting import until

if __name__ == "__main__":
    with processes(2) as pool:
        jobs = [pool.submit(wait, sys.argv[1]) for _ in range(2)]
        until(lambda: len(os.listdir(sys.argv[1])) == 2)
        print("begun", flush=True)
        if sys.argv[2] == "raise":
            raise KeyboardInterrupt
        wait(sys.argv[1])
"""


def wait(folder: str) -> None:
    """What a worker is at: it says that it has begun, and does not end."""
    Path(folder, str(os.getpid())).touch()
    threading.Event().wait()


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_is_this_one():
    with processes(1) as pool:
        assert pool is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize("how", ["raise", "kill"])
def test_workers_end_with_the_process_that_started_them(how, tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "begun"
    folder.mkdir()
    script.write_text(SCRIPT)
    here = str(Path(__file__).parents[2])
    begun = subprocess.Popen(
        [sys.executable, str(script), str(folder), how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert begun.stdout is not None and begun.stdout.readline() == "begun\n", begun.communicate()
    workers = [int(path.name) for path in folder.iterdir()]
    if how == "kill":
        begun.send_signal(signal.SIGKILL)
    begun.communicate(timeout=HANGS)
    until(lambda: not any(map(alive, workers)))

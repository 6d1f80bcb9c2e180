"""Several processes compute for a command, and none is left when it ends, however it does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dynlab.command_line.executors import check_sharing, processes
from dynlab.command_line.parser import Parser, run_and_tell
from dynlab.machine.device import Device
from dynlab.tools.checks import SettingError
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


def test_processes_and_a_cluster_are_not_asked_for_together():
    cpu, cuda = Device("cpu", "cpu", "cpu"), Device("cuda", "cuda", "cuda")
    assert check_sharing(3, None, cpu) == 3 and check_sharing(1, "tcp://a:1", cpu) == 1 and check_sharing(2, None, cuda) == 2
    for given, message in (
        ((0, None, cpu), "processes=0: must be an integer >= 1 and <= 1024"),
        ((2, "tcp://a:1", cpu), "processes=2: must be 1 with --dask, whose workers compute"),
        ((1, "tcp://a:1", cuda), "device='cuda': must be cpu with --dask"),
    ):
        with pytest.raises(SettingError, match=f"^{message}$"):
            check_sharing(*given)


@pytest.mark.parametrize(("lines", "status"), [([], 0), (["one diverged", "two diverged"], 1)])
def test_what_diverged_is_told_and_is_a_status(lines, status, capsys):
    call = Parser(prog="dynlab.some").call([])
    assert run_and_tell(call, lambda: lines) == status
    assert capsys.readouterr().err == "".join(f"dynlab.some: {line}\n" for line in lines)


def test_a_command_that_is_ended_keeps_its_own_status(capsys):
    def ended():
        raise KeyboardInterrupt

    assert run_and_tell(Parser(prog="dynlab.some").call([]), ended) == 130
    assert capsys.readouterr().err == "dynlab.some: error: interrupted\n"

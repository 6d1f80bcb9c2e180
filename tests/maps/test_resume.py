"""Stopped in any way, the same command ends with the same bytes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from concurrent import futures

import pytest

from dynlab.maps.phase_map import phase_map
from dynlab.maps.point_store import HEADER, SEED_BYTES
from tests.maps.cases import command, copied, finished, options, record, results, small_grid, store_of
from tests.waiting import HANGS, beyond_progress, until

BLOCK = HEADER.size + 32 * SEED_BYTES  # bytes, in the small map
LARGER = {"x": "weak=0.2:0.8:7", "y": "eta-head=1e-3:1:6:log", "seeds": 96}


def wait_for_bytes(path, size: int, process) -> None:
    """Until the store has grown to this size; fails where the process ends before."""
    until(lambda: path.exists() and path.stat().st_size >= size, process)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("larger") / "out", **LARGER)


def test_killed_and_started_again(tmp_path, larger):
    out = tmp_path / "out"
    for size in (15_000, 250_000):
        process = command(out, **LARGER)
        wait_for_bytes(store_of(out), size, process)
        process.kill()
        process.communicate()
        assert not (out / "phase.csv").exists()
    kept = store_of(out).stat().st_size
    process = command(out, **LARGER)
    said, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0 and beyond_progress(errors) == [], errors
    assert results(out) == larger
    again = record(out)["trajectories"]
    assert again["computed now"] < again["in the map"] == (7 * 6 + 7) * 96
    assert again["in the map"] - again["computed now"] > 0.9 * kept / 81


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(tmp_path, larger, number):
    out = tmp_path / "out"
    process = command(out, **LARGER)
    wait_for_bytes(store_of(out), 50_000, process)
    process.send_signal(number)
    said, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors and len(beyond_progress(errors)) <= 1, errors
    assert finished(out, **LARGER) == larger


class Interrupting(threading.Condition):
    """The lock of a future; whenever the main thread has taken it, Ctrl-C comes, once."""

    made: list = []
    armed = False

    def __init__(self):
        super().__init__()
        self.acquire = self._acquire
        self.made.append(self)

    def _acquire(self, *given):
        taken = self._lock.acquire(*given)
        self._interrupt()
        return taken

    def __enter__(self):
        taken = super().__enter__()
        self._interrupt()
        return taken

    def _interrupt(self):
        if Interrupting.armed and threading.current_thread() is threading.main_thread():
            Interrupting.armed = False
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_signal_leaves_no_future_locked(tmp_path, monkeypatch, after):
    """Else the worker of that future waits for ever, and the process with it."""
    create = futures.Future.__init__

    def create_interrupting(self):
        create(self)
        self._condition = Interrupting()

    monkeypatch.setattr(Interrupting, "made", [])
    monkeypatch.setattr(futures.Future, "__init__", create_interrupting)

    def arm(done, total):
        Interrupting.armed = done >= after * 128

    pool = futures.ThreadPoolExecutor(2)
    ending = threading.Thread(target=pool.shutdown)
    try:
        with pytest.raises(KeyboardInterrupt):
            phase_map(small_grid(), tmp_path, seeds=64, executor=pool, progress=arm)
        ending.start()
        ending.join(20)
        assert not ending.is_alive()
    finally:
        Interrupting.armed = False
        for condition in Interrupting.made:
            with contextlib.suppress(RuntimeError):
                condition.release()


@pytest.mark.parametrize("cut", [1, 40, 70, 1500, 2700])
def test_an_end_that_was_being_written_is_cut_off_silently(tmp_path, undisturbed, capsys, cut):
    out = copied(undisturbed, tmp_path)
    store = store_of(out)
    whole = store.read_bytes()
    store.write_bytes(whole[:-cut])
    for name in results(out):
        (out / name).unlink()
    capsys.readouterr()
    assert finished(out) == undisturbed[1]
    assert capsys.readouterr().err == ""
    assert record(out)["trajectories"]["computed now"] == 32 * (1 if cut <= BLOCK else 2)
    assert sorted(store.read_bytes()) == sorted(whole)  # nothing lost, nothing twice


def test_leftovers_of_a_killed_writer_are_removed(tmp_path, undisturbed):
    out = copied(undisturbed, tmp_path)
    (out / ".phase.png.123.partial").write_text("half a picture")
    assert finished(out) == undisturbed[1]
    assert not list(out.glob(".*"))


def test_two_at_once_are_refused(tmp_path, undisturbed, capsys):
    from dynlab.phase import main

    out = copied(undisturbed, tmp_path)
    with open(out / "store" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        capsys.readouterr()
        assert main(options(out)) == 2
    assert capsys.readouterr().err == f"dynlab.phase: error: --out {out}/store: another process is working there\n"
    assert main(options(out)) == 0


def test_a_full_disk_loses_nothing(tmp_path, undisturbed, monkeypatch, capsys):
    from dynlab.maps import point_store
    from dynlab.phase import main

    out = tmp_path / "out"
    room = [10_000]
    write = os.write

    def write_while_there_is_room(file, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(file, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(point_store.os, "write", write_while_there_is_room)
    assert main(options(out)) == 1
    monkeypatch.undo()
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "No space left on device; what is finished is kept" in line
    assert store_of(out).stat().st_size == 10_000 // BLOCK * BLOCK  # whole ones
    assert finished(out) == undisturbed[1]
    assert record(out)["trajectories"]["computed now"] == (4 * 3 + 4) * 32 - 3 * 32
    assert record(out)["damage"] == []

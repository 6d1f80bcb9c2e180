"""Writing results: deterministic tables, and run folders that are complete or not there at all.

A run folder is filled under the hidden name `.NAME.partial` beside its final place and takes its own name in
one rename, after everything in it has reached the disk. Whatever stops the run before (an exception, Ctrl-C,
SIGTERM) removes the partial folder; only a kill -9 leaves it, and the next run to the same place clears it. (One at the
very end may leave the empty file `.lock` in a complete folder.)
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dynlab.tools.checks import OneLine

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

LOCK = ".lock"
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class FolderError(OneLine, OSError):
    """A run folder that cannot be written; the text is one line saying where and why."""

    def __init__(self, place: Path, why: str):
        super().__init__(f"{place}: {why}")
        self.place = place


class FolderTaken(FolderError):
    """The place of a run folder holds something already, or another run is writing there now."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path that words mean: `~` and `~name` at their beginning are homes, as for a shell; a folder called ~ is ./~.

    Whatever takes a path from a user, typed, in a file or by a call, takes it through this. FolderError where there is no
    such home.
    """
    text = os.fspath(path)
    found = Path(os.path.expanduser(text))
    if found.parts and found.parts[0].startswith("~"):
        if text.startswith("~"):
            raise FolderError(found, "names the home of a user that is not known")
        return Path.cwd() / found  # of ./~, so that it stays what it is when it is expanded again
    return found


class RunFolder(NamedTuple):
    """A run folder being written: fill `partial`, which becomes `place`."""

    partial: Path
    place: Path


def csv_text(frame: pd.DataFrame) -> str:
    r"""The table as CSV: columns as they stand, lines end in '\n', floats are the shortest that read back."""
    return frame.to_csv(index=False, lineterminator="\n", na_rep="nan")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write `csv_text` of the table: equal tables give equal bytes."""
    path.write_text(csv_text(frame), encoding="utf-8", newline="")


def write_json(path: Path, data: Any) -> None:
    """Write indented, strict JSON: not-a-number is refused (use None)."""
    path.write_text(json_text(data), encoding="utf-8", newline="")


def json_text(data: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file completely or not at all: under a temporary name first, then renamed."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to, which takes its name when the block ends well.

    What killed processes left of the same file is removed first.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if not _alive(leftover.name.split(".")[-2]):
            leftover.unlink(missing_ok=True)
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def run_folder(place: str | os.PathLike[str], numbered: bool = False) -> Iterator[RunFolder]:
    """Yield a `RunFolder` to fill; it stands at its place when the block ends well and vanishes otherwise.

    With `numbered`, a place that is taken gives way to the next free one of NAME-2, NAME-3, ...

    Raises
    ------
    FolderTaken
        On entry, where the place is not a new or an empty folder, or another run is writing there; on
        leaving, where something has come to stand there meanwhile. What stands there is never touched.
    FolderError
        On entry, where the folder cannot be created.
    """
    folder, lock = None, None
    made: list[Path] = []  # parents created on the way
    try:
        with signals_deferred():
            folder, lock = _claim_numbered(expanded(place), made) if numbered else _claim(expanded(place), made)
        yield folder
        with signals_deferred():
            _commit(folder)
            folder, made = None, []
    finally:
        with signals_deferred():
            if folder is not None:
                shutil.rmtree(folder.partial)
            if lock is not None:
                os.close(lock)
            for parent in reversed(made):
                with suppress(OSError):  # not empty: somebody else uses it by now
                    parent.rmdir()


@contextmanager
def growing_folder(place: str | os.PathLike[str], resume: bool = False) -> Iterator[Path]:
    """Yield a folder that is filled while a long run goes on, and stays as it is when the run is stopped.

    It must be new or empty, or with `resume` the folder of such a run. One process at a time holds it.

    Raises FolderTaken where it holds something else or another run is writing there, FolderError where it cannot be written
    or there is nothing to go on with.
    """
    place = expanded(place)
    if resume and not (place / "run.json").is_file():
        raise FolderError(place, "holds no run to go on with")
    if not resume:
        try:
            _refuse_taken(place, ignored=(LOCK, ".run.json.*.partial"))  # what a run that was killed at once leaves
        except FolderTaken as error:
            hint = "; --resume (in Python resume=True) goes on with it" if (place / "run.json").is_file() else ""
            raise FolderTaken(place, str(error).removeprefix(f"{place}: ") + hint) from None
    with held_folder(place):
        yield place


@contextmanager
def held_folder(place: Path) -> Iterator[None]:
    """Hold a folder, created where it is missing, against other processes that would write to it.

    Raises FolderTaken where another one holds it, FolderError where it cannot be written.
    """
    place = expanded(place)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise FolderError(place, f"cannot be written ({error.strerror})") from error
    try:
        if flock(lock) is False:
            raise FolderTaken(place, "another run is writing there")
        yield
    finally:
        os.close(lock)


@contextmanager
def termination_as_exception() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit(128 + signal), so that they clean up as Ctrl-C does."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    ours = [number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back the signals that have a Python handler until the block has ended."""
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread only
        yield
        return
    handlers = {number: signal.getsignal(number) for number in STOPS if callable(signal.getsignal(number))}
    arrived: list[int] = []
    for number in handlers:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def _alive(process: str) -> bool:
    """Whether a process of this number may still run; True where that cannot be told."""
    if os.name != "posix" or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return True


def _claim_numbered(place: Path, made: list[Path]) -> tuple[RunFolder, int]:
    number = 1
    while True:
        try:
            return _claim(place if number == 1 else place.with_name(f"{place.name}-{number}"), made)
        except FolderTaken:
            number += 1


def _claim(place: Path, made: list[Path]) -> tuple[RunFolder, int]:
    """Create and lock the partial folder of a place, empty; adds the parents created on the way to `made`."""
    if not place.name:
        raise FolderError(place, "names no folder that could be created")
    folder = RunFolder(place.with_name(f".{place.name}.partial"), place)
    try:
        _refuse_taken(place)
        for parent in [parent for parent in reversed(place.parents) if not parent.exists()]:
            parent.mkdir()
            made.append(parent)
        lock = _lock(folder)
        for leftover in folder.partial.iterdir():
            if leftover.name != LOCK:  # left by a run that was killed
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    except FolderError:
        raise
    except OSError as error:
        raise FolderError(place, f"cannot be written ({error.strerror})") from error
    return folder, lock


def _refuse_taken(place: Path, ignored: tuple[str, ...] = ()) -> None:
    if place.is_dir():
        what = "another run" if (place / "run.json").exists() else "other files"
        taken = any(not any(map(found.match, ignored)) for found in place.iterdir())
    else:
        what, taken = "a file", place.exists() or place.is_symlink()
    if taken:
        raise FolderTaken(place, f"holds {what}; must be a new or an empty folder")


def _lock(folder: RunFolder) -> int:
    """Create the partial folder, or take over one that nobody holds; return the open lock file."""
    partial = folder.partial
    while True:
        new = not partial.exists()
        with suppress(FileExistsError):
            partial.mkdir()
        try:
            lock = os.open(partial / LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue  # its owner has just finished
        except OSError:
            with suppress(OSError):  # not empty: it is not the one just made
                partial.rmdir()
            raise
        held = flock(lock)
        if not (new if held is None else held):
            os.close(lock)
            raise FolderTaken(folder.place, f"another run is writing there, in {partial.name}")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(partial / LOCK)):
                return lock
        os.close(lock)  # its owner finished between the opening and the locking


def flock(lock: int) -> bool | None:
    """Whether the lock was got; None where the system or the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _commit(folder: RunFolder) -> None:
    """Bring all files to the disk, then put the folder in its place with one rename."""
    for path in sorted(folder.partial.rglob("*")):
        _to_disk(path)
    _to_disk(folder.partial)
    try:
        os.rename(folder.partial, folder.place)  # replaces an empty folder, never a filled one
    except OSError as error:
        raise FolderTaken(folder.place, f"was taken while this run went on ({error.strerror})") from error
    (folder.place / LOCK).unlink()
    _to_disk(folder.place.parent)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # only files can be flushed there
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

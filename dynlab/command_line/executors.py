"""Who computes for a command: this process, several processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from dynlab.tools.checks import SettingError, integer, require

if TYPE_CHECKING:
    from distributed import Client

    from dynlab.command_line.parser import Parser
    from dynlab.machine.device import Device

MOST_PROCESSES = 1024
DASK_WAIT = 15  # seconds until a cluster that does not answer is given up


def add_dask(p: Parser) -> None:
    """Add --dask."""
    p.option("--dask", "compute on the Dask cluster whose scheduler is there (extra dask)", metavar="ADDRESS")


def check_dask(dask: str | None, device: Device) -> None:
    """SettingError for a cluster with another device than the CPU."""
    require(device.where == "cpu" or dask is None, "device", device.asked, "cpu with --dask")


def check_sharing(processes: Any, dask: str | None, device: Device) -> int:
    """Number of processes; SettingError for several beside a cluster, or a cluster with another device than the CPU."""
    count = integer("processes", processes, at_least=1, at_most=MOST_PROCESSES)
    require(dask is None or count == 1, "processes", count, "1 with --dask, whose workers compute")
    check_dask(dask, device)
    return count


@contextmanager
def executor(address: str | None, kept: bool = True) -> Iterator[Executor | None]:
    """The executor of the Dask cluster at this address; None without one. kept: whether finished parts are, on the disk."""
    if address is None:
        yield None
        return
    with connected(address) as client:
        from distributed import KilledWorker

        try:
            yield client.get_executor()
        except (KilledWorker, CancelledError) as error:
            what = " ".join(str(error).split()) or "its scheduler is gone"
            more = "what is finished is kept, the same command goes on" if kept else "the same command begins anew"
            raise OSError(f"--dask {address}: {what}; {more}") from error


def connected(address: str) -> Client:
    """The client of the cluster whose scheduler is there; SettingError of a line without one, or without the extra."""
    try:
        from distributed import Client
    except ImportError:
        raise SettingError("dask", address, "used with the extra dask: python -m pip install 'dynlab-ssl[dask]'") from None
    gc.collect()  # a client without a scheduler closes when it is collected, and waits for the lock that one's start holds
    try:
        return Client(address, timeout=DASK_WAIT)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:  # tls:// without keys, ucx:// without ucx
        raise SettingError("dask", address, f"the address of a Dask scheduler that answers ({error})") from None


@contextmanager
def processes(count: int) -> Iterator[Executor | None]:
    """An executor of so many processes of this machine, which end when this one ends, however it does; None for one."""
    if count == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")  # numba's threads do not outlive a fork
    end, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with, initargs=(end,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise OSError("a process that computed was ended; what is finished is kept, the same command goes on") from error
    except BaseException:
        held.close()  # what they are at is not waited for: it is as after a kill, and the same command goes on with it
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()


def _end_with(end: Connection) -> None:
    """Let this process end as soon as the other side of the pipe is closed, by its owner or because that has ended."""

    def watch() -> None:
        try:
            end.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

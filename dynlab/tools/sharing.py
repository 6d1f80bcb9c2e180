"""Work handed to an executor, piece by piece, and taken back as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from queue import SimpleQueue
from typing import Any

from dynlab.tools.files import signals_deferred


def as_they_end(
    pool: Executor, calls: Iterable[tuple[Any, Callable[..., Any], tuple]], ahead: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """(key, what the function returned) of calls (key, function, arguments), in the order in which they end.

    ahead: calls handed over before their results are in (None: all at once); `calls` is read no further than that. What was
    not begun is cancelled where this ends before the last; an exception of a call is raised here.
    """
    coming, waiting = iter(calls), dict[Future, Any]()
    finished: SimpleQueue[Future] = SimpleQueue()
    try:
        while True:
            # A signal that raises inside a future's lock would leave it locked, and its worker waiting for ever: this
            # thread is interrupted in the queue's `get` alone. (`concurrent.futures.wait` holds all those locks.)
            with signals_deferred():
                for key, job, given in islice(coming, None if ahead is None else ahead - len(waiting)):
                    future = pool.submit(job, *given)
                    waiting[future] = key
                    future.add_done_callback(finished.put)
            if not waiting:
                return
            future = finished.get()
            with signals_deferred():
                key, found = waiting.pop(future), future.result()
            yield key, found
    finally:
        with signals_deferred():
            for future in waiting:
                future.cancel()

"""Progress with the time left: a bar on a terminal, and where there is none a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 20.0  # between plain lines


@contextmanager
def progress(total: int, what: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Yield a function that is told how many of `total` are done so far and shows it on standard error.

    It takes another total as a second argument where that becomes known only on the way.

    Where standard error is not a terminal it writes a line every `SECONDS`, none before; with `quiet` nothing anywhere.
    """
    if quiet:
        yield lambda done, total=None: None
        return
    if not sys.stderr.isatty():
        yield _plain(total, what)
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def show(done: int, total: int | None = None) -> None:
            if total not in (None, bar.total) or done < bar.n:
                bar.reset(total)
            bar.update(done - bar.n)

        yield show


def _plain(total: int, what: str) -> Callable[..., None]:
    tell, started, known = now_and_then(), time.monotonic(), total
    first: int | None = None

    def show(done: int, total: int | None = None) -> None:
        nonlocal known, first, started
        known = known if total is None else total
        if first is None or done < first:  # what was done before (a run that was resumed) took no time here
            first, started = done, time.monotonic()
        left = (time.monotonic() - started) * (known - done) / max(done - first, 1)
        rest = f", {left:.0f} s left" if done > first else ""
        tell(f"{what}: {done} of {known}{rest}")

    return show


def now_and_then(quiet: bool = False, seconds: float | None = None) -> Callable[[str], None]:
    """A function that writes the line it is given to standard error, if the last one is `seconds` (`SECONDS`) ago."""
    between, last = SECONDS if seconds is None else seconds, time.monotonic()

    def tell(line: str) -> None:
        nonlocal last
        now = time.monotonic()
        if not quiet and now - last >= between:
            last = now
            print(line, file=sys.stderr, flush=True)

    return tell

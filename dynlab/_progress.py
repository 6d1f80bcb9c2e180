"""Progress on a terminal, with the time left; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, what: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Yield a function that is told how many of `total` are done so far and shows it on standard error.

    It takes another total as a second argument where that becomes known only on the way.

    Shows nothing where standard error is not a terminal, or with `quiet`.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total=None: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def show(done: int, total: int | None = None) -> None:
            if total not in (None, bar.total) or done < bar.n:
                bar.reset(total)
            bar.update(done - bar.n)

        yield show

"""Progress on a terminal, with the time left; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, what: str, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many of `total` are done so far and shows it on standard error.

    Shows nothing where standard error is not a terminal, or with `quiet`.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, leave=False, dynamic_ncols=True) as bar:
        yield lambda done: bar.update(done - bar.n)

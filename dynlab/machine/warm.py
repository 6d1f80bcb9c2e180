"""Compile kernels that are needed soon in a second process, while this one compiles the one that is needed first.

Compiling takes seconds and holds one core; the second process leaves its kernel in the cache on disk, where this one
finds it. It only matters for the first run of a version on a machine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

COMPILE = "import dynlab; dynlab.ensemble(dynlab.Model(activation={0!r}), seeds=1, until=1.0)"


def say(line: str) -> None:
    """Write a line to standard error, above the bars of progress that may be there."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def compiling(activations: Sequence[str], quiet: bool = False) -> Iterator[None]:
    """Within the block, have the kernels of all but the first activation compiled, unless some kernel is cached already.

    The process is ended with the block, whether it is done or not; without a cache folder none is started. What has to be
    compiled here is told in a line, unless `quiet`, with how long it took last time.
    """
    from dynlab.machine import cache

    folder = cache.cache_folder()
    process = None
    if len(activations) > 1 and folder is not None and not any(folder.glob(f"*flow_kernel*{cache.SUFFIX}")):
        words = "; ".join(COMPILE.format(name) for name in activations[1:])
        silent = subprocess.DEVNULL
        process = subprocess.Popen([sys.executable, "-c", words], stdin=silent, stdout=silent, stderr=silent)
    before, cache.KernelFiles.announce = cache.KernelFiles.announce, None if quiet else say
    try:
        yield
    finally:
        cache.KernelFiles.announce = before
        if process is not None:
            process.terminate()
            process.wait()

"""What dynlab finds on this machine: versions, threads, cache folder, CUDA device or why there is none.

    python -m dynlab.doctor
    python -m dynlab.doctor --clear-cache old

The first prints a line for each; the exit status is 0 whatever is found. The second removes compiled kernels of other
versions than this one, or all of them (--clear-cache alone) and the pictures of `--dataset folder` and the recordings of
`--dataset speech` that were read, and nothing that it did not write.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from dynlab.command_line.parser import Parser, run_command
from dynlab.tools.checks import choice

if TYPE_CHECKING:
    from dynlab.machine.cache import Kept

PROGRAM = "dynlab.doctor"
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pandas", "matplotlib", "tqdm", "numba-cuda", "distributed")
WHICH = ("all", "old")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(call.arguments))


def run(arguments: argparse.Namespace) -> None:
    """Clear the cache where that is asked for, otherwise print what is found."""
    if arguments.clear_cache is not None:
        return clear_cache(arguments.clear_cache)
    for name, found in findings().items():
        print(f"{name + ':':10} {found.replace(chr(10), chr(10) + ' ' * 11)}")


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog=PROGRAM,
        description="Print versions, threads, the cache of kernels, and the CUDA device or why there is none.",
        epilog="example: dynlab doctor --clear-cache old",
    )
    what = f"remove compiled kernels, of {', '.join(WHICH)}: old are those of other versions than this (default all)"
    p.add_argument("--clear-cache", help=what, nargs="?", const="all", metavar="WHICH")
    return p


def findings() -> dict[str, str]:
    """What is found, in words, by subject."""
    return {
        "dynlab": _dynlab(), "python": f"{platform.python_version()}, {platform.platform()}", "packages": packages(),
        "threads": threads_found(), "cache": cache_found(), "device": device_found(),
    }  # fmt: skip


def packages() -> str:
    """Versions of what dynlab uses, the optional ones too."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def threads_found() -> str:
    """Threads that computations use, and the settings that limit them."""
    from dynlab.tools.checks import available_threads

    limits = [f"{name}={os.environ[name]}" for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ]
    return ", ".join([f"{available_threads()} of {os.cpu_count()} processors", *limits])


def cache_found() -> str:
    """Where compiled kernels are kept, and a line for each version of them: size, and when it was used last."""
    from dynlab.machine import cache

    root = cache.cache_root().absolute()
    found = cache.kept()
    held = f"{_size(sum(one.size for one in found))} in {sum(one.files for one in found)} files"
    place = next(path for path in (root, *root.parents) if path.exists())
    denied = "" if os.access(place, os.W_OK) else "; cannot be written: kernels are compiled anew"
    return "\n".join([f"{root}, {held}{denied}", *map(_version, found)])


def clear_cache(which: str) -> None:
    """Remove compiled kernels, `which` of WHICH, with all of them pictures and recordings that were read; say how much."""
    from dynlab.images.data import picture_folder
    from dynlab.machine import cache
    from dynlab.sounds import recordings

    choice("clear_cache", which, WHICH)
    files, size, left = cache.clear(old=which == "old")
    read = [part.clear_cached() if which == "all" else (0, 0) for part in (picture_folder, recordings)]
    more, bytes_ = (sum(numbers) for numbers in zip(*read, strict=True))
    print(f"removed {files + more} files, {_size(size + bytes_)}, from {cache.cache_root().absolute()}")
    own = (picture_folder.cached_folder(), recordings.kept_folder())
    left = [path for path in left if path not in own or (which == "all" and path.exists())]
    for path in left:
        print(f"left, not the cache's: {path}")


def _version(one: Kept) -> str:
    now = "current, " if one.current else ""
    left = f", {one.unfinished} of them not finished" if one.unfinished else ""
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
    return f"{one.folder.name}: {now}{_size(one.size)} in {one.files} files{left}, last used {used}"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 2**20:.1f} MiB"


def device_found() -> str:
    """The CUDA device, or why there is none."""
    from dynlab.machine import gpu

    reason = gpu.unavailable()
    return gpu.name() if reason is None else f"none: {reason}"


def _dynlab() -> str:
    import dynlab

    return f"{dynlab.__version__}, {os.path.dirname(dynlab.__file__)}"


if __name__ == "__main__":
    sys.exit(main())

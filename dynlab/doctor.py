"""What dynlab finds on this machine: versions, threads, cache folder, CUDA device or why there is none.

    python -m dynlab.doctor

prints a line for each; the exit status is 0 whatever is found.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from dynlab._cli import Parser

PROGRAM = "dynlab.doctor"
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pandas", "matplotlib", "tqdm", "numba-cuda", "distributed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    Parser(
        prog=PROGRAM,
        description="Print versions, threads, cache folder, and the CUDA device or why there is none.",
    ).parse_args(list(sys.argv[1:] if argv is None else argv))
    for name, found in findings().items():
        print(f"{name + ':':10} {found}")
    return 0


def findings() -> dict[str, str]:
    """What is found, in words, by subject."""
    return {
        "dynlab": _dynlab(), "python": f"{platform.python_version()}, {platform.platform()}", "packages": packages(),
        "threads": threads(), "cache": cache(), "device": device(),
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


def threads() -> str:
    """Threads that computations use, and the settings that limit them."""
    from dynlab._checks import available_threads

    limits = [f"{name}={os.environ[name]}" for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ]
    return ", ".join([f"{available_threads()} of {os.cpu_count()} processors", *limits])


def cache() -> str:
    """Where compiled kernels are kept and how large that is, all versions together."""
    from dynlab import _jit

    root = _jit.cache_root()
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    held = f"{sum(path.stat().st_size for path in files) / 2**20:.0f} MiB in {len(files)} files"
    place = next(path for path in (root, *root.absolute().parents) if path.exists())
    return f"{root}, {held}" + ("" if os.access(place, os.W_OK) else "; cannot be written: kernels are compiled anew")


def device() -> str:
    """The CUDA device, or why there is none."""
    from dynlab import _gpu

    reason = _gpu.unavailable()
    return _gpu.name() if reason is None else f"none: {reason}"


def _dynlab() -> str:
    import dynlab

    return f"{dynlab.__version__}, {os.path.dirname(dynlab.__file__)}"


if __name__ == "__main__":
    sys.exit(main())

"""Processors that this one can stand in for: which environment makes the libraries compute as they do on those."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# NumPy's names of what goes beyond a processor of the years up to 2013 (Haswell) and up to 2008 (Nehalem).
SINCE_HASWELL = re.compile(r"AVX512|X86_V4")
# The C library's: exp and its like are computed with fused products where there are any.
WITHOUT_FUSED = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-FMA4"
GENERIC_CACHE = "dynlab-processors"  # kernels of a processor that this is not, kept apart from a user's own

# name -> (OpenBLAS's core or None for its own choice, NumPy without, fused products, LLVM's processor, threads)
Kind = tuple[str | None, str | None, bool, str | None, int]
KINDS: dict[str, Kind] = {
    "here, one thread": (None, None, True, None, 1),
    "here, two threads": (None, None, True, None, 2),
    "SkylakeX": ("SkylakeX", None, True, None, 1),
    "Haswell": ("Haswell", "Haswell", True, None, 1),
    "Zen": ("Zen", "Haswell", True, None, 2),
    "Nehalem": ("Nehalem", "Nehalem", False, None, 1),
    "generic": ("Nehalem", "Nehalem", False, "generic", 2),
}
HERE = "here, one thread"


def extensions() -> list[str]:
    """What NumPy found on this processor beyond what it was built for."""
    return list(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))


def environment(name: str) -> dict[str, str]:
    """The variables of `os.environ` as they are for a process that computes as this kind of processor does."""
    core, without, fused, llvm, threads = KINDS[name]
    chosen = {f"{library}_NUM_THREADS": str(threads) for library in ("OPENBLAS", "OMP", "MKL", "NUMBA")}
    if core is not None:
        chosen["OPENBLAS_CORETYPE"] = core
    if without is not None:
        left_out = [one for one in extensions() if without == "Nehalem" or SINCE_HASWELL.match(one)]
        chosen["NPY_DISABLE_CPU_FEATURES"] = " ".join(left_out)
    if not fused:
        chosen["GLIBC_TUNABLES"] = WITHOUT_FUSED
    if llvm is not None:
        chosen |= {"NUMBA_CPU_NAME": llvm, "NUMBA_CPU_FEATURES": ""}
        chosen["DYNLAB_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"{GENERIC_CACHE}-{os.getuid()}")
    ours = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
    return {key: value for key, value in os.environ.items() if key not in ours} | chosen


def core(name: str) -> str:
    """The core for which OpenBLAS says that it computes in such a process; "" where NumPy has another library."""
    loud = environment(name) | {"OPENBLAS_VERBOSE": "2"}
    made = subprocess.run(
        [sys.executable, "-c", "import numpy.linalg"], env=loud, capture_output=True, text=True, check=True
    )
    found = re.search(r"^Core: (\w+)", made.stdout + made.stderr, re.M)
    return found[1] if found else ""


def why_not(name: str) -> str:
    """Why this processor cannot stand in for that kind; "" where it can."""
    wanted = KINDS[name][0]
    if wanted == "SkylakeX" and not any(SINCE_HASWELL.match(one) for one in extensions()):
        return "this processor has no AVX-512"
    found = core(name)
    if wanted is not None and found.lower() != wanted.lower():
        return f"OpenBLAS takes {found}" if found else "NumPy does not compute with OpenBLAS"
    return ""

"""Whether the workers of an executor, other processes of this machine or those of a cluster, run the same sources.

What a job (`dynlab.tools.sharing`) returns is that of its sources: it gets their digest from where the call comes from, and
a worker whose own sources have another one refuses.
"""

from __future__ import annotations

import hashlib

from dynlab.machine import closure
from dynlab.tools.checks import require


def digest_of_sources(*modules: str) -> str:
    """Of the sources of modules and of all that these load."""
    return hashlib.sha256(b"".join(map(closure.digest_of, modules))).hexdigest()


def require_same_sources(digest: str, *modules: str) -> None:
    """In a worker: SettingError where `digest_of_sources`, as the caller has it, is not its own."""
    same = digest_of_sources(*modules) == digest
    require(same, "dask", digest[:12], "a cluster whose workers run the same sources of dynlab")

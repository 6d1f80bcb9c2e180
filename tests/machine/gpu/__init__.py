"""CUDA without a device (simulator, compiler) and, where there is one, on it.

`kernels_*.py` compare every kernel with its CPU twin. One process is either simulator or compiler, so they are not collected
with the rest: `test_simulator.py` runs them in a process of their own. DYNLAB_REQUIRE_GPU=1 turns skips into failures.
"""

import os

import pytest


def skip(reason: str) -> None:
    """Skip the test, or fail it where a device is required."""
    if os.environ.get("DYNLAB_REQUIRE_GPU") == "1":
        pytest.fail(f"DYNLAB_REQUIRE_GPU=1, but {reason}", pytrace=False)
    pytest.skip(reason)

"""Kernels compile for a device that is not here (where numba-cuda and a CUDA toolkit are): all of them on demand."""

import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.machine.gpu import skip
from tests.machine.gpu.compile_check import CANNOT, MODULES, USUAL

KERNELS = MODULES if os.environ.get("DYNLAB_EVERY_KERNEL") == "1" else USUAL


@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNELS)
def test_a_kernel_compiles(kernels):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    words = [sys.executable, "-m", "tests.machine.gpu.compile_check", kernels]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(done.stdout)
    if done.returncode == CANNOT:
        skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("ok ") >= (1 if ":" in kernels else 4)

"""Kernels on pictures compile for sm_90 with no device here, all of them on demand (DYNLAB_EVERY_KERNEL=1): printed with
registers, shared memory and spills."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

from tests.machine.gpu import skip

STRIDE = 8  # of the kernels that the check compiles: they are of a few kinds, each for several sizes and types


def test_kernels_compile_without_spills():
    if importlib.util.find_spec("numba_cuda") is None:
        skip("numba-cuda is not installed")
    if shutil.which("ptxas") is None:
        skip("no CUDA toolkit (ptxas) on this machine")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    every = os.environ.get("DYNLAB_EVERY_KERNEL") == "1"
    command = [sys.executable, "-m", "tests.images.cuda.compile", "" if every else f"/{STRIDE}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and "libnvvm" in done.stderr:
        skip("no CUDA toolkit (libnvvm) on this machine")
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for line in found:
        print(line)
    assert len(found) > (60 if every else 60 / STRIDE)
    assert not [line for line in found if "failed" in line]
    # Products: two blocks of 256 threads have room on a multiprocessor. Nothing spills.
    assert not [line for line in found if line["stores"] or line["loads"] or line["stack"] or line["registers"] > 128]

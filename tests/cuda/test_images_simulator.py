"""Every kernel on pictures in numba's simulator, thread by thread, against its twin on the CPU; whole training steps, too.

Blocks have 8 or 16 threads there, tiles 8 or 16 rows: small odd shapes fill more than one.
"""

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.cuda_images import difference
from tests.cuda.images_cases import cases

NAMES = [name for name, *_ in cases()]


def run(where, file, **more):
    command = [sys.executable, "-m", "tests.cuda.images_cases", where, str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"} | more
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    with open(file, "rb") as results:
        while (head := results.peek(1)) and head:
            name, arrays, _ = pickle.load(results)
            found[name] = arrays
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(on the CPU, in the simulator): name of a case -> results by name."""
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed: the simulator of numba itself lacks functions")
    folder = tmp_path_factory.mktemp("images")
    return run("layers", folder / "cpu"), run("cuda", folder / "simulated", NUMBA_ENABLE_CUDASIM="1")


def bound(name):
    # Means far from zero: the CPU's sums, in single precision, are what differs. Trainings: Adam's first steps follow signs.
    return 1e-12 if "float64" in name else 1e-4 if "far mean" in name else 2e-3 if "training" in name else 2e-6


@pytest.mark.parametrize("name", NAMES)
def test_device_agrees_with_the_cpu(results, name):
    reference, found = (part[name] for part in results)
    assert not isinstance(reference, str), reference
    assert not isinstance(found, str), found
    assert reference.keys() == found.keys() and reference
    for key, expected in reference.items():
        assert expected.dtype == found[key].dtype
        assert np.isfinite(found[key]).all() or not np.isfinite(expected).all()
        assert difference(expected, found[key]) <= bound(name), key

"""Every kernel on pictures in numba's simulator, thread by thread, against its twin on the CPU; whole training steps, too.

Blocks have 8 or 16 threads there, tiles 8 or 16 rows: small odd shapes fill more than one.
"""

import importlib.util
import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.cuda_images import difference, normal
from tests.images.cuda.cases import cases
from tests.machine.gpu import skip

NAMES = [name for name, *_ in cases()]


def start(where, file, **more):
    command = [sys.executable, "-m", "tests.images.cuda.cases", where, str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"} | more
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def read(process, file):
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    found = {}
    with open(file, "rb") as results:
        while results.peek(1):
            name, arrays, _ = pickle.load(results)
            found[name] = arrays
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(on the CPU, in the simulator): name of a case -> results by name."""
    if importlib.util.find_spec("numba_cuda") is None:
        skip("numba-cuda is not installed: the simulator of numba itself lacks functions")
    folder = tmp_path_factory.mktemp("images")
    files = folder / "cpu", folder / "simulated"
    processes = start("layers", files[0]), start("cuda", files[1], NUMBA_ENABLE_CUDASIM="1")
    return [read(*pair) for pair in zip(processes, files, strict=True)]


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


def places(x, w, stride):
    """Every term of a convolution with padding k // 2: (i, y, x, a, b, v, u), what it reads being inside."""
    n, height, width, _ = x.shape
    k = w.shape[0]
    for i, y, z, a, b in itertools.product(
        range(n), range((height - 1) // stride + 1), range((width - 1) // stride + 1), range(k), range(k)
    ):
        v, u = stride * y + a - k // 2, stride * z + b - k // 2
        if 0 <= v < height and 0 <= u < width:
            yield i, y, z, a, b, v, u


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("convolution")])
def test_convolutions_agree_with_loops(results, name):
    _, _, (n, h, w, c_in, c_out, k, stride, *dtype) = next(case for case in cases() if case[0] == name)
    shape = n, (h - 1) // stride + 1, (w - 1) // stride + 1, c_out
    x, weights, d_out = (
        normal(seed, *size, dtype=(dtype or ["float32"])[0]).astype(float)
        for seed, size in ((1, (n, h, w, c_in)), (2, (k, k, c_in, c_out)), (3, shape))
    )
    out, d_x, d_w = np.zeros(shape), np.zeros_like(x), np.zeros_like(weights)
    for i, y, z, a, b, v, u in places(x, weights, stride):
        out[i, y, z] += x[i, v, u] @ weights[a, b]
        d_x[i, v, u] += weights[a, b] @ d_out[i, y, z]
        d_w[a, b] += np.outer(x[i, v, u], d_out[i, y, z])
    for key, expected in (("out", out), ("d_x", d_x), ("d_w", d_w)):
        assert difference(expected, results[1][name][key]) <= (1e-12 if dtype else 2e-6), key


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("matmul")])
def test_products_agree_with_numpy(results, name):
    _, _, (m, n, k, *more) = next(case for case in cases() if case[0] == name)
    transpose_a, transpose_b, accumulate, dtype, offset = (*more, *(False, False, False, "float32", 0)[len(more) :])
    a, b = normal(1, *((k, m) if transpose_a else (m, k)), dtype=dtype), normal(2, offset + k * n, dtype=dtype)[offset:]
    b = b.reshape((n, k) if transpose_b else (k, n)).astype(float)
    expected = (a.T if transpose_a else a).astype(float) @ (b.T if transpose_b else b)
    expected += normal(3, m, n, dtype=dtype) if accumulate else 0.0
    assert difference(expected, results[1][name]["out"]) <= (1e-12 if "float64" in name else 2e-6)

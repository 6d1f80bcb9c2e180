"""On a device: the comparisons that the simulator makes, and the parities of the benchmark."""

from pathlib import Path

import pytest

from dynlab.machine import gpu
from tests.machine.gpu import skip

pytestmark = pytest.mark.gpu


def needs_device():
    reason = "the simulator is no device" if gpu.SIMULATED else gpu.unavailable()
    if reason is not None:
        skip(f"no CUDA device: {reason}")


@pytest.mark.parametrize("name", ["kernels_flow", "kernels_samples"])
def test_kernels(name):
    needs_device()
    assert pytest.main(["-q", "-n0", "-p", "no:cacheprovider", str(Path(__file__).with_name(f"{name}.py"))]) == 0


@pytest.mark.parametrize("section", ["ensembles", "samples", "images"])
def test_parity(section):
    needs_device()
    from importlib import import_module

    from benchmarks.cuda import SECTIONS

    checks = list(import_module(SECTIONS[section]).parity("quick"))
    assert checks and all(check.holds for check in checks), [check for check in checks if not check.holds]

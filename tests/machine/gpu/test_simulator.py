"""Every kernel against its CPU twin, in numba's simulator: a process of its own, which also tries the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests import ROOT

HERE = Path(__file__).parent
SIMULATOR = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}


@pytest.mark.parametrize("name", ["kernels_flow", "kernels_samples"])
def test_kernels(name):
    words = ["-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--tb=short", str(HERE / f"{name}.py")]
    done = subprocess.run([sys.executable, *words], env=SIMULATOR, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_main_run(tmp_path):
    words = "-W ignore -m dynlab.run --activation cubic --weak 0.6 --dim 20 --seeds 5 --until 3 --rtol 1e-2 --no-plots"
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        command = [sys.executable, *words.split(), "--device", device, "--out", str(folder)]
        subprocess.run(command, env=SIMULATOR, check=True, cwd=tmp_path)
        assert json.loads((folder / "run.json").read_text())["settings"]["device"] == device
    here, there = (pd.read_csv(tmp_path / device / "ensemble.csv") for device in ("cpu", "cuda"))
    pd.testing.assert_frame_equal(here, there, rtol=1e-9, atol=1e-12)


def test_auto_does_not_choose_the_simulator(tmp_path):
    command = "-m dynlab.compare --device auto --seeds 1 --batch 16 --steps 2 --no-plots --out there".split()
    done = subprocess.run([sys.executable, *command], env=SIMULATOR, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == "device: cpu (the simulator is for tests)"


def test_a_phase_diagram(tmp_path):
    words = "--x weak=0.3:0.9:2 --y eta-head=0.1:0.5:2 --seeds 3 --dim 20 --until 2 --rtol 1e-2 --no-plots --quiet"
    tables = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        command = [sys.executable, "-W", "ignore", "-m", "dynlab.phase", *words.split(), "--device", device]
        subprocess.run([*command, "--out", str(folder)], env=SIMULATOR, check=True, cwd=tmp_path)
        tables.append(pd.read_csv(next(folder.glob("*.csv"))))
    pd.testing.assert_frame_equal(*tables)

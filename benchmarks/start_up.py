"""The main command as a whole process: with an empty cache, then again; and `import dynlab`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import spread

COMMAND = ["-m", "dynlab.run", "--strong", "1.0", "--weak", "0.3", "--quiet"]
GOALS = {"empty cache": 25.0, "second time": 6.0, "import dynlab": 0.3}


def seconds(arguments, environment) -> float:
    """Wall time of one Python process; CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def run() -> dict:
    """Wall seconds: one run with an empty cache, five with a full one, five imports."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"DYNLAB_CACHE_DIR": str(Path(scratch) / "cache"), "MPLCONFIGDIR": scratch}
        command = [*COMMAND, "--out", str(Path(scratch) / "run")]
        result = {"empty cache": spread([seconds(command, environment)])}
        again = [seconds([*COMMAND, "--out", str(Path(scratch) / f"run{i}")], environment) for i in range(5)]
        result["second time"] = spread(again)
        result["import dynlab"] = spread([seconds(["-c", "import dynlab"], environment) for _ in range(5)])
    for name, value in result.items():
        print(f"{name}: {value['median']:.2f} s (goal {GOALS[name]} s)", flush=True)
    return result

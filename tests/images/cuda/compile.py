"""Every kernel on pictures compiled for sm_90 without a device, for test_images_compile.py and by hand.

    python -m tests.images.cuda.compile [part of a name, or every N-th as /N]

The cases of the simulator are run with arrays of the host, and what they would launch is compiled instead, once for each set
of types. Prints a line of JSON for each kernel: registers, bytes of shared memory and of spills, or what went wrong.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

CAPABILITY = (9, 0)


def without_a_device() -> None:
    """What the compiler asks the driver for, answered here: the device's kind."""
    os.environ.setdefault("NUMBA_FORCE_CUDA_CC", ".".join(map(str, CAPABILITY)))
    import numba.cuda.cuda_paths as paths
    import numba.cuda.dispatcher as dispatcher

    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    paths._get_nvrtc_path = lambda: None


def launches() -> dict:
    """Kernels by name and types: (kernel, arguments)."""
    import numba
    import numpy as np

    from dynlab.images import cuda
    from dynlab.images.cuda import memory, products
    from dynlab.machine import gpu
    from tests.images.cuda.cases import cases

    found = {}

    def record(self, configuration):
        def launch(*arguments):
            key = id(self), tuple(numba.typeof(value) for value in arguments)
            found.setdefault(key, (self, arguments))

        return launch

    def copy(source, target):
        target[...] = source
        return target

    gpu.Kernel.__getitem__ = record
    gpu.cuda.device_array = lambda shape, dtype: np.zeros(shape, dtype)
    gpu.cuda.to_device = np.array
    memory.copy = cuda.copy = copy
    for _, function, arguments in cases():
        function(cuda, *arguments)
    # Small shapes take small tiles: the others, as large shapes would take them.
    numbers, places = np.zeros(1, np.float32), np.zeros(1, np.int32)
    for shape in (products.WIDE, products.NARROW):
        for gathered in (False, True):
            for across in (False, True):
                kernel = products.rows_kernel(shape, np.float32, True, gathered, across)
                kernel[1, 1](numbers, places, places, numbers, places, numbers, 8, 8, 8, 1, False, False)
            products.sums_kernel(shape, np.float32, True, gathered)[1, 1](
                numbers, places, numbers, numbers, 8, 8, 8, 8, 8, False
            )
    return {f"{i} {kernel.function.__qualname__}": (kernel, given) for i, (kernel, given) in enumerate(found.values())}


def assembled(ptx: str) -> dict:
    """What ptxas says of it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = ["ptxas", "-arch=sm_{}{}".format(*CAPABILITY), "-v", str(source), "-o", str(Path(folder) / "kernel.cubin")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip()[:500]}
    patterns = {
        "registers": r"Used (\d+) registers", "shared": r"(\d+) bytes smem", "stack": r"(\d+) bytes stack frame",
        "stores": r"(\d+) bytes spill stores", "loads": r"(\d+) bytes spill loads",
    }  # fmt: skip
    return {name: int((re.search(pattern, done.stderr) or [0, 0])[1]) for name, pattern in patterns.items()}


def main() -> None:
    without_a_device()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    wanted, _, every = word.partition("/")
    for number, (name, (kernel, arguments)) in enumerate(launches().items()):
        if wanted in name and number % int(every or 1) == 0:
            try:
                found = assembled(kernel.ptx(arguments))
            except Exception as failure:
                found = {"failed": f"{type(failure).__name__}: {failure}"[-1500:]}
            types = ", ".join(sorted({str(a.dtype) for a in arguments if hasattr(a, "ndim") and a.ndim}))
            print(json.dumps({"kernel": name, "types": types, **found}), flush=True)


if __name__ == "__main__":
    main()

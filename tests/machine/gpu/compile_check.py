"""Compile every CUDA kernel to PTX, and by ptxas to code for a device, on a machine that has neither device nor driver.

    python -m tests.machine.gpu.compile_check [module[:kernel] ...]

prints registers, bytes of shared memory, of stack and of spills for sm_90; exit status 1 where a kernel does not compile, 3
where this machine cannot tell (what is missing is then the last line). Modules have KERNELS = {name: (kernel, function that
returns arguments like those it takes)}. Kernels that allow no contraction are searched for fused operations of their own.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

CAPABILITY = (9, 0)
MODULES = ("dynlab.population.pair.cuda", "dynlab.samples.cuda")
# A flow takes half a minute to compile; they are compiled by `python -m tests.thorough`.
USUAL = ("dynlab.samples.cuda",)
CANNOT = 3
# exp, log and powers of the device's library fuse on their own account; these kernels call none.
EXACT = re.compile("dynlab.samples")


def prepare() -> str | None:
    """Make numba-cuda do without a driver; what is missing, in words."""
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    os.environ.setdefault("NUMBA_FORCE_CUDA_CC", ".".join(map(str, CAPABILITY)))
    from dynlab.machine import gpu

    if not gpu.COMPILED:
        return gpu.unavailable()
    if shutil.which("ptxas") is None:
        return "there is no ptxas on the path (CUDA toolkit)"
    import numba.cuda.cuda_paths as paths
    import numba.cuda.dispatcher as dispatcher

    # Device functions ask the driver which device they are for; NVRTC is looked for only to note where it is.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    paths._get_nvrtc_path = lambda: None
    try:
        from numba.cuda.cudadrv import nvvm

        nvvm.NVVM()
    except Exception as error:
        return f"libnvvm cannot be used: {type(error).__name__}"
    return None


def assemble(ptx: str) -> str:
    """What ptxas says of it; RuntimeError where it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        target = "sm_" + "".join(map(str, CAPABILITY))
        words = ["ptxas", f"-arch={target}", "-v", str(source), "-o", str(source.with_suffix(".cubin"))]
        done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[:500])
    return done.stderr


def figures(said: str) -> dict:
    """Numbers of the kernel itself in ptxas's words; device functions that are called come after it."""

    def number(pattern):
        found = [int(n) for n in re.findall(pattern, said)]
        return max(found, default=0)

    return {
        "registers": number(r"Used (\d+) registers"), "shared": number(r"(\d+) bytes smem"),
        "stack": number(r"(\d+) bytes stack frame"), "spill stores": number(r"(\d+) bytes spill stores"),
        "spill loads": number(r"(\d+) bytes spill loads"),
    }  # fmt: skip


def check(module: str, name: str) -> str:
    """The figures of one kernel, in words; raises what goes wrong."""
    kernel, arguments = importlib.import_module(module).KERNELS[name]
    ptx = kernel.ptx(arguments(), CAPABILITY)
    if EXACT.match(module) and not kernel.contract and "fma.rn" in ptx:
        raise RuntimeError("holds fused operations, which round otherwise than the CPU")
    return ", ".join(f"{number} {what}" for what, number in figures(assemble(ptx)).items())


def main(modules=()) -> int:
    """Check all kernels."""
    lacking = prepare()
    if lacking is not None:
        print(lacking)
        return CANNOT
    bad = 0
    for word in modules or MODULES:
        module, _, only = word.partition(":")
        for name in [only] if only else importlib.import_module(module).KERNELS:
            try:
                print(f"ok   {name}: {check(module, name)}", flush=True)
            except Exception as error:
                bad += 1
                print(f"FAIL {name}: {type(error).__name__}: {str(error)[:500]}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

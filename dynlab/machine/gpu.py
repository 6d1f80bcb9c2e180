"""CUDA: the one place that imports numba's `cuda`, and the twin of `dynlab.machine.jit` for device code.

    cuda                the module numba.cuda, for the bodies of kernels
    unavailable()       why there is no device, in one sentence; None where there is one
    compile_module, compiled, inner, kernel
                        as in `dynlab.machine.jit`: the same undecorated sources, compiled as device functions

The package is numba-cuda (extra `cuda`); the target that comes with numba fails on min and max of two numbers. With
NUMBA_ENABLE_CUDASIM=1 (set before numba is imported) kernels run in numba's simulator, in Python, thread by thread: for
tests. "auto" never chooses it.

**Rounding.** The compiler of CUDA contracts a * b + c into one operation unless told not to, which numba has no option for:
`nvvm.compile_ir` is wrapped here. Kernels say whether they allow it; where not, every operation is rounded like the CPU's,
and the same sources give the same bits, up to the functions of libm (exp, log, ...; not sqrt).
"""

from __future__ import annotations

import math
import sys
import threading
import types
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

from dynlab.formulas import number_table
from dynlab.machine import jit

try:
    from numba import cuda
except ImportError:  # numba without its own target
    cuda = None

SIMULATED = bool(numba.config.ENABLE_CUDASIM)  # type: ignore[attr-defined]  # numba makes it from the environment
COMPILED = not SIMULATED and getattr(cuda, "implementation", "") == "NVIDIA"  # else functions stay as they are
INSTALL = "pip install 'dynlab-ssl[cuda]'"


class _Allocations(dict):
    """The simulator's shared arrays of a block. Two threads that ask first at the same time would each make one, and what is
    written into the one that is not kept would be lost: who finds none holds the others back until it has stored its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        self._lock.acquire()
        found = super().get(key, default)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._lock.release()


def _keep_shared_arrays_apart() -> None:
    """Give every block of the simulator such a table."""
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    begin = FakeCUDAShared.__init__

    def begin_with_table(self: Any, size: int) -> None:
        begin(self, size)
        self._allocations = _Allocations()

    FakeCUDAShared.__init__ = begin_with_table


if SIMULATED:
    _keep_shared_arrays_apart()
    # The simulator asks its threads in a loop whether they wait, and keeps them from running while it does: 5 ms at a turn,
    # as Python has it. With short turns the tests of kernels take 0.4 of the time.
    sys.setswitchinterval(1e-4)
_state = threading.local()


def unavailable() -> str | None:
    """Why kernels cannot run on a device here, in one sentence; None where they can."""
    if SIMULATED:
        return None
    if not COMPILED:
        return f"numba-cuda is not installed ({INSTALL})"
    try:
        if cuda.is_available():
            return None
        error = cuda.cuda_error()
        reason = str(error).strip().split("\n")[0].rstrip(".") if error else ""
    except Exception as failure:  # whatever the driver says while it starts
        reason = f"{type(failure).__name__}: {failure}".split("\n")[0]
    return reason or "no CUDA device was found"


def name() -> str:
    """The device in words."""
    if SIMULATED:
        return "numba's simulator of CUDA, in Python, for tests"
    device = cuda.get_current_device()
    label = device.name.decode() if isinstance(device.name, bytes) else device.name
    free, total = cuda.current_context().get_memory_info()
    capability = ".".join(str(n) for n in device.compute_capability[:2])
    return f"{label}, compute capability {capability}, {total / 2**30:.0f} GiB, {free / 2**30:.0f} free"


def processors() -> int:
    """Streaming multiprocessors of the device."""
    return 2 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT


def blocks_for(threads: int, block: int) -> int:
    """How many blocks hold so many threads."""
    return max(1, -(-threads // block))


def to_device(value):
    """A copy on the device of an array, or of all arrays in (nested) tuples; numbers stay."""
    if isinstance(value, tuple):
        return tuple(to_device(part) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    return cuda.to_device(value) if value.size else cuda.device_array(value.shape, value.dtype)


def to_host(value):
    """The way back of `to_device`."""
    if isinstance(value, tuple):
        return tuple(to_host(part) for part in value)
    return value.copy_to_host() if hasattr(value, "copy_to_host") else value


@contextmanager
def _contraction(allowed: bool):
    """Whether the compiler may contract products and sums within the block, on this thread."""
    before = getattr(_state, "contract", True)
    _state.contract = allowed
    try:
        yield
    finally:
        _state.contract = before


def _wrap_compiler() -> None:
    from numba.cuda.core import config
    from numba.cuda.cudadrv import nvvm

    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # small problems make small grids
    original = nvvm.compile_ir

    def compile_ir(ir, **options):
        if not getattr(_state, "contract", True):
            options = options | {"fma": False}
        return original(ir, **options)

    nvvm.compile_ir = compile_ir


if COMPILED:
    _wrap_compiler()


class Kernel:
    """A kernel: `kernel[blocks, threads](*arguments)`, or with a stream and bytes of shared memory behind.

    contract: whether products and sums may be contracted. options: of `cuda.jit`, left out in the simulator.
    """

    def __init__(self, function, contract: bool, options: dict):
        self.function, self.contract, self.options = function, contract, options
        self.dispatcher: Any = None
        if COMPILED:
            self.dispatcher = cuda.jit(function, lto=False, **options)
        elif SIMULATED:
            self.dispatcher = cuda.jit(function)

    def __getitem__(self, configuration):
        def launch(*arguments):
            with _contraction(self.contract):
                self.dispatcher[configuration](*arguments)

        return launch

    def ptx(self, arguments, capability=(9, 0)) -> str:
        """Assembly for arguments like these, for a device that need not be here."""
        signature = tuple(numba.typeof(value) for value in arguments)
        with _contraction(self.contract):
            return cuda.compile_ptx(self.function, signature, cc=capability, fastmath=False)[0]


def kernel(contract: bool = False, **options):
    """Decorator: compile a function as an entry point; see `Kernel`."""
    return lambda function: Kernel(function, contract, options)


def inner(function, inline: bool = False):
    """Compile `function` as a part of kernels; with `inline` at every call."""
    return cuda.jit(device=True, forceinline=inline)(function) if COMPILED else function


def _vector_access():
    """load4, store4: see below; a vector instruction each, so the first entry must lie at a multiple of 16 bytes."""
    if not COMPILED:

        def load4(array, i):
            return array[i], array[i + 1], array[i + 2], array[i + 3]

        def store4(array, i, a, b, c, d):
            array[i], array[i + 1], array[i + 2], array[i + 3] = a, b, c, d

        return load4, store4
    from llvmlite import ir
    from numba.cuda import types as cuda_types
    from numba.cuda.extending import intrinsic

    def place(context, builder, array_type, array, i):
        base = context.make_array(array_type)(context, builder, array).data
        element = context.get_data_type(array_type.dtype)
        at = builder.gep(base, [i])
        return builder.bitcast(at, ir.PointerType(ir.VectorType(element, 4), at.type.addrspace))

    def number(k):
        return ir.Constant(ir.IntType(32), k)

    @intrinsic  # type: ignore[no-redef]  # the other one is for where nothing is compiled
    def load4(typing, array, i):
        def code(context, builder, signature, arguments):
            found = builder.load(place(context, builder, signature.args[0], *arguments))
            found.align = 16
            return context.make_tuple(
                builder, signature.return_type, [builder.extract_element(found, number(k)) for k in range(4)]
            )

        return cuda_types.UniTuple(array.dtype, 4)(array, cuda_types.int64), code

    @intrinsic  # type: ignore[no-redef]  # as above
    def store4(typing, array, i, a, b, c, d):
        def code(context, builder, signature, arguments):
            at = place(context, builder, signature.args[0], *arguments[:2])
            packed = ir.Constant(at.type.pointee, ir.Undefined)
            for k, value in enumerate(arguments[2:]):
                packed = builder.insert_element(packed, value, number(k))
            builder.store(packed, at).align = 16
            return context.get_dummy_value()

        entry = array.dtype
        return cuda_types.void(array, cuda_types.int64, entry, entry, entry, entry), code

    return load4, store4


load4, store4 = _vector_access()  # in kernels: the entries i ... i + 3 of a one-dimensional array, as one access
ALIGNMENT = 16 if COMPILED else None  # of shared arrays for these: cuda.shared.array(count, type, ALIGNMENT)
if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    # As tuples, like those of arrays on a device: the simulator's own know no negative indices.
    FakeCUDAArray.shape = property(lambda self: self._ary.shape)


def _first_order(function, slope):
    """`function` of math for real x, and for complex x + i y with tiny y as f(x) + i y f'(x), slope being f'(x, f(x)).

    Formulas are evaluated in complex arithmetic for exact Jacobians only (`dynlab.formulas.flow_rates`), with |y| of 1e-30,
    where the next term is far below rounding.
    """
    if not COMPILED:
        return lambda x: complex(function(x.real), x.imag * slope(x.real, function(x.real))) if x.imag else function(x.real)
    from numba.cuda import types as cuda_types
    from numba.cuda.extending import overload

    def generic(x):
        raise NotImplementedError

    slope = cuda.jit(device=True, forceinline=True)(slope)

    @overload(generic)
    def _(x):
        if isinstance(x, cuda_types.Complex):

            def value(x):
                real = function(x.real)
                return complex(real, x.imag * slope(x.real, real))
        else:

            def value(x):
                return function(x)

        return value

    return inner(lambda x: generic(x), True)


_NUMERIC = {
    math.sqrt: _first_order(math.sqrt, lambda x, f: 0.5 / f),
    math.exp: _first_order(math.exp, lambda x, f: f),
    math.tanh: _first_order(math.tanh, lambda x, f: 1.0 / (math.cosh(x) * math.cosh(x))),
    math.cosh: _first_order(math.cosh, lambda x, f: math.sinh(x)),
    math.atan: _first_order(math.atan, lambda x, f: 1.0 / (1.0 + x * x)),
    math.expm1: _first_order(math.expm1, lambda x, f: 1.0 + f),
}
# Kernels of a device are for built-in activations; no other gets as far as to read this.
_COMPILED: dict = {number_table.table_number: inner(lambda place: math.nan * place)}


def compile_module(module, inlined: tuple[str, ...] = ()) -> types.SimpleNamespace:
    """Compile every function that `module` defines as a device function, calls into earlier modules included.

    The twin of `dynlab.machine.jit.compile_module`; inlined: functions to be inlined by decree. The simulator takes the
    functions as they are, but with square roots and the like that know complex numbers.
    """
    return jit.rebuild(module, _COMPILED, _NUMERIC, lambda clone, name: inner(clone, name in inlined))


def compiled(function):
    """The device version of a formula whose module has been through `compile_module`."""
    return _COMPILED[function]

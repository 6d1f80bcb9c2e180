"""Parts of kernels are left in LLVM's language, and compute what they compute elsewhere."""

from __future__ import annotations

import math

import numba
import numpy as np

from dynlab.machine import jit
from dynlab.machine.parts import part


def lowest(x):
    return math.exp(-x) / (1.0 + x * x)


def middle(x):
    return lowest(x) + lowest(2.0 * x)


def test_a_kernel_of_parts_of_parts_gives_the_same_bits():
    low = part(lowest, **jit.OPTIONS)
    space = {"lowest": low}
    exec("def middle(x):\n    return lowest(x) + lowest(2.0 * x)", space)
    mid = part(space["middle"], **jit.OPTIONS)

    @jit.kernel
    def kernel(x, out):
        for i in range(len(x)):
            out[i] = mid(x[i])

    x = np.random.default_rng(0).normal(size=100)
    out = np.empty(100)
    kernel(x, out)
    assert (out == [middle(value) for value in x]).all()
    for dispatcher in (low, mid):  # nothing was translated, and there is nothing that Python could call
        (made,) = dispatcher.overloads.values()
        assert made.library.get_pointer_to_function(made.fndesc.llvm_func_name) == 0
        assert not any("cpython" in function.name for function in made.library.get_defined_functions())


def test_a_part_can_be_called_from_python():
    low = part(lowest, **jit.OPTIONS)
    assert low(0.3) == lowest(0.3)
    assert isinstance(low, type(numba.njit(lowest)))

"""The same tests and results in the arithmetic of other processors: `python -m tests.processors`.

The last bit of a sum is not the mathematics': libraries choose their kernels by the processor and add in another order on
each, or with fused products. What hangs on that bit, a test or a result, is wrong somewhere else. The choice of kernels is
OpenBLAS's, NumPy's, the C library's and LLVM's, and all of them can be told to forget what this processor can do.
"""

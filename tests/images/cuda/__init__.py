"""The kernels on pictures, in numba's simulator and compiled without a device."""

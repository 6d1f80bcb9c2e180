"""Compilation, the cache of kernels, devices, random numbers, numbers of twice the digits."""

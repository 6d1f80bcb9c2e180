"""Benchmarks: every figure is checked for correctness before it is timed. `python -m benchmarks` runs all."""

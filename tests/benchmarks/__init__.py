"""The benchmarks refuse to time what is wrong."""

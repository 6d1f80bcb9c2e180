"""Compilation, caches, random numbers, devices."""

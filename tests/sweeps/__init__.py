"""Sweeps: their files, their points, their table."""

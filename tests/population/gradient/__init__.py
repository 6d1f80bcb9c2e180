"""Tests of the exact population loss and of its gradient."""

"""Tests of the gradient flow: its solver, its events, and what it must conserve."""

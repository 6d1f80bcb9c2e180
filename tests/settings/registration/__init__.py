"""Activations that are registered from outside the package."""

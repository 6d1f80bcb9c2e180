"""Planes through the exact system, and the command that draws them."""

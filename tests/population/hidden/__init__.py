"""Neurons with hidden units."""

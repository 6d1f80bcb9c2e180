"""Planes through the exact system."""

"""Finite data."""

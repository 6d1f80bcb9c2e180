"""Layers against loops over places and channels."""

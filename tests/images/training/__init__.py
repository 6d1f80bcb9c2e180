"""Optimisers, and training that diverges."""

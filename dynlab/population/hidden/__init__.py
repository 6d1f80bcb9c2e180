"""Neurons with hidden units: every output a two-layer network, on the exact population gradient."""

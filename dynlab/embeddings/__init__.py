"""Embeddings from anywhere, as arrays: what they look like, whether they have collapsed; a monitor for a training loop."""

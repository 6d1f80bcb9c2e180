"""Embeddings from anywhere: numbers against loops, files, verdicts, and the monitor."""

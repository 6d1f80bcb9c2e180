"""Pretraining and evaluation on pictures: the same head, without a deep-learning framework."""

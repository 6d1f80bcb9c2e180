"""Exact descent on dense weights: any training, any optimiser."""

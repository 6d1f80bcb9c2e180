"""Exact descent on dense weights."""

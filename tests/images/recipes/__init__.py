"""Recipes of pretraining and their files."""

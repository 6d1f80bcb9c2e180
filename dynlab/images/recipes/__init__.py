"""Recipes of pretraining on pictures: TOML files, each one set of settings with its source, and their reader."""

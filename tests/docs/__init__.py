"""The pages, the docstrings they are made of, README and the tutorial."""

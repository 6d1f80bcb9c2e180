"""Lists and grids of settings, each point computed once, and one table of all."""

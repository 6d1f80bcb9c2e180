"""What every layer stands on: checks, paths, files, progress, how objects show themselves."""

"""The figures of the repository, each with its claim."""

"""Data sets, their download, and views of pictures."""

"""Sets of pictures and their views."""

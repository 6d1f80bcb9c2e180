"""The comparison of heads on pictures."""

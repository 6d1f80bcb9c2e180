"""Results as files and as text."""

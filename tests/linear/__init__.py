"""The linear theory."""

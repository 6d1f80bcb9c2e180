"""All heads under one budget."""

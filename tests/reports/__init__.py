"""What reports say follows from their numbers."""

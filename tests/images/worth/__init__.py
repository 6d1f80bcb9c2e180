"""What features are worth: neighbours, probes, spectrum."""

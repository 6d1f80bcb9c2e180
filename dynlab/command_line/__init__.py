"""What the commands share: options, configuration, names."""

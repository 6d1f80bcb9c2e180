"""What all commands share: options and configuration."""

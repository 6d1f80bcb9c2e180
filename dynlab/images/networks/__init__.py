"""Networks of layers."""

"""Phase diagrams."""

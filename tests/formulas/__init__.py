"""The pure formulas, against 50 digits and definitions."""

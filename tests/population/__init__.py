"""The exact theory: order parameters, gradient, descent, moments, trajectories."""

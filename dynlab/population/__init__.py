"""The exact population theory: order parameters, gradient, flow, descent, invariants."""

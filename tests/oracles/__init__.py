"""Independent oracles of the population loss: 50 digits, quadrature, sampling; none imports dynlab."""

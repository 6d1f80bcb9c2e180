"""What the optimisers make of a gradient, in plain NumPy."""

import numpy as np


def moved(optimiser, memory, name, gradient, count):
    """What times the rate is taken off."""
    if optimiser == "sgd":
        return gradient
    if optimiser == "momentum":
        memory[name] = 0.9 * memory.get(name, 0.0) + gradient
        return memory[name]
    first, second = memory.get(name, (0.0, 0.0))
    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    memory[name] = first, second
    return first / (1 - 0.9**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)

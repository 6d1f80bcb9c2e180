"""Functions of single entries, forward and backward in pairs; all arrays of a call have one shape, out may be x."""

from __future__ import annotations

import numpy as np


def relu(x, out):
    """out = max(0, x)"""
    return np.maximum(x, 0.0, out=out)


def relu_backward(d_out, x, d_x):
    """d_x = d_out where x > 0; x may be what came in or what came out."""
    return np.multiply(d_out, x > 0.0, out=d_x)


def cube(x, out):
    """out = x^3"""
    np.multiply(x * x, x, out=out)
    return out


def cube_backward(d_out, x, d_x):
    """d_x = 3 x^2 d_out, x what came in."""
    np.multiply(3.0 * x * x, d_out, out=d_x)
    return d_x


def relu_cube(x, out):
    """out = max(0, x)^3"""
    return cube(np.maximum(x, 0.0), out)


def relu_cube_backward(d_out, x, d_x):
    """d_x = 3 max(0, x)^2 d_out, x what came in."""
    return cube_backward(d_out, np.maximum(x, 0.0), d_x)


def add(x, y, out):
    """out = x + y; out may be either."""
    return np.add(x, y, out=out)

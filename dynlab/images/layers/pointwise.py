"""Functions of single entries, forward and backward in pairs; the arrays of a call have one shape, out may be an input.

Where a result takes the place of an input, loops of their own say so: the compiler vectorises none whose arrays may overlap.
"""

from __future__ import annotations

from numba import prange

from dynlab.machine import jit

RELU, CUBE, RELU_CUBE = 0, 1, 2
CHUNK = 16384


@jit.parallel
def _forward(kind, x, out):
    zero = x.dtype.type(0)
    for task in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = task * CHUNK, min((task + 1) * CHUNK, len(x))
        for i in range(low, high):
            z = x[i]
            if kind != CUBE:
                z = zero if z <= zero else z
            out[i] = z if kind == RELU else z * z * z


@jit.parallel
def _backward(kind, d_out, x, d_x):
    zero, three = x.dtype.type(0), x.dtype.type(3)
    for task in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = task * CHUNK, min((task + 1) * CHUNK, len(x))
        for i in range(low, high):
            z = x[i]
            slope = d_out[i] if kind == RELU else three * z * z * d_out[i]
            d_x[i] = slope if kind == CUBE or z > zero else zero


@jit.parallel
def _relu_backward_in_place(x, d_x):
    zero = x.dtype.type(0)
    for task in prange((len(x) + CHUNK - 1) // CHUNK):
        for i in range(task * CHUNK, min((task + 1) * CHUNK, len(x))):
            d_x[i] = d_x[i] if x[i] > zero else zero


@jit.parallel
def _add(x, y, out):
    for task in prange((len(x) + CHUNK - 1) // CHUNK):
        for i in range(task * CHUNK, min((task + 1) * CHUNK, len(x))):
            out[i] = x[i] + y[i]


@jit.parallel
def _add_to(y, out):
    for task in prange((len(y) + CHUNK - 1) // CHUNK):
        for i in range(task * CHUNK, min((task + 1) * CHUNK, len(y))):
            out[i] += y[i]


def _apply(kind, x, out):
    _forward(kind, x.reshape(-1), out.reshape(-1))
    return out


def _apply_backward(kind, d_out, x, d_x):
    _backward(kind, d_out.reshape(-1), x.reshape(-1), d_x.reshape(-1))
    return d_x


def relu(x, out):
    """out = max(0, x)"""
    return _apply(RELU, x, out)


def relu_backward(d_out, x, d_x):
    """d_x = d_out where x > 0; x may be what came in or what came out."""
    if d_x is d_out:
        _relu_backward_in_place(x.reshape(-1), d_x.reshape(-1))
        return d_x
    return _apply_backward(RELU, d_out, x, d_x)


def cube(x, out):
    """out = x^3"""
    return _apply(CUBE, x, out)


def cube_backward(d_out, x, d_x):
    """d_x = 3 x^2 d_out, x what came in."""
    return _apply_backward(CUBE, d_out, x, d_x)


def relu_cube(x, out):
    """out = max(0, x)^3"""
    return _apply(RELU_CUBE, x, out)


def relu_cube_backward(d_out, x, d_x):
    """d_x = 3 max(0, x)^2 d_out, x what came in."""
    return _apply_backward(RELU_CUBE, d_out, x, d_x)


def add(x, y, out):
    """out = x + y; out may be either."""
    if out is x or out is y:
        _add_to((y if out is x else x).reshape(-1), out.reshape(-1))
    else:
        _add(x.reshape(-1), y.reshape(-1), out.reshape(-1))
    return out

"""Functions of single entries on a CUDA device: the twin of `dynlab.images.layers.pointwise`; a thread an entry."""

from __future__ import annotations

from dynlab.images.cuda.memory import flat, launch
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda

RELU, CUBE, RELU_CUBE = 0, 1, 2


def _forward(kind, x, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        zero = x.dtype.type(0)
        z = x[i]
        if kind != CUBE:
            z = zero if z <= zero else z
        out[i] = z if kind == RELU else z * z * z


def _backward(kind, d_out, x, d_x):
    i = cuda.grid(1)
    if i < x.shape[0]:
        zero, three = x.dtype.type(0), x.dtype.type(3)
        z = x[i]
        slope = d_out[i] if kind == RELU else three * z * z * d_out[i]
        d_x[i] = slope if kind == CUBE or z > zero else zero


def _add(x, y, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        out[i] = x[i] + y[i]


_kernel = gpu.kernel()
forward, backward, add_kernel = _kernel(_forward), _kernel(_backward), _kernel(_add)


def _apply(kind, x, out):
    launch(forward, x.size, kind, flat(x), flat(out))
    return out


def _apply_backward(kind, d_out, x, d_x):
    launch(backward, x.size, kind, flat(d_out), flat(x), flat(d_x))
    return d_x


def relu(x, out):
    """out = max(0, x)"""
    return _apply(RELU, x, out)


def relu_backward(d_out, x, d_x):
    """d_x = d_out where x > 0; x may be what came in or what came out."""
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
    launch(add_kernel, x.size, flat(x), flat(y), flat(out))
    return out

"""Whether a function is an activation of the family, and whether what is claimed of its moments is true.

The quadrature knows nothing of what kernels compute with: it integrates products of the given function over the plane in
polar coordinates, E f(z_1) g(z_2) = (1/2 pi) int int r exp(-r^2/2) f(r cos a) g(r cos(a - theta)) dr da, by Gauss-Laguerre
in u = r^2/2 (exact where f and g are of one degree) and Gauss-Legendre between the four angles at which an argument
changes sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dynlab.tools.checks import SettingError, real, require

TOLERANCE = 1e-10
CUTOFF = 14.0
POINTS = (0.7, 1.3, 4.0, 50.0, 0.1, 1e-3)
ANGLES = (0.0, 1e-4, 0.1, 0.7, 1.4, math.pi / 2, 2.0, 2.9, math.pi - 1e-4, math.pi)
_LAGUERRE = np.polynomial.laguerre.laggauss(12)
_LINE = np.polynomial.legendre.leggauss(100)
_LEGENDRE = np.polynomial.legendre.leggauss(30)


def called(name: str, function: Any, *arguments: float) -> float:
    """function(*arguments) as a float; SettingError in one line where that cannot be had."""
    require(callable(function), name, function, "a function")
    at = ", ".join(f"{x:.6g}" for x in arguments)
    try:
        value = float(function(*arguments))
    except Exception as error:  # whatever a user's function may raise is told in one line
        words = " ".join(str(error).split())
        raise SettingError(name, function, f"a function that works at ({at}): {type(error).__name__}: {words}") from None
    require(math.isfinite(value), name, value, f"a finite number, at ({at})")
    return value


def agree(name: str, given: float, right: float, size: float, source: str) -> None:
    """Refuse `given` unless it is `right` to TOLERANCE of `size`."""
    require(abs(given - right) <= TOLERANCE * size, name, given, f"{right:.15g}, {source}")


def check_function(function: Callable, degree: int, odd: bool | None, slope: Callable | None) -> bool:
    """Whether phi is odd; SettingError unless it is of that degree, 1 at 1, and odd or zero for z < 0."""
    one = called("function", function, 1.0)
    agree("function", one, 1.0, 1.0, "at z=1 (a factor changes no normalised output)")
    two = called("function", function, 2.0)
    found = math.log2(two) if two > 0.0 else math.nan
    require(abs(found - degree) <= TOLERANCE, "degree", degree, f"{found:.10g}, as function(2) = {two:.10g} says")
    left = called("function", function, -1.0)
    require(min(abs(left), abs(left + 1.0)) <= TOLERANCE, "function", left, "-1 (odd) or 0 (rectified), at z=-1")
    is_odd = left < -0.5
    require(odd is None or odd is is_odd, "odd", odd, f"{is_odd}, as function(-1) = {left:g} says")
    for z in POINTS:
        right = z**degree
        words = f"at z={z:g}, if it is homogeneous of degree {degree}"
        agree("function", called("function", function, z), right, right, words)
        mirrored = -right if is_odd else 0.0
        words = f"at z={-z:g}, if it is {'odd' if is_odd else 'zero for z < 0'}"
        agree("function", called("function", function, -z), mirrored, right, words)
    if slope is not None:
        _check_slope(slope, degree, is_odd)
    return is_odd


def _check_slope(slope: Callable, degree: int, odd: bool) -> None:
    for z in POINTS:
        right = degree * z ** (degree - 1)
        agree("slope", called("slope", slope, z), right, right, f"the derivative of function at z={z:g}")
        left = right if odd else 0.0
        agree("slope", called("slope", slope, -z), left, right, f"the derivative of function at z={-z:g}")


def product_moment(first: Callable[[float], float], second: Callable[[float], float], theta: float) -> float:
    """E first(z_1) second(z_2) of standard normals with correlation cos(theta), by quadrature on the definition."""
    kinks = sorted({x % (2 * math.pi) for x in (math.pi / 2, -math.pi / 2, theta + math.pi / 2, theta - math.pi / 2)})
    ends = [*kinks, kinks[0] + 2 * math.pi]
    total = 0.0
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        for node, weight in zip(*_LEGENDRE, strict=True):
            angle = low + (high - low) * (1 + node) / 2
            x, y = math.cos(angle), math.cos(angle - theta)
            radial = sum(w * first(r * x) * second(r * y) for r, w in _RADII)
            total += (high - low) / 2 * weight * radial
    return total / (2 * math.pi)


_RADII = [(math.sqrt(2 * u), w) for u, w in zip(*_LAGUERRE, strict=True)]


def mean_moment(function: Callable[[float], float]) -> float:
    """E function(z), z standard normal: Gauss-Legendre on either side of 0, to CUTOFF standard deviations."""
    nodes = zip(CUTOFF * (1 + _LINE[0]) / 2, CUTOFF / 2 * _LINE[1], strict=True)
    total = sum(w * math.exp(-z * z / 2) * (function(z) + function(-z)) for z, w in nodes)
    return total / math.sqrt(2 * math.pi)


def check_moments(function, degree, odd, slope, mean, covariance, cross) -> None:
    """SettingError at the first number of the claimed closed forms (None: not claimed) that quadrature does not confirm."""
    phi = _floats("function", function)
    right_mean = mean_moment(phi)
    scale = product_moment(phi, phi, 0.0)
    if mean is not None:
        words = "the mean of function(z), z standard normal, by quadrature"
        agree("mean", real("mean", mean), right_mean, math.sqrt(scale), words)
    rate = _floats("slope", slope) if slope is not None else _derivative(degree, odd)
    if covariance is not None:

        def right(theta):
            return product_moment(phi, phi, theta) - right_mean * right_mean

        _check_of_angle("covariance", covariance, right, "the covariance")
    if cross is not None:
        _check_of_angle("cross", cross, lambda theta: product_moment(rate, rate, theta), "the covariance's derivative by c")


def _check_of_angle(name, claimed, right, words) -> None:
    size = right(0.0)
    for theta in ANGLES:
        given = called(name, claimed, math.cos(theta), math.sin(theta), math.pi - theta)
        agree(name, given, right(theta), size, f"{words} at theta={theta:.6g}, by quadrature")


def _derivative(degree: int, odd: bool):
    return lambda z: degree * abs(z) ** (degree - 1) if odd or z > 0 else 0.0


def _floats(name, function):
    return lambda z: called(name, function, z)

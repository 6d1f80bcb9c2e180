"""Gaussian moments of activations by quadrature in Cartesian coordinates, on the definition.

Odd activations are polynomials, for which Gauss-Hermite rules are exact. Rectified ones have kinks, so the
rules are Gauss-Legendre on the wedge where both arguments are positive, cut off at 12 standard deviations.
"""

from __future__ import annotations

import math

import numpy as np

from tests.naive import ACTIVATIONS

_HERMITE = np.polynomial.hermite_e.hermegauss(20)
_LEGENDRE = np.polynomial.legendre.leggauss(100)
CUTOFF = 12.0


def _density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _interval(low, high):
    """Nodes and weights on [low, high]; the bounds may be arrays, the nodes are along a last, new axis."""
    low, high = np.asarray(low, float)[..., None], np.asarray(high, float)[..., None]
    return (high + low) / 2 + (high - low) / 2 * _LEGENDRE[0], (high - low) / 2 * _LEGENDRE[1]


def mean(activation: str, deviation: float) -> float:
    """E phi(deviation x), x a standard normal."""
    _, degree, odd = ACTIVATIONS[activation]
    if odd:
        nodes, weights = _HERMITE
        return float(np.sum(weights * (deviation * nodes) ** degree) / np.sum(weights))
    nodes, weights = _interval(0.0, CUTOFF)
    return float(np.sum(weights * _density(nodes) * (deviation * nodes) ** degree))


def moment(activation: str, deviation_1: float, deviation_2: float, angle: float) -> float:
    """E phi(u) phi(v) for centred u, v of the given standard deviations and correlation cos(angle).

    With x, y independent standard normals, u = deviation_1 x and v = deviation_2 (x cos angle + y sin angle).
    For rectified phi the angle must stay 0.1 away from 0 and pi, or the wedge is too thin for the rule.
    """
    _, degree, odd = ACTIVATIONS[activation]
    c, s = math.cos(angle), math.sin(angle)
    if odd:
        nodes, weights = _HERMITE
        x, y = nodes[:, None], nodes[None, :]
        weight = weights[:, None] * weights[None, :] / np.sum(weights) ** 2
    else:
        x, weight_x = _interval(0.0, CUTOFF)
        y, weight_y = _interval(np.clip(-x * c / s, -CUTOFF, CUTOFF), CUTOFF)
        x = x[:, None]
        weight = weight_x[:, None] * weight_y * _density(x) * _density(y)
    return float(np.sum(weight * (deviation_1 * x) ** degree * (deviation_2 * (x * c + y * s)) ** degree))

"""Numbers of about 32 digits: unevaluated sums of two float64 (Dekker 1971; Knuth, TAOCP 2, 4.2.2).

For the few evaluations of a formula where float64 does not hold the digits: the formulas are undecorated and
run with these numbers in Python. Errors are a few times 2^-104 relative; overflow and underflow are those of
float64.
"""

from __future__ import annotations

import math
from types import FunctionType

import numpy as np

SPLITTER = 2.0**27 + 1.0


def _two_sum(a: float, b: float) -> tuple[float, float]:
    """a + b exactly, as the rounded sum and its error."""
    total = a + b
    shared = total - a
    return total, (a - (total - shared)) + (b - shared)


def _two_product(a: float, b: float) -> tuple[float, float]:
    """a * b exactly, as the rounded product and its error."""
    product = a * b
    x, y = SPLITTER * a, SPLITTER * b
    a_high, b_high = x - (x - a), y - (y - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


class TwoFloat:
    """real + low with |low| <= ulp(real)/2; arithmetic with floats and with each other."""

    __slots__ = ("low", "real")
    __array_ufunc__ = None  # numpy's scalars leave the arithmetic to this class

    def __init__(self, high, low=0.0):
        self.real, self.low = _two_sum(float(high), float(low))

    def __float__(self):
        return self.real

    def __neg__(self):
        return TwoFloat(-self.real, -self.low)

    def __add__(self, other):
        high, low = _parts(other)
        total, error = _two_sum(self.real, high)
        rest, rest_error = _two_sum(self.low, low)
        total, error = _two_sum(total, error + rest)
        return TwoFloat(total, error + rest_error)

    __radd__ = __add__

    def __sub__(self, other):
        high, low = _parts(other)
        return self + TwoFloat(-high, -low)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        high, low = _parts(other)
        product, error = _two_product(self.real, high)
        return TwoFloat(product, error + (self.real * low + self.low * high))

    __rmul__ = __mul__

    def __truediv__(self, other):
        other = other if isinstance(other, TwoFloat) else TwoFloat(other)
        quotient = self.real / other.real
        rest = self - other * quotient
        second = rest.real / other.real
        rest = rest - other * second
        return TwoFloat(quotient, second) + rest.real / other.real

    def __rtruediv__(self, other):
        return TwoFloat(other) / self

    def __lt__(self, other):
        return (self - other).real < 0.0

    def __gt__(self, other):
        return (self - other).real > 0.0

    def __abs__(self):
        return abs(self.real)

    def __pow__(self, power):
        if power != 0.5:
            return NotImplemented
        return self.sqrt() if self.real > 0.0 else TwoFloat(0.0)

    def sqrt(self):
        """Square root of a positive number: one Newton step doubles the digits."""
        root = math.sqrt(self.real)
        return TwoFloat(root) + (self - TwoFloat(root) * root).real / (2.0 * root)


def _parts(number) -> tuple[float, float]:
    return (number.real, number.low) if isinstance(number, TwoFloat) else (float(number), 0.0)


def two_floats(array) -> np.ndarray:
    """Array of the same shape holding TwoFloat."""
    return np.frompyfunc(TwoFloat, 1, 1)(np.asarray(array, dtype=object))


PI = TwoFloat(math.pi, 1.2246467991473532e-16)
HALVINGS, TERMS = 8, 10


def sine_cosine(angle: TwoFloat) -> tuple[TwoFloat, TwoFloat]:
    """sin and cos: Taylor series of the angle halved eight times, then doubled back; |angle| up to about pi."""
    x = angle * 0.5**HALVINGS
    square = x * x
    sine, versed = TwoFloat(0.0), TwoFloat(0.0)
    term, odd = square * 0.5, x
    for k in range(1, TERMS):
        # term = (-1)^(k+1) x^(2k)/(2k)!, versed = 1 - cos x; odd = (-1)^(k+1) x^(2k-1)/(2k-1)!
        versed, sine = versed + term, sine + odd
        odd = -(odd * square) / float(2 * k * (2 * k + 1))
        term = -(term * square) / float((2 * k + 1) * (2 * k + 2))
    for _ in range(HALVINGS):
        versed, sine = versed * (4.0 - versed * 2.0), sine * (1.0 - versed) * 2.0
    return sine, 1.0 - versed


def arc_tangent(y: TwoFloat, x: TwoFloat) -> TwoFloat:
    """atan2(y, x), relatively accurate: one correction of the float64 angle by the sine of what it misses."""
    guess = math.atan2(y.real, x.real)
    if guess == 0.0 or not math.isfinite(guess) or x.real == y.real == 0.0:
        return TwoFloat(guess)
    sine, cosine = sine_cosine(TwoFloat(guess))
    size = (x * x + y * y).sqrt()
    return TwoFloat(guess) + (y * cosine - x * sine) / size


def _any_sqrt(x):
    return x.sqrt() if isinstance(x, TwoFloat) else TwoFloat(float(x)).sqrt() if x > 0 else TwoFloat(0.0)


def extended(*modules) -> dict:
    """Copies of the functions of undecorated formula modules that compute with PI and roots of twice the digits, by name.

    Calls between the modules go to the copies; later modules see the names of earlier ones.
    """
    made: dict = {}
    copies: dict = {}
    for module in modules:
        space = dict(vars(module))
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value in copies:
                space[name] = copies[value]
        space |= {name: better for name, better in (("sqrt", _any_sqrt), ("pi", PI)) if name in space}
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                copies[value] = space[name] = made[name] = FunctionType(value.__code__, space, name, value.__defaults__)
    return made

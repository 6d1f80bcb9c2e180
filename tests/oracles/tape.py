"""Reverse-mode differentiation on mpmath numbers: each operation records its parents and its partials."""

from __future__ import annotations

from mpmath import mp, mpf


class Node:
    """A number that remembers how it was computed. `parents` is a tuple of (node, partial derivative)."""

    __slots__ = ("adjoint", "parents", "tape", "value")

    def __init__(self, value, tape: list[Node], parents=()):
        self.value, self.parents, self.tape, self.adjoint = value, parents, tape, None
        tape.append(self)

    def __add__(self, other):
        if isinstance(other, Node):
            return Node(self.value + other.value, self.tape, ((self, None), (other, None)))
        return Node(self.value + other, self.tape, ((self, None),))

    __radd__ = __add__

    def __neg__(self):
        return Node(-self.value, self.tape, ((self, mpf(-1)),))

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return (-self) + other

    def __mul__(self, other):
        if isinstance(other, Node):
            return Node(self.value * other.value, self.tape, ((self, other.value), (other, self.value)))
        return Node(self.value * other, self.tape, ((self, other),))

    __rmul__ = __mul__

    def __pow__(self, power: int):
        slope = self.value ** (power - 1)
        return Node(slope * self.value, self.tape, ((self, power * slope),))


def value_of(x):
    """The number behind a node, or the number itself."""
    return x.value if isinstance(x, Node) else x


def record(value, *partials):
    """`value` as a node if any of the pairs (argument, partial derivative) holds one, else as a number."""
    parents = tuple((x, slope) for x, slope in partials if isinstance(x, Node))
    return Node(value, parents[0][0].tape, parents) if parents else value


def sqrt(x):
    """Square root, positive argument."""
    root = mp.sqrt(value_of(x))
    return record(root, (x, 1 / (2 * root)))


def inverse_sqrt(x):
    """x^(-1/2), positive argument."""
    value = value_of(x)
    root = 1 / mp.sqrt(value)
    return record(root, (x, -root / (2 * value)))


def dot(coefficients, terms):
    """Sum of products, as one node; any of the factors may be a node."""
    total, parents, tape = mpf(0), [], None
    for a, b in zip(coefficients, terms, strict=True):
        x, y = value_of(a), value_of(b)
        total += x * y
        if isinstance(a, Node):
            parents.append((a, y))
            tape = a.tape
        if isinstance(b, Node):
            parents.append((b, x))
            tape = b.tape
    return Node(total, tape, tuple(parents)) if parents else total


def differentiate(result: Node, absolute: bool = False) -> None:
    """Set the adjoint of every node to d result / d node, in one sweep back over the tape.

    With `absolute` the derivative's terms, one for every path from the node to the result, are added as absolute values:
    what rounding each of them by an ulp can make of the sum, in ulps.
    """
    zero = mpf(0)
    for node in result.tape:
        node.adjoint = zero
    result.adjoint = mpf(1)
    for node in reversed(result.tape):
        weight = node.adjoint
        if weight:
            for parent, slope in node.parents:
                term = weight if slope is None else weight * slope
                parent.adjoint += abs(term) if absolute else term

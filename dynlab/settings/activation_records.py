"""The activations by name: small records of what the theory needs to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi

from dynlab.formulas.activations import (
    CUBIC,
    LINEAR,
    RELU,
    RELU3,
    cubic,
    cubic_slope,
    linear,
    linear_slope,
    mean_factor,
    pair_covariance,
    relu,
    relu3,
    relu3_slope,
    relu_slope,
)
from dynlab.tools.checks import SettingError, require


@dataclass(frozen=True)
class ActivationRecord:
    """What the theory needs to know of an activation.

    Equal if they are one function under one name, whatever code computes it: that is name, degree and odd.

    name: as in `Model(activation=...)`. kind: the number by which compiled code tells it. function, slope:
    phi and phi'. degree: q of phi(lambda z) = lambda^q phi(z). odd: phi(-z) = -phi(z), else phi(z) = 0 for z
    < 0.
    """

    name: str
    kind: int = field(compare=False)
    function: Callable = field(compare=False)
    slope: Callable = field(compare=False)
    degree: int
    odd: bool

    def moments(self, sigma, norm_1, norm_2, angle):
        """Return (mu_1, mu_2, q_12 = E phi(z_1) phi(z_2)) for two norms and the angle between the noise
        parts.

        Plain Python, for reading and testing; sigma is the noise's standard deviation per direction.
        """
        from math import cos, sin

        k = norm_1 * norm_2
        mu_1 = mean_factor(self.kind, sigma) * norm_1**self.degree
        mu_2 = mean_factor(self.kind, sigma) * norm_2**self.degree
        covariance, _ = pair_covariance(self.kind, sigma, k, k * cos(angle), k * sin(angle), pi - angle)
        return mu_1, mu_2, covariance + mu_1 * mu_2


class Known(dict):
    """Activations by name; a name that is not known here is told in one line (a model may come from another process)."""

    def __missing__(self, name):
        raise SettingError("activation", name, "one of " + ", ".join(self) + ", or registered first")


# Those that are registered (`dynlab.settings.registration`) join them; BUILT_IN stays what it is.
ACTIVATIONS = Known(
    {
        "relu": ActivationRecord("relu", RELU, relu, relu_slope, 1, False),
        "cubic": ActivationRecord("cubic", CUBIC, cubic, cubic_slope, 3, True),
        "relu3": ActivationRecord("relu3", RELU3, relu3, relu3_slope, 3, False),
        "linear": ActivationRecord("linear", LINEAR, linear, linear_slope, 1, True),
    }
)

BUILT_IN = tuple(ACTIVATIONS)


def definition(name):
    """What a registered activation is, as z^5 or max(0, z)^2; None for a built-in one, whose name says it."""
    record = ACTIVATIONS[name]
    if name in BUILT_IN:
        return None
    plain = f"z^{record.degree}" if record.degree % 2 else f"sign(z) |z|^{record.degree}"
    return plain if record.odd else f"max(0, z)^{record.degree}"


def require_built_in(name, where):
    """SettingError for an activation that is registered, where only the built-in ones are known."""
    require(name in BUILT_IN, "activation", name, f"one of {', '.join(BUILT_IN)} {where}")

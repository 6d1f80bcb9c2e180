"""The bilinear forms P, R and T of `dynlab.formulas.components` and `dynlab.formulas.objective` on vectors, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import masks
from dynlab.settings.activation_records import ACTIVATIONS

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


def state_roots(model: Model) -> np.ndarray:
    """The root weights (N,) of the feature states, see `components`: K for an odd activation, else 2K."""
    return np.repeat(model.root_weights, 1 if ACTIVATIONS[model.activation].odd else 2)


class BilinearForms:
    """The bilinear forms P and R of a model, on vectors X of raw components."""

    def __init__(self, model: Model) -> None:
        same, across, self.patches, *self.factors = masks.count_moments(
            model.patches, model.feature_patches, model.mask == "half"
        )
        self.odd = ACTIVATIONS[model.activation].odd
        self.roots = state_roots(model)
        self.count = len(self.roots)
        self.a, self.b = same / self.count, across / self.count
        # (E N1)^2/N as one number: for two feature patches its parts cancel in b exactly.
        self.square = 0.5 * (self.a + self.b)

    def _spread(self, x: Array) -> tuple[Array, Array]:
        """Mean t and y = s1 t + s2 mu."""
        t = (self.roots * x[: self.count]).mean()
        return t, self.factors[0] * t + self.factors[1] * x[-1]

    def same(self, x: Array, z: Array) -> float:
        """x^T P z."""
        if self.odd:
            return self.a * float(x @ z)
        (t, y), (t_z, y_z) = self._spread(x), self._spread(z)
        centred = (x[: self.count] - self.roots * t) @ (z[: self.count] - self.roots * t_z)
        return float(self.a * centred + y * y_z + self.factors[2] ** 2 * x[-1] * z[-1])

    def apply_across(self, x: Array) -> Array:
        """R x."""
        if self.odd:
            return self.b * x
        t, y = self._spread(x)
        s1, s2, s3 = self.factors
        states = self.b * x[:-1] - self.roots * (self.square * t + s1 * s2 * x[-1] / self.count)
        return np.append(states, -(s2 * y + s3**2 * x[-1]))

    def turn(self, x: Array, f: Array) -> Array:
        """T(x, f), antisymmetric, of the size of x; what cancels in (R x)(P f)^T - (P f)(R x)^T is left out."""
        ab = self.a * self.b
        if self.odd:
            return ab * (np.outer(x, f) - np.outer(f, x))
        (t_x, y_x), (t_f, y_f) = self._spread(x), self._spread(f)
        s1, s2, s3 = self.factors
        states_x, states_f = x[:-1], f[:-1]
        roots = self.roots
        d = np.outer(states_x, states_f) - np.outer(states_f, states_x)
        inner = ab * (d + _against(roots, (roots * d).mean(1)))
        inner -= self.b * s1 / self.count * y_f * _against(roots, states_x)
        inner -= self.a * s1 / self.count * y_x * _against(roots, states_f)
        t_x, t_f = roots * t_x, roots * t_f
        edge = s2 * (self.b * y_f * (states_x - t_x) + self.a * y_x * (states_f - t_f))
        edge += s3**2 * (f[-1] * (self.b * states_x - self.square * t_x) + x[-1] * (self.a * states_f - self.square * t_f))
        return np.block([[inner, edge[:, None]], [-edge[None, :], np.zeros((1, 1))]])


def _against(roots: Array, x: Array) -> Array:
    """c x^T - x c^T (N, N), c the root weights."""
    return np.outer(roots, x) - np.outer(x, roots)

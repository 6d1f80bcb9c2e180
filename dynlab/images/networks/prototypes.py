r"""DINO's last layer (Caron et al. 2021): outputs are the cosines of z with `count` directions, the prototypes.

    F_k = <v_k/|v_k|, z/|z|>

so z is its bottleneck, and the weights are normed ("weight norm" with a gain of 1, which is not trained). With y = z/|z| and
u_k = v_k/|v_k|: dL/dy = dF u and dL/du = dF^T y, each taken on to z and v by the part across y or u over the length.
"""

from __future__ import annotations

import numpy as np

from dynlab.images.networks.network import start_values
from dynlab.tools.checks import integer

STREAM = 3  # of the random numbers of `dynlab.images.networks.network`, where prototypes start


class Prototypes:
    """The layer as the trainer uses a head (`dynlab.images.networks.head`): outputs (n, count) of z (n, m).

    parameters (count m,): v, row by row, uniform in +-1/sqrt(m) at the start, as a linear layer's. All of it decays.
    """

    trains = True
    rule = "prototypes"

    def __init__(self, count: int, inputs: int, ops, dtype: str = "float32", seed: int = 0):
        count, m = integer("prototypes", count, at_least=2), inputs
        self.ops, self.outputs, self.inputs = ops, count, m
        first = start_values("uniform", m**-0.5, count * m, seed, STREAM, 0).astype(dtype)
        self.parameters, self.gradients = ops.to_device(first), ops.zeros((count * m,), dtype)
        self.decays = ops.to_device(np.ones(count * m, np.uint8))
        self.segments = [("prototypes", 0, count * m, (count, m))]
        self.matrix, self._d_matrix = self.parameters.reshape(count, m), self.gradients.reshape(count, m)
        self._directions, self._d_directions = (ops.empty((count, m), dtype) for _ in range(2))
        self._sizes = ops.empty((count,), dtype)
        self._unit, self._d_unit, self._lengths = None, None, None

    def forward(self, z, out):
        """out (n, count) = F of z (n, m)."""
        ops, rows = self.ops, z.shape[0]
        if self._unit is None or self._unit.shape[0] != rows:
            self._unit, self._d_unit = (ops.empty((rows, self.inputs), str(z.dtype)) for _ in range(2))
            self._lengths = ops.empty((rows,), str(z.dtype))
        ops.unit_length(z, self._unit, self._lengths)
        ops.unit_length(self.matrix, self._directions, self._sizes)
        return ops.matmul(self._unit, self._directions, out, transpose_b=True)

    def backward(self, d_out, z, d_z):
        """Fill d_z (n, m) and `gradients` from d_out (n, count), after `forward` of this z."""
        ops = self.ops
        ops.matmul(d_out, self._unit, self._d_directions, transpose_a=True)
        ops.unit_length_backward(self._d_directions, self._directions, self._sizes, self._d_matrix)
        ops.matmul(d_out, self._directions, self._d_unit)
        return ops.unit_length_backward(self._d_unit, self._unit, self._lengths, d_z)

    def prepare(self, z) -> None:
        """Nothing: every weight follows its gradient."""

    def save(self) -> dict[str, np.ndarray]:
        """The weights as host arrays."""
        return {"parameters": self.ops.to_host(self.parameters)}

    def load(self, saved) -> None:
        """Go on from what `save` returned."""
        self.ops.copy(self.ops.to_device(saved["parameters"]), self.parameters)

    def norm_and_asymmetry(self) -> tuple[float, float]:
        """(nan, nan): these are no head between outputs."""
        return float("nan"), float("nan")

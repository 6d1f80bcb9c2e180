r"""Outputs of a batch that sum over hidden units, and the way back through their readout.

A pass over samples (`dynlab.samples.kernels`) knows rows of weights alone: with M hidden units in place of m neurons it
gives the units' sums u (n, C_u), a column for every row of the weights that looks at a view. They stand in blocks of M, each
read by the readout a (m, M) of the online side or of the target's, so that with R (C, C_u), block-diagonal in these,

    z = u R^T    are the outputs (n, C), in the order in which neurons without hidden units stand.

The loss is the same function of z (`dynlab.samples.objective`), and by the chain rule

    dL/du(s) = R^T dL/dz(s),        dL/da_jh = sum_s dL/dz_j(s) u_h(s)    over the blocks that the online readout reads.

Where dL/dz is linear in z, so is dL/du in u: with dL/dz(s) = [c + L z(s)]/n it is [R^T c + R^T L R u(s)]/n, which is what a
gradient in one pass combines its sums with. A unit that is silent on all of the batch has u = 0 there and nothing divides by
it: its gradients are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.order_parameters import own_units
from dynlab.samples.objective import Moments, Slope

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


@dataclass(frozen=True)
class HiddenLayer:
    """sums (n, C_u) of the units over the batch; readouts: of every block of their columns the readout (m, M) that reads it,
    and whether that is the online side's.

    Sums over samples go one after another, so that no result depends on the number of threads.
    """

    sums: np.ndarray
    readouts: tuple[tuple[np.ndarray, bool], ...]

    @classmethod
    def of(cls, sums: Array, first: Array, readout: Array, target_readout: Array | None) -> HiddenLayer:
        """first: of `dynlab.samples.gradient.Layout` for the units. target_readout: None where it is the online side's."""
        units = readout.shape[1]
        blocks = [int(low) // units + k for low, count in first for k in range(int(count) // units)]
        behind = readout if target_readout is None else target_readout
        return cls(sums, tuple((readout if block == 0 else behind, block == 0) for block in blocks))

    def outputs(self) -> np.ndarray:
        """z (n, C)."""
        return np.hstack([np.einsum("su,ju->sj", sums, readout) for sums, readout, _ in self._blocks()])

    def matrix(self) -> np.ndarray:
        """R (C, C_u)."""
        m, units = self.readouts[0][0].shape
        whole = np.zeros((m * len(self.readouts), units * len(self.readouts)))
        for k, (readout, _) in enumerate(self.readouts):
            whole[k * m : (k + 1) * m, k * units : (k + 1) * units] = readout
        return whole

    def slope_of_sums(self, slope: Slope, moments: Moments) -> tuple[Slope, Moments]:
        """dL/du as a slope about the mean 0, from dL/dz as one about the mean of `moments`."""
        whole = self.matrix()
        const = np.array([slope.const[c] - slope.linear[c] @ moments.mean for c in range(len(whole))])
        none = np.zeros(whole.shape[1])
        return Slope(const @ whole, whole.T @ slope.linear @ whole, slope.head), Moments(none, np.empty((0, 0)))

    def back(self, d_z: Array) -> np.ndarray:
        """dL/du (n, C_u) from dL/dz (n, C)."""
        m = len(self.readouts[0][0])
        parts = [d_z[:, k * m : (k + 1) * m] for k in range(len(self.readouts))]
        return np.hstack(
            [np.einsum("sj,ju->su", part, readout) for part, (readout, _) in zip(parts, self.readouts, strict=True)]
        )

    def d_readout(self, model: Model, d_z: Array) -> np.ndarray:
        """dL/da (m, M), 0 where the readout is not in use."""
        m = model.neurons
        total = np.zeros((m, model.units))
        for k, (sums, _, online) in enumerate(self._blocks()):
            if online:
                total += np.einsum("sj,su->ju", d_z[:, k * m : (k + 1) * m], sums)
        return np.where(own_units(model), total, 0.0)

    def _blocks(self) -> list[tuple[np.ndarray, np.ndarray, bool]]:
        """Sums, readout and side of every block."""
        units = self.readouts[0][0].shape[1]
        return [(self.sums[:, k * units : (k + 1) * units], *block) for k, block in enumerate(self.readouts)]

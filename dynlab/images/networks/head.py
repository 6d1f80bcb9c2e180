r"""The prediction head between the encoder's outputs z and the online outputs F, on pictures.

`MatrixHead`: F = z E^T with the rules of `dynlab.formulas.head_rules`, which are also the theory's. From dF: dz = dF E and
dE = dF^T z, projected on what the rule follows; entries that follow nothing (the diagonal of "off-diagonal") have gradient
zero and a zero in `decays`, so that no optimiser here moves them by a bit. `MlpHead`: linear, batch norm, relu, linear.

Both have `parameters`, `gradients` (P,), `decays` (P,) uint8, `segments`, forward(z, out), backward(d_out, z, d_z),
prepare(z), norm_and_asymmetry(), and save() and load(saved) for checkpoints, parameters included.
"""

from __future__ import annotations

import numpy as np

from dynlab.formulas import head_rules
from dynlab.images.layers.dense import matmul
from dynlab.images.networks.encoders import projector
from dynlab.images.networks.network import Network, start_values
from dynlab.images.networks.rotations import psd_spectrum
from dynlab.images.settings import HEAD_STARTS, PICTURE_HEADS
from dynlab.population import head_matrices
from dynlab.population.head_matrices import FROM_CORRELATION, moving_correlation
from dynlab.tools.checks import choice, integer, real, require

STREAM = 2  # of the random numbers of `dynlab.images.networks.network`, where a head starts


class MatrixHead:
    """E (m, m), flat and row by row in `parameters`: F_j = sum_r E_jr z_r.

    start: "identity", or "random" (linear heads only), entries N(0, 1/m) from `seed`. rho and eps are those of DirectPred
    and DirectCopy, whose E is set by `prepare`; until then it is the identity. every: it is set in each such step only, and
    follows its gradient, all entries, in between (Tian, Chen & Ganguli's code; the average goes on in every step).
    """

    def __init__(
        self, rule: str, outputs: int, ops, dtype="float32", start="identity", seed=0, rho=head_rules.RHO, eps=0.1, every=1
    ):  # fmt: skip
        choice("head", rule, head_rules.MATRIX_HEADS)
        choice("head_start", start, HEAD_STARTS)
        free = rule in ("linear", "symmetric")
        require(start == "identity" or free, "head_start", start, f'"identity" with head {rule!r}')
        self.rule, self.number = rule, head_rules.rule_number(rule)
        self.outputs, self.ops = integer("outputs", outputs, at_least=1), ops
        self.every, self.count = integer("every", every, at_least=1), 0
        self.rho, self.eps = real("rho", rho, at_least=0.0, at_most=1.0), real("eps", eps, at_least=0.0)
        m = outputs
        self.parameters = ops.to_device(first_matrix(m, rule, start, seed).astype(dtype).ravel())
        self.gradients = ops.zeros((m * m,), dtype)
        self._slope = head_rules.rule_number("linear") if self.every > 1 else self.number
        entries = [[head_rules.trains(self._slope, j, r) for r in range(m)] for j in range(m)]
        self.decays = ops.to_device(np.array(entries, np.uint8).ravel())
        self.segments = [("E", 0, m * m, (m, m))]
        self.matrix, self._d_matrix = self.parameters.reshape(m, m), self.gradients.reshape(m, m)
        self.correlation: np.ndarray | None = None

    @property
    def trains(self) -> bool:
        """Whether an optimiser has anything to do."""
        return self.rule in head_rules.TRAINED or self.every > 1

    def forward(self, z, out):
        """out (n, m) = F of z (n, m), another array."""
        if self.rule == "none":
            return self.ops.copy(z, out)
        return self.ops.matmul(z, self.matrix, out, transpose_b=True)

    def backward(self, d_out, z, d_z):
        """Fill d_z (n, m) and `gradients` from d_out (n, m), another array."""
        if self.trains:
            self.ops.matmul(d_out, z, self._d_matrix, transpose_a=True)
            self.ops.project_head_gradient(self._slope, self._d_matrix)
        if self.rule == "none":
            return self.ops.copy(d_out, d_z)
        return self.ops.matmul(d_out, self.matrix, d_z)

    def prepare(self, z) -> None:
        """Set E from the moving correlation of z (n, m), where that is the rule; called before `forward` of every step.

        So E knows the batch that it is applied to, as in `dynlab.samples`.
        """
        if self.rule not in FROM_CORRELATION:
            return
        held = np.asarray(self.ops.to_host(z), np.float64)  # its squares need not be numbers of z's type
        now = matmul(held, held, np.empty(self.matrix.shape), transpose_a=True) / len(held)
        self.correlation = moving_correlation(self.correlation, now, self.rho)
        due, self.count = self.count % self.every == 0, self.count + 1
        if not due:
            return
        made = head_from_correlation(self.rule, self.correlation, self.eps)
        self.ops.copy(self.ops.to_device(made.astype(self.parameters.dtype)), self.matrix)

    def save(self) -> dict[str, np.ndarray]:
        """E and, where there is one, the moving correlation, as host arrays."""
        saved = {"parameters": self.ops.to_host(self.parameters)}
        if self.every > 1:
            saved["count"] = np.array(self.count)
        return saved if self.correlation is None else saved | {"correlation": self.correlation.copy()}

    def load(self, saved) -> None:
        """Go on from what `save` returned."""
        self.ops.copy(self.ops.to_device(saved["parameters"]), self.parameters)
        self.correlation = np.array(saved["correlation"]) if "correlation" in saved else None
        self.count = int(saved["count"]) if "count" in saved else 0

    def norm_and_asymmetry(self) -> tuple[float, float]:
        """||off-diag(E)||_F and ||E - E^T||_F/||off-diag(E)||_F, as the paper plots them."""
        return head_matrices.norm_and_asymmetry(self.ops.to_host(self.matrix))


def first_matrix(outputs: int, rule: str, start: str, seed: int) -> np.ndarray:
    """Where E starts; a random start of "symmetric" is the symmetric part."""
    if start == "identity":
        return np.eye(outputs)
    made = start_values("normal", outputs**-0.5, outputs * outputs, seed, STREAM, 0).reshape(outputs, outputs)
    return 0.5 * (made + made.T) if rule == "symmetric" else made


def head_from_correlation(rule: str, correlation, eps: float) -> np.ndarray:
    """`dynlab.population.head_matrices.from_correlation` by faster rotations; nan for what is not finite, eps I where
    nothing is."""
    if not np.isfinite(correlation).all():  # a run that diverged says so by its loss
        return np.full_like(correlation, np.nan)
    values, vectors = psd_spectrum(correlation)
    largest = values[-1]
    eye = eps * np.eye(len(values))
    if not largest > 0.0:  # all outputs vanish: nothing is known of their correlation
        return eye
    if rule == "directcopy":
        return correlation / largest + eye
    share = values / largest
    roots = np.sqrt(np.where(share > head_rules.RESOLVED, share, 0.0))
    return np.einsum("jk,rk->jr", vectors * roots, vectors) + eye


class MlpHead:
    """Linear, batch norm, relu, linear, of `hidden` units, with batch statistics of each view by itself.

    It is never evaluated, so its running statistics are of no use.
    """

    trains = True
    rule = "mlp"

    def __init__(self, outputs: int, ops, dtype="float32", hidden=None, seed=0):
        hidden = integer("hidden", outputs if hidden is None else hidden, at_least=1)
        self.ops, self.outputs = ops, outputs
        self.network = Network(projector((hidden, outputs)), (outputs,), ops, dtype)
        self.network.initialise(seed, STREAM)
        self.parameters, self.gradients = self.network.parameters, self.network.gradients
        self.decays, self.segments = self.network.decays, self.network.segments

    def forward(self, z, out):
        """out (2B, m) = F of z (2B, m)."""
        return self.ops.copy(self.network.forward(z, groups=2), out)

    def backward(self, d_out, z, d_z):
        """Fill d_z (2B, m) and `gradients` from d_out (2B, m), after `forward` of this z."""
        return self.ops.copy(self.network.backward(d_out, need_input_gradient=True), d_z)

    def prepare(self, z) -> None:
        """Nothing: every weight follows its gradient."""

    def save(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics as host arrays."""
        return {name: self.ops.to_host(getattr(self.network, name)) for name in ("parameters", "buffers")}

    def load(self, saved) -> None:
        """Go on from what `save` returned."""
        for name in ("parameters", "buffers"):
            self.ops.copy(self.ops.to_device(saved[name]), getattr(self.network, name))

    def norm_and_asymmetry(self) -> tuple[float, float]:
        """(nan, nan): there is no one matrix."""
        return float("nan"), float("nan")


def make(rule: str, outputs: int, ops, dtype="float32", **settings) -> MatrixHead | MlpHead:
    """The head of that rule; settings: those of its class."""
    choice("head", rule, PICTURE_HEADS)
    if rule == "mlp":
        return MlpHead(outputs, ops, dtype, **settings)
    return MatrixHead(rule, outputs, ops, dtype, **settings)

r"""The loss and the exact gradient of one minibatch.

The batch is cut into `CHUNKS` runs of samples, whatever the number of threads; each is one pass
(`dynlab.samples.kernels`), and their sums are added in the order of the chunks. So results are the same bits for any
number of threads. Memory: O(batch m) for the outputs and O(d m^2) for the sums (O(d m) where the pass is made twice),
times the number of chunks; never patches of a batch.

Where neurons have hidden units a pass is over the M units in place of m neurons, and `dynlab.samples.hidden_layer` is
between their sums and the loss.

**Bias.** Normalisation divides by statistics of the batch, so the mean over batches of the gradient g_B is not the
population's g: g_B is a smooth function of sample means (of f, f f^T, f' X ...), whose errors are O(batch^(-1/2)) with
mean zero, so that by Taylor

    E g_B = g + b/batch + O(batch^-2),

b being half the trace of the second derivatives times the covariance of one sample. 2 E g_2B - E g_B (Richardson) has no
such term.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import head_rules
from dynlab.machine import rng
from dynlab.population.head_matrices import FROM_CORRELATION, from_correlation, moving_correlation
from dynlab.population.order_parameters import onto_axes, signals_of
from dynlab.samples import kernels, objective
from dynlab.samples.hidden_layer import HiddenLayer
from dynlab.settings.model import without_bias
from dynlab.settings.training import Training
from dynlab.tools import show
from dynlab.tools.checks import choice, integer, memory, require, threads

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

COPIES = 16  # of the weights that a step holds at the least: memory of the optimiser, gradients, sums of the chunks
CHUNKS = 16
# Type, normals of a block, and how many blocks are drawn at once (the last of a patch may be left over).
PRECISIONS = {"float64": (np.float64, 2, 8), "float32": (np.float32, 4, 16)}
MOST_SUMS = 40  # vectors summed in one pass; with more the pass is made twice, which draws the online views' patches again
SMALL = 512  # samples of a batch below which threads cost more than they save
NO_BASIS = np.empty((0, 0))
NOT_FINITE = "the loss or its gradient is not finite"
TILE = 2  # samples whose patches are kept together for the sums


@dataclass(frozen=True)
class Layout:
    """Where outputs stand in z (n, C), and which sides train.

    first (2, 2): of each view the first row of the weights (online, then the target's) that looks at it, and how many.
    trains (2,): views through which gradients flow. directions: (columns of the online side, of the target's side), one or
    two.
    """

    first: np.ndarray
    trains: np.ndarray
    directions: tuple
    columns: int

    @classmethod
    def of(cls, training: Training, m: int) -> Layout:
        average, both = training.target == "average", training.symmetric
        rows = 2 * m if average and both else m
        goal = m if average and not both else 0
        first = np.array([[0, rows], [goal, rows]])
        online, behind = np.arange(m), rows - m + np.arange(m)
        directions = [(online, rows + behind)]
        if both:
            directions.append((rows + online, behind))
        forward = training.stop_gradient != "online"
        backward, apart = training.stop_gradient != "target", training.decorrelation > 0.0
        trains = np.array([forward or apart or (both and backward), backward or (both and (forward or apart))], np.int64)
        return cls(first, trains, tuple(directions), 2 * rows)


@dataclass(frozen=True)
class Source:
    """Where samples come from: a seed, and N fixed samples (None: fresh ones at every step)."""

    seed: int
    data: int | None = None

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", integer("data", self.data, at_least=2, at_most=rng.WORD))

    def numbers(self, step: int, batch: int) -> np.ndarray:
        """The numbers (batch,) of a step's samples; of a fixed set each once an epoch, an incomplete batch left out."""
        if self.data is None:
            return np.arange(batch)
        epoch, place = divmod(step, self.data // batch)
        return _order(self.seed, self.data, epoch)[place * batch : (place + 1) * batch]


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


_ORDERS: dict = {}


def _order(seed: int, size: int, epoch: int) -> np.ndarray:
    """The order of the samples in an epoch; the last is kept."""
    key = seed, size, epoch
    if key not in _ORDERS:
        _ORDERS.clear()
        _ORDERS[key] = np.random.default_rng((seed, 1, epoch)).permutation(size)
    return _ORDERS[key]


def check_batch(batch: object, data: object | None = None) -> int:
    """A batch of at least 2 samples, at most those of a fixed set."""
    batch = integer("batch", batch, at_least=2, why="normalisation by the statistics of one sample is undefined")
    if data is not None:
        integer("data", data, at_least=batch, at_most=rng.WORD, why="a batch")
    return batch


def check_memory(model: Model, dim: int, batch: int) -> None:
    """SettingError where weights of this dimension, or outputs of a batch of this size, do not fit in this machine."""
    memory("dim", dim, 8.0 * COPIES * model.units * dim, "weights of so many dimensions")
    memory("batch", batch, 8.0 * model.units * batch, "outputs of so many samples")


class Minibatch:
    """Losses and gradients of minibatches of one model and training, for weights of one shape.

    model : Model; training : Training; dim : d >= K + 1; batch : samples >= 2; source : Source; precision : "float64", or
    "float32" for patches, products and the sums of a chunk (outputs, moments and the result are float64); count : threads;
    passes : 1 or 2 (None: what costs less); tile : samples that share a tile. The last three change no more than rounding,
    threads and tile nothing.
    """

    def __init__(
        self, model: Model, training: Training, dim: int, batch: int, source: Source, precision: str = "float64",
        count: int | None = None, passes: int | None = None, tile: int = TILE,
    ) -> None:  # fmt: skip
        choice("precision", precision, PRECISIONS)
        check_sampled(model, training)
        self.model, self.training, self.source = model, training, source
        self.dim, self.batch = dim, check_batch(batch, source.data)
        self.layout = Layout.of(training, model.neurons)
        self.rows_layout = Layout.of(training, model.units) if model.layered else self.layout
        self.dtype, per_block, whole = PRECISIONS[precision]
        spread = dim - model.features
        self.blocks = -(-spread // (per_block * whole)) * whole
        self.width = -(-self.blocks * per_block // kernels.LANES) * kernels.LANES
        self.threads = 1 if batch < SMALL and count is None else threads(count)
        one = training.normalisation != "length" and model.units * (1 + self.rows_layout.columns) <= MOST_SUMS
        self.passes = passes or (1 if one else 2)
        self.bases = 1 + self.rows_layout.columns if self.passes == 1 else 1
        self.tile = tile

    def gradient(
        self, step: int, weights: Array, head: Array, target: Array | None = None, correlation: Array | None = None,
        readout: Array | None = None, target_readout: Array | None = None,
    ) -> MinibatchResult:  # fmt: skip
        """Loss and gradient of the batch of a step; weights, target (M, d), head (m, m), correlation (m, m) or None before
        the first; where neurons have hidden units readout (m, M), and of the target (None: the same).

        Result.problem says in words what is undefined, if anything is.
        """
        assert (readout is not None) == self.model.layered
        with np.errstate(all="ignore"):  # what is not finite is found in the result
            readouts = None if readout is None else (readout, target_readout)
            return self._gradient(step, weights, head, weights if target is None else target, correlation, readouts)

    def _gradient(
        self, step: int, weights: Array, head: Array, target: Array, correlation: Array | None,
        readouts: tuple[Array, Array | None] | None,
    ) -> MinibatchResult:  # fmt: skip
        numbers, order = self._numbers(step), self.source.numbers(step, self.batch)
        batch = numbers, order, *self._rows(weights, target)
        rows = np.empty((self.batch, self.rows_layout.columns))
        sums = self._run(kernels.ONE_PASS if self.passes == 1 else kernels.FORWARD, *batch, NO_BASIS, rows)
        layer = None if readouts is None else HiddenLayer.of(rows, self.rows_layout.first, *readouts)
        z = rows if layer is None else layer.outputs()
        moments = objective.moments(z)
        head, correlation = self._head(moments, head, correlation)
        loss, slope = objective.batch_loss(self.training, moments, self.layout, head)
        d_z = None
        if self.passes == 2 or layer is not None:
            d_z = slope.of_outputs(z, moments)
            if self.training.normalisation == "length":
                loss += objective.unit_length_slope(self.training, z, self.layout, head, d_z, slope.head)
        d_weights = self._backward(slope, moments, d_z, layer, sums, batch, rows)
        found = self._finished(loss, d_weights, slope.head, weights, head, correlation, moments)
        if layer is None or readouts is None or d_z is None:
            return found
        return self._with_readout(found, layer.d_readout(self.model, d_z), readouts[0])

    def _backward(
        self, slope: objective.Slope, moments: objective.Moments, d_z: Array | None, layer: HiddenLayer | None,
        sums: tuple[np.ndarray, np.ndarray], batch: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], rows: Array,
    ) -> Array:  # fmt: skip
        """dL/dw without decays, from the sums of the first pass or by a second one."""
        if self.passes == 2 and d_z is not None:
            sums = self._run(kernels.BACKWARD, *batch, d_z if layer is None else layer.back(d_z), rows)
            return self._joined(*(part[:, 0].sum(0) for part in sums))
        return self._combined(*((slope, moments) if layer is None else layer.slope_of_sums(slope, moments)), *sums)

    def outputs(self, step: int, weights: Array, target: Array | None = None) -> np.ndarray:
        """The outputs z (batch, C) of the batch of a step; the hidden units' sums where neurons have such."""
        z = np.empty((self.batch, self.rows_layout.columns))
        rows = self._rows(weights, weights if target is None else target)
        self._run(kernels.FORWARD, self._numbers(step), self.source.numbers(step, self.batch), *rows, NO_BASIS, z)
        return z

    def _numbers(self, step: int) -> np.ndarray:
        model = self.model
        k0, k1 = rng.key_of(self.source.seed)
        content = step if self.source.data is None else rng.FIXED_SET
        return np.array(
            [kernels.kind_of(model), model.patches, model.feature_patches, model.mask == "half", self.blocks, k0, k1, step,
             content, 0, self.tile, *kernels.feature_cuts(model)], np.int64
        )  # fmt: skip

    def _rows(self, weights: Array, target: Array) -> tuple[np.ndarray, np.ndarray]:
        """Noise parts of all weights (R, width), padded with zeros, and signals (R, K)."""
        both = np.vstack([weights, target]) if self.training.target == "average" else weights
        features = self.model.features
        rows = np.zeros((len(both), self.width), self.dtype)
        rows[:, : self.dim - features] = both[:, features:]
        return rows, np.array(signals_of(self.model, both), dtype=np.float64, order="C")

    def _run(
        self, mode: int, numbers: np.ndarray, order: np.ndarray, rows: np.ndarray, signals: np.ndarray, basis: np.ndarray,
        z: Array,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """One pass over all chunks; the chunks' sums, float64, (2, bases, m, width) and (2, bases, m, K)."""
        numbers = numbers.copy()
        numbers[kernels.MODE] = mode
        m, k, batch = self.model.units, self.model.features, self.batch
        bases = 0 if mode == kernels.FORWARD else self.bases if mode == kernels.ONE_PASS else 1
        strengths = np.array(self.model.strengths)
        layout = self.rows_layout
        edges = [batch * i // CHUNKS for i in range(CHUNKS + 1)]
        spare: list[tuple] = []

        def chunk(i: int) -> tuple[np.ndarray, np.ndarray]:
            scratch = spare.pop() if spare else kernels.new_scratch(numbers, self.width, m, max(bases, 1), self.dtype)
            sums = np.zeros((2, bases, m, self.width), self.dtype)
            signal_sums = np.zeros((2, k, bases, m))
            kernels.chunk_pass(
                numbers, self.model.noise, strengths, (rows, signals), (layout.first, layout.trains), order, edges[i],
                edges[i + 1], basis, scratch, (z, sums, signal_sums),
            )  # fmt: skip
            spare.append(scratch)
            return sums, signal_sums

        parts = map(chunk, range(CHUNKS)) if self.threads == 1 else _pool(self.threads).map(chunk, range(CHUNKS))
        total = np.zeros((2, bases, m, self.width)), np.zeros((2, k, bases, m))
        for part in parts:
            for whole, some in zip(total, part, strict=True):
                whole += some
        return total[0], np.moveaxis(total[1], 1, 3)

    def _combined(
        self, slope: objective.Slope, moments: objective.Moments, sums: np.ndarray, signal_sums: np.ndarray
    ) -> Array:
        """dL/dw (m, d) from the sums of the one pass: see the head of `dynlab.samples.kernels`."""
        m = self.model.units
        mixed = []
        for total in (sums, signal_sums):
            part = np.zeros((m, total.shape[-1]))
            for v, column in enumerate((0, int(self.rows_layout.first[0, 1]))):
                for j in range(m):
                    linear = slope.linear[column + j]
                    weight = np.concatenate([[slope.const[column + j] - linear @ moments.mean], linear]) / self.batch
                    for b in range(self.bases):
                        part[j] += weight[b] * total[v, b, j]
            mixed.append(part)
        return self._joined(*mixed)

    def _joined(self, noise: np.ndarray, signal: np.ndarray) -> Array:
        """(m, d) from the noise part (m, width), still without sigma, and the features' (m, K)."""
        return np.hstack([onto_axes(self.model, signal), self.model.noise * noise[:, : self.dim - self.model.features]])

    def _head(self, moments: objective.Moments, head: Array, correlation: Array | None) -> tuple[Array, Array | None]:
        """The head of rules that make it, from the moving correlation of the online outputs, this batch's included."""
        training = self.training
        if training.head not in FROM_CORRELATION:
            return head, correlation
        now = sum(moments.raw(x, x) for x, _ in self.layout.directions) / len(self.layout.directions)
        correlation = moving_correlation(correlation, now)
        return from_correlation(training.head, correlation, training.directpred_eps), correlation

    def _finished(
        self, loss: float, d_weights: Array, d_head: Array, weights: Array, head: Array, correlation: Array | None,
        moments: objective.Moments,
    ) -> MinibatchResult:  # fmt: skip
        training = self.training
        problem = _problem(training, loss, d_weights, moments)
        if training.head_decay > 0.0:
            head_rules.decay_gradient(head_rules.rule_number(training.head), len(head), training.head_decay, head, d_head)
        d_weights += training.weight_decay * weights
        return MinibatchResult(float(loss), d_weights, d_head, head, correlation, moments, problem)

    def _with_readout(self, found: MinibatchResult, d_readout: Array, readout: Array) -> MinibatchResult:
        """The result with dL/da beside the rest; the readout is of the encoder, and decays with it where it trains."""
        problem = found.problem
        if problem is None and not np.isfinite(d_readout).all():
            problem = NOT_FINITE
        if self.model.readout != "fixed":
            d_readout = d_readout + self.training.weight_decay * readout
        return replace(found, d_readout=d_readout, problem=problem)


@dataclass(frozen=True)
class MinibatchResult:
    """Loss; d_weights (m, d), d_head (m, m), with decays; head (m, m) as used; correlation or None; the batch's moments;
    d_readout (m, M) where neurons have hidden units."""

    loss: float
    d_weights: np.ndarray
    d_head: np.ndarray
    head: np.ndarray
    correlation: np.ndarray | None
    moments: objective.Moments
    problem: str | None
    d_readout: np.ndarray | None = None

    __repr__ = show.fields_line


def _problem(training: Training, loss: float, d_weights: Array, moments: objective.Moments) -> str | None:
    """What makes the loss or its gradient undefined, in words."""
    if not np.isfinite(moments.cov).all():
        return "the outputs overflow"
    normalised = training.normalisation == "batch" or training.objective == "barlow-twins"
    if normalised and not (np.diagonal(moments.cov) > 0.0).all():
        return "an output has zero variance over the batch: its normalisation is undefined"
    if not np.isfinite(loss) or not np.isfinite(d_weights).all():
        return NOT_FINITE
    return None


def check_sampled(model: Model, training: Training) -> None:
    """SettingError where the training does not fit the model. All switches work on samples, unit length with noise too."""
    require(isinstance(training, Training), "training", training, "a Training")
    without_bias(model, "minibatches, whose neurons have none; population_gradient(..., bias=b) is exact")
    training = replace(training, normalisation="batch")
    if model.layered:  # a switch is a function of the outputs, however they are made
        model, training = replace(model, hidden=1, readout="fixed"), replace(training, readout_rate=1.0)
    training.check_model(model)

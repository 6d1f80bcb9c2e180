r"""The objectives on pictures: value and gradient with respect to the outputs, without further machinery.

`step(online, target, d_online, d_target)` takes the online outputs F = E z and the target outputs G of the same views,
(2B, m) each, view 1 first, and pairs view 1 of one side with view 2 of the other, both ways. Means <.> are over the B
pictures of a view and over both directions, so that the loss does not depend on B:

    similarity    < |F~(v) - G~(v')|^2 >.   "batch": ~ is each output less its mean, over its standard deviation in its view:
                  sum_j (2 - 2 rho_j), the theory's (Wen & Li 2022). "length": the vector over its length: 2 - 2 cos, BYOL's
                  and, but for constants, SimSiam's (Grill et al. 2020; Chen & He 2021). "none": ~ does nothing
    barlow-twins  sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2, C the correlations of view 1's outputs with view 2's
                  (Zbontar et al. 2021)
    vicreg        (1/m) [w_inv <|z - z'|^2> + w_var sum_i max(0, 1 - sqrt(Var_i + eps)) + w_cov sum_{i != j} Cov_ij^2], the
                  latter two summed over the views (Bardes, Ponce & LeCun 2022, algorithm 1: also the invariance is a mean
                  over the m outputs, which equation 5 leaves out; moments divided by B, theirs by B - 1)
    dino          < - sum_i P_i(v') log p_i(v) >, p = softmax(F/t_s), P = softmax((G - c)/t_t); afterwards the centre
                  c <- momentum c + (1 - momentum) mean of G over both views (Caron et al. 2021; outputs: prototypes). With
                  local views (L B more rows of F, view by view) v runs over these too, each against both v': a mean over
                  all 2 + 2L pairs
    simclr        < - s_ii' + log sum_{k != i} exp s_ik > over the 2B rows, s = cos/t (NT-Xent; Chen et al. 2020)

Barlow Twins, VICReg and SimCLR treat the views alike: they take the online outputs of both, and no target. With C a function
of standardised outputs y, dL/dy = (dL/dC of both factors), taken on by batch normalisation's backward.

`eps` is what batch normalisation adds to the variance; with eps = 0 similarity, Barlow Twins, decorrelation and VICReg are
those of `dynlab.samples.objective` with `symmetric`. `stop_gradient` is as in `dynlab.settings.training`: "target",
"online", "none".
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dynlab.images.settings import LOSSES
from dynlab.settings.training import STOP_GRADIENTS
from dynlab.tools.checks import choice, integer, real, require

NORMALISATIONS = ("batch", "length", "none")


def seen(objective: str, z: np.ndarray) -> np.ndarray:
    """What of outputs z (n, m) the objective can see: a softmax (DINO) does not know the mean of a row."""
    return z - z.mean(1, keepdims=True, dtype=np.float64) if objective == "dino" else z


@dataclass(frozen=True)
class LossSettings:
    """The numbers of all objectives, validated; each reads its own.

    normalisation, stop_gradient, eps: see the module. barlow_weight: lambda. vicreg_weights: invariance, variance,
    covariance. student_temperature, teacher_temperature, centre_momentum, local_views: of DINO. temperature: of SimCLR.
    """

    normalisation: str = "batch"
    stop_gradient: str = "target"
    eps: float = 1e-5
    barlow_weight: float = 0.0051
    vicreg_weights: tuple[float, float, float] = (25.0, 25.0, 1.0)
    vicreg_eps: float = 1e-4
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    centre_momentum: float = 0.9
    temperature: float = 0.5
    local_views: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "local_views", integer("local_views", self.local_views, at_least=0))
        choice("normalisation", self.normalisation, NORMALISATIONS)
        choice("stop_gradient", self.stop_gradient, STOP_GRADIENTS)
        for name in ("eps", "barlow_weight", "vicreg_eps"):
            object.__setattr__(self, name, real(name, getattr(self, name), at_least=0.0))
        for name in ("student_temperature", "teacher_temperature", "temperature"):
            object.__setattr__(self, name, real(name, getattr(self, name), above=0.0))
        momentum = real("centre_momentum", self.centre_momentum, at_least=0.0, at_most=1.0)
        object.__setattr__(self, "centre_momentum", momentum)
        weights = self.vicreg_weights
        require(len(weights) == 3, "vicreg_weights", weights, "three numbers: invariance, variance, covariance")
        object.__setattr__(self, "vicreg_weights", tuple(real("vicreg_weights", w, at_least=0.0) for w in weights))

    @classmethod
    def of(cls, settings) -> LossSettings:
        """From a mapping, or from any object that has some of these attributes; what it does not have is the default."""
        names = [field.name for field in fields(cls)]
        held = settings if isinstance(settings, dict) else {n: getattr(settings, n) for n in names if hasattr(settings, n)}
        unknown = sorted(set(held) - set(names))
        require(not unknown, "settings", ", ".join(unknown), f"among {', '.join(names)}")
        return cls(**held)


class Objective:
    """What all objectives share: `value` (1,), on the device, is the loss of the last step; `loss` brings it to the host.

    `state` holds what an objective remembers from step to step, arrays by name, for checkpoints.
    """

    uses_target = False

    def __init__(self, settings: LossSettings, ops, rows: int, outputs: int, dtype):
        integer("rows", rows, at_least=4)
        require(rows % 2 == 0, "rows", rows, "even: two views of every picture")
        self.settings, self.ops, self.rows, self.half, self.outputs = settings, ops, rows, rows // 2, outputs
        self.dtype = dtype
        self.value = ops.zeros((1,), "float64")
        self.state: dict = {}

    def step(self, online, target, d_online, d_target=None):
        """Fill d_online and, where given, d_target (2B, m) with the gradient (zero where it is stopped); return `value`.

        target and d_target may be None where the objective has no target.
        """
        self.ops.fill(self.value, 0.0)
        self._step(online, target, d_online, d_target)
        return self.value

    def _step(self, online, target, d_online, d_target) -> None:
        raise NotImplementedError

    def entropies(self) -> tuple[float, float]:
        """Entropy of the mean distribution, and the mean of the pictures' own, in nats; nan where there are none."""
        return float("nan"), float("nan")

    def loss(self) -> float:
        """The value of the last step as a number."""
        return float(self.ops.to_host(self.value)[0])

    def save(self) -> dict:
        """`state` as host arrays."""
        return {name: self.ops.to_host(array) for name, array in self.state.items()}

    def load(self, saved) -> None:
        """Go on from what `save` returned."""
        for name, array in self.state.items():
            self.ops.copy(self.ops.to_device(saved[name]), array)

    def _matrix(self, columns=None):
        return self.ops.empty((self.rows, self.outputs if columns is None else columns), self.dtype)

    def _clear(self, array) -> None:
        """A stopped side's gradient is zero."""
        if array is not None:
            self.ops.fill(array, 0.0)


class Normalised:
    """Outputs y~ of y (2B, m) by one of `NORMALISATIONS`, and the way back; keeps what the way back needs."""

    def __init__(self, kind: str, eps: float, ops, rows: int, outputs: int, dtype):
        self.kind, self.eps, self.ops = kind, eps, ops
        self.out = ops.empty((rows, outputs), dtype)
        self.lengths = ops.empty((rows,), dtype)
        self.mean, self.inverse = ops.empty((2, outputs), dtype), ops.empty((2, outputs), dtype)

    def forward(self, y):
        """y~, kept here until the next call."""
        if self.kind == "batch":
            self.ops.batch_norm(y, 2, None, None, self.eps, self.out, self.mean, self.inverse)
        elif self.kind == "length":
            self.ops.unit_length(y, self.out, self.lengths)
        else:
            self.ops.copy(y, self.out)
        return self.out

    def backward(self, d_out, y, d_y):
        """Fill d_y from d_out = dL/dy~, another array."""
        if self.kind == "batch":
            self.ops.batch_norm_backward(d_out, y, self.out, 2, self.mean, self.inverse, None, d_y, None, None)
        elif self.kind == "length":
            self.ops.unit_length_backward(d_out, self.out, self.lengths, d_y)
        else:
            self.ops.copy(d_out, d_y)
        return d_y


class Similarity(Objective):
    """< |F~(v) - G~(v')|^2 >: with g the gap of a row, dL/dF~ = 2 g/(2B), and dL/dG~ is its negative in the paired row."""

    uses_target = True

    def __init__(self, settings, ops, rows, outputs, dtype):
        super().__init__(settings, ops, rows, outputs, dtype)
        kind, eps = settings.normalisation, settings.eps
        self.online = Normalised(kind, eps, ops, rows, outputs, dtype)
        self.target = Normalised(kind, eps, ops, rows, outputs, dtype)
        self.goal, self.gap = self._matrix(), self._matrix()

    def _step(self, online, target, d_online, d_target):
        ops, stop, share = self.ops, self.settings.stop_gradient, 2.0 / self.rows
        out = self.online.forward(online)
        ops.swap_views(self.target.forward(target), self.goal)
        ops.difference(out, self.goal, share, self.gap)
        ops.add_product(self.gap, self.gap, 0.5 / share, self.value)
        if stop == "online":
            self._clear(d_online)
        else:
            self.online.backward(self.gap, online, d_online)
        if d_target is None:
            return
        if stop == "target":
            self._clear(d_target)
        else:
            ops.difference(self.goal, out, share, self.gap)
            ops.swap_views(self.gap, self.goal)
            self.target.backward(self.goal, target, d_target)


class BarlowTwins(Objective):
    """With y the standardised outputs and c = y_1^T y_2 = B C: dL/dy_1 = y_2 D^T, dL/dy_2 = y_1 D, D = dL/dc."""

    def __init__(self, settings, ops, rows, outputs, dtype):
        super().__init__(settings, ops, rows, outputs, dtype)
        self.normalised = Normalised("batch", settings.eps, ops, rows, outputs, dtype)
        self.slope, self.moments = self._matrix(), ops.empty((outputs, outputs), dtype)

    def _step(self, online, target, d_online, d_target):
        ops, half = self.ops, self.half
        y = self.normalised.forward(online)
        ops.matmul(y[:half], y[half:], self.moments, transpose_a=True)
        ops.barlow_moments(self.moments, 1.0 / half, self.settings.barlow_weight, self.value)
        ops.matmul(y[half:], self.moments, self.slope[:half], transpose_b=True)
        ops.matmul(y[:half], self.moments, self.slope[half:])
        self.normalised.backward(self.slope, online, d_online)
        self._clear(d_target)


class Vicreg(Objective):
    """With x the centred outputs of a view, c = x^T x = B Cov and D = dL/dc symmetric: dL/dx = 2 x D, whose means vanish."""

    def __init__(self, settings, ops, rows, outputs, dtype):
        super().__init__(settings, ops, rows, outputs, dtype)
        self.centred, self.other = self._matrix(), self._matrix()
        self.sums, self.moments = ops.empty((outputs,), dtype), ops.empty((outputs, outputs), dtype)

    def _step(self, online, target, d_online, d_target):
        ops, half = self.ops, self.half
        invariance, variance, covariance = self.settings.vicreg_weights
        invariance /= self.outputs
        # <|z - z'|^2> is half of the sum over all rows of the squared gap to the other view, over B; every gap counts twice.
        ops.swap_views(online, self.other)
        ops.difference(online, self.other, 2.0 * invariance / half, d_online)
        if invariance > 0.0:
            ops.add_product(d_online, d_online, half / (8.0 * invariance), self.value)
        for part in (slice(0, half), slice(half, 2 * half)):
            x, moments = self.centred[part], self.moments
            ops.centre_columns(online[part], self.sums, x)
            ops.matmul(x, x, moments, transpose_a=True)
            ops.vicreg_moments(moments, 1.0 / half, variance, covariance, self.settings.vicreg_eps, self.value)
            ops.matmul(x, moments, self.other[part])
        ops.axpy(2.0, self.other, d_online)
        self._clear(d_target)


class Dino(Objective):
    """Cross-entropy with a sharpened, centred teacher: dL/dF = (p - P)/(t_s 2B); no gradient reaches the teacher.

    The teacher's mean over both views is all that the centre sees, and this step's comes into the next one's. A local view
    meets both teachers, which is twice the cross-entropy with their mean. `teacher_temperature` may change between steps.
    """

    uses_target = True

    def __init__(self, settings, ops, rows, outputs, dtype):
        super().__init__(settings, ops, rows, outputs, dtype)
        stop = settings.stop_gradient
        require(stop == "target", "stop_gradient", stop, '"target" with objective "dino"')
        self.teacher_temperature, self.locals = settings.teacher_temperature, settings.local_views
        # Shares in double precision: what a gradient is made of is their difference, and they may be nearly the same.
        self.student, self.teacher, self.goal = (ops.empty((rows, outputs), "float64") for _ in range(3))
        self.logs, self.sums = ops.empty((rows,), "float64"), ops.empty((outputs,), dtype)
        self.mean = ops.empty((self.half, outputs), "float64") if self.locals else None
        self.state = {"centre": ops.zeros((outputs,), dtype)}

    def _step(self, online, target, d_online, d_target):
        ops, settings, rows = self.ops, self.settings, self.rows
        share = 1.0 / (rows * (1 + self.locals))
        ops.softmax(target, self.state["centre"], self.teacher_temperature, self.teacher, self.logs)
        ops.swap_views(self.teacher, self.goal)
        self._towards(self.goal, online[:rows], d_online[:rows], share)
        if self.mean is not None:
            ops.copy(self.teacher[: self.half], self.mean)
            ops.axpy(1.0, self.teacher[self.half :], self.mean)
            ops.scale(self.mean, 0.5)
            for low in range(rows, rows + self.locals * self.half, self.half):
                part = slice(low, low + self.half)
                self._towards(self.mean, online[part], d_online[part], 2.0 * share)
        ops.column_sums(target, self.sums)
        ops.scale(self.sums, 1.0 / rows)
        ops.mix(1.0 - settings.centre_momentum, self.sums, self.state["centre"])
        self._clear(d_target)

    def _towards(self, goal, online, d_online, share) -> None:
        """Add share times the cross-entropies of rows to the value; fill their gradient."""
        ops, temperature, count = self.ops, self.settings.student_temperature, online.shape[0]
        student, logs = self.student[:count], self.logs[:count]
        ops.softmax(online, None, temperature, student, logs)
        ops.add_cross_entropy(goal, online, temperature, logs, share, self.value)
        ops.difference(student, goal, share / temperature, d_online)

    def entropies(self) -> tuple[float, float]:
        """H(mean P) and mean H(P) of the teacher's distributions P in the last step, in nats, at most log m."""
        p = self.ops.to_host(self.teacher).astype(np.float64)
        mean = p.mean(0)
        whole, each = (np.where(x > 0.0, -x * np.log(np.where(x > 0.0, x, 1.0)), 0.0).sum(-1) for x in (mean, p))
        return float(whole), float(each.mean())


class SimClr(Objective):
    """With u the unit outputs, s = u u^T/t and q the softmax of its rows without themselves: dL/ds = (q - pairs)/(2B).

    dL/du = (dL/ds + its transpose) u/t; the pairs' part is -2 times the other view's row, over 2B t.
    """

    def __init__(self, settings, ops, rows, outputs, dtype):
        super().__init__(settings, ops, rows, outputs, dtype)
        self.normalised = Normalised("length", settings.eps, ops, rows, outputs, dtype)
        self.slope, self.other = self._matrix(), self._matrix()
        self.cosines, self.logs = self._matrix(rows), ops.empty((rows,), dtype)

    def _step(self, online, target, d_online, d_target):
        ops, temperature, share = self.ops, self.settings.temperature, 1.0 / self.rows
        u = self.normalised.forward(online)
        ops.matmul(u, u, self.cosines, transpose_b=True)
        ops.set_diagonal(self.cosines, -float("inf"))
        ops.add_pair_gaps(self.cosines, share / temperature, self.value)
        ops.softmax(self.cosines, None, temperature, self.cosines, self.logs)
        ops.add_sum(self.logs, share, self.value)
        ops.matmul(self.cosines, u, self.slope)
        ops.matmul(self.cosines, u, self.other, transpose_a=True)
        ops.axpy(1.0, self.other, self.slope)
        ops.swap_views(u, self.other)
        ops.axpy(-2.0, self.other, self.slope)
        ops.scale(self.slope, share / temperature)
        self.normalised.backward(self.slope, online, d_online)
        self._clear(d_target)


class Decorrelation:
    """weight < sum_{i != j} corr(f_i, f_j)^2 >_views of the encoder's outputs (Liu et al. 2022), added to another loss.

    Between 0 and weight * m(m - 1), which it reaches where all outputs are copies: beside a loss of at most 4, weights of
    about 1/(m(m - 1)) weigh alike. With y the standardised outputs of a view and c = y^T y = B C: dL/dy = 2 y dL/dc.
    """

    def __init__(self, weight: float, ops, rows: int, outputs: int, dtype="float32", eps: float = 1e-5):
        self.weight, self.ops, self.half = real("decorrelation", weight, at_least=0.0), ops, rows // 2
        self.normalised = Normalised("batch", eps, ops, rows, outputs, dtype)
        self.slope, self.d_outputs = ops.empty((rows, outputs), dtype), ops.empty((rows, outputs), dtype)
        self.moments = ops.empty((outputs, outputs), dtype)

    def step(self, outputs, d_outputs, value):
        """Add dL/df to d_outputs (2B, m) and the loss to value (1,), an objective's."""
        ops, half = self.ops, self.half
        y = self.normalised.forward(outputs)
        for part in (slice(0, half), slice(half, 2 * half)):
            ops.matmul(y[part], y[part], self.moments, transpose_a=True)
            ops.off_diagonal_moments(self.moments, 1.0 / half, 0.5 * self.weight, value)
            ops.matmul(y[part], self.moments, self.slope[part])
        self.normalised.backward(self.slope, outputs, self.d_outputs)
        ops.axpy(2.0, self.d_outputs, d_outputs)
        return value


_CLASSES = {
    "similarity": Similarity,
    "barlow-twins": BarlowTwins,
    "vicreg": Vicreg,
    "dino": Dino,
    "simclr": SimClr,
}


def make(name: str, settings, ops, rows: int, outputs: int, dtype="float32") -> Objective:
    """The objective of that name for outputs (rows, outputs); settings: `LossSettings`, a dict or an object like it."""
    choice("objective", name, LOSSES)
    return _CLASSES[name](LossSettings.of(settings), ops, rows, outputs, dtype)

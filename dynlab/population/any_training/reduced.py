r"""The reduced system whose fixed points `dynlab.population.any_training.stability` finds: directions and head, noise parts
held.

**Why reduce.** Where each output is normalised, the loss does not change under

    f_r -> c_r f_r,   E_jr -> E_jr c_j / c_r        (c_r = scale of w_r to the degree q),

so fixed points of the whole flow come in families of m dimensions, and m of its eigenvalues are zero whatever the state:
the scales of the neurons. The flow itself leaves them tied to the head by m conservation laws
(`dynlab.population.invariants`): where dL/dE = 0 every |w_j| is at rest. So the representative with |w_j| = 1 is taken, and
the coordinates are

    n_j   unit vectors (m, K): the direction of the signals of w_j,
    E     the entries of the head that train,
    s_j   = |w~_j|, the noise part (orthogonal to that of every other neuron), HELD at a given share of |w_j|.

    A_j = sqrt(1 - s_j^2) n_j,    dn_j/dt = -(1 - n_j n_j^T) dL/dA_j / sqrt(1 - s_j^2),    dE/dt = -eta_head dL/dE.

A head all of whose entries train has a scale too, of each row (linear) or of the whole (symmetric), on which normalised
outputs do not depend: it is taken out the same way, entries divided by their norm. Decay acts on these scales alone,
which have no rest under it.

A target that is a moving average adds its own directions, dn'_j/dt = target_rate (1 - n'_j n'_j^T) n_j.

**Why hold the noise.** With s = 0 and odd activation rho_j = (b/a) cos(F_j, f_j), b = E[N1 N2], a = E[N1^2]: *every*
noiseless state with F_j parallel to f_j is a global minimum, L = 2m (1 - b/a). Those are E = I with any directions, a
torus on which diverse, collapsed and merged states are but points, and f_1 parallel to f_2 with any head. No eigenvalue
tells such points apart along the torus. With s > 0 a race goes on there, as in training, where noise is the last to go:
its fixed points are isolated, quasi-static on the way of the noise (d log s_j/dt, returned as `noise_rates`), and their
eigenvalues vanish like s^(2q) along the torus. s = 0 gives the end states themselves.

Where the loss does depend on scales (no normalisation, unit length of the vector, VICReg) or a head is given or made from
correlations (the transformation above would change it), the coordinates are the signals A (m, K) themselves and s_j
is |w~_j|.

**Exact Jacobian.** The formulas of `dynlab.formulas.switched` take complex numbers; dx/dt at x + i h e_k, h = 1e-200,
has h times column k of the Jacobian as its imaginary part, without cancellation.
"""

from __future__ import annotations

from types import FunctionType

import numpy as np

from dynlab.formulas import activations, components, decorrelation, head_rules, objective, sliding, switched
from dynlab.population.any_training.gradient import choices, free_corner, new_workspace, numbers, start_head
from dynlab.population.gradient import activation_kind, parameter_vector
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.settings.activation_records import ACTIVATIONS, require_built_in
from dynlab.settings.model import without_correlation
from dynlab.tools.checks import require

STEP = 1e-200  # of the complex step: nothing is subtracted, so nothing is lost


def _complex_formulas() -> dict:
    """Copies of the formulas' functions whose square root takes complex numbers, by name."""
    made: dict = {}
    copies: dict = {}
    for module in (activations, components, head_rules, decorrelation, objective, sliding, switched):
        space = dict(vars(module))
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value in copies:
                space[name] = copies[value]
        if "sqrt" in space:
            space["sqrt"] = np.sqrt
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                copies[value] = space[name] = made[name] = FunctionType(value.__code__, space, name, value.__defaults__)
    return made


_forces = _complex_formulas()["switched_forces"]


class Forces:
    """The loss and its derivatives at real or complex points, not compiled: about a millisecond for two neurons.

    Call with signal (m, K), noise norms (m,) of orthogonal noise parts, head (m, m) and, for a moving average, the target's
    signal and norms. Returns (loss, d_signal (m, K), d_noise (m,) = dL/d log|w~_j|, d_head (m, m), head (m, m)): d_head
    is projected on what the rule trains, with its decay; the head is the one given, or the one that the rule makes.
    """

    def __init__(self, model, training):
        training.check_model(model)
        without_correlation(model, "fixed points and portraits, which are of orthonormal features")
        require_built_in(model.activation, "for fixed points and portraits")
        kind = activation_kind(model)
        self._choice = choices(training).tolist()
        self._fixed = kind, model.neurons, model.features, parameter_vector(model), self._choice, numbers(model, training)

    def __call__(self, signal, norm, head, target=None, target_norm=None):
        _, m, features, *_ = self._fixed
        signal, norm, head = (np.array(part, dtype=complex) for part in (signal, norm, head))
        dot = np.diag(norm * norm)
        wedge = np.outer(norm, norm) - dot
        eps = np.full((m, m), 0.5 * np.pi, dtype=complex)
        online = signal, np.sign(signal.real).astype(int), norm, dot, wedge, eps, free_corner(m, complex)
        goal = online[:3]
        if target is not None:
            target = np.array(target, dtype=complex)
            goal = target, np.sign(target.real).astype(int), np.array(target_norm, dtype=complex)
        out = np.zeros((m, features), complex), np.zeros((m, m), complex), np.zeros((m, m), complex)
        with np.errstate(all="ignore"):  # zero variance shows in the result
            loss = _forces(*self._fixed, online, goal, head, new_workspace(m, features, complex), *out)
        return loss, out[0], np.diagonal(out[1]), out[2], head


def by_direction(training) -> bool:
    """Whether each neuron's scale can be taken out: the loss does not depend on it, given that the head follows."""
    if training.objective == "vicreg" or training.normalisation in ("length", "none"):
        return False
    return training.head not in ("fixed", *FROM_CORRELATION)


class Field:
    """The reduced system of a model under a training: a vector field on points x (n,), real or complex.

    share: noise part of each neuron, 0 <= share < 1 in units of |w_j| (directions) or >= 0 in those of the weights.
    Raises SettingError for relu, whose fixed points sit on kinks, where there is no Jacobian.
    """

    def __init__(self, model, training, share: float = 0.0):
        smooth = "cubic, relu3 or linear (relu comes to rest on kinks, where it has no Jacobian)"
        require(model.activation != "relu", "activation", model.activation, smooth)
        self.model, self.training, self.forces = model, training, Forces(model, training)
        self.directions = by_direction(training)
        allowed = "a number >= 0" + (" and < 1" if self.directions else "")
        require(0.0 <= share < (1.0 if self.directions else np.inf), "share", share, allowed)
        self.norm = np.full(model.neurons, float(share))
        self.length = float(np.sqrt(1.0 - share**2)) if self.directions else 1.0
        self.rate = training.head_rate
        self.entries = self._entries()
        self.blocks = 2 if training.target == "average" else 1
        self.cut = model.neurons * model.features
        self.size = self.blocks * self.cut + len(self.entries)
        self.unit_blocks = self._unit_blocks()

    def _unit_blocks(self) -> list:
        """Slices of x of which only the direction counts, with the length that they are given."""
        if not self.directions:
            return []
        m, wide, cut = self.model.neurons, self.model.features, self.blocks * self.cut
        found = [(slice(start, start + wide), 1.0) for start in range(0, cut, wide)]
        if self.entries and self.training.head == "linear":
            found += [(slice(start, start + m), 1.0) for start in range(cut, self.size, m)]
        if self.entries and self.training.head == "symmetric":
            found.append((slice(cut, self.size), m**0.5))
        return found

    def _entries(self) -> list:
        """Head entries that are coordinates; of a symmetric head those on and below the diagonal."""
        if self.rate == 0.0:
            return []
        rule, m = head_rules.rule_number(self.training.head), self.model.neurons
        found = [(j, r) for j in range(m) for r in range(m) if head_rules.trains(rule, j, r)]
        return [(j, r) for j, r in found if r <= j] if self.training.head == "symmetric" else found

    def unpack(self, x):
        """Signals (m, K), target's signals (m, K), head (m, m) at x."""
        x = self.retract(x)
        rows = self.length * x[: self.blocks * self.cut].reshape(self.blocks, self.model.neurons, self.model.features)
        head = start_head(self.model, self.training).astype(x.dtype)
        for place, (j, r) in enumerate(self.entries, self.blocks * self.cut):
            head[j, r] = x[place]
            if self.training.head == "symmetric":
                head[r, j] = x[place]
        return rows[0], rows[-1], head

    def pack(self, signal, head=None):
        """The point x at signals (m, K) and a head (m, m) (None: where it starts), a target's at the same signals."""
        rows = np.array(signal, dtype=float)
        head = start_head(self.model, self.training) if head is None else np.asarray(head, dtype=float)
        return self.retract(np.concatenate([np.tile(rows.ravel(), self.blocks), [head[j, r] for j, r in self.entries]]))

    def evaluate(self, x):
        """(loss, dx/dt (n,), d log s_j/dt (m,), head (m, m)) at x; complex x give complex values."""
        signal, target, head = self.unpack(x)
        average = self.blocks == 2
        loss, d_signal, d_noise, d_head, head = self.forces(
            signal, self.norm, head, target if average else None, self.norm if average else None
        )
        push = [-d_signal - self.training.weight_decay * signal]
        if average:
            push.append(self.training.target_rate * (signal - target))
        rates = np.concatenate([*(part.ravel() for part in push), [-self.rate * d_head[j, r] for j, r in self.entries]])
        rates[: self.blocks * self.cut] /= self.length
        x = self.retract(x)
        for block, length in self.unit_blocks:
            unit = x[block] / length
            rates[block] = rates[block] - (rates[block] * unit).sum() * unit
        with np.errstate(all="ignore"):
            fading = np.where(self.norm > 0.0, -d_noise / np.maximum(self.norm, 1e-300) ** 2, 0.0)
        return loss, rates, fading - self.training.weight_decay, head

    def rates(self, x):
        """dx/dt (n,) at a real point."""
        return self.evaluate(np.asarray(x, dtype=complex))[1].real

    def jacobian(self, x):
        """d(dx/dt)/dx (n, n) at a real point, by complex steps."""
        matrix = np.empty((self.size, self.size))
        for k in range(self.size):
            moved = np.array(x, dtype=complex)
            moved[k] += 1j * STEP
            matrix[:, k] = self.evaluate(moved)[1].imag / STEP
        return matrix

    def tangent(self, x):
        """Orthonormal columns (n, n') of the directions in which x can move (unit vectors stay unit vectors)."""
        free = np.ones(self.size, dtype=bool)
        columns = []
        for block, _ in self.unit_blocks:
            free[block] = False
            part = np.zeros((self.size, block.stop - block.start - 1))
            part[block] = np.linalg.svd(x[None, block])[2][1:].T
            columns.append(part)
        return np.hstack([*columns, np.eye(self.size)[:, free]])

    def retract(self, x):
        """The point whose directions have their lengths; x real or complex."""
        x = np.array(x)
        for block, length in self.unit_blocks:
            x[block] = x[block] * (length / ((x[block] * x[block]).sum()) ** 0.5)
        return x

    def random(self, rng):
        """A random start: a head of order one around the identity; isotropic directions, or every other time such that weak
        features answer as loudly as strong ones, since what is near a weak one is a narrow cone."""
        m, features = self.model.neurons, self.model.features
        noise = 0.7 * rng.standard_normal((m, m))
        head = start_head(self.model, self.training) + (noise + noise.T) / 2 * (self.rate > 0.0)
        head += (noise - noise.T) / 2 * (self.rate > 0.0 and self.training.head != "symmetric")
        signal = rng.standard_normal((m, features))
        if rng.random() < 0.5:
            signal /= np.asarray(self.model.effective_strengths) ** (0.5 * ACTIVATIONS[self.model.activation].degree)
        x = self.pack(signal, head)
        x[: self.blocks * self.cut] += 0.3 * rng.standard_normal(self.blocks * self.cut) * (self.blocks == 2)
        return self.retract(x)

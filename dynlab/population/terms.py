r"""The exact force at a state, split into terms that have a meaning. Any activation, any number of neurons and features.

Notation of `dynlab.formulas.components` and `dynlab.formulas.objective`: output j answers X = X_j before and
F = sum_r E_jr X_r after the head, a = E[N1^2]/N, b = E[N1 N2]/N, n = E[n1], C the noise covariances of one patch, and with

    V = F^T P F + n C_FF,     U = X^T P X + n C_jj,     B = F^T R X,     rho_j = B / sqrt(V U),     L = sum_j (2 - 2 rho_j)

the force -dL_j/dF = (2/(sqrt(U) V^(3/2))) (V R X - B P F).

**Signals.** V R X - B P F = n C_FF R X + T F, with T = (R X)(P F)^T - (P F)(R X)^T antisymmetric and linear in F, so that
T = E_jj T(X, X) + sum_{r != j} E_jr T(X, X_r). Neuron p has a part E_jp in output j. Hence the force on A_pl, times
d f_pl/d A_pl, is a sum over outputs j of E_jp times

    learning       n C_FF (R X)_l: a feature grows in proportion to what the output answers to it already, for as long as
                   there is noise in the output. Without a head, for odd activations, it is all there is.
    borrowing      sum_{r != j} E_jr (T(X, X_r) F)_l: what the head has lent turns the output away from its target, and
                   this turns it back: at two features ab e D (F_2, -F_1), e = E_jr, D = f_j1 f_r2 - f_j2 f_r1, so that the
                   feature which was not lent grows faster (the paper's acceleration) and the one lent more slowly.
    centring       E_jj (T(X, X) F)_l: from the mean that normalisation takes off; zero for odd activations.

Terms with j = p act through the neuron's own output. Those with j != p are its *lending*: output j has borrowed from
neuron p and asks of it what it asks of its own neuron.

**Head.** With h_p = X_p^T R X, [.] the same factor 2/(sqrt(U) V^(3/2)) times

    -dL/dE_jr = [ n sum_p E_jp (h_r C_pF - h_p C_rF) + X_r^T T F ].

The part of F that is X_r drops out of both (p = r: h_r C_rF - h_r C_rF; X_r^T T X_r = 0), so that the bracket is *linear* in
E_jr, whatever the number of neurons and the activation, and -dL/dE_jr is the sum of

    drive          the bracket at E_jr = 0. Two neurons, odd: n (h_r C_jj - h_j C_rj): output j is noisy, and neuron r
                   answers to the same feature: borrowing from it raises the agreement (substitution).
    noise          E_jr n sum_{p != r} E_jp (h_r C_pr - h_p C_rr): the lender's noise is borrowed with its answer.
    mismatch       E_jr X_r^T T(X, X_r) F. Two neurons and features, odd: -ab D^2 E_jr: what is borrowed is not in
                   the target.

The head relaxes towards equilibrium = -drive/((noise + mismatch)/E_jr), where that sum is a restoring one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population.forms import BilinearForms
from dynlab.population.moments import noise_means_and_covariances
from dynlab.settings.activation_records import ACTIVATIONS

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


@dataclass(frozen=True)
class Terms:
    """The force at a state of m neurons and K features, in terms.

    learning, borrowing, centring : (m, m, K); entry [j, p, l] acts through output j on <w_p, v_l>; the sum of all three
        over j is -dL/dA.
    drive, noise, mismatch : (m, m); their sum is -dL/dE off the diagonal, and they are zero on it.
    equilibrium : (m, m), where each entry of the head would rest while all else stands still; nan where nowhere.
    """

    learning: np.ndarray
    borrowing: np.ndarray
    centring: np.ndarray
    drive: np.ndarray
    noise: np.ndarray
    mismatch: np.ndarray
    equilibrium: np.ndarray

    def __repr__(self) -> str:
        _, m, features = self.learning.shape
        return f"Terms({m} neurons, {features} features)"

    @property
    def by_output(self) -> np.ndarray:
        """(m, m, K) force through output j on <w_p, v_l>."""
        return self.learning + self.borrowing + self.centring

    @property
    def signal(self) -> np.ndarray:
        """(m, K): -dL/dA."""
        return self.by_output.sum(0)

    @property
    def head(self) -> np.ndarray:
        """(m, m): -dL/dE off the diagonal, zero on it."""
        return self.drive + self.noise + self.mismatch

    @property
    def lending(self) -> np.ndarray:
        """(m, K): what acts on a neuron through outputs that are not its own."""
        others = 1.0 - np.eye(len(self.drive))
        return (self.by_output * others[:, :, None]).sum(0)

    def own(self, name: str) -> np.ndarray:
        """(m, K): the part of learning, borrowing or centring that acts through a neuron's own output."""
        return np.einsum("jjl->jl", getattr(self, name))


def terms(model: Model, signal: Array, gram: Array, head: Array) -> Terms:
    """Split the force at signal (m, K), noise Gram (m, m), head (m, m). ValueError where an output has no variance."""
    signal, gram, head = (np.asarray(array, dtype=np.float64) for array in (signal, gram, head))
    raw, slopes = _responses(model, signal, gram)
    form = BilinearForms(model)
    _, noise = noise_means_and_covariances(model, gram)
    m = len(signal)
    found = {name: np.zeros((m, *signal.shape)) for name in ("learning", "borrowing", "centring")}
    found |= {name: np.zeros((m, m)) for name in ("drive", "noise", "mismatch")}
    found["equilibrium"] = np.full((m, m), np.nan)
    for j in range(m):
        _add_output(j, form, raw, slopes, noise, head, found)
    return Terms(**found)


def _add_output(j: int, form: Any, raw: Any, slopes: Any, noise: Any, head: Array, found: Any) -> None:
    """Fill in what output j contributes."""
    row, own = head[j], raw[j]
    online, borrowed = row @ raw, np.delete(row, j) @ np.delete(raw, j, axis=0)
    noise_ff = form.patches * (row @ noise @ row)
    variance = form.same(online, online) + noise_ff
    target = form.same(own, own) + form.patches * noise[j, j]
    if not (variance > 0.0 and target > 0.0):
        raise ValueError(f"output {j + 1} has zero variance: its normalisation is undefined")
    scale = 2.0 / (np.sqrt(target) * variance**1.5)
    pull = form.apply_across(own)
    shares = {
        "learning": noise_ff * pull,
        "borrowing": form.turn(own, borrowed) @ online,
        "centring": row[j] * form.turn(own, own) @ online,
    }
    for name, share in shares.items():
        on_states = scale * row[:, None] * share[: form.count]
        found[name][j] = (slopes * on_states.reshape(len(raw), slopes.shape[1], -1)).sum(-1)
    reach = raw @ pull  # h_p
    for r in range(len(raw)):
        if r != j:
            rest = row.copy()
            rest[r] = 0.0
            kept = rest @ raw
            covariance = noise @ rest
            drive = form.patches * rest @ (reach[r] * covariance - reach * covariance[r])
            drive += raw[r] @ form.turn(own, kept) @ kept
            shared = form.patches * rest @ (reach[r] * noise[:, r] - reach * noise[r, r])
            turned = raw[r] @ form.turn(own, raw[r]) @ kept
            found["drive"][j, r] = scale * drive
            found["noise"][j, r], found["mismatch"][j, r] = scale * row[r] * shared, scale * row[r] * turned
            if shared + turned < 0.0:
                found["equilibrium"][j, r] = -drive / (shared + turned)


def _responses(model: Model, signal: Array, gram: Array) -> tuple[Array, Array]:
    """X (m, N) for odd activations, else (m, N + 1) with mu last; df/dA (m, K, N/K)."""
    record = ACTIVATIONS[model.activation]
    alpha, degree = np.asarray(model.effective_strengths), record.degree
    u = alpha * signal
    if record.odd:
        return u**degree, (degree * alpha * u ** (degree - 1))[..., None]
    sides = np.stack([u, -u], axis=-1)
    active = sides > 0.0
    states = np.where(active, sides, 0.0) ** degree
    mean, _ = noise_means_and_covariances(model, gram)
    slope = degree * alpha[:, None] * np.array([1.0, -1.0]) * np.where(active, np.abs(sides) ** (degree - 1), 0.0)
    return np.hstack([states.reshape(len(u), -1), mean[:, None]]), slope

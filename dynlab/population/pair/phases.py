r"""The theorem's phases as numbers, measured on ensembles. Cubic activation, two neurons, two features.

**Times**, all events located on the solver's interpolant, never grid points:

* T_1: some neuron's squared cosine with some feature first passes 1/2: weights align, the "Omega(1) of v_1 in w_1" of
  Wen & Li, and not what outputs carry (`dynlab.population.moments.carried`). That neuron is the *lender* i, the feature l;
  the other neuron is the *borrower* o, the other feature k.
* T_2: the largest off-diagonal head entry is at its maximum over the whole trajectory.
* T_3: the second feature is learnt, by the definition of T_1.
* T_4: the largest off-diagonal head entry has fallen back to `RETURNED` times its maximum (`head_return`).

**Substitution** at a state: |E_oi f_il| / |f_ol|, how many times the borrowed strong feature exceeds the borrower's
own answer to a sample of it; the same on every such sample.

**Acceleration** at a state: the growth rate of A_ok over that of the same state with E = I, from the exact gradient,
and the closed form of the same number where E_io = 0,

    gain = (Var f_o / Var F_o)^(3/2) [C + a E_oi D F_ol / f_ok] / C_oo,    D = f_il f_ok - f_ik f_ol,

a = E[N1^2]/2, C_oo and C the noise variances of f_o and of F_o = f_o + E_oi f_i. This is dynlab's own comparison. That of
Wen & Li is between the two features: the head favours the second one for the borrower where the gain of A_ok is above that
of A_ol, which is (Var f_o / Var F_o)^(3/2) [C - a E_oi D F_ok / f_ol] / C_oo, so that

    gain of A_ok - gain of A_ol = (Var f_o / Var F_o)^(3/2) a E_oi D [F_ol / f_ok + F_ok / f_ol] / C_oo,

above 0 wherever E_oi D has the sign of F_ol / f_ok (F_ok and f_ok, f_ol and F_ol having one each): on both routes to rescue.

**The gain on the two routes** (`dynlab.population.pair.limit`). With Y = a f_ol^2/C_oo, x = E_oi f_il/f_ol > 0 and
c = D/(f_il f_ok) = 1 - f_ik f_ol/(f_il f_ok), and without the lender's noise and f_ok^2 (far smaller at T_2),

    gain = [(1 + Y)/(1 + (1 + x)^2 Y)]^(3/2) [1 + c x (1 + x) Y].

  * Y << 1, the borrower is noise (first route, where c = 1): with R = x^2 Y = a (E_oi f_il)^2/C_oo the gain is (1 +
    R)^(-1/2). It is below 1 however large the head: what lending adds to the force, 1 + R, the normalisation takes away,
    (1 + R)^(3/2).
  * x << 1, c = 1: 1 + x Y (Y - 2)/(1 + Y), above 1 iff Y > 2: the borrower's own answer must exceed its noise.
  * Y >> 1, the borrower has collapsed (second route, where c is of order one): 1/(1 + x)^3 + c a |f_ol|^3 |E_oi f_il| /
    (C_oo (E_oi f_il + f_ol)^2) (`collapsed_gain`), at most c Y/4 + 1, and without bound as the noise dies.

The gain is at the *same* state: it leaves out that the borrower's noise, and with it every normalisation, has shrunk because
of the head. `growth` counts that too: dA_ok/dt / A_ok^5, which is constant while noise dominates, compared between two
states.

**End states**, with a margin on squared cosines: "diverse" (each neuron is within MARGIN of a feature of its own),
"collapsed on l" (the outputs collapsed, `dynlab.population.moments.MERGED`, both neurons within MARGIN of feature l),
"merged" (collapsed on a mixed direction), "mixed" (none of these), "failed" (the solver gave up).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.formulas import masks
from dynlab.population.gradient import population_gradient
from dynlab.population.moments import MERGED
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.stepping import FIRST, PEAK, SECOND
from dynlab.tools import show

# The head has returned when it is this fraction of its peak.
RETURNED = 0.01
# A neuron is on a feature when its squared cosine with it is above 1 - MARGIN.
MARGIN = 0.05
END_STATES = ("diverse", "collapsed on strong", "collapsed on weak", "merged", "mixed", "failed")


def sizes(signal, gram):
    """|w_j| (..., m) of signals (..., m, K) and noise Gram matrices (..., m, m)."""
    return np.sqrt((signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1))


@dataclass(frozen=True)
class Roles:
    """Who does what in each of N trajectories: their numbers `rows` (N,), the neurons `lender` and `borrower` (N,), the
    features learnt `first` and `second` (N,).

    Where nothing was learnt, the neuron and the feature with the largest squared cosine at the end stand in.
    """

    rows: np.ndarray
    lender: np.ndarray
    borrower: np.ndarray
    first: np.ndarray
    second: np.ndarray

    __repr__ = show.fields_line
    _repr_html_ = show.fields_table

    def of(self, array, neuron: str, feature: str):
        """Entries (N,) of array (N, m, K) for a role of each kind: neuron "lender", feature "first", and so on."""
        return array[self.rows, getattr(self, neuron), getattr(self, feature)]


def roles(ensemble) -> Roles:
    """Lender, borrower, first and second feature of every trajectory, read off the state at T_1."""
    signal, gram = (part[:, FIRST] for part in ensemble.snapshots[:2])
    missing = ~np.isfinite(signal).all((1, 2))
    signal = np.where(missing[:, None, None], ensemble.ends[0], signal)
    gram = np.where(missing[:, None, None], ensemble.ends[1], gram)
    with np.errstate(invalid="ignore"):
        cosines = np.nan_to_num(signal**2 / sizes(signal, gram)[..., None] ** 2)
    n, _, features = cosines.shape
    best = cosines.reshape(n, -1).argmax(1)
    lender, first = best // features, best % features
    return Roles(np.arange(n), lender, 1 - lender, first, 1 - first)


def times(ensemble) -> dict:
    """T_1, T_2, T_3 (N,) each; nan where the event did not happen."""
    marks = ensemble.marks
    return {"T_1": marks[:, FIRST], "T_2": marks[:, PEAK], "T_3": marks[:, SECOND]}


def at_event(ensemble, event: int):
    """(signal (N, m, K), noise Gram (N, m, m), head (N, m, m)) at an event, FIRST, SECOND or PEAK."""
    return tuple(part[:, event] for part in ensemble.snapshots)


def head_distance(head):
    """||E - I||_F (...,) of heads (..., m, m)."""
    return np.sqrt(((head - np.eye(head.shape[-1])) ** 2).sum((-1, -2)))


def responses(model, signal):
    """f_jl = (alpha_l A_jl)^3 at effective strengths, shape of signal (..., m, K)."""
    return (np.asarray(model.effective_strengths) * signal) ** 3


def substitution(model, who: Roles, signal, head):
    """|E_oi f_il| / |f_ol| (N,) at states signal (N, 2, 2), head (N, 2, 2)."""
    f = responses(model, signal)
    entry = head[who.rows, who.borrower, who.lender]
    return np.abs(entry * who.of(f, "lender", "first") / who.of(f, "borrower", "first"))


@dataclass(frozen=True)
class Acceleration:
    """Growth rates with the head over those with E = I at the same states, (N,) each.

    second, first: of A_ok and of A_ol, from the gradient; predicted: the closed form of `second`.
    """

    second: np.ndarray
    first: np.ndarray
    predicted: np.ndarray

    __repr__ = show.fields_line
    _repr_html_ = show.fields_table


def acceleration(model, who: Roles, signal, gram, head) -> Acceleration:
    """Gains of the borrower's signals at states (N, ...); nan where a state is not finite."""
    unit = np.broadcast_to(np.eye(2), head.shape)
    with_head, without = (borrower_force(model, who, signal, gram, some) for some in (head, unit))
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = with_head / without
    return Acceleration(gain[:, 1], gain[:, 0], predicted_gain(model, who, signal, gram, head))


def borrower_force(model, who: Roles, signal, gram, head):
    """-dL/dA_ol and -dL/dA_ok (N, 2) at states (N, ...), from the exact gradient; nan where a state is not finite."""
    force = np.full((len(signal), 2), np.nan)
    for n in np.flatnonzero(np.isfinite(signal).all((1, 2))):
        slope = population_gradient(model, dense_weights(signal[n], gram[n]), head[n])[1]
        force[n] = -slope[who.borrower[n], [who.first[n], who.second[n]]]
    return force


def growth(model, who: Roles, signal, gram, head):
    """dA_ok/dt / A_ok^5 (N,) at states (N, ...): constant while noise dominates, so that its rise is acceleration."""
    with np.errstate(invalid="ignore"):
        return borrower_force(model, who, signal, gram, head)[:, 1] / who.of(signal, "borrower", "second") ** 5


def predicted_gain(model, who: Roles, signal, gram, head):
    """The closed form of the gain (N,), see the module's head."""
    same, _, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    a = same / model.features
    f = responses(model, signal)
    lent, own = (f[who.rows, getattr(who, name)] for name in ("lender", "borrower"))
    entry = head[who.rows, who.borrower, who.lender][:, None]
    out = own + entry * lent
    o, i, rows = who.borrower, who.lender, who.rows
    noise = patches * noise_covariances(model, gram)
    entry = entry[:, 0]
    noise_out = noise[rows, o, o] + 2 * entry * noise[rows, o, i] + entry**2 * noise[rows, i, i]
    var_own = a * (own**2).sum(1) + noise[rows, o, o]
    var_out = a * (out**2).sum(1) + noise_out
    first, second = who.first, who.second
    det = lent[rows, first] * own[rows, second] - lent[rows, second] * own[rows, first]
    drive = noise_out + a * entry * det * out[rows, first] / own[rows, second]
    return (var_own / var_out) ** 1.5 * drive / noise[rows, o, o]


def collapsed_gain(model, who: Roles, signal, gram, head):
    """The gain (N,) once the borrower's own answer exceeds its noise, and the ratio Y = a f_ol^2/C_oo (N,), which must be
    far above 1 for it: see the module's head."""
    same, _, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    a = same / model.features
    f = responses(model, signal)
    own = np.abs(who.of(f, "borrower", "first"))
    lent = np.abs(head[who.rows, who.borrower, who.lender] * who.of(f, "lender", "first"))
    noise = patches * noise_covariances(model, gram)[who.rows, who.borrower, who.borrower]
    with np.errstate(divide="ignore", invalid="ignore"):
        other = who.of(f, "lender", "second") * who.of(f, "borrower", "first")
        apart = 1.0 - other / (who.of(f, "lender", "first") * who.of(f, "borrower", "second"))
        gain = (own / (own + lent)) ** 3 + apart * a * own**3 * lent / (noise * (own + lent) ** 2)
        return gain, a * own**2 / noise


def noise_covariances(model, gram):
    """E phi(<w_j, xi>) phi(<w_r, xi>) of one patch, (..., m, m): sigma^6 (9 Q_jj Q_rr Q_jr + 6 Q_jr^3)."""
    own = np.diagonal(gram, axis1=-2, axis2=-1)
    return model.noise**6 * (9 * own[..., :, None] * own[..., None, :] * gram + 6 * gram**3)


def dense_weights(signal, gram):
    """Weights (m, K + m) with these signals (m, K) and this noise Gram matrix (m, m)."""
    values, vectors = np.linalg.eigh(gram)
    return np.hstack([signal, vectors * np.sqrt(np.maximum(values, 0.0))])


def residual(who: Roles, signal, gram, neuron: str = "borrower", feature: str = "second"):
    """||w - beta v||, beta = <w, v>, of a role's neuron and feature: (N,)."""
    j = getattr(who, neuron)
    other = 1 - getattr(who, feature)
    return np.sqrt(gram[who.rows, j, j] + signal[who.rows, j, other] ** 2)


def end_states(ensemble) -> np.ndarray:
    """The class of each end state (N,), of `END_STATES`."""
    signal, gram, _ = ensemble.ends
    with np.errstate(invalid="ignore"):
        cosines = signal**2 / sizes(signal, gram)[..., None] ** 2
    near = cosines > 1.0 - MARGIN
    found = np.full(len(signal), "mixed", dtype=object)
    one = ensemble.frame["rank"].to_numpy() < MERGED
    found[one] = "merged"
    found[one & near[:, 0, 0] & near[:, 1, 0]] = "collapsed on strong"
    found[one & near[:, 0, 1] & near[:, 1, 1]] = "collapsed on weak"
    found[(near[:, 0, 0] & near[:, 1, 1]) | (near[:, 0, 1] & near[:, 1, 0])] = "diverse"
    found[failed(ensemble)] = "failed"
    return found


def failed(ensemble) -> np.ndarray:
    """(N,) whether the solver gave up."""
    return (ensemble.frame["outcome"] == "failed").to_numpy()


def merged(ensemble) -> np.ndarray:
    """(N,) whether the outputs end collapsed: on one direction, pure or mixed."""
    return (ensemble.frame["rank"] < MERGED).to_numpy() & ~failed(ensemble)


def rescued(ensemble) -> np.ndarray:
    """(N,) trajectories of the paper's kind: both features, each on a neuron of its own."""
    return np.isin(end_states(ensemble), ("diverse",))


def head_return(model, start: OrderParameters, eta_head: float, until: float, rtol: float = 1e-6) -> float:
    """T_4 of one start, to six digits of the time since T_2; nan where the head does not return before `until`.

    Brackets it on the recorded trajectory, then narrows the bracket with states at chosen times.
    """
    from dynlab.population.simulate import simulate

    run = simulate(model, start, eta_head=eta_head, until=until, rtol=rtol)
    size = np.abs(run.head - np.eye(model.neurons)).max((1, 2))
    after = np.flatnonzero((run.time >= run.events["peak"]) & (size <= RETURNED * size.max()))
    if not np.isfinite(run.events["peak"]) or len(after) == 0 or after[0] == 0:
        return np.nan
    low, high, level = run.time[after[0] - 1], run.time[after[0]], RETURNED * size.max()
    while high - low > 1e-6 * (high - run.events["peak"]):
        grid = np.unique(np.linspace(low, high, 33))
        if len(grid) < 3:
            break
        states = simulate(model, start, eta_head=eta_head, until=until, rtol=rtol, times=grid[1:]).head
        below = np.abs(states - np.eye(model.neurons)).max((1, 2)) <= level
        place = int(below.argmax()) if below.any() else len(below) - 1
        low, high = grid[place], grid[place + 1]
    return float(high)

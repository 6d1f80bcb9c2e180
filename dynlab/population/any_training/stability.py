r"""Fixed points of the flow under any `Training`, their eigenvalues, and the end state that each belongs to.

They are those of the reduced system of `dynlab.population.any_training.reduced` (directions and head; the scale of each
neuron taken out where the loss does not depend on it; noise held at a share). Found by Newton's method with the exact
Jacobian from random starts; points known already, with all their mirror images, are *deflated*: their roots are removed by
solving for

    M(x) g(x) = 0,   M(x) = prod_i (1 + 1/|x - x_i|^2)         (Farrell, Birkisson & Funke, SIAM J. Sci. Comput. 2015)

instead of g(x) = 0, whose Newton step is the plain step p times 1/(1 - p . grad log M), so no larger system is solved.

**Zero eigenvalues.** `removed` modes are the scales of neurons and heads, left out beforehand. Those in `symmetries` lie
along an orbit of points with the same loss: the scale of all weights, rotations among features of equal strength (linear
activation). The rest (`degenerate`) are no symmetry: the state is one of a continuum of fixed points, or what would move
it is of higher order, as everything is that a signal of degree 3 does near zero.

**What theory says for two neurons, odd activation of degree q, b/a = E[N1 N2]/E[N1^2].** Without noise,
L = 4 - 2 (b/a) sum_j cos(F_j, f_j), and the force on F_j turns it towards f_j.

* Diverse, w_1 = v_1, w_2 = v_2, E = I: the angle of F_2 = f_2 + E_21 f_1 is E_21 alpha_1^q/alpha_2^q, so

      dE_21/dt = -2 r (b/a) (alpha_1/alpha_2)^(2q) E_21,      dE_12/dt = -2 r (b/a) (alpha_2/alpha_1)^(2q) E_12,

  and all other eigenvalues vanish. Stable, never a saddle: what the head borrowed is given back at these rates.
* Collapsed, w_1 = w_2 = v_1: F_j is parallel to f_j for EVERY head, so the head is neutral, and with x_j = f_j2/f_j1,
  h = 2 (b/a) E_21/(1 + E_21)^2, h' = 2 (b/a) E_12/(1 + E_12)^2,

      df_22/dt = alpha_2^2 phi'^2 (h - E_12 h') (x_2 - x_1)/alpha_1^q,
      df_12/dt = alpha_2^2 phi'^2 (E_21 h - h') (x_2 - x_1)/alpha_1^q.

  Linear activation: x_2 - x_1 has the one eigenvalue that is not zero (`collapse_eigenvalue`),

      2 (b/a) (alpha_2/alpha_1)^2 [E_21 (1 - E_21)/(1 + E_21)^2 + E_12 (1 - E_12)/(1 + E_12)^2],

  positive for 0 < E_21 < 1 = 1 - E_12: a head that lends moderately, with the right sign, makes collapse unstable, most at
  E_21 = 1/3; one that lends more than the neuron has itself (E_21 > 1), or against it, makes it stable; without head it is
  neutral. Cubic: phi'(0) = 0, the same bracket multiplies 9 alpha_2^4 A_22^4, and the collapsed state is never a saddle to
  first order, whatever the head: it is left, if E_21 > 0, only as dA_22/dt ~ E_21 A_22^5, algebraically (`collapse_growth`).

**With noise held at a share s, cubic, without a head**, neuron j climbs S = sum_l (alpha_l n_l)^6 on the unit circle: v_1
and v_2 are stable, and the direction with alpha_1^6 n_1^4 = alpha_2^6 n_2^4 in between unstable. So diverse and both
collapsed states are stable, two neurons on directions in between unstable, one there and one on a feature a saddle. With
the head (found at share 0.5, r = 0.01) the same three are stable, at equal noise collapse with E_12 = E_21 = 1, the mean of
two noisy copies, and merged is a saddle. These are answers to "which way does the race lean now": at a state
on features without head the noise fades (1 - s^2)/s^2 times as fast as directions relax, since |w_j| is conserved, so the
race may be over, noise gone, before a direction has come to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.formulas import masks
from dynlab.population.any_training.reduced import Field
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.tools import show
from dynlab.tools.checks import integer, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynlab.settings.model import Model
    from dynlab.settings.training import Training
    from dynlab.tools.types import Array

ON_FEATURE = 1e-3  # a neuron is on a feature when the rest of its signal's square is a smaller part than this
PARALLEL = 1e-3  # neurons are parallel when the squares of the sines between them are below this
SAME_POINT = 1e-5  # points nearer than this are one
ZERO = 1e-9  # an eigenvalue below this part of the largest (and of the field's own scale) is zero
MOST_IMAGES = 4000  # mirror images of a point that are deflated
ITERATIONS = 40
STEP_LIMIT = 0.5  # of a Newton step: directions and head entries are of order one


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A fixed point of the reduced system.

    x (n,): the point; signal (m, K); head (m, m); loss; residual: largest |dx/dt|; eigenvalues (n',) complex, by descending
    real part, of the motion within the reduced system; noise_rates (m,): d log|w~_j|/dt, 0 without noise; end_state: see
    `end_state`; removed, symmetries, degenerate: numbers of zero modes, see the module; images: how many mirror images
    (permuted neurons and features, flipped signs) it has, itself included.
    """

    x: np.ndarray
    signal: np.ndarray
    head: np.ndarray
    loss: float
    residual: float
    eigenvalues: np.ndarray
    noise_rates: np.ndarray
    end_state: str
    removed: int
    symmetries: int
    degenerate: int
    images: int = 1

    def __repr__(self) -> str:
        values = ", ".join(show.number(complex(value), 3) for value in self.eigenvalues[:3])
        more = ", ..." if len(self.eigenvalues) > 3 else ""
        return f"FixedPoint({self.end_state}, {self.stability}, loss {self.loss:.6g}, eigenvalues {values}{more})"

    def _repr_html_(self) -> str:
        told = ("end_state", "stability", "loss", "residual", "removed", "symmetries", "degenerate", "images")
        rows = [(name, getattr(self, name)) for name in told]
        rows += [(f"eigenvalue {i + 1}", show.number(complex(x), 6)) for i, x in enumerate(self.eigenvalues[:8])]
        matrices = show.matrix_table(self.signal, "signal") + show.matrix_table(self.head, "head")
        return show.table(rows, (), "FixedPoint") + matrices

    @property
    def unstable_modes(self) -> int:
        """How many eigenvalues have a positive real part (zeros to rounding left out)."""
        return int((self.eigenvalues.real > self.zero_level).sum())

    @property
    def zero_level(self) -> float:
        """Real parts up to this size are zero to rounding."""
        return ZERO * max(np.abs(self.eigenvalues).max(initial=0.0), 1e-12)

    @property
    def stability(self) -> str:
        """Of "stable", "saddle", "unstable", and "marginal" where nothing grows but degenerate modes do not decay either."""
        decaying = int((self.eigenvalues.real < -self.zero_level).sum())
        if self.unstable_modes:
            return "saddle" if decaying or self.degenerate else "unstable"
        return "marginal" if self.degenerate else "stable"


def end_state(signal: ArrayLike) -> str:
    """The end state of signals (m, K), by their directions.

    "collapsed on strong" / "collapsed on weak" (for K > 2 "collapsed on feature l"): all neurons on one feature; "diverse":
    all on features, as many as possible; "partly diverse": all on features, but fewer; "merged": all parallel on a mixed
    direction; "mixed": none of these; "nothing learnt": no signal in any neuron.
    """
    signal = np.asarray(signal, dtype=float)
    size = (signal**2).sum(1)
    if not (size > 1e-12).any():
        return "nothing learnt"
    m, features = signal.shape
    if not (size > 1e-12).all():
        return "mixed"
    cosines = signal**2 / size[:, None]
    if (cosines.max(1) > 1.0 - ON_FEATURE).all():
        which = set(cosines.argmax(1).tolist())
        if len(which) == 1 and m > 1:
            l = which.pop()
            return "collapsed on " + (("strong", "weak")[l] if features == 2 else f"feature {l + 1}")
        return "diverse" if len(which) == min(m, features) else "partly diverse"
    unit = signal / np.sqrt(size)[:, None]
    return "merged" if ((unit @ unit.T) ** 2).min() > 1.0 - PARALLEL else "mixed"


def analyse(field: Field, x: Array) -> FixedPoint:
    """Eigenvalues and classes at a point x (n,) of the reduced system, fixed or (residual says) nearly."""
    x = field.retract(np.asarray(x, dtype=float))
    loss, rates, fading, head = field.evaluate(x.astype(complex))
    matrix, basis = field.jacobian(x), field.tangent(x)
    values = np.linalg.eigvals(basis.T @ matrix @ basis)
    values = values[np.argsort(-values.real, kind="stable")]
    level = ZERO * max(np.abs(values).max(initial=0.0), 1e-12)
    zeros = int((np.abs(values) <= level).sum())
    along = _orbit(field, x, matrix, level)
    signal, _, _ = field.unpack(x)
    return FixedPoint(
        x, signal, head.real, float(loss.real), float(np.abs(rates).max()), values, fading.real, end_state(signal),
        len(field.unit_blocks), min(along, zeros), max(zeros - along, 0),
    )  # fmt: skip


def _orbit(field: Field, x: Array, matrix: Array, level: float) -> int:
    """Dimension of the orbit of x under continuous symmetries, as far as they are zero modes of the Jacobian."""
    columns = [mode for mode in _generators(field, x) if np.linalg.norm(mode) > 1e-9]
    columns = [mode for mode in columns if np.abs(matrix @ mode).max() <= 1e3 * level * np.linalg.norm(mode)]
    return int(np.linalg.matrix_rank(np.array(columns), tol=1e-9)) if columns else 0


def _generators(field: Field, x: Array) -> list:
    """Directions (n,) along continuous symmetries at x."""
    model, training, cut = field.model, field.training, field.blocks * field.cut
    found = []
    if not field.directions and training.normalisation != "none" and training.objective != "vicreg":
        mode = np.zeros(field.size)
        mode[:cut] = x[:cut]
        found.append(mode)
    if model.activation == "linear":
        for p in range(model.features):
            for q in range(p):
                if model.effective_strengths[p] == model.effective_strengths[q]:
                    rows = x[:cut].reshape(-1, model.features)
                    turned = np.zeros_like(rows)
                    turned[:, p], turned[:, q] = rows[:, q], -rows[:, p]
                    found.append(np.concatenate([turned.ravel(), np.zeros(field.size - cut)]))
    return found


def images(field: Field, x: ArrayLike) -> np.ndarray:
    """All mirror images (N, n) of x, itself first: permuted neurons, permuted features of equal strength, flipped signs."""
    made, waiting = [np.asarray(x, dtype=float)], [np.asarray(x, dtype=float)]
    moves = _mirrors(field)
    while waiting and len(made) < MOST_IMAGES:
        point = waiting.pop()
        for move in moves:
            image = move(point)
            if np.abs(np.array(made) - image).max(1).min() > SAME_POINT:
                made.append(image)
                waiting.append(image)
    return np.array(made)


def _mirrors(field: Field) -> list:
    """Generators of the discrete symmetries, as functions of a point."""
    model, m, wide = field.model, field.model.neurons, field.model.features
    moves, kinds = [], list(zip(model.strengths, model.frequencies, strict=True))

    def act(rows: np.ndarray, columns: np.ndarray, signs: Array, flips: Array) -> Callable[[Array], Array]:
        """Neurons permuted by `rows` and multiplied by `signs`, features permuted by `columns` and multiplied by `flips`."""

        def move(x: Array) -> Array:
            signal, _, head = field.unpack(x)
            blocks = x[: field.blocks * field.cut].reshape(field.blocks, m, wide)
            blocks = (blocks * signs[:, None] * flips)[:, rows][:, :, columns]
            head = (head * np.outer(signs, signs))[np.ix_(rows, rows)]
            return np.concatenate([blocks.ravel(), [head[j, r] for j, r in field.entries]])

        return move

    same, ones, every, plus = np.arange(m), np.ones(m), np.arange(wide), np.ones(wide)
    given = field.unpack(field.pack(np.ones((m, wide))))[2] if not field.entries else np.eye(m)
    for j in range(m - 1):
        rows = same.copy()
        rows[[j, j + 1]] = j + 1, j
        if np.array_equal(given[np.ix_(rows, rows)], given):
            moves.append(act(rows, every, ones, plus))
    for j in range(m if ACTIVATIONS[model.activation].odd else 0):
        signs = np.where(same == j, -1.0, 1.0)
        if np.array_equal(given * np.outer(signs, signs), given):
            moves.append(act(same, every, signs, plus))
    for l in range(wide):
        moves.append(act(same, every, ones, np.where(every == l, -1.0, 1.0)))
        # Of equal strength and frequency: for a rectified phi it is not enough that both together are alike.
        if l and kinds[l] == kinds[l - 1]:
            columns = every.copy()
            columns[[l - 1, l]] = l, l - 1
            moves.append(act(same, columns, ones, plus))
    return moves


def newton(field: Field, x: Array, known: ArrayLike = ()) -> np.ndarray | None:
    """A zero of the field from x (n,), other than the points `known` (N, n); None where Newton's method finds none."""
    known = np.asarray(known).reshape(-1, field.size)
    x, scale = field.retract(x), 0.0
    for _ in range(ITERATIONS):
        rates = field.rates(x)
        if not np.isfinite(rates).all():
            return None
        scale = max(scale, float(np.abs(rates).max()))
        basis = field.tangent(x)
        matrix = basis.T @ field.jacobian(x) @ basis
        if not np.isfinite(matrix).all():
            return None
        # Least squares: along a continuum of fixed points no step is taken.
        step = basis @ np.linalg.lstsq(matrix, -basis.T @ rates, rcond=1e-12)[0]
        length = np.linalg.norm(step)
        if (np.abs(rates).max() <= 1e-13 * scale and length <= 1e-6) or length <= 1e-12:
            away = np.abs(known - x).max(1).min(initial=np.inf) > SAME_POINT
            return x if away else None
        apart = x - known
        square = (apart * apart).sum(1)
        if len(known) and square.min() == 0.0:
            return None
        slope = (-2.0 * apart / (square * (square + 1.0))[:, None]).sum(0) @ step if len(known) else 0.0
        step = step / (1.0 - slope if abs(1.0 - slope) > 1e-3 else 1e-3)
        step *= min(1.0, STEP_LIMIT / np.linalg.norm(step))
        x = field.retract(x + step)
        if np.abs(x[field.blocks * field.cut :]).max(initial=0.0) > 1e4:
            return None
    return None


def fixed_points(
    model: Model, training: Training, *, share: float = 0.0, starts: int = 100, seed: int = 0,
    points: Iterable[ArrayLike] = (),
) -> list[FixedPoint]:  # fmt: skip
    """Fixed points of the flow in the reduced system, one of each set of mirror images, in the order of discovery.

    Parameters
    ----------
    model : Model; not relu, which comes to rest on kinks.
    training : Training
    share : noise part that is held, in units of |w_j| (of the weights' own where the loss depends on scales). At 0 with
        normalised outputs fixed points form continua (see the module), of which the starts give samples.
    starts : number of random starts >= 0.
    seed : of the starts.
    points : points (n,) of the reduced system (`Field.pack`) to start from first, the end states that one asks for.

    Raises SettingError for values that are not allowed. Every point has been polished until dx/dt is zero to rounding; that
    all were found is likely, not certain: more starts tell.
    """
    field = Field(model, training, share)
    starts = integer("starts", starts, at_least=0)
    rng = np.random.default_rng(seed)
    found: list[FixedPoint] = []
    known = np.empty((0, field.size))
    for x in [*points, *(field.random(rng) for _ in range(starts))]:
        reached = newton(field, np.asarray(x, dtype=float), known)
        if reached is None:
            continue
        copies = images(field, reached)
        found.append(replace(analyse(field, reached), images=len(copies)))
        known = np.concatenate([known, copies])
    return found


def end_points(field: Field) -> dict:
    """The states that theory names, as points (n,): diverse, collapsed on each feature, merged near where it is a draw."""
    m, wide = field.model.neurons, field.model.features
    unit = np.eye(wide)
    named = {"diverse": field.pack(unit[np.arange(m) % wide])}
    for l in range(wide):
        named[end_state(np.tile(unit[l], (max(m, 2), 1)))] = field.pack(np.tile(unit[l], (m, 1)))
    degree = ACTIVATIONS[field.model.activation].degree
    draw = np.asarray(field.model.effective_strengths) ** (-1.5 if degree == 3 else 0.0)
    named["merged"] = field.pack(np.tile(draw, (m, 1)))
    return named


def return_rates(model: Model, eta_head: float) -> tuple[float, float]:
    """Eigenvalues of E_12, E_21 at the diverse noiseless state w_j = v_j of two neurons, odd activation (see the module)."""
    same, across, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    degree = ACTIVATIONS[model.activation].degree
    ratio = (model.effective_strengths[0] / model.effective_strengths[-1]) ** (2 * degree)
    return -2.0 * eta_head * across / same / ratio, -2.0 * eta_head * across / same * ratio


def _lending(model: Model, head: Any) -> float:
    """2 (b/a) sum of E_jr (1 - E_jr)/(1 + E_jr)^2 over the two entries off the diagonal."""
    require(model.neurons == 2 and model.features == 2, "model", model, "of two neurons and two features")
    same, across, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    return 2.0 * across / same * sum(e * (1.0 - e) / (1.0 + e) ** 2 for e in (head[0][1], head[1][0]))


def collapse_eigenvalue(model: Model, head: Any) -> float:
    """The eigenvalue of f_22/f_21 - f_12/f_11 at w_1 = w_2 = v_1 without noise, linear activation, head (2, 2) with unit
    diagonal; all others vanish."""
    return (model.effective_strengths[1] / model.effective_strengths[0]) ** 2 * _lending(model, head)


def collapse_growth(model: Model, head: Any, signal: float) -> float:
    """dA_22/dt near w_1 = w_2 = v_1 without noise, cubic, to leading order in A_22 = signal, A_12 = 0, head (2, 2)."""
    same, across, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    h, mirror = (2.0 * across / same * e / (1.0 + e) ** 2 for e in (head[1][0], head[0][1]))
    return 3.0 * (model.effective_strengths[1] / model.effective_strengths[0]) ** 6 * (h - head[0][1] * mirror) * signal**5

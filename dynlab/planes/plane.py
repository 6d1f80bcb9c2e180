r"""A plane through the exact system of two neurons and two features: any two of its coordinates, the others held or slaved.

Coordinates, as they are typed:

    w11 w12 w21 w22    A_jl = <w_j, v_l>: the first digit is the neuron, the second the feature
    E12 E21            E_jr: what output j borrows from neuron r
    s1 s2              |w~_j|, the noise parts, which are orthogonal to each other

In place of s_j the whole length |w_j| can be held, as w1 or w2: the noise is then what is left of it, sqrt(|w_j|^2 -
A_j1^2 - A_j2^2), and the plane of two signals of one neuron a disc. While the head rests, lengths are conserved; while E_21
grows from 0, |w_2|^2 = |w_2(0)|^2 - q E_21^2/r and |w_1|^2 = |w_1(0)|^2 + q E_21^2/r.

**Slaved.** A head entry that is slaved is at the zero of its own equation. With p = Cov_jj, q = Cov_rj, A = Var_jj,
B = Var_jr, C = Var_rr, rho_j = (p + q e)/sqrt((A + 2 B e + C e^2) U_j) has the one maximum e* = (p B - q A)/(q B - p C):
the equation is linear in e (`dynlab.formulas.objective`). Without a maximum (p + q e* < 0) the point is left out. The two
entries do not enter each other's equations.

**Nullclines.** For degree 3, dA_jl/dt = 3 alpha_l^3 A_jl^2 (force): A_jl = 0 is a branch on which nothing changes sign, so
branches are the zeros of the force and that line.

**Fixed points** are those of the system of the two coordinates and the slaved entries, by Newton's method with the exact
Jacobian (complex steps); slaved entries are eliminated, J_pp - J_ps J_ss^{-1} J_sp, before eigenvalues are taken.
Where an eigenvalue is zero, as at A = 0 for degree 3, or there is none, as on a kink of relu, the motion nearby tells:
paths of the plane's field from a small circle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from dynlab.population import moments
from dynlab.population.any_training.reduced import STEP, Forces
from dynlab.population.pair.batch import pair_gradients
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import Model, without_correlation, without_hidden
from dynlab.settings.training import Training
from dynlab.tools import show
from dynlab.tools.checks import SettingError, require

SIGNALS, HEAD_ENTRIES, NOISES = ("w11", "w12", "w21", "w22"), ("E12", "E21"), ("s1", "s2")
COORDINATES = SIGNALS + HEAD_ENTRIES + NOISES
LENGTHS = {"w1": "s1", "w2": "s2"}  # |w_j|, and whose place it takes
STANDARD = {"w11": 0.99, "w12": 0.01, "w21": 0.1, "w22": 0.03, "E12": 0.0, "E21": 0.0, "w1": 1.0, "w2": 1.0}
SMALLEST = 1e-12  # noise stands for none below it: formulas of many states at once divide by it
KINDS = ("stable", "saddle", "unstable")
LABELS = {f"w{j}{l}": rf"$\langle w_{j}, v_{l}\rangle$" for j in (1, 2) for l in (1, 2)}
LABELS |= {"E12": "$E_{12}$", "E21": "$E_{21}$"} | {f"s{j}": rf"$|\tilde w_{j}|$" for j in (1, 2)}
LABELS |= {f"w{j}": rf"$|w_{j}|$" for j in (1, 2)}


@dataclass(frozen=True)
class Side:
    """One axis of a plane: the name of a coordinate, and its range from low to high."""

    name: str
    low: float
    high: float

    def centres(self, count: int) -> np.ndarray:
        """Centres (count,) of equal cells."""
        edges = np.linspace(self.low, self.high, count + 1)
        return (edges[1:] + edges[:-1]) / 2

    __repr__ = show.fields_line

    @property
    def span(self) -> float:
        """The length of the range."""
        return self.high - self.low


@dataclass(frozen=True)
class PlanePoint:
    """A fixed point of the plane: place (2,), kind of `KINDS`, the two eigenvalues (complex), by: whether they tell the kind
    ("eigenvalues") or the motion nearby does ("motion"), residual: largest rate there."""

    place: np.ndarray
    kind: str
    eigenvalues: np.ndarray
    by: str
    residual: float

    def __repr__(self) -> str:
        values = ", ".join(show.number(complex(value)) for value in self.eigenvalues)
        return f"Point({self.place[0]:.4g}, {self.place[1]:.4g}: {self.kind}, eigenvalues {values})"

    _repr_html_ = show.fields_table


class Plane:
    """The plane of sides x and y; `held` gives numbers for other coordinates or lengths (missing ones as in `STANDARD`),
    `slaved` names head entries at their own equilibrium. eta_head: the head's rate, 0 for a head that rests.

    Raises SettingError for what is no plane.
    """

    def __init__(self, model: Model, eta_head: float, x: Side, y: Side, held=None, slaved=()):
        without_hidden(model, "a portrait: with hidden units no two coordinates tell where the others are")
        require(model.neurons == 2 and model.features == 2, "model", model, "of two neurons and two features")
        without_correlation(model, "a portrait")
        for option, side in (("x", x), ("y", y)):
            require(side.name in COORDINATES, option, side.name, "a coordinate of " + ", ".join(COORDINATES))
            require(side.low < side.high, option, side.name, "a range from a lower to a higher value")
        require(x.name != y.name, "y", y.name, "another coordinate than that of x")
        given = dict(held or {})
        for name in (x.name, y.name, *slaved):
            require(name not in given, "hold", name, "left out: it is an axis or slaved")
        for name in slaved:
            require(name in HEAD_ENTRIES and name not in (x.name, y.name), "slave", name, "E12 or E21, and no axis")
        fixed = {*given, x.name, y.name}
        for name, value in given.items():
            allowed = "a coordinate of " + ", ".join((*COORDINATES, *LENGTHS))
            require(name in COORDINATES or name in LENGTHS, "hold", name, allowed)
            require(name in SIGNALS + HEAD_ENTRIES or value >= 0.0, "hold", f"{name}={value}", "a number >= 0")
            require(LENGTHS.get(name) not in fixed, "hold", name, f"left out: {LENGTHS.get(name)} is given")
        self.model, self.eta_head, self.x, self.y, self.slaved = model, float(eta_head), x, y, tuple(slaved)
        moving = {x.name, y.name, *slaved}
        self.held = {name: given.get(name, value) for name, value in STANDARD.items()
                     if name not in moving and LENGTHS.get(name) not in fixed}  # fmt: skip
        self.held |= {name: given[name] for name in NOISES if name in given}
        self._forces = Forces(model, Training(eta_head=self.eta_head))
        self._unknowns = (x.name, y.name, *self.slaved)
        self._cubed = ACTIVATIONS[model.activation].degree == 3

    def __repr__(self) -> str:
        sides = [f"{side.name} from {side.low:g} to {side.high:g}" for side in (self.x, self.y)]
        held = [f"{name}={value:.4g}" for name, value in self.held.items()]
        return show.line("Plane", [*sides, *held, *(f"{name} slaved" for name in self.slaved)])

    def _repr_html_(self) -> str:
        rows = [(side.name, f"from {side.low:g} to {side.high:g}") for side in (self.x, self.y)]
        rows += [(name, f"held at {value:.6g}") for name, value in self.held.items()]
        rows += [(name, "slaved") for name in self.slaved]
        return show.table([*rows, ("eta_head", self.eta_head)], (), f"Plane of {self.model!r}")

    def values(self, x, y) -> dict:
        """All coordinates (N,) at points x, y (N,) of the plane; nan where a length has no room. Slaved ones stay 0."""
        given = {self.x.name: x, self.y.name: y}
        return self._complete({name: given.get(name, 0.0 * x + self.held.get(name, 0.0)) for name in COORDINATES})

    def _complete(self, values: dict) -> dict:
        for j, (length, name) in enumerate(LENGTHS.items()):
            if length in self.held:
                square = self.held[length] ** 2
                left = square - values[SIGNALS[2 * j]] ** 2 - values[SIGNALS[2 * j + 1]] ** 2
                left = np.where(np.abs(left) < 1e-14 * square, 0.0 * left, left)
                values[name] = np.where(np.real(left) < 0.0, np.nan, left) ** 0.5
        return values

    def states(self, x, y):
        """signal (N, 2, 2), noise norms (N, 2), head (N, 2, 2) at points x, y (N,), and whether (N,) there is such one."""
        x, y = (np.asarray(part, dtype=float).ravel() for part in (x, y))
        values = self.values(x, y)
        signal, norm, head = _arrays(values)
        inside = np.isfinite(norm).all(1) & (norm >= 0.0).all(1)
        norm = np.where(inside[:, None], np.maximum(np.nan_to_num(norm), SMALLEST), 1.0)
        if self.slaved:
            gram = norm[:, :, None] ** 2 * np.eye(2)
            var, cov = moments.output_moments(self.model, signal, gram)
            for name in self.slaved:
                j, r = (int(digit) - 1 for digit in name[1:])
                p, q, a, b, c = cov[:, j, j], cov[:, r, j], var[:, j, j], var[:, j, r], var[:, r, r]
                with np.errstate(all="ignore"):
                    head[:, j, r] = (p * b - q * a) / (q * b - p * c)
                    inside &= np.isfinite(head[:, j, r]) & (p + q * head[:, j, r] > 0.0)
            head = np.where(inside[:, None, None], head, np.eye(2))
        return signal, norm, head, inside

    def rates(self, x, y):
        """(dx/dt, dy/dt, the same two divided by what cannot change sign) at points x, y (N,), each (N,); nan outside."""
        signal, norm, head, inside = self.states(x, y)
        weights = np.zeros((len(signal), 2, 4))
        weights[:, :, :2] = signal
        weights[:, [0, 1], [2, 3]] = norm
        with np.errstate(all="ignore"):
            _, d_weights, d_head = pair_gradients(self.model, weights, head)
            moving = {f"w{j + 1}{l + 1}": -d_weights[:, j, l] for j in range(2) for l in range(2)}
            moving |= {f"E{j + 1}{r + 1}": -self.eta_head * d_head[:, j, r] for j, r in ((0, 1), (1, 0))}
            moving |= {f"s{j + 1}": -d_weights[:, j, 2 + j] for j in range(2)}
            moving = {name: np.where(inside & np.isfinite(rate), rate, np.nan) for name, rate in moving.items()}
            at = {self.x.name: np.ravel(x), self.y.name: np.ravel(y)}
            found = [moving[name] for name in at]
            forces = [moving[name] / value**2 if self._double(name) else moving[name] for name, value in at.items()]
        return (*found, *forces)

    def _double(self, name) -> bool:
        """Whether the coordinate's rate has its square as a factor."""
        return self._cubed and name in SIGNALS

    def nullclines(self, count: int = 240) -> list:
        """Branches [(name of the coordinate at rest, points (n, 2))] on a grid of count x count cells.

        Pieces of less than two cells, as the edge of the plane cuts them off, are left out.
        """
        from contourpy import contour_generator

        x, y = self.x.centres(count), self.y.centres(count)
        mesh = np.meshgrid(x, y)
        found = []
        for side, force in zip((self.x, self.y), self.rates(*mesh)[2:], strict=True):
            field = np.ma.masked_invalid(force.reshape(mesh[0].shape))
            field = field / max(np.abs(field).max() or 1.0, 1e-300) if field.count() else field
            if field.count():
                found += [(side.name, line) for line in contour_generator(x, y, field).lines(0.0) if len(line) > 4]
            if self._double(side.name) and side.low < 0.0 < side.high:
                found.append((side.name, self._axis(side, count)))
        return found

    def _axis(self, side: Side, count: int) -> np.ndarray:
        """The part of the line side = 0 that is inside the plane, (n, 2)."""
        other = self.y if side is self.x else self.x
        along = np.linspace(other.low, other.high, count)
        line = np.column_stack([0.0 * along, along] if side is self.x else [along, 0.0 * along])
        return line[self.states(*line.T)[3]]

    def _exact(self, unknowns):
        """Rates of the two coordinates and the slaved entries (n,), complex, at values (n,) of them."""
        values = {name: np.array([complex(self.held.get(name, 0.0))]) for name in COORDINATES}
        values |= {name: np.array([value]) for name, value in zip(self._unknowns, unknowns, strict=True)}
        signal, norm, head = (part[0] for part in _arrays(self._complete(values)))
        _, d_signal, d_noise, d_head, _ = self._forces(signal, norm, head)
        rates = []
        for name in self._unknowns:
            j, r = int(name[1]) - 1, int(name[-1]) - 1
            if name in SIGNALS:
                rates.append(-d_signal[j, r])
            elif name in HEAD_ENTRIES:
                rates.append(-d_head[j, r] * (1.0 if name in self.slaved else self.eta_head))
            else:
                rates.append(-d_noise[j] / norm[j] if norm[j].real > 0.0 else 0.0 * norm[j])
        return np.array(rates)

    def linearised(self, unknowns):
        """Rates (n,) and their exact Jacobian (n, n) at real values `unknowns` (n,) of coordinates and slaved entries."""
        unknowns = np.array(unknowns, dtype=complex)
        moved = unknowns + 1j * STEP * np.eye(len(unknowns))
        return self._exact(unknowns).real, np.array([self._exact(row).imag / STEP for row in moved]).T

    def fixed_points(self, count: int = 60) -> list[PlanePoint]:
        """Fixed points found from the cells (count x count) where both forces change sign, from 0 and +-1 on the axes."""
        found: list[PlanePoint] = []
        for start in self._candidates(count):
            place = self._newton(start)
            if place is None or any(np.abs((place - p.place) / self._spans()).max() < 1e-4 for p in found):
                continue
            point = self._classify(place)
            if point is not None:
                found.append(point)
        return found

    def _spans(self) -> np.ndarray:
        return np.array([self.x.span, self.y.span])

    def _candidates(self, count: int):
        """Points (2,) near which there may be a fixed point."""
        x, y = (np.linspace(side.low, side.high, count + 1) for side in (self.x, self.y))
        mesh = np.meshgrid(x, y, indexing="ij")
        signs = [np.sign(force).reshape(mesh[0].shape) for force in self.rates(*mesh)[2:]]
        changes = []
        for side, edges, sign, axis in zip((self.x, self.y), (x, y), signs, (0, 1), strict=True):
            corners = np.array([sign[:-1, :-1], sign[1:, :-1], sign[:-1, 1:], sign[1:, 1:]])
            change = np.isfinite(corners).all(0) & (np.abs(corners.sum(0)) < 4)
            if self._double(side.name):
                across = (edges[:-1] <= 0.0) & (edges[1:] >= 0.0)
                change |= across[:, None] if axis == 0 else across[None]
            changes.append(change)
        middles = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
        places = [np.array([middles[0][i], middles[1][k]]) for i, k in np.argwhere(changes[0] & changes[1])]
        named = [np.array(ends) for ends in ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))]
        # And just inside a unit disc, whose edge cuts cells.
        return [*named, *(0.97 * place for place in named[1:]), *places]

    def _inside(self, place) -> bool:
        slack = 1e-9 * self._spans()
        within = (place >= [self.x.low, self.y.low] - slack).all() and (place <= [self.x.high, self.y.high] + slack).all()
        return bool(within and self.states(*place[:, None])[3][0])

    def _slaved_at(self, place) -> list:
        head = self.states(*np.asarray(place)[:, None])[2][0]
        return [head[int(name[1]) - 1, int(name[2]) - 1] for name in self.slaved]

    def _scale(self, place) -> float:
        """What counts as a rate of order one: the largest on a circle of a tenth of the spans."""
        ring = place[:, None] + 0.1 * self._spans()[:, None] * _circle(16)
        with np.errstate(all="ignore"):
            return float(np.nanmax(np.abs(self.rates(*ring)[:2]), initial=1e-300))

    def _newton(self, start) -> np.ndarray | None:
        place = np.array(start, dtype=float)
        for _ in range(80):
            if not self._inside(place):
                return None
            rates, matrix = self.linearised([*place, *self._slaved_at(place)])
            if not (np.isfinite(rates).all() and np.isfinite(matrix).all()):
                return None
            reduced = self._eliminate(matrix)
            step = np.linalg.lstsq(reduced, -rates[:2], rcond=1e-12)[0]
            if np.abs(step / self._spans()).max() < 1e-12:
                break
            step /= max(1.0, np.abs(step / self._spans()).max() / 0.02)
            place = place + step
            for i, side in enumerate((self.x, self.y)):
                # Double roots at A = 0 are reached by halves: go there where nothing moves there.
                if (self._double(side.name) or self._kinks(side.name)) and abs(place[i]) < 1e-3 * side.span:
                    place[i] = 0.0
        if np.abs(place - start).max() > 0.1 * self._spans().max():
            return None
        resting = np.abs(rates[:2]).max() < 1e-9 * self._scale(place)
        return place if resting and all(self._held_at_kink(place, i) for i in (0, 1)) else None

    def _kinks(self, name) -> bool:
        return self.model.activation == "relu" and name in SIGNALS

    def _held_at_kink(self, place, i) -> bool:
        """Whether coordinate i is off its kink, or at it with rates of opposite signs on the two sides."""
        side = (self.x, self.y)[i]
        if not self._kinks(side.name) or place[i] != 0.0:
            return True
        apart = 1e-6 * side.span * np.array([1.0, -1.0]) * np.eye(2)[i][:, None]
        rates = self.rates(*(place[:, None] + apart))[i]
        return bool(rates[0] * rates[1] <= 0.0)

    def _eliminate(self, matrix) -> np.ndarray:
        if not self.slaved:
            return matrix
        rest = np.linalg.lstsq(matrix[2:, 2:], matrix[2:, :2], rcond=None)[0]
        return matrix[:2, :2] - matrix[:2, 2:] @ rest

    def _classify(self, place) -> PlanePoint | None:
        """The fixed point there; None on a continuum of them, where all around rests as well."""
        rates, matrix = self.linearised([*place, *self._slaved_at(place)])
        values = np.linalg.eigvals(self._eliminate(matrix))
        residual = float(np.abs(rates[:2]).max())
        level = 1e-9 * max(np.abs(values).max(), self._scale(place) / self._spans().max())
        kinked = any(self._kinks(side.name) and at == 0.0 for side, at in zip((self.x, self.y), place, strict=True))
        values = np.full(2, np.nan, dtype=complex) if kinked else values
        if (np.abs(values.real) > level).all():
            return PlanePoint(place, KINDS[int((values.real > 0.0).sum())], values, "eigenvalues", residual)
        kind = self._by_motion(place)
        return None if kind is None else PlanePoint(place, kind, values, "motion", residual)

    def _by_motion(self, place, radius: float = 0.02, steps: int = 400) -> str | None:
        """Whether paths from a small circle come nearer (all: stable, none: unstable), at unit speed; None if all rest."""
        spans = self._spans()[:, None]
        at = place[:, None] + radius * spans * _circle(48)
        inside = self.states(*at)[3]
        at = at[:, inside]
        start = at.copy()
        for _ in range(steps):
            rates = np.nan_to_num(np.array(self.rates(*at)[:2])) / spans
            speed = np.sqrt((rates**2).sum(0))
            at = at + spans * rates / np.where(speed > 0.0, speed, 1.0) * radius / 50
            at = np.where(self.states(*at)[3], at, at - spans * rates / np.where(speed > 0.0, speed, 1.0) * radius / 50)
        before, after = (np.sqrt((((part - place[:, None]) / spans) ** 2).sum(0)) for part in (start, at))
        if not len(before) or np.abs(at - start).max() == 0.0:
            return None
        nearer = after < 0.5 * before
        return "stable" if nearer.all() else ("saddle" if nearer.any() else "unstable")


def _circle(count: int) -> np.ndarray:
    angle = 2.0 * np.pi * (np.arange(count) + 0.37) / count
    return np.array([np.cos(angle), np.sin(angle)])


def _arrays(values: dict):
    """signal (N, 2, 2), norms (N, 2), head (N, 2, 2) of all coordinates (N,)."""
    signal = np.stack([values[name] for name in SIGNALS], axis=-1).reshape(-1, 2, 2)
    norm = np.stack([values[name] for name in NOISES], axis=-1)
    one = 0.0 * values["E12"] + 1.0
    head = np.stack([one, values["E12"], values["E21"], one], axis=-1).reshape(-1, 2, 2)
    return signal, norm, head


def parse_side(option: str, word: str) -> Side:
    """The side that `NAME` or `NAME=LOW:HIGH` stands for (default -1:1; noise 0:1)."""
    name, equals, given = str(word).partition("=")
    require(name in COORDINATES, option, word, "NAME or NAME=LOW:HIGH with NAME of " + ", ".join(COORDINATES))
    if not equals:
        return Side(name, 0.0 if name in NOISES else -1.0, 1.0)
    try:
        low, high = (float(part) for part in given.split(":"))
    except ValueError:
        raise SettingError(option, word, "NAME or NAME=LOW:HIGH with numbers") from None
    require(isfinite(low) and isfinite(high) and low < high, option, word, "a range from a lower to a higher finite value")
    return Side(name, low, high)

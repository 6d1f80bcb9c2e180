r"""The portrait beside a trajectory: the exact field on the two signals of one neuron, all else held as it is at one moment.

`dynlab.planes.plane` draws any two coordinates, with noise parts that are orthogonal. Here the noise parts are those of
the trajectory, with the angle that they have, so that the arrow at the trajectory's point is its velocity. While the cursor
moves along the trajectory the field turns: what the head lends changes it.

For degree 3, dA_l/dt = 3 alpha_l^3 A_l^2 (force): A_l = 0 is a nullcline besides the zeros of the force, and nothing crosses
it. The kind of a point where both rates vanish is told by the eigenvalues of differences across it; where one of them is
zero, as on double roots, by motion: stable where all that starts on a small circle ends nearer, unstable where nothing ever
comes nearer, a saddle otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.any_training import gradient
from dynlab.settings.activation_records import ACTIVATIONS

if TYPE_CHECKING:
    from dynlab.explorer.explored import Explored
    from dynlab.explorer.panels import Followed
    from dynlab.tools.types import Array

ARROWS, CELLS = 13, 61  # along each axis: of the field, and of the grid on which nullclines are found
COARSE = 25  # cells where each state takes microseconds of Python
ROOM = 1.15  # half the side of the plane, in units of the largest signal or length of the neuron
CIRCLE, PATHS, STRIDE = 24, 150, 1 / 40  # of the classification: starts, steps, and length of a step in radii
RADIUS = 0.03  # of the circle, in units of half the side
NEAR = 0.6  # what is nearer than this many radii has come nearer
FLAT = 0.02  # an eigenvalue below this share of the largest difference counts as zero
STABLE, SADDLE, UNSTABLE = "stable", "saddle", "unstable"


@dataclass(frozen=True)
class RestingPoint:
    """A point (x, y) of the plane where both rates vanish, and its kind."""

    x: float
    y: float
    kind: str


@dataclass(frozen=True, eq=False)
class PlaneField:
    """The field of neuron `neuron` at one moment: its plane reaches from -reach to reach on both axes.

    x, y: (n,) places of the arrows; along, up: (n,) rates there. strong, weak: polylines (k, 2) on which the signal of the
    feature does not move.
    """

    neuron: int
    reach: float
    x: np.ndarray
    y: np.ndarray
    along: np.ndarray
    up: np.ndarray
    strong: list[np.ndarray]
    weak: list[np.ndarray]


class HeldMoment:
    """One moment of a trajectory: the rates of one neuron's two signals, the rest held.

    why: in words why there is no field, "" where there is one.
    """

    def __init__(self, shown: Followed, index: int, neuron: int) -> None:
        run, self.neuron, self.chosen = shown.run, neuron, shown.chosen
        self.why = why_no_field(self.chosen)
        self.signal, self.gram, self.head = run.signal[index], run.noise_gram[index], run.head[index]
        if not self.why:
            lengths = np.sqrt((run.signal[:, neuron] ** 2).sum(-1) + run.noise_gram[:, neuron, neuron])
            self.reach = ROOM * float(lengths.max())
        self._paper = self.chosen.training.is_papers

    def rates(self, x: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
        """dA_1/dt and dA_2/dt (n,) where the neuron's signals are x, y (n,); nan where an output has no variance."""
        x, y = (np.asarray(part, dtype=float).ravel() for part in (x, y))
        return self._pair_rates(x, y) if self._paper else self._any_rates(x, y)

    def forces(self, x: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
        """The rates without the factor A^2 of degree 3, which changes no sign."""
        rates = self.rates(x, y)
        if not self.doubled:
            return rates
        with np.errstate(all="ignore"):
            return rates[0] / np.ravel(x) ** 2, rates[1] / np.ravel(y) ** 2

    @property
    def doubled(self) -> bool:
        """Whether each signal's rate has its square as a factor."""
        return ACTIVATIONS[self.chosen.activation].degree == 3

    def _pair_rates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from dynlab.population.pair.batch import pair_gradients

        weights = np.zeros((len(x), 2, 4))
        weights[:, :, :2] = self.signal
        norm, (dot, area) = np.sqrt(np.diagonal(self.gram)), _inside(self.gram)
        weights[:, 0, 2] = norm[0]
        weights[:, 1, 2:] = (dot / norm[0], area / norm[0]) if norm[0] > 0.0 else (norm[1], 0.0)
        weights[:, self.neuron, 0], weights[:, self.neuron, 1] = x, y
        with np.errstate(all="ignore"):
            _, moved, _ = pair_gradients(self.chosen.model, weights, np.tile(self.head, (len(x), 1, 1)))
        found = -moved[:, self.neuron, :2]
        return found[:, 0], found[:, 1]

    def _any_rates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model, training = self.chosen.model, self.chosen.training
        norm, (_, area) = np.sqrt(np.diagonal(self.gram)), _inside(self.gram)
        wedge = np.array([[0.0, area], [area, 0.0]])
        found = np.full((2, len(x)), np.nan)
        signal = np.array(self.signal)
        for n, place in enumerate(zip(x, y, strict=True)):
            signal[self.neuron] = place
            given = (norm, self.gram, wedge, signal, norm, np.array(self.head))
            found[:, n] = -gradient.evaluate_float(model, training, signal, *given)[1][self.neuron]
        return found[0], found[1]


def _inside(gram: Array) -> tuple[float, float]:
    """Inner product of the two noise parts, and the area they span."""
    dot, square = float(gram[0, 1]), float(gram[0, 0] * gram[1, 1])
    return dot, float(np.sqrt(max(square - dot * dot, 0.0)))


def why_no_field(chosen: Explored) -> str:
    """Why there is no field on a neuron's plane at these settings; "" where there is one."""
    if chosen.model.layered:
        return "With hidden units the two answers do not tell where the units are: only the trajectory is drawn."
    return ""


def plane_field(moment: HeldMoment) -> PlaneField:
    """Arrows and nullclines at a moment that has a field."""
    from contourpy import contour_generator

    reach = moment.reach
    edges = np.linspace(-reach, reach, ARROWS + 1)
    x, y = (part.ravel() for part in np.meshgrid((edges[1:] + edges[:-1]) / 2, (edges[1:] + edges[:-1]) / 2))
    along, up = moment.rates(x, y)
    cells = CELLS if moment.chosen.training.is_papers else COARSE
    # An even number of cells between the points: none stands on 0, where forces of degree 3 are not defined.
    side = np.linspace(-reach, reach, cells + 1)
    forces = moment.forces(*np.meshgrid(side, side))
    lines = []
    for number, force in enumerate(forces):
        field = np.ma.masked_invalid(force.reshape(cells + 1, cells + 1))
        top = np.abs(field).max() if field.count() else 0.0
        found = contour_generator(side, side, field / top).lines(0.0) if top else []
        zeros = [np.asarray(line) for line in found]
        if moment.doubled:
            axis = np.column_stack([np.zeros(2), [-reach, reach]])
            zeros.append(axis if number == 0 else axis[:, ::-1])
        lines.append(zeros)
    return PlaneField(moment.neuron, reach, x, y, along, up, *lines)


def resting_points(moment: HeldMoment, field: PlaneField) -> list[RestingPoint]:
    """Where nullclines of the two signals cross, and of what kind these points are."""
    found: list[np.ndarray] = []
    for one in field.strong:
        for other in field.weak:
            found += [p for p in crossings(one, other) if not any(_near(p, q, field.reach) for q in found)]
    kinds = [(point, _kind(moment, point, field.reach)) for point in found]
    return [RestingPoint(float(x), float(y), kind) for (x, y), kind in kinds if kind]


def _near(p: Array, q: Array, reach: float) -> bool:
    return bool(np.abs(p - q).max() < RADIUS * reach)


def crossings(one: Array, other: Array) -> list[np.ndarray]:
    """Points (2,) where two polylines (n, 2) and (k, 2) cross."""
    a, b = one[:-1, None], one[1:, None] - one[:-1, None]
    c, d = other[None, :-1], other[None, 1:] - other[None, :-1]
    with np.errstate(all="ignore"):
        turn = b[..., 0] * d[..., 1] - b[..., 1] * d[..., 0]
        s = ((c - a)[..., 0] * d[..., 1] - (c - a)[..., 1] * d[..., 0]) / turn
        t = ((c - a)[..., 0] * b[..., 1] - (c - a)[..., 1] * b[..., 0]) / turn
    hit = (s >= 0.0) & (s <= 1.0) & (t >= 0.0) & (t <= 1.0)
    return [one[i] + s[i, k] * (one[i + 1] - one[i]) for i, k in np.argwhere(hit)]


def _kind(moment: HeldMoment, point: Array, reach: float) -> str:
    """The kind of a resting point; "" where nothing moves around it."""
    radius = RADIUS * reach
    steps = 0.25 * radius * np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    rates = np.nan_to_num(np.array(moment.rates(*(point[:, None] + steps))))
    matrix = np.stack([rates[:, 0] - rates[:, 1], rates[:, 2] - rates[:, 3]], axis=1)
    growth = np.linalg.eigvals(matrix).real
    if (np.abs(growth) > FLAT * np.abs(rates).max()).all():
        return (STABLE, SADDLE, UNSTABLE)[int((growth > 0.0).sum())]
    return _kind_by_motion(moment, point, radius)


def _kind_by_motion(moment: HeldMoment, point: Array, radius: float) -> str:
    angle = 2.0 * np.pi * (np.arange(CIRCLE) + 0.37) / CIRCLE
    at = point[:, None] + radius * np.array([np.cos(angle), np.sin(angle)])
    moved, nearest = False, np.full(CIRCLE, radius)
    for _ in range(PATHS):
        rates = np.nan_to_num(np.array(moment.rates(*at)))
        speed = np.hypot(*rates)
        moved = moved or bool(speed.any())
        at = at + STRIDE * radius * rates / np.where(speed > 0.0, speed, 1.0)
        away = np.hypot(*(at - point[:, None]))
        nearest = np.minimum(nearest, away)
    if not moved:
        return ""
    if (away < NEAR * radius).all():
        return STABLE
    return SADDLE if (nearest < NEAR * radius).any() else UNSTABLE

"""The grid of a phase diagram: two axes, and what is the same at every point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dynlab.machine.device import Device
from dynlab.maps.axes import Axis
from dynlab.maps.points import MapPoint
from dynlab.population.choices import check_training
from dynlab.population.flow_device import of_flow
from dynlab.settings.activation_records import require_built_in
from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD, LATEST, PAPER_HEADS, Training
from dynlab.tools import show
from dynlab.tools.checks import SettingError, choice, integer, real, require

MOST_POINTS = 250_000  # keeps the table and the index of the store below 1 GiB
RATE = "eta_head"  # the setting that does nothing without a head
MODEL_SETTINGS = (
    "strong",
    "weak",
    "noise",
    "patches",
    "feature_patches",
    "neurons",
    "hidden",
    "readout",
    "activation",
    "mask",
)


@dataclass(frozen=True)
class Grid:
    """Two axes x and y, and the settings that are the same at every point.

    fixed: values for settings of `Model`, and dim, eta_head, until, where the defaults are not meant. heads: the head
    rules to map. SettingError for what is not allowed at some point.
    """

    x: Axis
    y: Axis
    fixed: Mapping[str, Any]
    seed: int = 0
    rtol: float = 1e-6
    heads: tuple[str, ...] = PAPER_HEADS

    def __post_init__(self) -> None:
        require(self.x.name != self.y.name, "y", self.y.name, "another setting than that of x")
        for axis in (self.x, self.y):
            option = f"fixed[{axis.name!r}]"
            require(axis.name not in self.fixed, option, self.fixed.get(axis.name), "left out: it is an axis")
        size = len(self.x.values) * len(self.y.values)
        require(size <= MOST_POINTS, "grid", f"{size} points", f"of at most {MOST_POINTS} points")
        for head in self.heads:
            choice("head", head, PAPER_HEADS)
        object.__setattr__(self, "seed", integer("seed", self.seed, at_least=0, at_most=2**63 - 1))
        object.__setattr__(self, "rtol", real("rtol", self.rtol, at_least=1e-12, at_most=1e-2))
        self._check_points()

    def __repr__(self) -> str:
        fixed = ", ".join(f"{name}={show.brief(value)}" for name, value in self.fixed.items())
        return show.line("Grid", [f"{self.x!r}", f"{self.y!r}", *([fixed] if fixed else []), f"seed={self.seed}"])

    def point(self, x: float, y: float) -> MapPoint:
        """The point at the values x and y of the axes; SettingError where the model refuses one of them."""
        given = {"dim": 1000, "eta_head": ETA_HEAD, "until": None} | dict(self.fixed) | {self.x.name: x, self.y.name: y}
        model = Model(**{name: given.pop(name) for name in MODEL_SETTINGS if name in given})
        require_built_in(model.activation, "in a phase map, whose store outlives what a process registers")
        until = given.pop("until")
        rows = "hidden units" if model.layered else "neurons"
        dim = integer("dim", given.pop("dim"), at_least=model.features + model.units, why=f"features + {rows}")
        rate = real("eta_head", given.pop("eta_head"), at_least=0.0)
        check_training(model, Training(eta_head=rate), "off-diagonal", ETA_HEAD, "flow")
        require(not given, "fixed", given, "settings of Model, dim, eta_head or until")
        return MapPoint(model, dim, rate, None if until is None else real("until", until, above=0.0, at_most=LATEST))

    def places(self) -> Iterator[tuple[int, int, int]]:
        """(number of the head, row, column) of all points, in the order of the table."""
        rows, columns = range(len(self.y.values)), range(len(self.x.values))
        return ((h, i, j) for i in rows for j in columns for h in range(len(self.heads)))

    def repeats(self, head: str) -> int | None:
        """The axis of (rows, columns) along which the map of a head is one and the same; None where there is none."""
        names = (self.y.name, self.x.name)
        return names.index(RATE) if head == "none" and RATE in names else None

    def distinct(self, head: str) -> int:
        """How many points the map of a head has, copies left out."""
        sizes, axis = (len(self.y.values), len(self.x.values)), self.repeats(head)
        return sizes[0] * sizes[1] // (1 if axis is None else sizes[axis])

    def source(self, h: int, i: int, j: int) -> tuple[float, float]:
        """Values of x and y at which head number h is computed for row i, column j."""
        axis = self.repeats(self.heads[h])
        return self.x.values[0 if axis == 1 else j], self.y.values[0 if axis == 0 else i]

    def settings(self) -> dict[str, Any]:
        """What a store of this grid's points belongs to: everything but the ranges of the axes, as JSON holds it."""
        point = asdict(self.point(self.x.values[0], self.y.values[0]))
        plain = point.pop("model") | point
        for name in ("strengths", "probabilities", "correlation", "bias"):  # a map is of the paper's data
            del plain[name]
        kept = {name: value for name, value in plain.items() if name not in (self.x.name, self.y.name)}
        rest = {"heads": list(self.heads), "seed": self.seed, "rtol": self.rtol}
        return {"x axis": self.x.name, "y axis": self.y.name} | kept | rest

    def device(self, device: str | Device) -> Device:
        """Where all points of the grid are to be computed; device as in `phase_map`."""
        xs, ys = self.x.values, self.y.values
        models = {self.point(x, ys[0]).model for x in xs} | {self.point(xs[0], y).model for y in ys}
        return of_flow(device, [(model, Training(head=head)) for model in models for head in self.heads])

    def _check_points(self) -> None:
        """Every value of an axis beside the ends of the other: no rule of the model depends on more than that."""
        xs, ys = self.x.values, self.y.values
        for option, value, pairs in [("x", x, [(x, ys[0]), (x, ys[-1])]) for x in xs] + [
            ("y", y, [(xs[0], y), (xs[-1], y)]) for y in ys
        ]:
            for pair in pairs:
                try:
                    self.point(*pair)
                except SettingError as error:
                    mine = {self.x.name: "x", self.y.name: "y"}.get(error.name)
                    if mine is None and error.name in self.fixed:
                        raise
                    at = f"{self.x.name}={pair[0]:g}, {self.y.name}={pair[1]:g}"
                    allowed = f"such that, at {at}, {error.name} is {error.allowed}"
                    raise SettingError(mine or option, value, allowed) from None

"""What is set on the page: one start of one model under one training, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD, Training
from dynlab.tools.checks import SettingError, choice, integer, real, require

DIGITS = 12  # that a number from a slider is rounded to: 0.3, not 0.30000000000000004
MODEL_CONTROLS = ("strong", "weak", "noise", "patches", "activation", "hidden")
TRAINING_CONTROLS = ("head", "eta_head", "stop_gradient", "normalisation")
# Rules whose head a gradient moves or a matrix makes; "fixed" needs a matrix, for which there is no control.
HEAD_RULES = ("none", "off-diagonal", "linear", "symmetric", "directpred", "directcopy")
ALWAYS = ("strong", "weak", "activation", "dim", "head", "eta_head")  # what the command says even by default
MOST_DIM = 10**12


@dataclass(frozen=True)
class Explored:
    """The settings of the page, checked together: `model`, `training`, and the start number 0 of a seed in dimension `dim`.

    strong, weak, noise, patches, activation, hidden: as in `dynlab.Model`, whose other settings are the defaults.
    head, eta_head, stop_gradient, normalisation: as in `dynlab.Training`, likewise. SettingError for what is not allowed.
    """

    strong: float = 1.0
    weak: float = 0.3
    noise: float = 0.5
    patches: int = 16
    activation: str = "cubic"
    hidden: int = 1
    dim: int = 1000
    head: str = "off-diagonal"
    eta_head: float = ETA_HEAD
    stop_gradient: str = "target"
    normalisation: str = "batch"
    seed: int = 0

    def __post_init__(self) -> None:
        from dynlab.population.choices import check_training  # here: --help does without the solver

        for name in ("strong", "weak", "noise", "eta_head"):
            object.__setattr__(self, name, float(f"{real(name, getattr(self, name)):.{DIGITS}g}"))
        choice("head", self.head, HEAD_RULES)
        check_training(self.model, self.training, self.head, self.eta_head, "flow")
        rows = "hidden units" if self.model.layered else "neurons"
        least = self.model.features + self.model.units
        dim = integer("dim", self.dim, at_least=least, at_most=MOST_DIM, why=f"features + {rows}")
        object.__setattr__(self, "dim", dim)
        object.__setattr__(self, "seed", integer("seed", self.seed, at_least=0, at_most=2**63 - 1))

    @cached_property
    def model(self) -> Model:
        """The model of these settings."""
        return Model(**{name: getattr(self, name) for name in MODEL_CONTROLS})

    @cached_property
    def training(self) -> Training:
        """The training of these settings."""
        return Training(**{name: getattr(self, name) for name in TRAINING_CONTROLS})

    @property
    def without_head(self) -> Explored:
        """The same without a head."""
        return replace(self, head="none")

    def command(self, seeds: int = 1) -> str:
        """The line of `dynlab run` that repeats what is shown; of one start its trajectory.csv has the same bytes."""
        plain = Explored()
        words = ["dynlab", "run"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ALWAYS or (value != getattr(plain, field.name) and field.name != "seed"):
                words += [f"--{field.name.replace('_', '-')}", f"{value!r}" if isinstance(value, float) else str(value)]
        return shlex.join([*words, "--seeds", str(seeds), "--seed", str(self.seed)])


NAMES = tuple(field.name for field in fields(Explored))


def explored(model: Model | None = None, training: Training | None = None, **given: Any) -> Explored:
    """The settings of the page for a model and a training (None: the paper's), and others by name.

    SettingError for a model or a training that the page has no controls for.
    """
    found: dict[str, Any] = {}
    pairs: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
        ("model", model, MODEL_CONTROLS), ("training", training, TRAINING_CONTROLS),
    )  # fmt: skip
    for what, whole, names in pairs:
        if whole is not None:
            found |= {name: getattr(whole, name) for name in names}
            known = type(whole)(**{name: found[name] for name in names})
            require(known == whole, what, whole, f"the defaults but for {', '.join(names)}, which the page has controls for")
    for name, value in given.items():
        if name not in NAMES:
            raise SettingError(name, value, f"left out: settings of the page are {', '.join(NAMES)}")
    return Explored(**(found | given))


def from_controls(values: Mapping[str, object]) -> Explored:
    """The settings that the controls of a page stand at, by name; all of them come from outside, and all are checked."""
    whole = {name: values[name] for name in NAMES}
    for name in ("patches", "hidden", "dim", "seed"):
        whole[name] = integer(name, whole[name])
    return Explored(**whole)  # type: ignore[arg-type]  # checked there

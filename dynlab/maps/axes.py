"""The axes of a phase diagram: settings of the model and of the training that vary from point to point.

An axis is typed NAME=LOW:HIGH:COUNT, or with `:log` at the end: `weak=0.05:1:64`, `eta-head=1e-4:1:64:log`. Values are
rounded to 12 digits, those of whole-number settings to integers and each taken once, so that grids whose values
coincide on paper share their points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dynlab.tools import show
from dynlab.tools.checks import SettingError, nearest, require

MOST_VALUES = 1000
FORM = "NAME=LOW:HIGH:COUNT or NAME=LOW:HIGH:COUNT:log"
WHOLE = ("patches", "feature_patches", "neurons", "hidden", "dim")
REAL = ("strong", "weak", "noise", "eta_head", "until")
SETTINGS = REAL + WHOLE
LABELS = {
    "strong": r"strength of the strong feature $\alpha_1$",
    "weak": r"strength of the weak feature $\alpha_2$",
    "noise": r"noise $\sigma$",
    "eta_head": r"head rate $\eta_E/\eta$",
    "until": "training time $t$",
    "patches": "patches $P$",
    "feature_patches": "feature patches $n$",
    "neurons": "neurons $m$",
    "hidden": "hidden units of a neuron $H$",
    "dim": "dimension $d$",
}


@dataclass(frozen=True)
class Axis:
    """A setting, called `name`, and its increasing `values`; `log` says how they are spaced and drawn.

    SettingError for a setting that cannot vary, and for values that do not increase.
    """

    name: str
    values: tuple
    log: bool = False

    def __post_init__(self) -> None:
        require(self.name in SETTINGS, "axis", self.name, "one of " + ", ".join(SETTINGS))
        ordered = all(a < b for a, b in zip(self.values, self.values[1:], strict=False))
        require(len(self.values) > 1 and ordered, "axis", self.values, "two or more increasing values")

    def __repr__(self) -> str:
        span = f"{self.values[0]:g} to {self.values[-1]:g}"
        return show.line("Axis", [f"{self.name}: {len(self.values)} values, {span}{', log' if self.log else ''}"])

    @property
    def label(self) -> str:
        """The setting in the field's terms."""
        return LABELS[self.name]


def parse_axis(option: str, word: object) -> Axis:
    """The axis that `word` stands for; SettingError, naming the option ("x" or "y"), for one that it cannot be."""
    name, equals, given = str(word).partition("=")
    name = name.strip().replace("-", "_")
    parts = given.split(":")
    require(bool(equals) and len(parts) in (3, 4), option, word, FORM)
    names = [known.replace("_", "-") for known in SETTINGS]
    require(name in SETTINGS, option, word, f"an axis of {', '.join(names)}{nearest(name.replace('_', '-'), names)}")
    scale = parts[3] if len(parts) == 4 else "linear"
    require(scale in ("log", "linear"), option, word, "spaced log or linear")
    low, high = (_number(option, word, part) for part in parts[:2])
    count = _number(option, word, parts[2])
    require(low < high, option, word, "a range from a lower to a higher value")
    fits = count == int(count) and 2 <= count <= MOST_VALUES
    require(fits, option, word, f"of 2 to {MOST_VALUES} points")
    require(scale == "linear" or low > 0.0, option, word, "above 0 where it is spaced log")
    return Axis(name, _values(option, word, name, (low, high, int(count)), scale == "log"), scale == "log")


def _number(option: str, word: object, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    require(math.isfinite(value), option, word, FORM + " with finite numbers")
    return value


def _values(option: str, word: object, name: str, span: tuple, log: bool) -> tuple:
    values = (np.geomspace if log else np.linspace)(*span)
    if name not in WHOLE:
        rounded = tuple(dict.fromkeys(float(f"{value:.12g}") for value in values))
        require(len(rounded) > 1, option, word, "a range of values that differ")
        return rounded
    whole = tuple(dict.fromkeys(round(float(value)) for value in values))
    if len(whole) < 2:
        raise SettingError(option, word, f"a range with two or more integers, as {name.replace('_', '-')} is one")
    return whole

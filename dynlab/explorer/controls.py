"""Sliders and boxes of the page, and the settings that they stand at. Needs the extra `explore`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bokeh.models import CustomJSTickFormatter, Select, Slider, Spinner

from dynlab.explorer.explored import HEAD_RULES, Explored, from_controls
from dynlab.settings.model import ACTIVATION_NAMES
from dynlab.settings.training import NORMALISATIONS, STOP_GRADIENTS

# Label, lowest, highest, step; sliders of powers of ten stand at the exponent.
SLIDERS: dict[str, tuple[str, float, float, float]] = {
    "weak": ("weak feature α₂", 0.05, 1.0, 0.01),
    "strong": ("strong feature α₁", 0.1, 2.0, 0.01),
    "eta_head": ("head's rate η_E/η", -4.0, 2.0, 0.05),
    "noise": ("noise σ", 0.05, 2.0, 0.01),
    "dim": ("dimension d", 1.0, 12.0, 0.25),
    "patches": ("patches P", 6, 40, 2),
    "hidden": ("hidden units a neuron", 1, 8, 1),
}
POWERS = ("eta_head", "dim")
POWER_DIGITS = 4  # that a power of ten is rounded to
CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "head": ("head", HEAD_RULES),
    "activation": ("activation", ACTIVATION_NAMES),
    "stop_gradient": ("stop-gradient on", STOP_GRADIENTS),
    "normalisation": ("normalisation", NORMALISATIONS),
}
FOREMOST = ("head", "eta_head", "weak", "seed")  # what one moves first; the others stand apart
ORDER = (*FOREMOST, "strong", "noise", "dim", "activation", "hidden", "patches", "stop_gradient", "normalisation")


class Controls:
    """The widgets by setting, standing at `chosen`."""

    def __init__(self, chosen: Explored) -> None:
        self.widgets: dict[str, Any] = {name: self._made(name, getattr(chosen, name)) for name in ORDER}
        self._exact = {name: (self.widgets[name].value, getattr(chosen, name)) for name in POWERS}

    def _made(self, name: str, value: Any) -> Any:
        fill = {"sizing_mode": "stretch_width", "name": name}
        if name == "seed":
            return Spinner(title="random start (seed)", low=0, high=2**53 - 1, step=1, value=value, **fill)
        if name in CHOICES:
            label, options = CHOICES[name]
            return Select(title=label, options=list(options), value=value, **fill)
        label, low, high, step = SLIDERS[name]
        if name in POWERS:
            value = math.log10(max(value, 1e-4))
            fill["format"] = CustomJSTickFormatter(code="return String(Number((10 ** tick).toPrecision(3)))")
        return Slider(title=label, start=min(low, value), end=max(high, value), step=step, value=value, **fill)

    def values(self) -> dict[str, Any]:
        """What the widgets stand at, powers of ten worked out."""
        found = {name: widget.value for name, widget in self.widgets.items()}
        for name in POWERS:
            at, exact = self._exact[name]
            power = float(f"{10.0 ** found[name]:.{POWER_DIGITS}g}") if found[name] != at else exact
            found[name] = round(power) if name == "dim" else power
        return found

    def chosen(self) -> Explored:
        """The settings; SettingError, of one line, for what does not go together."""
        return from_controls(self.values())

    def on_move(self, moved: Callable[[], None], released: Callable[[], None]) -> None:
        """Call `moved` at every change, and `released` where a slider is let go or anything else is set."""
        for name, widget in self.widgets.items():
            widget.on_change("value", lambda attr, old, new: moved())
            widget.on_change("value_throttled" if name in SLIDERS else "value", lambda attr, old, new: released())

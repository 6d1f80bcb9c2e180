"""Whether a run on pictures has collapsed or diverged, by the lines of its metrics.

Collapsed: the outputs z, as the loss sees them (`dynlab.images.losses.seen`), have effective rank below `FEW` or a mean
absolute correlation above `ALIKE`; the table of heads in README.md has 1.0 to 2.0 and 0.85 to 1.00 for what collapsed there,
10 to 28 and at most 0.56 for the rest. Rank and correlation do not know of size, so also, where the loss does,

    unit length, SimCLR   outputs at unit length hardly differ between pictures: their standard deviation `unit_sd` is below
                          `POINT` of 1/sqrt(m), that of directions spread over the whole sphere (Chen & He 2021)
    VICReg                the outputs hardly vary: their standard deviation `sd` is below `POINT` of the 1 its hinge asks for
    DINO                  the teacher's distributions p_i tell pictures apart by less than `INFORMATION` nats, H(mean p) less
                          mean H(p): both ways of collapse, all uniform and all the same (Caron et al. 2021), make this zero

Judged by the median of the last `LAST` lines (of the last quarter, where these are fewer). In its first `DIP` steps a run
that goes well passes through small ranks too, when the head has only begun. Diverged: a number is not finite, or the outputs
or the head's entries have grown beyond `HUGE` times what they started with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynlab.images.settings import OWN_ENCODERS, PATCH_OUTPUTS, Pretraining

FEW, ALIKE = 2.0, 0.8
LAST, DIP = 5, 100
SAFE_RANK, SAFE_CORRELATION = 3.0, 0.6  # between these and the above nothing is said for certain
POINT, INFORMATION = 0.1, 0.1
HUGE = 1e6
# What a line of metrics.csv holds.
METRIC_COLUMNS = ("step", "epoch", "lr", "loss", "rank", "correlation", "head_norm", "head_asymmetry", "knn",
                  "sd", "unit_sd", "entropy_mean", "entropy")  # fmt: skip
MEASURES = ("rank", "correlation", "sd", "unit_sd", "entropy_mean", "entropy")


def metric_line(values: Mapping[str, float]) -> str:
    """A line of metrics.csv, its end included, of numbers by `METRIC_COLUMNS`: they can be read back to the bit."""
    cells = (values[name] for name in METRIC_COLUMNS)
    return ",".join(str(x) if isinstance(x, int) else repr(float(x)) for x in cells) + "\n"


def json_line(values: Mapping[str, Any]) -> str:
    """A JSON object of a line, its end included; a number that is not finite is null."""
    plain = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in values.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def metric_numbers(line: str) -> dict[str, float]:
    """What a line of metrics.csv holds; ValueError for any other."""
    return dict(zip(METRIC_COLUMNS, map(float, line.split(",")), strict=True))


class NotFinite(ArithmeticError):
    """Training, or the features it led to, came to numbers that are not finite; the text says which."""

    @classmethod
    def check(cls, what: str, *arrays: np.ndarray) -> None:
        """Raise for arrays of floats that hold nan or infinity; what: as "outputs"."""
        for array in arrays:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise cls(f"{what} are not finite")

    @classmethod
    def said(cls, lines: Sequence[str]) -> None:
        """Raise with the first of the lines that say why training stopped, where there are any."""
        if lines:
            raise cls(lines[0])


def verdict_of(settings: Pretraining, lines: Sequence[Mapping[str, float]]) -> str:
    """By all lines so far, at least one: "diverged", "collapsed", "dip" (in the first steps), "unclear" or "healthy"."""
    if diverged(lines):
        return "diverged"
    seen = middle(lines)
    if poor(settings, seen):
        return "dip" if lines[-1]["step"] < DIP else "collapsed"
    return "healthy" if seen["rank"] >= SAFE_RANK and seen["correlation"] <= SAFE_CORRELATION else "unclear"


def judged(count: int) -> int:
    """How many of so many lines are the last ones, whose medians are judged."""
    return max(1, min(LAST, count // 4))


def middle(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians of the last lines, of each of `MEASURES` (nan where a line has none)."""
    last = lines[-judged(len(lines)) :]
    return {name: float(np.median([line.get(name, math.nan) for line in last])) for name in MEASURES}


def poor(settings: Pretraining, line: Mapping[str, float]) -> list[str]:
    """What of a line's numbers means collapse, in words; what is not known (nan) says nothing."""
    get = {name: line.get(name, math.nan) for name in MEASURES}
    found = []
    if get["rank"] < FEW or get["correlation"] > ALIKE:
        found.append(f"rank {get['rank']:.3g}, mean correlation {get['correlation']:.2f}")
    directions = settings.loss == "simclr" or (settings.loss == "similarity" and settings.normalisation == "length")
    full = 1.0 / math.sqrt(output_count(settings))
    if directions and get["unit_sd"] < POINT * full:
        found.append(f"the outputs at unit length vary by {get['unit_sd']:.2g} (spread over all directions: {full:.2g})")
    if settings.loss == "vicreg" and get["sd"] < POINT:
        found.append(f"the outputs vary by {get['sd']:.2g}, where the loss asks for 1")
    told_apart = get["entropy_mean"] - get["entropy"]
    if settings.loss == "dino" and told_apart < INFORMATION:
        found.append(f"the teacher tells pictures apart by {told_apart:.2g} nats")
    return found


def diverged(lines: Sequence[Mapping[str, float]]) -> bool:
    """Whether the last line has numbers beyond all measure, against the first."""
    first, now = lines[0], lines[-1]
    if not all(math.isfinite(now[name]) for name in ("loss", "rank")):
        return True
    grown = now.get("sd", math.nan) > HUGE * max(first.get("sd", math.nan), 1e-3)
    return grown or now.get("head_norm", math.nan) > HUGE


def output_count(settings: Pretraining) -> int:
    """The number m of outputs; of a run without projector that of the encoder."""
    if settings.projector:
        return settings.projector[-1]
    own = OWN_ENCODERS.get(settings.encoder)
    built_in = {"patch": settings.neurons or PATCH_OUTPUTS, "demo": 128, "convnet": 256, "resnet18": 512, "tdnn": 128}
    return own.outputs if own else built_in[settings.encoder]

"""The fitted theory followed: a forecast, its numbers, and in words with how often such forecasts were right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.embeddings.given import host_array
from dynlab.population.moments import MERGED, output_rank
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.simulate import simulate
from dynlab.settings.model import Model
from dynlab.settings.training import Training
from dynlab.tools import show
from dynlab.tools.checks import integer, require

if TYPE_CHECKING:
    from dynlab.tools.types import Array

WIDTH = 100  # characters of a line
POINTS = 81  # steps of a forecast, spread evenly by their logarithm
# Of `python -m benchmarks.forecasts`, runs that the rule was not chosen by; the page on forecasts has the table.
JUDGED, COLLAPSED, HEADS = 79, 25, 57
PEAK_WORTH = (
    "0.64 (0.42 to 0.80)",
    "0.90 (0.78 to 0.95)",
)  # rank correlations with the peak: forecast, norm at the last record
BRIER = "0.208 (0.154 to 0.267)", "0.217 (0.176 to 0.258)"  # of collapse: forecast, one number for all runs


@dataclass(frozen=True)
class TheoryFit:
    """A model fitted to a run, as `fit_theory` returns it.

    model, training : with the strengths and the ratio r. starts : of each pair of outputs. shared (K,) : parts of the
    outputs' variance that the views share along each feature; rest : along all other directions together. dim : d. unit :
    time of the flow that a step takes. outputs : of the network. first, last : the first step and the last that was used;
    used : how many records.
    """

    model: Model
    training: Training
    starts: tuple[OrderParameters, ...] = field(repr=False)
    shared: tuple[float, ...]
    rest: float
    dim: float
    unit: float
    outputs: int
    first: int
    last: int
    used: int

    def forecast(self, until: int, rates: Any = None) -> TheoryForecast:
        """Follow the flow of every pair up to step `until`, a whole number beyond the first step.

        rates : (until - first,) numbers >= 0, the learning rate of each step from the first on in units of that of the first
        (a schedule); the head's follows it. None: constant. SettingError for other values.
        """
        until = integer("until", until, at_least=self.first + 1, why="after the first step")
        passed = np.arange(until - self.first + 1, dtype=float)
        if rates is not None:
            given = host_array("rates", rates)
            fits = given.shape == (until - self.first,) and bool(np.isfinite(given).all() and (given >= 0.0).all())
            require(
                fits and given.sum() > 0.0, "rates", given.shape, f"{until - self.first} numbers >= 0, not all of them 0"
            )
            passed = np.concatenate([[0.0], np.cumsum(given)])
        steps = np.unique(np.concatenate([[0.0], np.geomspace(0.5, until - self.first, POINTS)]))
        times = np.interp(steps, np.arange(len(passed)), passed) * self.unit
        moved = np.concatenate([[True], np.diff(times) > 0.0])  # a rate of 0 stands still
        signal, gram, heads = pairs_in_time(self.model, self.training, self.starts, times[moved])
        norms = head_norm(heads, self.outputs)
        ranks = output_rank(self.model, signal[:, -1], gram[:, -1])
        peak, top, half = np.nan, np.nan, np.nan
        if self.training.head_trains:
            peak, seen = float(norms.max()), steps[moved] + self.first
            top, half = (float(seen[int(hit)]) for hit in (norms.argmax(), (norms >= 0.5 * peak).argmax()))
        return TheoryForecast(
            self, until, steps[moved] + self.first, norms, peak, top, half, float((ranks < MERGED).mean()),
            float(ranks.mean()), len(self.starts) - len(ranks),
        )  # fmt: skip


def pairs_in_time(
    model: Model, training: Training, starts: tuple[OrderParameters, ...], times: Array
) -> tuple[Array, Array, Array]:
    """Signal, noise Gram and head (pairs, times, ...) of every pair whose flow could be followed; times from 0."""
    runs = [simulate(model, start, until=float(times[-1]), times=times, training=training) for start in starts]
    whole = [run for run in runs if run.success and len(run.time)]
    require(len(whole) > 0, "z", "no pair of outputs", "a start that the flow can be followed from")
    states = [[_held(array, len(times)) for array in (run.signal, run.noise_gram, run.head)] for run in whole]
    return tuple(np.array([state[i] for state in states]) for i in range(3))  # type: ignore[return-value]


def _held(array: Array, count: int) -> Array:
    """The states at all times: a run at rest keeps its last one."""
    return np.concatenate([array, np.repeat(array[-1:], count - len(array), axis=0)])[:count]


def head_norm(heads: Array, m: int) -> Array:
    """||off-diag(E)||_F (times,) of a head of m outputs whose entries are like those of the pairs (pairs, times, 2, 2)."""
    return np.sqrt(m * (m - 1) * (heads[..., 0, 1] ** 2 + heads[..., 1, 0] ** 2).mean(0) / 2)


@dataclass(frozen=True)
class TheoryForecast:
    """What the fitted theory says of the steps up to `until`.

    fit : `TheoryFit`. steps (n,), norms (n,) : the head's norm ||off-diag(E)||_F. peak, peak_step : its largest value and
    when; half_step : when it is half of that first. nan without a head. merged : share of the pairs whose two outputs are
    one at the end. rank : mean effective rank of the pairs there, 1 to 2. failed : pairs whose flow could not be followed,
    not counted.
    """

    fit: TheoryFit
    until: int
    steps: np.ndarray = field(repr=False)
    norms: np.ndarray = field(repr=False)
    peak: float
    peak_step: float
    half_step: float
    merged: float
    rank: float
    failed: int

    @property
    def text(self) -> str:
        """What was fitted, what it says of the head and of collapse, and how far to trust it."""
        return "\n".join(row for text in lines(self) for row in show.paragraph(text, WIDTH))

    def as_json(self) -> dict:
        """Plain values, what is not known as None."""
        fit, names = self.fit, ("peak", "peak_step", "half_step", "merged", "rank")
        known = {name: _known(getattr(self, name)) for name in names}
        found = {"strengths": list(fit.model.strengths or ()), "shared": list(fit.shared), "rest": fit.rest, "dim": fit.dim}
        rates = {"unit": fit.unit, "eta_head": fit.training.eta_head if fit.training.head_trains else None}
        return {"until": self.until, "records": fit.used, "last": fit.last} | found | rates | known | {"failed": self.failed}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def lines(found: TheoryForecast) -> list[str]:
    """The forecast in sentences."""
    fit = found.fit
    strengths = " : ".join(f"{x:.2g}" for x in fit.model.strengths or ())
    shared = ", ".join(show.percent(x) for x in fit.shared)
    out = [
        f"Forecast to step {found.until} by the {len(fit.shared)}-feature theory, from {fit.used} records, "
        f"steps {fit.first} to {fit.last}: strengths {strengths}; the views share {shared} of the outputs' variance "
        f"along these and {show.percent(fit.rest)} along all others; a step takes {fit.unit:.2g} of the flow's time."
    ]
    if fit.training.head_trains:
        late = found.peak_step >= 0.97 * found.until
        when = "is still growing at the end" if late else f"falls from step {found.peak_step:.0f} on"
        out.append(
            f"Head: at {fit.training.eta_head:.2g} times the encoder's rate the norm of its entries off the diagonal "
            f"reaches {found.peak:.3g} and {when}; half of that at step {found.half_step:.0f}. "
            f"How far to trust it: on {HEADS} runs on pictures the rank correlation of such a peak with the true one was "
            f"{PEAK_WORTH[0]}, less than that of the head's norm at the last of the records, {PEAK_WORTH[1]}."
        )
    else:
        out.append("Head: none, or none that has moved by the last of these records.")
    out.append(
        f"Collapse: in {show.percent(found.merged)} of {len(fit.starts) - found.failed} pairs the two outputs become one. "
        f"How far to trust it: as a probability that the rank of z ends below 2 this had a Brier score of {BRIER[0]} on "
        f"{JUDGED} runs, {COLLAPSED} of them collapsed; one number for all of them had {BRIER[1]}, so it tells little."
    )
    return out

"""What the page shows, as arrays: a trajectory against time, the terms of its force, the outcomes of many starts.

Time is drawn on the scale of the figure of the phases (`dynlab.drawing.phases.time_scale`): logarithmic, short phases
widened. Its places, in [0, 1], are what the panels and the cursor share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.drawing.phases import TimeScale, phase_windows, shown_times, time_scale
from dynlab.ensembles.ensemble import ensemble
from dynlab.explorer.explored import Explored
from dynlab.population import moments
from dynlab.population.hidden.moments import hidden_moments
from dynlab.population.moments import LEARNT, MERGED, output_correlations, spectral_rank
from dynlab.population.outcomes import squared_cosines
from dynlab.population.simulate import simulate
from dynlab.population.starts import draw_start
from dynlab.population.terms import terms
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.tools.show import percent

if TYPE_CHECKING:
    from dynlab.population.trajectory import Trajectory
    from dynlab.tools.types import Array

STARTS, PIECE = 256, 32  # of the strip; computed at once, so that it fills while one looks
MOST_POINTS = 360  # of a line that is drawn: more than it has pixels
PHASE_SHARE = 0.09  # of the axis of time that a phase gets at least
SIGNAL_TERMS = ("learning", "borrowing", "centring", "lending")
HEAD_TERMS = ("drive", "noise", "mismatch")
OUTCOME_NAMES = ("both", "only_strong", "only_weak", "neither", "waiting", "failed")
OUTCOME_WORDS = ("both features", "only the strong", "only the weak", "neither", "still waiting", "failed")


@dataclass(frozen=True)
class Bar:
    """One term of the force on a coordinate: its share of the sum of all terms' sizes, positive where it makes |coordinate|
    grow, or the head leave the identity."""

    coordinate: str
    term: str
    share: float


@dataclass(frozen=True, eq=False)
class Followed:
    """A trajectory of the settings `chosen` as the page draws it."""

    chosen: Explored
    run: Trajectory

    @cached_property
    def kept(self) -> np.ndarray:
        """(n,) which of the recorded points are drawn: the first, the last, and as many between as can be seen."""
        count = len(self.run.time)
        return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))

    @cached_property
    def windows(self) -> dict[str, tuple[float, float]]:
        """The phases: name -> (start, end) in time; none without a head."""
        return phase_windows(self.run) if self.chosen.head != "none" else {}

    @cached_property
    def scale(self) -> TimeScale:
        """The axis of time."""
        return time_scale(shown_times([self.run]), self.windows, PHASE_SHARE)

    @cached_property
    def places(self) -> np.ndarray:
        """Places of all recorded points."""
        return self.scale.places(self.run.time)

    @cached_property
    def borrower(self) -> int:
        """The neuron that is second: the other one has the larger squared cosine with a feature at T_1, or at the end."""
        first = self.run.events["first"]
        at = int(np.searchsorted(self.run.time, first)) if np.isfinite(first) else -1
        at = min(at, len(self.run.time) - 1)
        if self.run.readout is not None:
            return 1 - int(np.abs(self.run.answers[at]).max(1).argmax())
        cosines = squared_cosines(self.run.model, self.run.signal[at], self.run.noise_gram[at])
        return 1 - int(np.nan_to_num(cosines).max(1).argmax())

    @cached_property
    def lines(self) -> dict[str, np.ndarray]:
        """The lines of the panels, (n,) each: place, time, |w_jl| as w11 ... w22, |E_jr| as E12, E21, the eigenvalues of the
        outputs' correlations as first, second, and loss. With hidden units w_jl is what output j answers to feature l."""
        run, kept = self.run, self.kept
        answers, head = np.abs(run.answers[kept]), np.abs(run.head[kept])
        found = {"place": self.places[kept], "time": run.time[kept]}
        found |= {f"w{j + 1}{l + 1}": answers[:, j, l] for j in range(2) for l in range(2)}
        found |= {"E12": head[:, 0, 1], "E21": head[:, 1, 0]}
        spectrum = np.linalg.eigvalsh(np.nan_to_num(self._correlations(kept)))
        return found | {"second": spectrum[:, 0], "first": spectrum[:, 1], "loss": run.loss[kept]}

    def _correlations(self, kept: Array) -> np.ndarray:
        run = self.run
        if run.readout is None:
            return output_correlations(run.model, run.signal[kept], run.noise_gram[kept])
        with np.errstate(invalid="ignore", divide="ignore"):
            return moments.correlations(
                hidden_moments(run.model, run.signal[kept], run.noise_gram[kept], run.readout[kept])[0]
            )

    @property
    def final_correlations(self) -> np.ndarray:
        """Correlations (2, 2) of the outputs at the end."""
        return np.nan_to_num(self._correlations(np.array([-1]))[0])

    def nearest(self, place: float) -> int:
        """The recorded point at a place of the axis: an index of `run.time`."""
        return int(np.abs(self.places - place).argmin())

    @property
    def marks(self) -> dict[str, float]:
        """Places of the events that happened, by the names that the figure of the phases gives them."""
        names = {"T₁": "first", "T₂": "peak", "T₃": "second"}
        found = {name: self.run.events[event] for name, event in names.items()}
        found = {name: time for name, time in found.items() if np.isfinite(time) and (name != "T₂" or self.windows)}
        return {name: float(self.scale.places(np.array(time))) for name, time in found.items()}


def followed(chosen: Explored) -> Followed:
    """Follow start number 0 of the settings, as `dynlab run --seeds 1` does; a failed run says so in its status."""
    start = draw_start(chosen.model, chosen.dim, chosen.seed, 0, chosen.training.start_scale)
    return Followed(chosen, simulate(chosen.model, start, training=chosen.training))


def why_no_terms(chosen: Explored) -> str:
    """Why the force of these settings is not split into terms; "" where it is."""
    if chosen.model.layered:
        return "With hidden units the force on an answer is a sum over units: it has no such split."
    if chosen.head not in ("off-diagonal", "none") or chosen.stop_gradient != "target" or chosen.normalisation != "batch":
        return "The split belongs to the paper's training: off-diagonal or no head, stop-gradient on the target, batch norm."
    return ""


def force_bars(shown: Followed, index: int) -> list[Bar]:
    """The terms of the force on the borrower's two signals and on its head entry, at recorded point `index`.

    Empty where they have no split (`why_no_terms`), or where an output has no variance.
    """
    if why_no_terms(shown.chosen):
        return []
    run, o = shown.run, shown.borrower
    i = 1 - o
    try:
        split = terms(run.model, run.signal[index], run.noise_gram[index], run.head[index])
    except ValueError:
        return []
    # Centring is what normalisation takes off as the mean; that of odd activations is zero.
    odd = ACTIVATIONS[run.model.activation].odd
    names = tuple(name for name in SIGNAL_TERMS if name != "centring" or not odd)
    bars = []
    for l in range(2):
        sign = np.sign(run.signal[index, o, l]) or 1.0
        values = [split.lending[o, l] if name == "lending" else split.own(name)[o, l] for name in names]
        bars += _shares_of(f"⟨w{_low(o)},v{_low(l)}⟩", names, sign * np.array(values))
    on_head = np.array([getattr(split, name)[o, i] for name in HEAD_TERMS])
    sign = np.sign(run.head[index, o, i]) or np.sign(on_head[0]) or 1.0
    return bars + _shares_of(f"E{_low(o)}{_low(i)}", HEAD_TERMS, sign * on_head)


def _shares_of(coordinate: str, names: tuple[str, ...], values: Array) -> list[Bar]:
    whole = np.abs(values).sum()
    shares = values / whole if np.isfinite(whole) and whole > 0.0 else 0.0 * values
    return [Bar(coordinate, name, float(share)) for name, share in zip(names, shares, strict=True)]


def superscript(exponent: int) -> str:
    """A power of ten as it is written on an axis."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _low(number: int) -> str:
    """The index of a neuron or a feature, counted from 1, as it is written."""
    return "₁₂"[number]


def outcome_pieces(chosen: Explored) -> Iterator[np.ndarray]:
    """Outcomes of `STARTS` starts of the settings' seed, numbers in `OUTCOME_NAMES`, `PIECE` at a time in order.

    All together they are those of `dynlab run --seeds 256`; the first is the start that `followed` follows.
    """
    for first in range(0, STARTS, PIECE):
        numbers = np.arange(first, first + PIECE)
        found = ensemble(chosen.model, chosen.dim, numbers, chosen.seed, training=chosen.training, threads=1, device="cpu")
        yield np.array([OUTCOME_NAMES.index(name) for name in found.frame["outcome"]])


def outcome_words(outcomes: Array) -> str:
    """Shares of outcomes (n,) in words, the most frequent first."""
    counts = np.bincount(outcomes, minlength=len(OUTCOME_NAMES))
    order = sorted(np.flatnonzero(counts), key=lambda k: -counts[k])
    return ", ".join(f"{OUTCOME_WORDS[k]} {percent(counts[k] / len(outcomes))}" for k in order)


def story(shown: Followed) -> str:
    """What happens to the start that is shown, in two or three sentences."""
    run, o = shown.run, shown.borrower
    if not run.success:
        return f"This run ended early ({run.status}): what is drawn is how far it came."
    learnt = run.carried[-1].max(0) > LEARNT
    end = {
        (True, True): "Both features are learnt.",
        (True, False): "Only the strong feature is learnt: the weak one is lost.",
        (False, True): "Only the weak feature is learnt.",
        (False, False): "Neither feature is learnt yet.",
    }[bool(learnt[0]), bool(learnt[1])]
    rank = float(spectral_rank(shown.final_correlations))
    one = "collapsed: they are one number up to factors" if rank < MERGED else "as two different numbers"
    parts = [end, f"The two outputs end {one} (effective rank {rank:.2f})."]
    if "II" in shown.windows and not run.model.layered:
        peak = float(shown.lines[f"E{o + 1}{2 - o}"].max())
        borrowed = f"output {o + 1} borrows it, E{_low(o)}{_low(1 - o)} up to {peak:.3g}"
        first = f"Neuron {2 - o} aligns with a feature first (T₁); {borrowed}"
        then = f" (T₂), and neuron {o + 1} turns to the other one (T₃)." if np.isfinite(run.events["second"]) else " (T₂)."
        parts.insert(0, first + then)

    return " ".join(parts)


def table_text(shown: Followed) -> str:
    """What `dynlab run` with the page's command writes as trajectory.csv, to the byte: this run, and that without head."""
    from dynlab.reports.main_run import stacked_frames
    from dynlab.tools.files import csv_text

    return csv_text(stacked_frames({shown.chosen.activation: _both(shown)}))


def figure_bytes(shown: Followed) -> bytes:
    """What `dynlab run` with the page's command writes as phases.pdf, to the byte."""
    from tempfile import TemporaryDirectory

    from dynlab.drawing import style
    from dynlab.drawing.phases import phases_figure
    from dynlab.tools.files import expanded

    runs = list(_both(shown).values())
    chosen = shown.chosen
    starts = f"dim {chosen.dim:g}, start 0 ({chosen.activation}) of 1"
    figure = phases_figure({chosen.activation: (runs[0], runs[-1])}, starts)
    with TemporaryDirectory(prefix="dynlab-page-") as place:
        title = "Training with and without a prediction head"
        (path,) = style.save(figure, expanded(place) / "phases", title, formats=("pdf",))
        return path.read_bytes()


def _both(shown: Followed) -> dict[str, Any]:
    runs = {shown.chosen.head: shown.run}
    if "none" not in runs:
        runs["none"] = followed(shown.chosen.without_head).run
    return runs

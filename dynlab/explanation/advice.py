"""Which setting moves what a run did, and a trial of it: only what dynlab derives or has measured.

The shares quoted for switches are those of `python -m dynlab.ablate` (cubic, weak 0.3, dim 1000, 64 or 128 starts a line)
at its end, 1e10 dim^2, so that what is late counts as learnt; those for relu are of claim 10 of `python -m dynlab.theorem`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dynlab.explanation import sentences
from dynlab.explanation.diagnosis import GOOD, Diagnosis, rescuing_rates
from dynlab.explanation.recorded import RecordedRun
from dynlab.machine.device import CPU
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.outcomes import squared_cosines
from dynlab.population.pair import limit
from dynlab.settings.training import ETA_HEAD
from dynlab.tools.intervals import Pairs

if TYPE_CHECKING:
    from dynlab.settings.model import Model

STARTS = 256  # of a trial
TRIES, SPACING = 4, 5  # rates that are followed before none is said to rescue a start, of every fifth predicted
PAPERS = {"stop_gradient": "target", "normalisation": "batch", "target": "same", "objective": "similarity"}
# (setting, value) -> what the table of ablations saw; the unchanged training learnt both in every start.
SWITCHED = {
    ("head", "symmetric"): "a symmetric head learns both features in nearly every start, but some 500 times later: it must "
    "lend as much as it borrows (74 % of the starts by time 1e4 dim^2, 96 % in the end)",
    ("head", "directpred"): "DirectPred learnt both features in 84 % of the starts, however long it trained",
    ("head", "directcopy"): "DirectCopy learnt both features in 90 % of the starts, however long it trained",
    ("normalisation", "none"): "without normalisation a quarter of the starts learnt both features, as few as without a "
    "head, and in the end all outputs die out (loss 0): there is no acceleration",
    ("stop_gradient", "online"): "with the gradient stopped on the online side no head trains: 28 % learnt both features, "
    "start by start as without a head",
    ("stop_gradient", "none"): "with no stop-gradient and a head 2 % of the starts learnt both features, without head 28 %",
    ("objective", "barlow-twins"): "Barlow Twins learns both features in every start, without a head, but some 2700 times "
    "later (55 % of the starts by time 1e4 dim^2)",
    (
        "objective",
        "vicreg",
    ): "VICReg learns both features in every start, without a head, but later (99 % of the starts by time 1e4 dim^2)",
    ("target", "average"): "a moving average as target changes when, not what: 99 to 100 % of starts learnt both features",
}
LOST = {
    "weight_decay": "decay of the encoder at 1/T_1 left 76 % of the starts with both features, at 0.01/T_1 94 %",
    "head_decay": "decay of the head at its own rate left 28 % of the starts with both features, as no head does, at 0.01 "
    "of it 88 %",
}


@dataclass(frozen=True)
class Suggestion:
    """One change. words: what to change, and the law or measurement that says so; training, model: the changed settings.

    this_start : whether it is said of the very start that the run followed.
    """

    words: str
    training: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    this_start: bool = False

    @property
    def changes(self) -> str:
        """The change as options."""
        given = {**self.model, **self.training}
        return " ".join(f"--{name.replace('_', '-')} {value:g}" if isinstance(value, float) else
                        f"--{name.replace('_', '-')} {value}" for name, value in given.items())  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """Shares of `starts` starts before and after a change.

    pairs: starts that learn both features, of those that neither training left waiting or failed; start: outcome of the very
    start after it.
    """

    change: str
    starts: int
    both: tuple[float, float]
    pairs: Pairs
    merged: tuple[float, float]
    start: str = ""


def suggestions(finding: Diagnosis) -> list[Suggestion]:
    """What would move the run, the most certain first."""
    run = finding.run
    found = list(_switched(run))
    if run.model.activation != "cubic":
        return found if finding.final in GOOD else [*found, *_degree(run)]
    if run.training.head == "none":
        rate = run.training.eta_head or ETA_HEAD
        share = float(limit.share_merged_small_weak(rate))
        fact = sentences.LENDS.format(share=100 * share)
        found.append(Suggestion(fact, {"head": "off-diagonal", "eta_head": rate}))
    elif run.training.head == "off-diagonal" and not found:
        found += _head_rate(finding)
    return found


def _switched(run: RecordedRun) -> Iterator[Suggestion]:
    """Switches that are not the paper's."""
    for (name, value), fact in SWITCHED.items():
        if getattr(run.training, name) == value:
            back = {"head": "off-diagonal"} if name == "head" else {name: PAPERS[name]}
            if name == "objective":
                back |= {"head": "off-diagonal", "stop_gradient": "target"}
            yield Suggestion(fact, back)
    for name, fact in LOST.items():
        if getattr(run.training, name) > 0.0:
            yield Suggestion(fact, {name: 0.0})


def _degree(run: RecordedRun) -> Iterator[Suggestion]:
    """Another activation than the theorem's."""
    name = run.model.activation
    if name == "relu":
        fact = (
            "--activation cubic: the theorem needs growth that favours what is largest, and relu has none. At weak 0.3 no "
            "eta_head tried (0.01 to 10) rescued the weak feature in any start; eta_head 10 did in 5 % at weak 0.5 and in "
            "37 % at weak 0.7, and eta_head 1 took the share at weak 0.9 from 33 to 42 % (dim 1000)"
        )
    elif name == "relu3":
        fact = "--activation cubic: relu3 lies between relu and cubic; the head rescues the weak feature in part only"
    else:
        fact = "--activation cubic: the theorem is about degree 3"
    yield Suggestion(fact, model={"activation": "cubic"})


def _head_rate(finding: Diagnosis) -> Iterator[Suggestion]:
    """The rate of the head, for cubic with an off-diagonal head and nothing else changed."""
    run, rate = finding.run, finding.run.training.eta_head
    if finding.final != "collapsed":
        yield Suggestion(
            "--eta-head: the head's peak goes like its root, and so does, while eta_head times dim is far above 1, the "
            "share of starts that collapse in spite of it; below, the head is too slow and more collapse (dim 1000, at 0.1, "
            "0.01, 0.001, 0.0001: 6, 2, 6 and 14 %)",
            {"eta_head": float(f"{(0.1 if rate * run.dim > 100.0 else 10.0) * rate:.2g}")},
        )  # fmt: skip
        return
    found = rescuing_rate(finding)
    if np.isfinite(found):
        fact = sentences.RESCUING_RATE.format(rate=found)
        yield Suggestion(fact, {"eta_head": float(f"{found:.2g}")}, this_start=True)


def rescuing_rate(finding: Diagnosis) -> float:
    """An eta_head at which the exact flow from the run's start learns both features on neurons of their own: the nearest of
    those predicted, of the first `TRIES` that are followed; nan where there is none."""
    from dynlab.population.simulate import simulate

    run = finding.run
    if finding.prediction is None:
        return np.nan
    start = OrderParameters(run.signal[0], run.gram[0])
    for rate in rescuing_rates(run)[:: max(1, SPACING)][:TRIES]:
        rounded = float(f"{rate:.2g}")
        end = simulate(run.model, start, eta_head=rounded)
        cosines = squared_cosines(end.model, end.signal[-1], end.noise_gram[-1])
        if end.success and (cosines.max(0) > 0.9).all() and (cosines.max(1) > 0.9).all():
            return rounded
    return np.nan


def try_out(run: RecordedRun, suggestion: Suggestion, threads: int | None = None) -> Trial:
    """Exact ensembles of `STARTS` starts under the run's settings and under the changed ones."""
    from dynlab.ensembles.ensemble import ensemble
    from dynlab.population.outcomes import outcomes
    from dynlab.population.simulate import simulate
    from dynlab.population.starts import draw_start

    after = replace(run.training, **suggestion.training), replace(run.model, **suggestion.model)
    shares, found = [], []
    for training, model in ((run.training, run.model), after):
        until = run.until if training.is_papers else run.until or _end(model, run.dim)
        made = ensemble(model, run.dim, STARTS, run.seed, training=training, threads=threads, until=until, device=CPU)
        row = made.summary_row().iloc[0]
        shares.append((float(row["both"]), float(row["merged"]), training))
        found.append(made.frame["outcome"].to_numpy())
    start = ""
    if suggestion.this_start:
        origin = draw_start(run.model, run.dim, run.seed, run.number, run.training.start_scale)
        again = simulate(after[1], origin, training=shares[1][2])
        last = again.signal[-1:], again.noise_gram[-1:]
        start = str(outcomes(after[1], *last, np.array([not again.success]))[0])
    told = ~np.isin(found, ("failed", "waiting")).any(0)
    pairs = Pairs.of(*(outcome[told] == "both" for outcome in found))
    (both, merged, _), (both_after, merged_after, _) = shares
    return Trial(suggestion.changes, STARTS, (both, both_after), pairs, (merged, merged_after), start)


def _end(model: Model, dim: int) -> float:
    from dynlab.ensembles.ablations import late_end

    return late_end(model, dim)

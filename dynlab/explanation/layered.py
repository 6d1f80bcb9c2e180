"""What happened in a run of dynlab.run whose outputs sum over hidden units, in words made from its numbers.

The paper's phases are those of single neurons; here a run is told by what its outputs carry (`population.hidden.moments`).
Runs on finite samples: `dynlab.explanation.layered_samples`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.ensembles.hidden import dead_units
from dynlab.explanation import recorded, sentences, words
from dynlab.population.hidden.moments import features_carried, hidden_carried, hidden_rank
from dynlab.population.moments import LEARNT, MERGED
from dynlab.population.status import SUCCESS, remedy
from dynlab.population.trajectory import arrays_of
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import Model
from dynlab.settings.optimisation import DESCENT_ETA
from dynlab.tools.checks import SettingError
from dynlab.tools.show import percent

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("activation", "head", "batch", "seed")  # columns of trajectory.csv beside those of a trajectory
RETURNED = 0.05  # of its peak: below that the head is back at the identity
HEARD = 0.1  # of an output's largest answer to a feature: what a unit must answer to be named


@dataclass(frozen=True, eq=False)
class LayeredFinding:
    """A trajectory at one of its times: carried (m, K) shares of the outputs' variances, their rank, largest head entry.

    eta: learning rate of a run on finite samples, whose times are told as steps; None for the theory. learnt: number of
    features that the outputs carry. apart: |E - I| at its largest, lent: the same off the diagonal. answers (m, M, K): what
    each unit adds to an output's answer to each feature, on the side on which it answers. peak: the head's largest entry off
    the diagonal ever, its time, and what the flow's law bounds it by (nan: nothing). dead: number of hidden units whose
    weights have vanished.
    """

    model: Model
    head: str
    time: float
    eta: float | None
    at_end: bool
    carried: np.ndarray
    learnt: int
    rank: float
    apart: float
    lent: float
    answers: np.ndarray
    peak: tuple[float, float, float]
    dead: int

    def when(self, time: float) -> str:
        """A time as it is told."""
        return f"t = {time:.3g}" if self.eta is None else f"step {time / self.eta:.0f}"


def findings(
    place: Path, record: dict, activation: str | None, head: str | None, at: float | None
) -> list[tuple[LayeredFinding, list[str]]]:
    """The followed trajectories of a run, each with its lines."""
    try:
        return _findings(place, record, activation, head, at)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise recorded.damaged(place, error) from error


def _findings(place: Path, record: dict, activation: str | None, head: str | None, at: float | None) -> list:
    settings = record["settings"]
    names = {name for name in Model.__dataclass_fields__ if name != "activation"}
    shapes = {name: recorded.as_tuples(settings[name]) for name in names if name in settings}
    tables = [recorded.whole_table(place / name) for name in ("trajectory.csv", "summary.csv", "ensemble.csv")]
    found = []
    for (one, rule), rows in recorded.asked_for(tables[0], activation, head):
        model = Model(activation=one, **shapes)
        number = int(record["seed_followed"][one])
        state = state_of(model, rule, rows)
        k = record_at(state["time"], at, f"{one}, head {rule}")
        row = recorded.row_of(tables[2], one, rule, "ensemble.csv", seed=number)
        summary = recorded.row_of(tables[1], one, rule, "summary.csv")
        peak = tuple(float(row[name]) for name in ("head_peak", "time_peak", "head_bound"))
        finding = finding_at(model, rule, state, k, peak)
        title = f"{_method(settings)} of start {number} ({', '.join([*_parts(finding, settings), *_changed(settings)])})"
        lines = [f"{layered_title(finding)}: {title}", *layered_lines(finding)]
        lines += ["  " + _end(row)] if finding.at_end else []
        lines += ["  " + _others(summary)] if model.features == 2 and int(summary["seeds"]) > 1 else []
        found.append((finding, words.wrapped(lines)))
    return found


def state_of(model: Model, rule: str, rows: pd.DataFrame) -> dict[str, Any]:
    """The arrays of a trajectory from its rows."""
    columns = {name: rows[name].to_numpy(dtype=float) for name in rows if name not in KEYS}
    state = arrays_of(model, {"head": rule}, columns)
    for name in ("signal", "noise_gram", "readout", "head"):
        if not np.isfinite(state[name]).all():
            raise ValueError(f"trajectory.csv holds {name} that are not finite")
    return state


def record_at(time: np.ndarray, at: float | None, which: str, pace: float = 1.0) -> int:
    """Number of the last record of `time` (n,) that is not after `at`, in units of `pace`; None: of the last."""
    if at is None:
        return len(time) - 1
    last = float(time[-1]) / pace
    if at > last * (1.0 + 1e-12):
        raise SettingError("at", at, f"at most {last:.6g}, where {which} ends")
    return int(np.searchsorted(time, at * pace * (1.0 + 1e-12), side="right")) - 1


def finding_at(
    model: Model, rule: str, state: dict[str, Any], k: int, peak: tuple, eta: float | None = None
) -> LayeredFinding:
    """The finding at record number k."""
    signal, gram, readout, head = (state[name][k] for name in ("signal", "noise_gram", "readout", "head"))
    carried = hidden_carried(model, signal, gram, readout)
    apart = np.abs(head - np.eye(model.neurons))
    along = np.asarray(model.strengths) * signal
    sizes = np.abs(along) ** ACTIVATIONS[model.activation].degree
    ends = [(state["signal"][i : i + 1], state["noise_gram"][i : i + 1]) for i in (0, k)]
    return LayeredFinding(
        model=model, head=rule, time=float(state["time"][k]), eta=eta, at_end=k == len(state["time"]) - 1, carried=carried,
        learnt=int(features_carried(carried)), rank=float(hidden_rank(model, signal, gram, readout)),
        apart=float(apart.max()), lent=float((apart - np.diag(np.diagonal(apart))).max()),
        answers=readout[:, :, None] * np.sign(along) * sizes, peak=peak, dead=int(dead_units(*ends)[0]),
    )  # fmt: skip


def layered_title(finding: LayeredFinding) -> str:
    """What outputs it has, and which head."""
    model = finding.model
    units = f"{model.hidden} hidden unit{'s' if model.hidden > 1 else ''} an output ({model.readout} readout)"
    return f"{model.activation}, {units}, head {finding.head}"


def layered_lines(finding: LayeredFinding) -> Iterator[str]:
    """Where it is, which units do it, units that died, the head."""
    yield _where(finding)
    yield from (f"  {_output(finding, j)}" for j in range(finding.model.neurons))
    if finding.dead:
        many = f"{finding.dead} of {finding.model.units} hidden units"
        yield f"  {many} {'has' if finding.dead == 1 else 'have'} died: nothing is left of the weights."
    if finding.head != "none":
        yield "  " + _head(finding)


def _parts(finding: LayeredFinding, settings: dict) -> list[str]:
    """The settings that are always told."""
    model = finding.model
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}", f"dim {settings['dim']:g}"]
    return parts + ([f"eta_head {settings['eta_head']:g}"] if finding.head != "none" else [])


def _changed(settings: dict) -> list[str]:
    """The settings of descent, and the switches that are not the paper's."""
    if settings.get("method", "flow") == "flow":
        return []
    how = {name: value for name, value in settings.get("optimisation", {}).items() if name != "optimiser"}
    switches = {name: value for name, value in settings.get("training", {}).items() if name not in ("head", "eta_head")}
    more = [f"{name.replace('_', '-')} {value}" for name, value in (how | switches).items()]
    return [f"eta {settings.get('eta', DESCENT_ETA):g}", *more]


def _method(settings: dict) -> str:
    """By what the run was followed."""
    if settings.get("method", "flow") == "flow":
        return "exact flow"
    by = settings.get("optimisation", {}).get("optimiser", "")  # what differs from plain descent
    return f"exact descent{f' by {by}' if by else ''}"


def _where(finding: LayeredFinding) -> str:
    at, of = finding.when(finding.time), f"effective rank {finding.rank:.2f} of {finding.model.neurons}"
    if finding.learnt == finding.model.features:
        if finding.rank < MERGED:
            return f"ONE OUTPUT at {at}: all features are carried, but the outputs say the same ({of})."
        return f"HEALTHY at {at}: together the outputs carry every feature, and they differ ({of})."
    if finding.learnt == 0:
        return f"NOTHING LEARNT at {at}: no feature carries more than {100 * LEARNT:g} % of an output's variance ({of})."
    if finding.rank < MERGED:
        return f"COLLAPSED at {at}: the outputs say the same ({of}), and not every feature is carried."
    return f"NOT ALL at {at}: the outputs differ ({of}), but {number_carried(finding)}."


def number_carried(finding: LayeredFinding) -> str:
    """How many features the outputs carry."""
    return f"{finding.learnt} of {finding.model.features} features {'is' if finding.learnt == 1 else 'are'} carried"


def _output(finding: LayeredFinding, j: int) -> str:
    """What output j carries, and by how many units of either sign."""
    told = []
    for l in range(finding.model.features):
        answers = finding.answers[j, :, l]
        heard = np.abs(answers) > HEARD * np.abs(finding.answers[j]).max()
        # A unit whose signal is positive answers +v_l, one whose signal is negative -v_l.
        by = f"{int(heard.sum())} unit{'' if heard.sum() == 1 else 's'}"
        told.append(f"feature {l + 1} makes {percent(float(finding.carried[j, l]))} of its variance ({by})")
    return f"Output {j + 1}: {', '.join(told)}."


def _head(finding: LayeredFinding) -> str:
    peak, time, bound = finding.peak
    if not peak > 0.0 and finding.apart == 0.0:
        return "Head: it is the identity, and was all the time."
    ever = f"its largest entry off the diagonal ever was {peak:.3g}, at {finding.when(time)}" if peak > 0.0 else ""
    paid = f" (what its output can pay: {bound:.3g})" if np.isfinite(bound) else ""  # no bound but the flow's
    text = f"Head: {ever}{paid}, now {finding.lent:.2g}: " if ever else "Head: it has no entry off the diagonal: "
    if finding.lent > RETURNED * peak:
        return text + "it lends."
    return text + f"it lends nothing any more{' (it is the identity)' if finding.apart <= RETURNED * peak else ''}."


def _end(row: dict) -> str:
    """How the run ended: at rest, going round, lost, or failed."""
    status, period = str(row["status"]), float(row["period"])
    if status == "stationary":
        return "It is at rest: nothing moves any more."
    if status in SUCCESS and period > 0.0:
        kind = "on a limit cycle" if status == "cycle" else "not at rest: rounds come back, but drift"
        return f"It goes round ({kind}), once in {period:.3g}. Its outcome in the ensemble is of means over a round."
    if status == "until":
        return f"It ended at the time that was asked for. {remedy(status)}"
    if status in SUCCESS:
        return f"It ended early ({status}). {remedy(status)}" if status == "vanished" else remedy(status)
    return f"The run did not end well: {status}. {remedy(status)}"


def _others(summary: dict) -> str:
    text = sentences.SHARES.format(
        starts=int(summary["seeds"]), both=percent(summary["both"]), low=100 * summary["both_low"],
        high=100 * summary["both_high"], strong=percent(summary["only_strong"]), weak=percent(summary["only_weak"]),
        merged=percent(summary["merged"]),
    )  # fmt: skip
    return f"{text}, and {percent(summary['failed'])} failed to be computed." if summary["failed"] > 0.0 else f"{text}."

"""What happened in a run of dynlab.run whose outputs sum over hidden units, in words made from its numbers.

The paper's phases are those of single neurons; here a run is told by what its outputs carry (`population.hidden.moments`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.explanation import recorded, sentences, words
from dynlab.population.hidden.moments import features_carried, hidden_carried, hidden_rank
from dynlab.population.moments import LEARNT, MERGED
from dynlab.population.status import SUCCESS, remedy
from dynlab.population.trajectory import arrays_of
from dynlab.settings.model import Model
from dynlab.tools.checks import SettingError
from dynlab.tools.show import percent

KEYS = ("activation", "head")  # columns of trajectory.csv beside those of a trajectory
RETURNED = 0.05  # of its peak: below that the head is back at the identity
HEARD = 0.1  # of an output's largest answer to a feature: what a unit must answer to be named


@dataclass(frozen=True, eq=False)
class LayeredFinding:
    """A trajectory at one of its times: carried (m, K) shares of the outputs' variances, their rank, largest head entry.

    learnt: number of features that the outputs carry. row: of ensemble.csv; summary: of summary.csv.
    """

    model: Model
    head: str
    time: float
    at_end: bool
    carried: np.ndarray
    learnt: int
    rank: float
    lent: float
    answers: np.ndarray
    row: dict
    summary: dict


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
        state = arrays_of(
            model, {"head": rule}, {name: rows[name].to_numpy(dtype=float) for name in rows if name not in KEYS}
        )
        last = float(state["time"][-1])
        if at is not None and at > last:
            raise SettingError("at", at, f"at most {last:.6g}, where {one}, head {rule} ends")
        k = len(state["time"]) - 1 if at is None else int(np.searchsorted(state["time"], at, side="right")) - 1
        row = recorded.row_of(tables[2], one, rule, "ensemble.csv", seed=number)
        summary = recorded.row_of(tables[1], one, rule, "summary.csv")
        finding = _at(model, rule, state, k, row, summary)
        found.append((finding, words.wrapped(list(_lines(finding, settings, number)))))
    return found


def _at(model: Model, rule: str, state: dict[str, Any], k: int, row: dict, summary: dict) -> LayeredFinding:
    """The finding at record number k."""
    signal, gram, readout, head = (state[name][k] for name in ("signal", "noise_gram", "readout", "head"))
    carried = hidden_carried(model, signal, gram, readout)
    return LayeredFinding(
        model=model, head=rule, time=float(state["time"][k]), at_end=k == len(state["time"]) - 1, carried=carried,
        learnt=int(features_carried(carried)), rank=float(hidden_rank(model, signal, gram, readout)),
        lent=float(np.abs(head - np.eye(model.neurons)).max()),
        answers=readout[:, :, None] * np.asarray(model.strengths) * signal, row=row, summary=summary,
    )  # fmt: skip


def _lines(finding: LayeredFinding, settings: dict, number: int) -> Iterator[str]:
    """What the run is, where it is, which units do it, the head, how it ended, and the other starts."""
    model = finding.model
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}", f"dim {settings['dim']:g}"]
    if finding.head != "none":
        parts.append(f"eta_head {settings['eta_head']:g}")
    units = f"{model.hidden} hidden unit{'s' if model.hidden > 1 else ''} an output ({model.readout} readout)"
    yield f"{model.activation}, {units}, head {finding.head}: {_method(settings)} of start {number} ({', '.join(parts)})"
    yield _where(finding)
    yield from (f"  {_output(finding, j)}" for j in range(model.neurons))
    if finding.head != "none":
        yield "  " + _head(finding)
    if finding.at_end:
        yield "  " + _end(finding)
    if model.features == 2 and int(finding.summary["seeds"]) > 1:
        yield "  " + _others(finding.summary)


def _method(settings: dict) -> str:
    """By what the run was followed."""
    if settings.get("method", "flow") == "flow":
        return "exact flow"
    by = settings.get("optimisation", {}).get("optimiser", "")  # what differs from plain descent
    return f"exact descent{f' by {by}' if by else ''}"


def _where(finding: LayeredFinding) -> str:
    at, of = f"t = {finding.time:.3g}", f"effective rank {finding.rank:.2f} of {finding.model.neurons}"
    if finding.learnt == finding.model.features:
        if finding.rank < MERGED:
            return f"ONE OUTPUT at {at}: all features are carried, but the outputs say the same ({of})."
        return f"HEALTHY at {at}: together the outputs carry every feature, and they differ ({of})."
    if finding.learnt == 0:
        return f"NOTHING LEARNT at {at}: no feature carries more than {100 * LEARNT:g} % of an output's variance ({of})."
    if finding.rank < MERGED:
        return f"COLLAPSED at {at}: the outputs say the same ({of}), and not every feature is carried."
    return (
        f"NOT ALL at {at}: the outputs differ ({of}), but {finding.learnt} of {finding.model.features} features is carried."
    )


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
    peak, bound = float(finding.row["head_peak"]), float(finding.row["head_bound"])
    text = f"Head: its largest entry ever was {peak:.3g}, at t = {float(finding.row['time_peak']):.3g}"
    paid = f" (what its output can pay: {bound:.3g})" if np.isfinite(bound) else ""  # no bound but the flow's
    text += f"{paid}, now {finding.lent:.2g}: "
    if finding.lent < RETURNED * peak:
        return text + "it lends nothing any more (it is the identity)."
    return text + "it lends."


def _end(finding: LayeredFinding) -> str:
    """How the run ended: at rest, going round, lost, or failed."""
    status, period = str(finding.row["status"]), float(finding.row["period"])
    if status == "stationary":
        return "It is at rest: nothing moves any more."
    if status in SUCCESS and period > 0.0:
        kind = "on a limit cycle" if status == "cycle" else "not at rest: rounds come back, but drift"
        return f"It goes round ({kind}), once in {period:.3g}. Its outcome in the ensemble is of means over a round."
    good = "" if status in SUCCESS else "The run did not end well: "
    return f"{good}{status}. {remedy(status)}"


def _others(summary: dict) -> str:
    text = sentences.SHARES.format(
        starts=int(summary["seeds"]), both=percent(summary["both"]), low=100 * summary["both_low"],
        high=100 * summary["both_high"], strong=percent(summary["only_strong"]), weak=percent(summary["only_weak"]),
        merged=percent(summary["merged"]),
    )  # fmt: skip
    return f"{text}, and {percent(summary['failed'])} failed to be computed." if summary["failed"] > 0.0 else f"{text}."

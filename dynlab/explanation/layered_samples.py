"""What happened in a run on finite samples whose outputs sum over hidden units: of each activation and head the first seed
of the largest batch, beside the exact descent from the same start, and how many of that batch's runs end as it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dynlab.explanation import recorded, sentences, words
from dynlab.explanation.layered import (
    LayeredFinding,
    finding_at,
    layered_lines,
    layered_title,
    number_carried,
    record_at,
    state_of,
)
from dynlab.population.moments import MERGED
from dynlab.settings.model import Model


def sampled_findings(
    place: Path, record: dict, activation: str | None, head: str | None, at: float | None
) -> list[tuple[LayeredFinding, list[str]]]:
    """The runs to explain, each with its lines; at: a step."""
    try:
        return _sampled_findings(place, record, activation, head, at)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise recorded.damaged(place, error) from error


def _sampled_findings(place: Path, record: dict, activation: str | None, head: str | None, at: float | None) -> list:
    settings, found = record["settings"], []
    models = {one["activation"]: _model(one) for one in record["models"]}
    eta = float(settings["lr"])
    table = recorded.whole_table(place / "trajectory.csv")
    for (one, rule), rows in recorded.asked_for(table, activation, head):
        model, (batch, mine) = models[one], recorded.of_largest_batch(rows)
        finding = _one(model, rule, mine, at, eta)
        lines = [
            f"{layered_title(finding)}: samples ({', '.join(_settings(finding, settings, batch))})",
            *layered_lines(finding),
        ]
        if finding.at_end:
            lines.append("  " + _stop(record, f"{one}, head {rule}, batch {batch}, seed {mine['seed'].iloc[0]}: ", finding))
        exact = rows[rows["batch"] == 0]
        if len(exact) and exact["time"].iloc[-1] >= finding.time * (1.0 - 1e-9):
            lines.append("  " + _beside(_one(model, rule, exact, finding.time / eta, eta)))
        runs = [some for _, some in rows[rows["batch"] == batch].groupby("seed")]
        if finding.at_end and len(runs) > 1:
            lines.append("  " + _all_runs([_one(model, rule, some, None, eta) for some in runs], batch))
        found.append((finding, words.wrapped(lines)))
    return found


def _model(values: dict) -> Model:
    return Model(**{name: recorded.as_tuples(value) for name, value in values.items()})


def _one(model: Model, rule: str, rows: pd.DataFrame, at: float | None, eta: float) -> LayeredFinding:
    """The finding of one run at a step (None: its last record); the head's peak is among the records."""
    state = state_of(model, rule, rows)
    k = record_at(state["time"], at, f"{model.activation}, head {rule}", eta)
    off = np.abs(state["head"] * (1.0 - np.eye(model.neurons))).max((1, 2))
    top = int(off.argmax())
    return finding_at(model, rule, state, k, (float(off[top]), float(state["time"][top]), np.nan), eta)


def _settings(finding: LayeredFinding, settings: dict, batch: int) -> list[str]:
    model = finding.model
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}", f"dim {settings['dim']:g}"]
    if finding.head != "none":
        parts.append(f"eta_head {settings['eta_head']:g}")
    parts += [f"batch {batch}", f"lr {settings['lr']:g}"]
    return parts + ([settings["optimiser"]] if settings["optimiser"] != "sgd" else [])


def _stop(record: dict, name: str, finding: LayeredFinding) -> str:
    """That it took all its steps, or why it did not."""
    for line in record["stopped"]:
        if line.startswith(name):
            return f"The run did not end well: {line.removeprefix(name)}. What is told is of its last record before."
    return f"It took all its {record['settings']['steps']} steps."


def _beside(exact: LayeredFinding) -> str:
    where = exact.when(exact.time)
    return f"The exact descent from the same start, at {where}: {number_carried(exact)}, effective rank {exact.rank:.2f}."


def _all_runs(ends: list[LayeredFinding], batch: int) -> str:
    every = sum(one.learnt == one.model.features for one in ends)
    same = sum(one.rank < MERGED for one in ends)
    return sentences.LAYERED_BATCH.format(
        runs=len(ends), batch=batch, every=every, every_ends=_end(every), same=same, same_ends=_end(same)
    )


def _end(count: int) -> str:
    return "ends" if count == 1 else "end"

"""A folder of `dynlab.Monitor`, explained: what rank, correlation and head did in somebody's own training loop.

Nothing is known there of settings, so no cause is named; what is to be tried first is what `dynlab diagnose` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dynlab.embeddings.head_phase import MEANING, lent_share, trend_of
from dynlab.embeddings.monitor import METRIC_FILE, RECORD_FILE, records_of
from dynlab.embeddings.standing import WORDS, verdict_on
from dynlab.explanation import sentences
from dynlab.explanation.recorded import table_of
from dynlab.explanation.words import medians_of, wrapped
from dynlab.images.verdict import METRIC_COLUMNS, judged, middle
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError


@dataclass(frozen=True)
class WatchedFinding:
    """Numbers about a monitored run at a record.

    step, records : of the record explained, and how many there are to it. rows, outputs : of its z. verdict, why : as of
    `dynlab.diagnose`, by medians of the last `judged` records, as sd and unit_sd are; "diverged" where numbers are not
    finite. since : step from which on the rank is below 2 without a break. lowest, first : (step, rank). loss, sd,
    unit_sd, head_norm, head_peak, peak_step, asymmetry : nan where unknown. trend : of the head, "" where there is none.
    warned : step of the monitor's warning.
    """

    place: Path = field(repr=False)
    status: str
    step: int
    records: int
    rows: int
    outputs: int
    verdict: str
    why: str
    judged: int
    since: int | None
    first: tuple[int, float]
    lowest: tuple[int, float]
    loss: float
    sd: float
    unit_sd: float
    head_norm: float
    head_peak: float
    peak_step: int
    asymmetry: float
    trend: str
    warned: int | None


def diagnose_watched(place: Path, record: dict, at: float | None = None) -> WatchedFinding:
    """Read a monitor's folder; `at`: the step to explain (None: the last). FolderError of one line where it is damaged."""
    table = table_of(place / METRIC_FILE, METRIC_COLUMNS).apply(pd.to_numeric, errors="coerce")
    table = table[table["step"].notna()]
    shapes = records_of(place / RECORD_FILE)
    if table.empty or not shapes:
        raise FolderError(place / METRIC_FILE, "has no line yet")
    if at is not None:
        latest = float(table["step"].iloc[-1])
        if at > latest:
            raise SettingError("at", at, f"at most {latest:.0f}, the step that the run has reached")
        table = table.iloc[: int(np.abs(table["step"] - at).argmin()) + 1]
    rows, outputs = shapes[min(len(table), len(shapes)) - 1]
    seen, now = middle(table.to_dict("records")), table.iloc[-1]
    known = table[table["rank"].notna()]
    if known.empty or not math.isfinite(now["rank"]):
        verdict, why = "diverged", f"the numbers of step {now['step']:.0f} are not finite"
    else:
        verdict, why = verdict_on(seen["rank"], seen["correlation"], seen["unit_sd"], rows, outputs)
    few = np.flatnonzero(~(known["rank"].to_numpy() < 2.0))
    begun = few[-1] + 1 if len(few) else 0
    lowest = known.iloc[int(known["rank"].to_numpy().argmin())] if len(known) else now
    warned = record.get("warned")
    return WatchedFinding(
        place=place, status=str(record.get("status", "running")), step=int(now["step"]), records=len(table), rows=rows,
        outputs=outputs, verdict=verdict, why=why, judged=judged(len(table)),
        since=int(known["step"].iloc[begun]) if begun < len(known) else None,
        first=(int(table["step"].iloc[0]), float(table["rank"].iloc[0])),
        lowest=(int(lowest["step"]), float(lowest["rank"])), loss=float(now["loss"]), sd=seen["sd"], unit_sd=seen["unit_sd"],
        **_head(table, outputs), warned=int(warned) if isinstance(warned, int) and warned <= now["step"] else None,
    )  # fmt: skip


def _head(table: pd.DataFrame, outputs: int) -> dict:
    """What the off-diagonal entries of the head did."""
    norm = table["head_norm"].to_numpy(dtype=float)
    if not np.isfinite(norm).any():
        return dict.fromkeys(("head_norm", "head_peak", "asymmetry"), math.nan) | {"peak_step": 0, "trend": ""}
    norm = np.nan_to_num(norm)
    peak, asymmetry = int(norm.argmax()), float(table["head_asymmetry"].iloc[-1])
    trend = trend_of(norm, lent_share(float(norm[-1]), outputs))
    return {"head_norm": float(norm[-1]), "head_peak": float(norm[peak]), "peak_step": int(table["step"].iloc[peak]),
            "asymmetry": asymmetry, "trend": trend}  # fmt: skip


def lines(finding: WatchedFinding) -> list[str]:
    """What there is to say, the most important sentence first after the title."""
    head = f"DIVERGED: {finding.why}"
    if finding.verdict != "diverged":
        head = f"{WORDS[finding.verdict]}: {finding.why}{medians_of(finding.judged)}"
    since = f" (rank below 2 ever since step {finding.since})" if finding.since is not None else ""
    title = sentences.WATCHED_TITLE.format(
        step=finding.step, records=finding.records, rows=finding.rows, outputs=finding.outputs, status=finding.status
    )
    ranks = sentences.WATCHED_RANK.format(
        first=finding.first[1], first_step=finding.first[0], lowest=finding.lowest[1], lowest_step=finding.lowest[0]
    )
    out = [title, f"{head}{since}.", f"  {ranks}"]
    if math.isfinite(finding.sd):
        size = sentences.PICTURES_SIZE.format(sd=finding.sd, unit_sd=finding.unit_sd, alike=finding.outputs**-0.5)
        out.append("  " + size)
    if math.isfinite(finding.loss):
        out.append("  " + sentences.WATCHED_LOSS.format(loss=finding.loss))
    if finding.head_norm == 0.0:
        out.append("  " + sentences.WATCHED_IDLE.format())
    elif finding.trend:
        told = sentences.WATCHED_HEAD.format(
            norm=finding.head_norm, trend=finding.trend, peak=finding.head_peak, peak_step=finding.peak_step,
            asymmetry=finding.asymmetry, meaning=MEANING[finding.trend],
        )  # fmt: skip
        out.append(f"  {told}")
    if finding.warned is not None:
        out.append(f"  The monitor warned at step {finding.warned}.")
    return wrapped([*out, "  " + sentences.WATCHED_SETTINGS.format()])

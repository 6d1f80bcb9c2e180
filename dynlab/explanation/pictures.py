"""A run of dynlab.pretrain from its metrics.csv: is it collapsing, what does the head do, which setting is known for it.

What counts as collapsed and as diverged is in `dynlab.images.verdict`.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from dynlab.embeddings.head_phase import MEANING, lent_share, trend_of
from dynlab.explanation import sentences
from dynlab.explanation.recorded import table_of
from dynlab.explanation.words import TEXT_WIDTH, medians_of, wrapped
from dynlab.images.settings import SPEECH, Pretraining, has_target
from dynlab.images.training.run_folder import METRICS
from dynlab.images.verdict import DIP, METRIC_COLUMNS, judged, middle, output_count, poor, verdict_of
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError

NEWER = ("sd", "unit_sd", "entropy_mean", "entropy")  # columns that earlier versions did not write
WITHOUT_HEAD = {
    "barlow-twins": "Barlow Twins has no head: that outputs differ is asked for by the correlations between them.",
    "vicreg": "VICReg has no head: that outputs vary and differ is asked for by its hinge and its covariances.",
    "dino": "DINO has no head here: the centre keeps the teacher from one answer, its low temperature from a flat one.",
    "simclr": "SimCLR has no head here: the other pictures of the batch push outputs apart.",
}


@dataclass(frozen=True)
class Cause:
    """A setting that is known to cause collapse: what was seen, and the change."""

    fact: str
    change: dict


@dataclass(frozen=True)
class PictureFinding:
    """Numbers about a run at a line of its metrics.

    verdict : "diverged", "collapsed", "dip" (in the first steps), "unclear" or "healthy". reasons : what of the numbers
    means collapse. judged : how many records rank, correlation, sd, unit_sd and entropies are the medians of. since :
    step from which on that holds without a break. first : (rank, correlation) at the first line. lowest : (step, rank)
    of the least rank. sd, unit_sd : standard deviation of z, and of z at unit length. entropies : DINO's, of the
    teacher's mean distribution and the mean of theirs. What an earlier version did not record is nan. head_norm,
    head_peak, peak_epoch, asymmetry : of the head's entries off the diagonal, nan for no such head; lent : their
    share of the outputs' energy if the z were uncorrelated and alike; trend : "near the identity", "rising", "falling" or
    "steady". causes : settings of this run that are known for collapse. total : steps of the whole run.
    """

    place: Path = field(repr=False)
    data: str = field(repr=False)
    settings: Pretraining = field(repr=False)
    status: str
    step: int
    epoch: float
    total: int
    loss: float
    rank: float
    correlation: float
    sd: float
    unit_sd: float
    entropies: tuple[float, float]
    verdict: str
    reasons: tuple[str, ...]
    judged: int
    since: int | None
    first: tuple[float, float]
    lowest: tuple[int, float]
    head_norm: float
    head_peak: float
    peak_epoch: float
    asymmetry: float
    lent: float
    trend: str
    knn: float
    causes: tuple[Cause, ...] = field(repr=False)


def diagnose_pictures(place: Path, record: dict, at: float | None = None) -> PictureFinding:
    """Read a run's folder; `at`: the epoch to explain (None: the last). FolderError of one line where it is damaged."""
    try:
        settings = Pretraining(**record["settings"])
        total = settings.total_steps(int(record["pictures"]))
        status = str(record["status"])
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError(place / "run.json", f"is damaged ({error})") from error
    table = _metrics(place / METRICS, status)
    ends = int(table["step"].iloc[-1])
    if at is not None:
        latest = float(table["epoch"].iloc[-1])
        if at > latest:
            raise SettingError("at", at, f"at most {latest:.4g}, the epoch that the run has reached")
        table = table.iloc[: int(np.abs(table["epoch"] - at).argmin()) + 1]
    now, rows = table.iloc[-1], table.to_dict("records")
    whole = at is None or int(now["step"]) == int(ends)
    seen = middle(rows)
    bad = np.array([bool(poor(settings, row)) for row in rows])
    broken = np.flatnonzero(~bad)
    since = None if not bad[-1] else int(table["step"].iloc[broken[-1] + 1 if len(broken) else 0])
    lowest = table.iloc[int(np.nan_to_num(table["rank"].to_numpy(dtype=float), nan=np.inf).argmin())]
    return PictureFinding(
        place=place, data=str(record.get("data", "DIR")), settings=settings, status=status, step=int(now["step"]),
        epoch=float(now["epoch"]), total=total, loss=float(now["loss"]), rank=seen["rank"], correlation=seen["correlation"],
        sd=seen["sd"], unit_sd=seen["unit_sd"], entropies=(seen["entropy_mean"], seen["entropy"]),
        verdict="diverged" if whole and status.startswith("stopped") else verdict_of(settings, rows),
        reasons=tuple(poor(settings, seen)), judged=judged(len(rows)), since=since,
        first=(float(table["rank"].iloc[0]), float(table["correlation"].iloc[0])),
        lowest=(int(lowest["step"]), float(lowest["rank"])), **_head(settings, table), knn=_last_known(table["knn"]),
        causes=tuple(causes(settings)),
    )  # fmt: skip


def _metrics(path: Path, status: str) -> pd.DataFrame:
    """The lines of metrics as numbers; one of nan at step 0 for a run that was stopped before its first."""
    table = table_of(path, [name for name in METRIC_COLUMNS if name not in NEWER]).reindex(columns=METRIC_COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    numbers = numbers[numbers["step"].notna()]
    if numbers.empty and status.startswith("stopped"):
        return pd.DataFrame([dict.fromkeys(METRIC_COLUMNS, math.nan) | {"step": 0.0, "epoch": 0.0}])
    if numbers.empty:
        raise FolderError(path, "has no line yet")
    if numbers[["epoch", "rank", "loss"]].isna().all().any():
        raise FolderError(path, "is damaged (no numbers)")
    return numbers


def _last_known(column: pd.Series) -> float:
    known = column.dropna()
    return float(known.iloc[-1]) if len(known) else math.nan


def _head(settings: Pretraining, table: pd.DataFrame) -> dict:
    """What the off-diagonal entries of the head do."""
    norm = table["head_norm"].to_numpy(dtype=float)
    names = ("head_norm", "head_peak", "peak_epoch", "asymmetry", "lent")
    if settings.head in ("none", "mlp") or not np.isfinite(norm).any():
        return dict.fromkeys(names, math.nan) | {"trend": ""}
    norm = np.nan_to_num(norm)
    place, now = int(norm.argmax()), float(norm[-1])
    lent = lent_share(now, settings.projector[-1] if settings.projector else math.nan)
    trend = trend_of(norm, lent)
    values = (now, float(norm[place]), float(table["epoch"].iloc[place]), float(table["head_asymmetry"].iloc[-1]), lent)
    return dict(zip(names, values, strict=True)) | {"trend": trend}


def causes(settings: Pretraining) -> list[Cause]:
    """The settings that are known for collapse; what was seen is on CIFAR-10, in README.md where not said otherwise."""
    found: list[Cause] = []
    if settings.loss != "similarity":
        return found  # of the other losses no setting of a run was seen to make them collapse
    if settings.stop_gradient != "target":
        seen = {
            "none": "(encoder demo, 500 steps, one seed: rank 1.0, 5.7 with it; in theory all starts but 2 % collapse)",
            "online": "but on the online one: then the head does not train",
        }[settings.stop_gradient]
        fact = f"the gradient is not stopped on the target's side {seen}"
        found.append(Cause(fact, {"stop_gradient": "target"}))
    if settings.head == "none":
        fact = "there is no head: in the table of heads this collapsed in every seed (rank 1.0, probe .38), and with the "
        found.append(Cause(fact + "off-diagonal head none did (rank 19, probe .68)", {"head": "off-diagonal"}))
    if settings.head in FROM_CORRELATION and settings.target == "same":
        name = {"directpred": "DirectPred", "directcopy": "DirectCopy"}[settings.head]
        fact = f"{name} was published with a moving-average target and collapses without one (DirectPred, encoder demo, "
        fact += "three seeds: rank 1.0 to 1.8 from step 50 on; with it 14 to 16 after 1501 steps)"
        found.append(Cause(fact, {"target": "average", "target_momentum": 0.996}))
    if settings.head_decay > 0.0 and settings.normalisation == "length":
        fact = "the head decays while outputs have unit length: at --head-decay 1e-3 rank fell to 1.9; "
        found.append(Cause(fact + "with batch norm it did not", {"head_decay": 0.0}))
    slow = settings.head in ("off-diagonal", "linear", "symmetric", "mlp") and settings.head_lr < 1.0
    if slow and settings.normalisation == "length":
        fact = "the head learns more slowly than the encoder (encoder demo, 500 steps, one seed: rank 1.0 at --head-lr 0.1, "
        found.append(Cause(fact + "5.7 at 1)", {"head_lr": 1.0}))
    return found


def lines(finding: PictureFinding) -> list[str]:
    """What there is to say, the most important sentence first after the title."""
    s = finding.settings
    kind = f"loss {s.loss}"
    if s.loss == "similarity":
        kind = f"head {s.head}, outputs by {'batch norm' if s.normalisation == 'batch' else 'unit length'}"
    out = [
        f"{s.dataset}, encoder {s.encoder_words}, {kind}: pretraining on {'speech' if s.dataset == SPEECH else 'pictures'}",
        _headline(finding),
    ]
    if finding.verdict == "diverged" and math.isfinite(finding.rank):
        norm = finding.head_norm
        told = sentences.PICTURES_BEFORE.format(
            step=finding.step, rank=finding.rank, of=output_count(s), correlation=finding.correlation, loss=finding.loss,
            head=f", norm of the head's entries off its diagonal {norm:.3g}" if norm > 0.0 else "",
        )  # fmt: skip
        out.append(f"  {told}")
    if finding.verdict == "diverged" or not math.isfinite(finding.rank):
        return [row for line in [*out, *_change(finding)] for row in wrapped([line])]
    outputs = sentences.PICTURES_OUTPUTS.format(
        part="projector" if s.projector else "encoder", less=_less(s), rank=finding.rank, of=output_count(s),
        correlation=finding.correlation, judged=medians_of(finding.judged), first_rank=finding.first[0],
        first_correlation=finding.first[1], lowest=finding.lowest[1], lowest_step=finding.lowest[0],
    )  # fmt: skip
    out.append("  " + outputs)
    out.append(
        f"  The loss, {finding.loss:.3g}, does not tell: outputs that are copies agree as well as any, or better."
        + (f" kNN accuracy {finding.knn:.3f}." if math.isfinite(finding.knn) else "")
    )
    out += _size_words(finding) + _head_words(finding) + _change(finding)
    return [row for line in out for row in (line.split("\n") if line.startswith("    ") else wrapped([line]))]


def _less(settings: Pretraining) -> str:
    return ", less the mean of each row, which a softmax does not see" if settings.loss == "dino" else ""


def _size_words(finding: PictureFinding) -> list[str]:
    """How much the outputs vary, and what of that the loss looks at."""
    out, m = [], output_count(finding.settings)
    if math.isfinite(finding.sd):
        out.append("  " + sentences.PICTURES_SIZE.format(sd=finding.sd, unit_sd=finding.unit_sd, alike=m**-0.5))
    if math.isfinite(finding.entropies[0]):
        of_mean, mean = finding.entropies
        out.append("  " + sentences.PICTURES_TEACHER.format(of_mean=of_mean, mean=mean, most=math.log(m)))
    return out


def _headline(finding: PictureFinding) -> str:
    at = f"step {finding.step} of {finding.total} (epoch {finding.epoch:.3g})"
    if finding.verdict == "diverged":
        why = finding.status.removeprefix("stopped: ")
        if not finding.status.startswith("stopped"):
            numbers = {"sd": finding.sd, "norm": finding.head_norm, "loss": finding.loss}
            why = sentences.PICTURES_DIVERGED.format(step=finding.step, **numbers)
        return f"DIVERGED: {why}."
    words = {
        "collapsed": f"COLLAPSED at {at}: the outputs have become copies of one another",
        "dip": sentences.PICTURES_DIP.format(at=at, dip=DIP),
        "unclear": f"UNCLEAR at {at}: the outputs use few directions, but they are not copies of one another",
        "healthy": f"NO COLLAPSE at {at}: the outputs use several directions",
    }
    text = words[finding.verdict]
    if finding.verdict == "collapsed":
        text += f": {'; '.join(finding.reasons)}"
        text += "" if finding.since is None else f" (ever since step {finding.since})"
    return text + ("." if finding.status == "finished" else "; the run is not finished.")


def _head_words(finding: PictureFinding) -> list[str]:
    """What the head does, in the terms of the theory."""
    name = finding.settings.head
    if not has_target(finding.settings.loss):
        own = f"The loss {finding.settings.loss} is registered from outside, and has no head."
        return [f"  {WITHOUT_HEAD.get(finding.settings.loss, own)}"]
    if name == "none":
        return ["  There is no head: nothing can be borrowed, so nothing makes the next feature the faster one."]
    if not math.isfinite(finding.head_norm):
        return [f"  The head ({name}) is no matrix, so its phases cannot be told by a norm."]
    if name in FROM_CORRELATION:
        return [f"  The head ({name}) is set from the correlations of z, not trained: it goes through no phases."]
    meaning = MEANING[finding.trend]
    head = sentences.PICTURES_HEAD.format(
        norm=finding.head_norm, asymmetry=finding.asymmetry, trend=finding.trend, meaning=meaning, peak=finding.head_peak,
        epoch=finding.peak_epoch, lent=100 * finding.lent,
    )  # fmt: skip
    return [f"  {head}"]


def _change(finding: PictureFinding) -> list[str]:
    """The settings known for collapse, and the command that changes the first of them."""
    known, verdict = finding.causes, finding.verdict
    if verdict == "diverged":
        slower = finding.settings.lr / 10.0
        return [f"  Try a smaller rate first, as --lr {slower:.3g} for {finding.settings.lr:.3g}."]
    if verdict == "healthy":
        more = [f"  All the same: {cause.fact}." for cause in known]
        return more or ["  Nothing needs changing: none of the settings known for collapse is set."]
    if not known:
        why = "none of the settings known for collapse here is set"
        return [f"  Why: {why}." if verdict != "dip" else f"  Go on: {why}."]
    lead = "Why" if verdict == "collapsed" else "A reason to watch it"
    return [*(f"  {lead}: {cause.fact}." for cause in known), "  Try instead:", command(finding)]


def command(finding: PictureFinding) -> str:
    """The command of this run with the settings known for collapse changed, for a shell, broken where it is long."""
    change = {name: value for cause in finding.causes for name, value in cause.change.items()}
    changed = replace(finding.settings, **change)
    given = {"data": finding.data} | changed.changed() | change | {"out": f"{finding.place}-changed"}
    parts = ["python -m dynlab.pretrain"]
    for name, value in given.items():
        if value is not None:
            text = ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
            parts.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    rows = [parts[0]]
    for part in parts[1:]:
        rows = [*rows[:-1], f"{rows[-1]} {part}"] if len(rows[-1]) + len(part) < TEXT_WIDTH - 8 else [*rows, "  " + part]
    return "    " + " \\\n    ".join(rows)

"""What one point of a sweep comes to: a row of numbers and words, computed here or by an executor's worker.

A point is one ensemble (run), the runs on minibatches from one start (sgd), or one run of pretraining in a folder of its
own, which goes on from its checkpoint where it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.machine.device import Device
from dynlab.machine.workers import digest_of_sources, require_same_sources
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError

if TYPE_CHECKING:
    from dynlab.ensembles import main_run
    from dynlab.images.settings import Pretraining
    from dynlab.population.trajectory import Trajectory
    from dynlab.samples import runs

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
HOW_ENDED = "ended_"  # and how trajectories did: columns with their number
# Modules whose sources, and those of all they load, decide the numbers of a point.
MADE_BY = {
    "run": (__name__, "dynlab.ensembles.main_run", "dynlab.ensembles.ensemble", "dynlab.population.any_training.flow",
            "dynlab.population.descent", "dynlab.population.pair.cuda", "dynlab.population.pair.flow",
            "dynlab.tools.intervals"),
    "sgd": (__name__, "dynlab.reports.samples", "dynlab.samples.overlay", "dynlab.samples.runs", "dynlab.samples.train",
            "dynlab.tools.intervals"),
    "pretrain": (__name__, "dynlab.images.training.train", "dynlab.images.verdict"),
}  # fmt: skip
# Of the last line of metrics.csv; its loss is called loss_end, for `loss` is a setting.
LAST = ("step", "epoch", "loss", "rank", "correlation", "head_norm", "head_asymmetry", "knn", "sd", "unit_sd")


@dataclass(frozen=True)
class SweepConditions:
    """What the points of a sweep have in common. runs: folder of the runs of pretraining. data, verify: of their pictures.
    command: for run.json."""

    runs: Path
    data: Path
    verify: bool
    device: Device
    threads: int
    command: str


@dataclass(frozen=True)
class PointResult:
    """row: by column, "status" and "reason" the first. kept: whether the same would come of it again."""

    row: dict[str, Any]
    kept: bool = True


@dataclass(frozen=True)
class Hindrance:
    """Why nothing could be computed, not even the other points: words, and the folder that they are about ("": none)."""

    place: str
    words: str


def point_sources(command: str) -> str:
    """Digest of the sources that decide the numbers of a point."""
    return digest_of_sources(*MADE_BY[command])


def made_point(command: str, settings: Any, name: str, conditions: SweepConditions) -> PointResult:
    """The results of a point. name: of its folder. A point that cannot be computed is a result, "failed", with its reason;
    what hinders all points, as missing files, is raised."""
    rows: dict[str, Any] = {"run": _ensemble_row, "sgd": _minibatch_row, "pretrain": _pretraining_row}
    try:
        row = rows[command](settings, name, conditions)
    except (SettingError, ArithmeticError) as error:
        return PointResult(_failed(str(error)))
    except MemoryError as error:
        return PointResult(_failed(f"not enough memory: {error}"), kept=False)
    return PointResult({column: value.item() if hasattr(value, "item") else value for column, value in row.items()})


def point_job(command: str, settings: Any, name: str, conditions: SweepConditions, sources: str) -> PointResult | Hindrance:
    """What a worker does: `made_point`. sources: `point_sources` where the call came from.

    What hinders all points comes back in words, which any process can read.
    """
    require_same_sources(sources, *MADE_BY[command])
    try:
        return made_point(command, settings, name, conditions)
    except FolderError as error:
        return Hindrance(str(error.place), str(error).removeprefix(f"{error.place}: "))
    except OSError as error:
        return Hindrance("", str(error))


def _failed(reason: str) -> dict[str, Any]:
    return {"status": FAILED, "reason": " ".join(reason.split())}


def _ensemble_row(settings: main_run.Settings, name: str, conditions: SweepConditions) -> dict[str, Any]:
    """What `dynlab run` tells of one activation and head: its line of summary.csv, median rank and loss, how runs ended."""
    from dynlab.ensembles.main_run import ensemble_asked

    (model,) = settings.models
    found = ensemble_asked(settings, model, settings.training.head)
    frame = found.frame
    good = frame[frame["outcome"] != "failed"]
    ends = frame["status"].value_counts().to_dict()
    counts = {f"{HOW_ENDED}{end.replace(' ', '_')}": int(count) for end, count in sorted(ends.items())}
    reason = "" if len(good) else "every start failed: " + ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    row = found.summary_row().iloc[0].to_dict()
    medians = {column: float(good[column].median()) if len(good) else np.nan for column in ("rank", "loss_end")}
    return {"status": FAILED if reason else FINISHED, "reason": reason} | row | medians | counts


def _minibatch_row(settings: runs.Settings, name: str, conditions: SweepConditions) -> dict[str, Any]:
    """What `dynlab run --method sgd` tells of one activation, head and batch, and what its runs have learnt at their end."""
    from dynlab.reports.samples import stops, summary
    from dynlab.samples.runs import compute_minibatch_runs

    found = compute_minibatch_runs(settings)
    ((key, one),) = found.items()
    (made,) = one.runs.values()
    lines = stops(found)
    status = DIVERGED if len(lines) == len(made) else FINISHED
    row = {"status": status, "reason": "; ".join(lines)} | summary(found).iloc[0].to_dict()
    exact = {"exact_loss_end": float(one.exact.loss[-1]) if one.exact is not None else np.nan}
    return row | _learnt([run for run in made if run.success]) | exact


def _learnt(good: list[Trajectory]) -> dict[str, Any]:
    """Shares of runs by what their outputs carry at the end, with Wilson's intervals; medians of rank, loss and head."""
    from dynlab.population import moments
    from dynlab.population.hidden.moments import hidden_rank
    from dynlab.population.outcomes import named_outcomes
    from dynlab.tools.intervals import wilson

    found: dict[str, Any] = {}
    medians = dict.fromkeys(("rank", "loss_end", "head_peak"), np.nan)
    names: list[str] = []
    if good:
        model, ends = good[0].model, [run.final for run in good]
        signal, gram = (np.array([getattr(end, name) for end in ends]) for name in ("signal", "noise_gram"))
        carried = np.array([run.carried[-1] for run in good])
        names = list(named_outcomes(model, carried, np.zeros(len(good), bool)))
        off = ~np.eye(model.neurons, dtype=bool)
        if model.layered:
            rank = hidden_rank(model, signal, gram, np.array([end.readout for end in ends]))
        else:
            rank = moments.output_rank(model, signal, gram)
        medians = {
            "rank": float(np.median(rank)),
            "loss_end": float(np.median([run.loss[-1] for run in good])),
            "head_peak": float(np.median([np.abs(run.head[:, off]).max(initial=0.0) for run in good])),
        }
    for kind in ("both", "only_strong", "only_weak", "neither"):
        count = names.count(kind)
        low, high = wilson(count, len(names))
        found |= {kind: count / len(names) if names else np.nan, f"{kind}_low": low, f"{kind}_high": high}
    return found | medians


def _pretraining_row(settings: Pretraining, name: str, conditions: SweepConditions) -> dict[str, Any]:
    """The verdict and the last line of metrics.csv of a run, which is made, or gone on with, where it is missing."""
    from dynlab.images.training import run_folder
    from dynlab.images.verdict import metric_numbers, verdict_of

    place = conditions.runs / name
    begun = (place / run_folder.RUN).is_file()
    before = run_folder.run_of(place)["status"] if begun else ""
    if before.startswith("stopped: "):
        stopped = [before.removeprefix("stopped: ")]
    elif before == "finished":
        stopped = []
    else:
        stopped = run_folder.pretrain(
            settings, _pictures_for(settings, conditions), place, resume=begun, threads=conditions.threads,
            device=conditions.device, quiet=True, command=conditions.command, data=conditions.data,
        )  # fmt: skip
    lines = (place / run_folder.METRICS).read_text(encoding="utf-8").splitlines()[1:]
    known = [metric_numbers(line) for line in lines]
    row: dict[str, Any] = {"status": DIVERGED if stopped else FINISHED, "reason": "; ".join(stopped)}
    row |= {"verdict": DIVERGED if stopped else verdict_of(settings, known), "folder": name}
    return row | {column.replace("loss", "loss_end"): known[-1][column] for column in LAST if known}


_seen: dict[tuple, Any] = {}


def _pictures_for(settings: Pretraining, conditions: SweepConditions) -> Any:
    """What is trained on, kept for the next point of this process that is trained on the same."""
    from dynlab.command_line.pictures import training_part
    from dynlab.images.data.own_pictures import picture_side
    from dynlab.images.settings import SOUND_SETTINGS, SPEECH

    sound = settings.dataset == SPEECH
    own = tuple(getattr(settings, name) for name in SOUND_SETTINGS) if sound else (picture_side(settings),)
    key = (settings.dataset, str(conditions.data), conditions.verify, *own)
    if key not in _seen:
        _seen.clear()  # of one set at a time
        _seen[key] = training_part(settings, conditions.data, conditions.verify, quiet=True)
    return _seen[key]

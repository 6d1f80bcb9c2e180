"""The results of the main run as files, as a table to read, and in words drawn from its numbers."""

from __future__ import annotations

import math
import os
import platform
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import dynlab
from dynlab.files import write_csv, write_json

if TYPE_CHECKING:
    from dynlab._cli import Call
    from dynlab.run import Result, Settings
    from dynlab.sweep import Ensemble

OUTCOMES = {
    "both": "both features learnt",
    "only_strong": "only the strong one",
    "only_weak": "only the weak one",
    "neither": "neither",
}
FEW = 0.01  # of the seeds may still wait where a verdict is given
WITH_WAITING = OUTCOMES | {"waiting": "waiting at the end"}  # shown where any are
NAMED = 20  # failed seeds that are named on the screen; ensemble.csv and run.json have them all
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "pandas", "matplotlib")


def summary_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row an activation and head, as in summary.csv."""
    ensembles = [ensemble for result in results for ensemble in result.ensembles.values()]
    return pd.concat([ensemble.summary() for ensemble in ensembles], ignore_index=True)


def write_files(
    folder: Path, settings: Settings, results: Sequence[Result], call: Call
) -> None:
    """Write summary.csv, ensemble.csv, trajectory.csv, the figures unless not wanted, and run.json last."""
    write_csv(folder / "summary.csv", summary_table(results))
    write_csv(folder / "ensemble.csv", _stacked({r.model.activation: r.ensembles for r in results}))
    write_csv(folder / "trajectory.csv", _stacked({r.model.activation: r.trajectories for r in results}))
    if settings.plots:
        from dynlab import plotting

        pairs = {r.model.activation: tuple(r.trajectories.values()) for r in results}
        numbers = ", ".join(f"{result.seed} ({result.model.activation})" for result in results)
        starts = f"dim {settings.dim:g}, start {numbers} of {settings.seeds}"
        figure = plotting.phases_figure({name: (runs[0], runs[-1]) for name, runs in pairs.items()}, starts)
        plotting.save(figure, folder / "phases", "Training with and without a prediction head")
    write_json(folder / "run.json", _record(settings, results, call))


def print_report(settings: Settings, results: Sequence[Result], place: Path) -> None:
    """Print the table, the verdicts and where the files are; with --quiet the failed trajectories alone."""
    failed = [
        line
        for result in results
        for head, ensemble in result.ensembles.items()
        for line in failures(ensemble.frame, f"{result.model.activation}, head {head}")
    ]
    if settings.quiet:
        for line in failed:
            print(line, file=sys.stderr)
        return
    summary = summary_table(results)
    lines = [*_heading(settings), "", *table(summary)]
    for result in results:
        rows = summary[summary["activation"] == result.model.activation].set_index("head")
        if len(rows) == 2:
            words = still_waiting(result.model.activation, rows) or verdict(
                result.model.activation, rows, _all_on_strong(next(iter(result.ensembles.values())))
            )
            lines += textwrap.wrap(words, 100, subsequent_indent="  ")
    shown = ", ".join(f"{result.model.activation} {result.seed}" for result in results)
    files = ", ".join(sorted(path.name for path in place.iterdir()))
    lines += [*failed, "", f"seed followed in time: {shown}", f"files in {place}: {files}"]
    print("\n".join(lines), flush=True)


def table(summary: pd.DataFrame) -> list[str]:
    """The lines of the table: a block an activation, a column a head, shares with their 95 % intervals."""
    lines = []
    for activation, rows in summary.groupby("activation", sort=False):
        columns = [_column(row) for _, row in rows.iterrows()]
        lines.append(_line(str(activation), [f"head {head}" for head in rows["head"]]))
        lines += [_line("  " + label, [column[label] for column in columns]) for label in columns[0]]
        lines.append("")
    return lines


def verdict(activation: str, rows: pd.DataFrame, all_on_strong: float) -> str:
    """What the head did, in words.

    rows: the activation's two rows of the summary, with and without head; all_on_strong: share of the seeds in which, with
    the head, every neuron ends on the strong feature.
    """
    with_head, without = rows.iloc[0], rows.loc["none"]
    shares = f"with it {percent(with_head.both)} of the seeds learn both, without {percent(without.both)}"
    if with_head.both_low > without.both_high:
        effect = "the head rescues the weak feature"
    elif with_head.both_high < without.both_low:
        effect = "the head harms the weak feature"
    else:
        effect = "the head does not rescue the weak feature"
    if with_head.both > 0.5 and with_head.name == "off-diagonal":
        share = percent(with_head.head_peak / with_head.head_bound)
        end = number(with_head.head_end)
        more = f"At its peak it reaches {share} of its bound, at the end it is {end} away from the identity."
    else:
        more = f"With it every neuron takes the strong feature v_1 in {percent(all_on_strong)} of the seeds."
    return f"{activation}: {effect}: {shares}. {more}"


def still_waiting(activation: str, rows: pd.DataFrame) -> str:
    """What is said in place of a verdict where more than `FEW` of the seeds have learnt nothing yet; nothing elsewhere."""
    if rows["waiting"].max() <= FEW:
        return ""
    heads = rows.index
    shares = ", ".join(f"{percent(rows.loc[head, 'waiting'])} with head {head}" for head in heads)
    return (
        f"{activation}: the end came too early: of the seeds {shares} had learnt nothing yet and were not at rest. What "
        "they will learn is not known; train for longer (--until)."
    )


def failures(frame: pd.DataFrame, which: str) -> list[str]:
    """One line naming the seeds whose trajectory failed, and how; none where all ended well."""
    failed = frame[frame["outcome"] == "failed"]
    if failed.empty:
        return []
    named = [f"{row.seed} ({row.status})" for row in failed.head(NAMED).itertuples()]
    more = [f"and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
    return [f"failed: {which}: {len(failed)} of {len(frame)} seeds: {', '.join(named + more)}"]


def percent(share: float) -> str:
    """A share as 98.2 %."""
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Three digits; a dash for what did not happen."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _column(row: pd.Series) -> dict[str, str]:
    cells = {}
    for outcome, label in OUTCOMES.items() if row.waiting == 0.0 else WITH_WAITING.items():
        low, high = 100 * row[f"{outcome}_low"], 100 * row[f"{outcome}_high"]
        cells[label] = f"{percent(row[outcome])} ({low:.1f} to {high:.1f})"
    return cells | {
        "neurons merged (rank one)": percent(row.merged),
        "failed": f"{round(row.failed * row.seeds)} of {row.seeds}",
        "time to the first feature": number(row.time_first),
        "head peak (one-way bound)": f"{number(row.head_peak)} ({number(row.head_bound)})",
        "head at the end": number(row.head_end),
    }


def _line(label: str, cells: Sequence[str]) -> str:
    return (f"{label:<28}" + "".join(f"{cell:<26}" for cell in cells)).rstrip()


def _heading(settings: Settings) -> list[str]:
    model = settings.models[0]
    return [
        f"strong {model.strong:g}, weak {model.weak:g}, noise {model.noise:g}, feature on "
        f"{model.feature_patches} of {model.patches} patches, dim {settings.dim:g}",
        f"{settings.method}, eta_head {settings.training.eta_head:g}{_switches(settings)}, "
        f"{settings.seeds} seeds "
        "(shares with 95 % intervals, otherwise medians)",
    ]


def _switches(settings: Settings) -> str:
    """The switches that are not the paper's, in words."""
    changed = settings.training.changed()
    return "".join(f", {name.replace('_', '-')} {value}" for name, value in changed.items() if name != "eta_head")


def _all_on_strong(ensemble: Ensemble) -> float:
    from dynlab.sweep import DOMINANT

    columns = [f"cosine_{j + 1}_1" for j in range(ensemble.model.neurons)]
    return float((ensemble.frame[columns] > DOMINANT).all(axis=1).mean())


def _stacked(runs: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The frames of all activations and heads below each other, activation and head in front."""
    frames = []
    for activation, by_head in runs.items():
        for head, run in by_head.items():
            frame = run.frame.copy()
            frame.insert(0, "activation", activation)
            frame.insert(1, "head", head)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _record(
    settings: Settings, results: Sequence[Result], call: Call
) -> dict[str, Any]:
    """What run.json holds: all that is needed to repeat the run, and where and when it ran."""
    plain = asdict(settings)
    training = plain.pop("training")
    plain["eta_head"] = training["eta_head"]
    if not settings.training.is_papers:
        plain["training"] = settings.training.changed()
    model = plain.pop("models")[0] | {"activation": [model.activation for model in settings.models]}
    ensembles = {
        f"{r.model.activation}, {head}": ensemble for r in results for head, ensemble in r.ensembles.items()
    }
    return {
        **call.record(),
        "settings": model | plain,
        "seed_followed": {r.model.activation: r.seed for r in results},
        "failed": {name: _failed(ensemble) for name, ensemble in ensembles.items()},
    } | provenance(call.started)


def provenance(started: float) -> dict[str, Any]:
    """What run.json ends with: versions, machine, and the seconds since `started` (perf_counter)."""
    seconds = round(time.perf_counter() - started, 3)
    return {"versions": versions(), "platform": machine(), "wall_time_seconds": seconds}


def versions() -> dict[str, str]:
    """Versions of dynlab, of Python and of the packages that numbers depend on."""
    return {"dynlab": dynlab.__version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """The machine that a run was on."""
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}


def _failed(ensemble: Ensemble) -> list[int]:
    return ensemble.frame.loc[ensemble.frame["outcome"] == "failed", "seed"].tolist()
